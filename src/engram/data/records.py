"""Files of records, whatever they are called: one JSON list, or JSON Lines, plain or gzipped; and whose they are."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from .jsonl import GZIP, Line, entries, lines

BEGINNING = 1 << 16  # letters in which a file's first record shows its keys
ENDS = (".json", ".jsonl", ".json.gz", ".jsonl.gz")


def records(path: Path) -> list[Line]:
    """Every object of a file, in order: of its one list where it begins with `[`, else of its lines. Raises BadData."""
    return [*entries(path)] if _beginning(path).startswith("[") else lines(path)


def has(path: Path, key: str) -> bool:
    """Is this a file whose first records have this key?"""
    return path.is_file() and f'"{key}"' in _beginning(path)


def texts(line: Line, key: str) -> tuple[str, ...]:
    """The list of texts under `key`, none where there is no such key. Raises BadData."""
    found = line.values.get(key, [])
    if not isinstance(found, list) or not all(isinstance(t, str) and t.strip() for t in found):
        raise line.bad(f"{key!r} is to be a list of texts, not {json.dumps(found, ensure_ascii=False)[:60]}")
    return tuple(found)


def objects(line: Line, key: str) -> tuple[dict[str, Any], ...]:
    """The list of objects under `key`, none where there is no such key. Raises BadData."""
    found = line.values.get(key, [])
    if not isinstance(found, list) or not all(isinstance(x, dict) for x in found):
        raise line.bad(f"{key!r} is to be a list of objects, not {json.dumps(found, ensure_ascii=False)[:60]}")
    return tuple(found)


def named(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The first file of these names, without their ending, here or in data/."""
    places = (home / f"{name}{end}" for home in (folder, folder / "data") for name in names for end in ENDS)
    return next((path for path in places if path.is_file()), None)


def _beginning(path: Path) -> str:
    """The first letters behind white space; nothing of a file that cannot be read, which is said when it is."""
    try:
        with path.open("rb") as file:
            packed = file.read(len(GZIP)) == GZIP
        with gzip.open(path) if packed else path.open("rb") as file:
            return file.read(BEGINNING).decode("utf-8", "replace").lstrip()
    except (OSError, EOFError, zlib.error):
        return ""


def once(line: Line, key: str, seen: set[str]) -> str:
    """The id under `key`, a number or a text, that no line before has; it is put among those seen. Raises BadData."""
    value = line.values.get(key)
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise line.bad(f"{key!r} is to be a number, not {value!r}")
    if (id_ := str(value)) in seen:
        raise line.bad(f"{key} {id_} stands here a second time")
    seen.add(id_)
    return id_
