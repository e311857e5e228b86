"""JSON and JSON Lines, plain or gzipped. A file is read whole or not at all; what is wrong is named with its line."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadData

GZIP = b"\x1f\x8b"  # the first two bytes of every gzip file: what counts is what it is, not what it is called


@dataclass(frozen=True, slots=True)
class Line:
    """One object of a JSON Lines file, and where it stands."""

    path: Path
    number: int
    values: dict[str, Any]

    def text(self, key: str, default: str | None = None) -> str:
        """The text under `key`. Raises BadData where there is none and no default, or where it is no text."""
        value = self.values.get(key, default)
        if value is None:
            raise self.bad(f"has no {key!r}, only {', '.join(map(repr, self.values)) or 'nothing'}")
        if not isinstance(value, str):
            raise self.bad(f"{key!r} is to be a text, not {value!r}")
        if not value.strip() and default is None:
            raise self.bad(f"{key!r} is empty")
        return value

    def bad(self, what: str) -> BadData:
        """The error that this line is at fault."""
        return BadData(self.path, self.number, what)


@dataclass(frozen=True, slots=True)
class Entry(Line):
    """One object of a JSON list; `number` is its place there, from 0."""

    def bad(self, what: str) -> BadData:
        """The error that this entry is at fault."""
        return BadData(self.path, None, f"entry {self.number}: {what}")


def lines(path: Path) -> list[Line]:
    """Every object of a JSON Lines file, in order; empty lines are passed over. Raises BadData."""
    out = []
    for number, row in enumerate(_text(path).split("\n"), 1):
        if not row.strip():
            continue
        try:
            values = json.loads(row)
        except json.JSONDecodeError as e:
            raise BadData(path, number, f"is not JSON ({e.msg}); is the file cut off? It reads {row[:60]!r}") from e
        if not isinstance(values, dict):
            raise BadData(path, number, f"is to be an object with keys, not {row[:60]!r}")
        out.append(Line(path, number, values))
    return out


def whole(path: Path) -> Any:
    """The one JSON value that a file holds. Raises BadData."""
    try:
        return json.loads(_text(path))
    except json.JSONDecodeError as e:
        raise BadData(path, e.lineno, f"is not JSON ({e.msg}); is the file cut off?") from e


def entries(path: Path) -> list[Entry]:
    """Every object of a file that holds one JSON list of them, in order. Raises BadData."""
    rows = whole(path)
    if not isinstance(rows, list):
        raise BadData(path, None, "is to be a list of objects")
    found = [Entry(path, number, row) for number, row in enumerate(rows)]
    for entry in found:
        if not isinstance(entry.values, dict):
            raise entry.bad(f"is to be an object with keys, not {entry.values!r}")
    return found


def existing(path: Path) -> Path:
    """The file `path`, or its gzipped twin `path`.gz. Raises BadData."""
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.is_file():
            return candidate
    raise BadData(path, None, "is missing (neither plain nor as .gz)")


def by_name(folder: Path) -> dict[str, Path]:
    """The files `*.jsonl` and `*.jsonl.gz` of a folder by their names without ending; P19 comes before P106.

    Raises BadData where there is none.
    """
    found = {p.name.split(".jsonl")[0]: p for ending in ("*.jsonl.gz", "*.jsonl") for p in folder.glob(ending)}
    if not found:
        raise BadData(folder, None, "is to be a folder with one .jsonl file for each relation, and holds none")
    return {name: found[name] for name in sorted(found, key=_natural)}


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if raw.startswith(GZIP) else raw
        text = raw.decode("utf-8")
    except UnicodeDecodeError as e:
        raise BadData(path, raw.count(b"\n", 0, e.start) + 1, f"is not UTF-8 ({e.reason})") from e
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        raise BadData(path, None, f"is a damaged gzip file ({e})") from e
    except OSError as e:
        raise BadData(path, None, f"cannot be read ({e.strerror})") from e
    if not text.strip():
        raise BadData(path, None, "is empty")
    return text
