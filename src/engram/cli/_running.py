"""What `engram run` shows of a run in a folder: how far it is, and how it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import _show

if TYPE_CHECKING:
    from ..results import Report
    from ..store import Run


@contextmanager
def meter(what: str) -> Iterator[Callable[[int, int, float], None]]:
    """A bar on stderr with the rate and the time left, for the length of a block; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int, rate: float) -> None:
            left = f", {clock((total - done) / rate)} left" if rate else ""
            bar.update(task, completed=done, total=total, description=f"facts, {rate:.2g} a second{left}")

        yield show


def clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> clock(3725.4), clock(59)
    ('1:02:05', '0:59')
    """
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"


def document(run: Run, report: Report | None) -> dict[str, Any]:
    """How it ended, in plain values."""
    return {
        "out": str(run.path), "complete": run.complete, "quarantined": sorted(run.quarantined),
        "report": report and report.to_dict(), "skipped": run.skipped(),
    }  # fmt: skip


def lines(run: Run, report: Report | None) -> None:
    """How it ended, in words."""
    from ..store import name_of

    if report is not None:
        _show.line(str(report))
    for reason, n in Counter(s["reason"].partition(":")[0] for s in run.skipped()).most_common():
        _show.line(f"note: {n:,} left out ({reason})")
    for shard in run.quarantined:
        _show.line(f"note: {name_of(shard)} ended its workers and was given up; --retry tries it again")
    _show.line(f"written: {run.path}")
