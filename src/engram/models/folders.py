"""A folder that is whole or not there: written under another name, forced to the disk, and renamed."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import BadData
from ..files import to_disk


@contextmanager
def whole(folder: str | Path, replacing: Collection[str] = ()) -> Iterator[Path]:
    """How does a folder come to be there all at once? The block writes into another, which then takes its name.

    Where the block fails, nothing has changed. A folder with anything in it is replaced only where all of it is called
    as in `replacing`; what was there waits beside it under a name with a dot until the new one has taken its place.
    Raises BadData.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as home:
    ...     with whole(f"{home}/kept") as aside:
    ...         _ = (aside / "note").write_text("all of it")
    ...     sorted(p.name for p in Path(home).iterdir())
    ['kept']
    """
    there = Path(folder).expanduser().resolve()
    aside = there.with_name(f".{there.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        _check(there, replacing)
        aside.mkdir(parents=True)
        yield aside
        for path in [*aside.rglob("*"), aside]:
            to_disk(path)
        _check(there, replacing)  # it may have been written to meanwhile
        _take_place(aside, there)
        to_disk(there.parent)
    except OSError as error:
        raise BadData(folder, None, f"cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def free(folder: str | Path, replacing: Collection[str] = ()) -> None:
    """Is nothing there that would be lost? Nothing is written. Raises BadData.

    >>> import tempfile
    >>> free(tempfile.mkdtemp())
    """
    _check(Path(folder).expanduser().resolve(), replacing)


def _check(there: Path, replacing: Collection[str]) -> None:
    if there.exists() and not there.is_dir():
        raise BadData(there, None, "is a file; name a folder that is not there yet")
    others = sorted({p.name for p in there.iterdir()} - set(replacing)) if there.exists() else []
    if others:
        raise BadData(there, None, f"holds something else ({', '.join(others[:3])}), which stays; name another folder")


def _take_place(aside: Path, there: Path) -> None:
    if not there.exists():
        aside.rename(there)
        return
    before = aside.with_suffix(".old")
    there.rename(before)
    try:
        aside.rename(there)
    except OSError:
        before.rename(there)
        raise
    shutil.rmtree(before, ignore_errors=True)
