"""Files that are whole or not there: written under another name, forced to the disk, and renamed."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from .errors import BadData

UNFINISHED = ".tmp"  # how the name of a file ends while it is written; it starts with a dot


def write(path: Path, content: bytes, *, new: bool = False) -> bool:
    """Put a file there, whole or not at all, whatever happens to this process or this machine.

    `new`: only where there is none; False says that there was one, which is left as it is. Raises BadData where the
    folder cannot be written to.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{UNFINISHED}")
    try:
        with aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if not new:
            aside.replace(path)
        elif not _named(aside, path):
            return False
        to_disk(path.parent)
    except OSError as error:
        raise BadData(path, None, f"cannot be written ({error.strerror})") from error
    finally:
        _remove(aside)
    return True


def read(path: Path) -> dict[str, Any]:
    """The JSON object in a file; nothing where there is none, or it is not whole."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _named(aside: Path, path: Path) -> bool:
    """Give the file its name, unless that is taken."""
    try:
        os.link(aside, path)  # unlike a rename, it fails where the name is taken
    except FileExistsError:
        return False
    except OSError:  # a disk without hard links
        if path.exists():
            return False
        aside.replace(path)
    return True


def to_disk(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    if os.name == "nt" and path.is_dir():  # a folder cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # it does no harm, and what went wrong before is what should be heard


def checksum(content: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def folder_at(path: Path) -> None:
    """Make this folder and those above it. Raises BadData."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadData(path, None, f"cannot be made ({error.strerror})") from error
