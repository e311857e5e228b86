"""Found cells, one line of JSON each, written as soon as it is there: a kill loses the cell under way and no other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from engram.errors import EngramError
from measuring.plan import Cell

Found = dict[str, Any]


def read(path: Path) -> list[Found]:
    """All lines that are whole, of equal cells the last; a line that a kill cut off does not count."""
    if not path.exists():
        return []
    found: dict[str, Found] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        found.pop(record["key"], None)
        found[record["key"]] = record
    return list(found.values())


def append(path: Path, cell: Cell, found: Found) -> None:
    """One more line, on the disk when this returns."""
    record = {"kind": cell.kind, "key": cell.key, "found": found}
    torn = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if torn else "") + json.dumps(record) + "\n")
        file.flush()
        os.fsync(file.fileno())


def run(
    cells: Iterable[Cell], path: Path, measure: Callable[[Cell], Found], say: Callable[[str], None] = lambda _: None
) -> int:
    """Measures the cells that are not in the file yet; returns how many of them failed, and were left out."""
    there = {record["key"] for record in read(path)}
    failed = 0
    wanted = [c for c in cells if c.key not in there]
    for i, cell in enumerate(wanted, 1):
        say(f"{i} of {len(wanted)}: {name(cell)}, about {max(cell.minutes, 0.1):.1f} minutes")
        try:
            append(path, cell, measure(cell))
        except (EngramError, RuntimeError, MemoryError) as error:
            failed += 1
            say(f"{name(cell)} failed: {error}")
    return failed


def name(cell: Cell) -> str:
    """In a few words."""
    if cell.kind == "accuracy":
        return f"accuracy on {cell.model}" + (f", value slots × {cell.stress:g}" if cell.stress != 1 else "")
    return f"{cell.model}, {cell.prompts} × {cell.tokens} tokens, {cell.runs} runs"
