"""What `engram run` shows of a run in a folder: how far it is, and how it ended."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from . import _show
from ._options import ModelOptions

if TYPE_CHECKING:
    from ..experiments import Experiment
    from ..facts import FactSet
    from ..store import Run

MINUTE = 60.0


@dataclass(frozen=True)
class Places:
    """Where the results go, where the work is done, and by how many."""

    out: Annotated[
        Path | None, Option("--out", "-o", help="The run's folder: a new one, or one to go on with. Without: none.")
    ] = None
    on: Annotated[
        str,
        Option(help="serial: in this process; processes: in several of this machine; ray: in actors of a Ray cluster."),
    ] = "serial"
    workers: Annotated[
        int, Option(min=1, help="With --on processes or ray: how many, each with a model of its own.")
    ] = 1
    address: Annotated[
        str | None, Option(help="With --on ray: auto, or host:port of a cluster. [one is started here]")
    ] = None
    threads: Annotated[int, Option(min=1, help="Of each process. The last bits of sums depend on it.")] = 1
    timeout: Annotated[
        float | None, Option(help="End a worker after so many seconds at one shard. Not with --on serial. [never]")
    ] = None
    retry: Annotated[bool, Option("--retry", help="Try again the shards that were given up.")] = False

    def do(self, experiment: Experiment, facts: FactSet, model: ModelOptions, *, as_json: bool) -> None:
        """Do what is not done yet, show what came out, and end with 1 where something is missing."""
        with tempfile.TemporaryDirectory() as aside:
            out = self.out or Path(aside) / "run"
            done = self.run(experiment, facts, model.load, out, experiment.name)
            if done.complete and self.out is not None:
                from . import _reporting

                _reporting.write(done, facts.name)
            if as_json:
                _show.document("run", experiment=experiment.name, **_document(done, kept=self.out is not None))
            else:
                _lines(done, kept=self.out is not None)
            if not done.complete:
                raise typer.Exit(1)

    def run(self, experiment: Experiment, facts: FactSet, model: Any, out: Path, called: str) -> Run:
        """Do what is not done yet, under a bar of this name. `model` is one, or loads it."""
        from ..runs import run

        where: Any = self.on
        try:
            with meter(called) as show:
                return run(
                    experiment, facts, model, out=out, on=where, workers=self.workers, threads=self.threads,
                    retry=self.retry, timeout=self.timeout, address=self.address, progress=show,
                )  # fmt: skip
        except KeyboardInterrupt:
            if self.out is not None:
                typer.echo(f"stopped; what is done is kept in {out}, and the same command goes on with it", err=True)
            raise


@contextmanager
def meter(what: str) -> Iterator[Callable[[int, int, float], None]]:
    """How far it is, with the rate and the time left, on stderr, for the length of a block.

    A bar, or where that is no terminal, a line after every minute.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task, said = bar.add_task("", total=None), time.monotonic()

        def show(done: int, total: int, rate: float) -> None:
            nonlocal said
            left = f", {clock((total - done) / rate)} left" if rate else ""
            told = f"facts, {rate:.2g} a second{left}"
            bar.update(task, completed=done, total=total, description=told)
            if not console.is_terminal and time.monotonic() - said >= MINUTE:
                said = time.monotonic()
                typer.echo(f"{what}: {done} of {total} {told}", err=True)

        yield show


def clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> clock(3725.4), clock(59)
    ('1:02:05', '0:59')
    """
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"


def _document(run: Run, *, kept: bool) -> dict[str, Any]:
    """How it ended, in plain values."""
    report = run.summary()
    return {
        "out": str(run.path) if kept else None, "complete": run.complete, "quarantined": sorted(run.quarantined),
        "report": report and report.to_dict(), "skipped": run.skipped(),
    }  # fmt: skip


def _lines(run: Run, *, kept: bool) -> None:
    """How it ended, in words."""
    from ..store import name_of

    report = run.summary()
    if report is not None:
        _show.line(str(report))
    elif run.complete:
        _show.line("facts were drawn, and none of them could be tried")
    for reason, n in Counter(s["reason"].partition(":")[0] for s in run.skipped()).most_common():
        _show.line(f"note: {n:,} left out ({reason})")
    for shard, why in run.quarantined.items():
        reason = why.get("reason", "nobody says why")
        _show.line(f"note: {name_of(shard)} was given up ({reason}); --retry tries it again")
    if kept:
        _show.line(f"written: {run.path}")
