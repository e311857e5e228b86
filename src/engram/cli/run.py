"""`engram run`: a whole experiment, with its report."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from ..errors import BadSetting
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


@dataclass(frozen=True)
class Source:
    """Which data set, and which of its relations."""

    data: Annotated[str, Option("--data", "-d", help="A data set: name or path.")] = "shipped"
    relation: Annotated[
        list[str] | None, Option("--relation", "-r", help="Only this relation, by id or name; may be given again.")
    ] = None


@dataclass(frozen=True)
class Places:
    """Where the work is done, and by how many."""

    on: Annotated[str, Option(help="serial: in this process; processes: in several of this machine.")] = "serial"
    workers: Annotated[int, Option(min=1, help="With --on processes: how many, each with a model of its own.")] = 1
    threads: Annotated[int, Option(min=1, help="Of each process. The last bits of sums depend on it.")] = 1
    retry: Annotated[bool, Option("--retry", help="Try again what was given up because its workers ended.")] = False


@dataclass(frozen=True)
class Facts:
    """Which facts of a data set are asked, and what is kept of their scores."""

    limit: Annotated[int | None, Option(min=1, help="The first so many facts.")] = None
    sample: Annotated[int | None, Option(min=1, help="So many facts, of each relation its part, by --seed.")] = None
    seed: Annotated[int, Option(min=0, help="Of the sample.")] = 0
    floor: Annotated[float, Option(help="Scores of at least this part of a prompt's largest are kept.")] = 0.1
    shard: Annotated[int, Option(min=1, help="Facts that are done and stored together.")] = 32


def register(app: typer.Typer) -> None:
    """Add the command."""
    experiments = typer.Typer(help="Run a whole experiment, and write its report.", no_args_is_help=True)
    experiments.command("suppression")(spread(suppression))
    experiments.command("attribution")(spread(attribution))
    app.add_typer(experiments, name="run")


def suppression(
    *,
    source: Source,
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

    known = home.read(source.data)
    wanted = {known.relation(r).id for r in source.relation or ()}
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


def attribution(
    *,
    out: Annotated[Path, Option("--out", "-o", help="The run's folder: a new one, or one to go on with.")],
    source: Source,
    facts: Facts,
    method: Method,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """The scores of all prompts of a data set, kept in a folder that survives.

    Stop it or kill it, and run it again: it goes on where it was. Run it several times at once, on machines that
    share the disk: they share the work. `engram select` finds neurons in what was kept, `engram verify` checks it.

    \b
    engram run attribution --limit 64 --rule gauss --out runs/first
    engram run attribution --model gpt2 --data pararel --sample 1000 --on processes --workers 2 --out runs/gpt2
    """
    from .. import data as home
    from ..experiments import Attributions
    from ..runs import run
    from . import _running

    experiment = Attributions(
        method.locator(), floor=facts.floor, limit=facts.limit, sample=facts.sample, seed=facts.seed, shard=facts.shard
    )
    known = home.read(source.data)
    if source.relation:
        known = known.only(list(dict.fromkeys(known.relation(r).id for r in source.relation)))
    where: Any = places.on
    with _running.meter("locating") as show:
        done = run(
            experiment, known, options.load, out=out, on=where, workers=places.workers, threads=places.threads,
            retry=places.retry, progress=show,
        )  # fmt: skip
    report = None
    with suppress(BadSetting):  # nothing that can be asked is a result too
        report = experiment.summary(done.results())
    if as_json:
        _show.document("run", experiment="attribution", **_running.document(done, report))
    else:
        _running.lines(done, report)
    if not done.complete:
        raise typer.Exit(1)
