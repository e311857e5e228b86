"""`engram demo`: the whole story on the model and the facts shipped inside, in a few minutes, without a network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from . import _show
from ._options import ModelOptions, spread

if TYPE_CHECKING:
    from ..models import Model

KIND = "demo"
SMALL = 4096  # neurons in all
SEED = 0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(spread(demo))


def demo(
    *,
    facts: Annotated[int, Option(min=1, help="At most so many facts of each relation are suppressed.")] = 10,
    out: Annotated[Path, Option("--out", "-o", help="Folder of the report.")] = Path("demo-output"),
    force: Annotated[
        bool, Option("--force", help="Write among the files of a folder that is not an earlier demo's.")
    ] = False,
    options: ModelOptions,
) -> None:
    """What does a model know, which neurons carry it, and what happens without them?

    Asks the shipped facts, finds their neurons, silences and amplifies them beside the controls, and writes a report
    of it. Takes about two minutes, and needs no network.

    \b
    engram demo
    engram demo --model engram:causal --out causal-demo
    """
    begin = time.monotonic()
    from .. import data, report

    report.free(out, KIND, force=force)
    known = data.read("shipped")
    _show.line(f"{len(known):,} facts of {len(known.relations)} relations come with engram.")
    _show.line()
    model = options.load()
    from ..experiments import Neurons, Suppression
    from . import _story, _suppressing

    neurons = Neurons(facts=facts, known_only=True, seed=SEED)
    experiment = Suppression(neurons, by=_story.LOUDER)
    with _one_thread(model):
        _story.examples(model, known)
        sections = [_story.knows(model, known, seed=SEED), _story.neurons(model, known, neurons)]
        _show.line(f"3. The neurons of up to {facts} facts of every relation that it knows, silenced and amplified")
        _show.line()
        with _show.progress("every relation") as bar:
            results = _suppressing.tried(experiment, model, known, experiment.cases(known), bar)
        found = _suppressing.outcome(experiment, results, model, known)
    _suppressing.lines(found)
    _show.line()
    tried = found.report["facts"].n
    _suppressing.write(
        found, out, kind=KIND, title=f"What {model.name} knows, and where", before=sections,
        under=f"A demonstration on facts shipped with engram: {tried:,} of {len(known):,} silenced and amplified",
    )  # fmt: skip
    _show.line(f"The report: {(out / _suppressing.REPORT).resolve()} ({time.monotonic() - begin:.0f} s)")


@contextmanager
def _one_thread(model: Model) -> Iterator[None]:
    """For networks as small as the shipped ones: a second thread gains little, and loses much on a busy machine."""
    import torch

    before = torch.get_num_threads()
    if sum(model.widths) <= SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
