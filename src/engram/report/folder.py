"""Where a report goes: a folder that is written whole or not at all, and never over somebody else's files."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import BadData, BadSetting

RESULTS = "results.json"  # written last: a folder that has it is whole


def free(folder: Path, kind: str, *, force: bool = False) -> None:
    """Make sure that results of this kind may go to this folder: it is new, empty, of the same kind, or `force`.

    Changes nothing. Raises BadSetting.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     free(Path(folder), "demo")  # an empty one will do
    ...     _ = (Path(folder) / "thesis.tex").write_text("Chapter 1")
    ...     free(Path(folder), "demo")
    Traceback (most recent call last):
    engram.errors.BadSetting: ... holds files that are not of an earlier demo; name another folder, ...
    """
    if folder.exists() and not folder.is_dir():
        raise BadSetting(f"{folder} is a file; results go to a folder")
    if force or not folder.is_dir() or not any(folder.iterdir()) or _kind(folder) == kind:
        return
    raise BadSetting(
        f"{folder} holds files that are not of an earlier {kind}; name another folder, or --force to write among them"
    )


def write(folder: Path, files: Mapping[str, str | bytes], results: Mapping[str, Any]) -> None:
    """Put these texts (or bytes) and `results` (as results.json, which says its own `kind`) into the folder.

    All are written under other names first. Should anything go wrong by then, the folder is as it was; what other
    files it holds stay. Raises BadData where the folder cannot be written to.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Path(folder), {"index.html": "<p>It fell.</p>"}, {"kind": "mine", "change": -0.4})
    ...     sorted(path.name for path in Path(folder).iterdir())
    ['index.html', 'results.json']
    """
    whole: dict[str, str | bytes] = {
        **files,
        RESULTS: json.dumps(results, ensure_ascii=False, allow_nan=False, indent=1) + "\n",
    }
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    except OSError as error:
        raise BadData(folder, None, f"cannot be written to ({error.strerror})") from error
    done = False
    try:
        for name, content in whole.items():
            _to_disk(aside / name, content)
        (folder / RESULTS).unlink(missing_ok=True)
        for name in whole:
            (aside / name).replace(folder / name)
        done = True
    except OSError as error:
        raise BadData(folder, None, f"cannot be written to ({error.strerror})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if made and not done:
            shutil.rmtree(folder, ignore_errors=True)


def _to_disk(path: Path, content: str | bytes) -> None:
    with path.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def _kind(folder: Path) -> str | None:
    """Of which kind are the results that lie here? None where there are none, or they are not whole."""
    try:
        found = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found.get("kind") if isinstance(found, dict) else None
