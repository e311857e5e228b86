"""What all benchmarks ask for, and how they show seconds, memory and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from . import _show
from ._show import NUMBER

if TYPE_CHECKING:
    from ..bench.results import Passed, Timed

Runs = Annotated[int, Option(min=1, help="How often all sides take their turn.")]
Loops = Annotated[list[str] | None, Option(help="straightforward or 'written well'; may be given twice. [both]")]
Device = Annotated[str, Option(help="Such as cpu or cuda.")]
Budget = Annotated[str, Option(help="Memory that a batch of the engine may take, beside the weights.")]
MEMORY = "bytes at the peak, above what was in use before (the weights among it); null: cannot be read here"
POSITIONS = "positions of all rows through all FFNs"
PASSED: tuple[tuple[str, str], ...] = (("calls", NUMBER), ("rows", NUMBER), ("positions", NUMBER))


def times(per: str) -> list[tuple[str, str]]:
    """The columns of `cost`: seconds for one of these, and memory."""
    return [(f"s/{per}", NUMBER), ("fastest", NUMBER), ("slowest", NUMBER), ("memory (MiB)", NUMBER)]


def cost(side: Timed) -> Iterable[str]:
    """The median, fastest and slowest run, and the peak of memory."""
    each = (f(side.seconds) for f in (statistics.median, min, max))
    return *(f"{x:.4f}" for x in each), "-" if side.memory is None else f"{side.memory / 2**20:.0f}"


def passed(side: Passed) -> Iterable[str]:
    """The cells of PASSED."""
    return (f"{n:,}" for n in (side.calls, side.rows, side.positions))


def middle(each: Sequence[float]) -> str:
    """The run in the middle, and how far they went.

    >>> middle([2.0, 1.0, 4.0])
    '2.00 (1.00 to 4.00)'
    """
    return f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})"


def made(machine: Mapping[str, Any], versions: Mapping[str, str]) -> None:
    """A line that says what it was measured on."""
    _show.line()
    _show.line(", ".join(f"{k} {v}" for k, v in {**machine, **versions}.items()))
