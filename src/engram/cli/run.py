"""`engram run`: a whole experiment, with its report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from . import _show
from ._options import Json, ModelOptions, spread
from .locate import Method

if TYPE_CHECKING:
    from ..experiments import Suppression

KIND = "run of suppression"


@dataclass(frozen=True)
class Settings:
    """Which facts are tried, how their neurons are selected, and how loud they become."""

    facts: Annotated[int | None, Option(min=1, help="At most so many facts of each relation, drawn by --seed.")] = None
    known_only: Annotated[
        bool, Option("--known-only", help="Only facts that the model answers first in half of their discovery prompts.")
    ] = False
    threshold: Annotated[float, Option(help="A neuron counts in a prompt above this part of its largest score.")] = 0.2
    share: Annotated[
        str, Option(help="It is kept above this share of prompts: where the search for 2 to 5 neurons per fact starts.")
    ] = "0.7"
    by: Annotated[float, Option(help="How many times louder amplified neurons are.")] = 2.0
    seed: Annotated[int, Option(min=0, help="Of every draw.")] = 0

    def experiment(self, method: Method) -> Suppression:
        """Raises BadSetting, UnknownName."""
        from ..experiments import Suppression
        from ..selectors import Shared

        return Suppression(
            method.locator(), Shared(threshold=self.threshold, share=self.share), by=self.by, facts=self.facts,
            known_only=self.known_only, seed=self.seed,
        )  # fmt: skip


@dataclass(frozen=True)
class Output:
    """Where the report goes."""

    out: Annotated[Path | None, Option("--out", "-o", help="Write the report to this folder.")] = None
    force: Annotated[
        bool, Option("--force", help="Write among the files of a folder that is not an earlier run's.")
    ] = False

    def check(self) -> None:
        """May the report go there? Changes nothing. Raises BadSetting."""
        from .. import report

        if self.out is not None:
            report.free(self.out, KIND, force=self.force)


def register(app: typer.Typer) -> None:
    """Add the command."""
    experiments = typer.Typer(help="Run a whole experiment, and write its report.", no_args_is_help=True)
    experiments.command("suppression")(spread(suppression))
    app.add_typer(experiments, name="run")


def suppression(
    *,
    data: Annotated[str, Option("--data", "-d", help="A data set: name or path.")] = "shipped",
    relation: Annotated[
        list[str] | None, Option("--relation", "-r", help="Only this relation, by id or name; may be given again.")
    ] = None,
    settings: Settings,
    method: Method,
    output: Output,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """What happens to the right answer when its neurons fall silent?

    Finds the neurons of every fact on its discovery templates, suppresses and amplifies them in its test templates,
    and does the same with random neurons and with other facts. Dai et al. (2022), figures 4 and 5.

    \b
    engram run suppression --facts 5 --relation capital --known-only
    engram run suppression --model gpt2 --data pararel --facts 20 --out runs/gpt2
    """
    output.check()
    from .. import data as home
    from . import _suppressing

    known = home.read(data)
    wanted = {known.relation(r).id for r in relation or ()}
    experiment = settings.experiment(method)
    model = options.load()
    cases = [c for c in experiment.cases(known) if not wanted or c["relation"] in wanted]
    with _show.progress("suppressing") as bar:
        results = _suppressing.tried(experiment, model, known, cases, bar)
    found = _suppressing.outcome(experiment, results, model, known)
    if output.out is not None:
        title = f"Knowledge neurons of {model.name}"
        under = f"Suppression and amplification, {found.report['facts'].n:,} facts of {known.name}"
        _suppressing.write(found, output.out, kind=KIND, title=title, under=under)
    if as_json:
        _show.document("run", experiment="suppression", out=output.out and str(output.out), **found.document())
        return
    _show.line(f"{known.name}, asked of {model.name}")
    _show.line()
    _suppressing.lines(found)
    _show.line()
    _suppressing.notes(found)
    if output.out is not None:
        _show.line(f"written: {output.out / _suppressing.REPORT}")
