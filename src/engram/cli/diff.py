"""`engram diff`: which facts do two models know differently?"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from ..errors import BadSetting
from . import _show
from ._drawn import Source
from ._options import Json, ModelOptions, spread
from ._running import Places
from ._show import NUMBER, TEXT, WORD
from .ask import own_model

if TYPE_CHECKING:
    from ..edits import Edit
    from ..experiments import Differing
    from ..metrics.differing import Changed
    from ..models import Model
    from ..results import Report, Score
    from ..store import Run

SHOWN = 10  # facts that are listed
UNITS = {"logprob": "nats, of the whole answer, mean over prompts", "ranks": "median over prompts, 1 is the first",
         "first": "part of the prompts in which the answer comes first"}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("diff")(spread(diff))


def diff(
    *,
    first: Annotated[str | None, Argument(metavar="[A]", help="Hub id, folder or shipped model.")] = None,
    second: Annotated[
        str | None, Argument(metavar="[B]", help="Another one. With --under, the first one again if it is left out.")
    ] = None,
    under: Annotated[
        list[Path] | None, Option(help="A saved edit that is held on the second model; several in their order.")
    ] = None,
    source: Source,
    facts: Annotated[int | None, Option(min=1, help="So many facts of each relation, by --seed. [all]")] = None,
    seed: Annotated[int, Option(min=0, help="Of the draw.")] = 0,
    other_revision: Annotated[str | None, Option(help="Revision of the second model. [--revision]")] = None,
    out: Annotated[
        Path | None, Option("--out", "-o", help="Keep what was said in this folder, with a page and pictures.")
    ] = None,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Which facts do two models know differently: two checkpoints, a fine-tuning, or one model under an edit?

    Both are asked the same prompts. Compared are the log-probability of the whole answer and whether it comes first, so
    tokenizers may differ; of a model that fills blanks and one that continues texts, prompts that end with their blank
    are compared. What one of them cannot be asked is left out, and counted.

    \b
    engram diff engram:causal --under edits/cork
    engram diff gpt2 models/mine --data pararel --facts 50 --out runs/diff
    """
    known = source.read()
    edits = _edits(under or [])
    if second is None and not edits and other_revision is None:
        raise BadSetting("two models are compared: name a second one, or an edit of the first with --under")
    own = own_model(edits[0]) if edits and first is None and options.model is None else first
    model = options.load(own)
    other = _second(model, second, options, other_revision, own or options.model)
    from ..experiments import Differing

    relations = source.relations(known)
    experiment = Differing(
        other=other, under=edits, facts=facts, seed=seed, relations=tuple(relations) if relations else None
    )
    with tempfile.TemporaryDirectory() as aside:
        done = Places().run(experiment, known, model, out or Path(aside) / "run", "asking both")
        _told(done, experiment, (model, other or model), as_json=as_json)
        if out is not None:
            _kept(done, known.name, quiet=as_json)


def _edits(folders: Sequence[Path]) -> tuple[Edit, ...]:
    from ..edits import Edit

    return tuple(Edit.load(folder) for folder in folders)


def _second(
    model: Model, name: str | None, options: ModelOptions, revision: str | None, first: str | None
) -> Model | None:
    """The second model; None where it is the first one again."""
    if name is None and revision is None:
        return None
    chosen = replace(options, model=None, revision=revision or options.revision)
    if (name or first) == first and chosen.revision == options.revision:
        return None
    return chosen.load(name or first or model.name)


def _told(done: Run, experiment: Differing, models: tuple[Model, Model], *, as_json: bool) -> None:
    from ..metrics.differing import changed

    results = list(done.results())
    report = done.summary() or experiment.summary(results)
    facts = changed(row for r in results for row in r["rows"])
    if as_json:
        about = [_show.about(m) for m in models]
        _show.document(
            "diff", first=about[0], second=about[1], under=[str(e) for e in experiment.under], units=UNITS,
            report=report.to_dict(), facts=[_plain(f) for f in facts], skipped=done.skipped(),
        )  # fmt: skip
        return
    _lines(report, facts)


def _kept(done: Run, data: str, *, quiet: bool) -> None:
    """A page in the run's folder."""
    from . import _reporting

    page = _reporting.write(done, data)
    if not quiet:
        _show.line(f"The report: {page}")


def _plain(fact: Changed) -> dict[str, Any]:
    names = ("relation", "subject", "answer", "prompts", "logprob", "change", "ranks", "first", "says", "state")
    return {name: getattr(fact, name) for name in names}


def _lines(report: Report, facts: Sequence[Changed]) -> None:
    n = report["facts"].n
    _show.line(f"{n:,} facts in {report['prompts'].value:,.0f} prompts, asked of both")
    _show.line()
    shares = ("known to the first model", "known to the second model", "lost", "gained")
    rows = [[name, _percent(report[name]), "% of facts", ""] for name in shares]
    rows.append(["change of what is known", _percent(report["change of what is known"]), "points", _p(report, "known")])
    rows.append(["change of log P(answer)", _decimal(report["change of log P(answer)"]), "nats", _p(report, "log")])
    rows += [
        [s.name, _decimal(s), s.unit, f"{s.n} texts"] for s in report.scores if s.name.endswith("perplexity: ratio")
    ]
    _show.table([("", TEXT), ("mean [95 %]", NUMBER), ("", WORD), ("test", TEXT)], rows)
    _show.line()
    moved = [f for f in facts if f.change]
    if moved:
        columns = [("largest changes", TEXT), ("nats", NUMBER), ("log P", NUMBER), ("then", NUMBER), ("rank", NUMBER),
                   ("then", NUMBER), ("says", TEXT), ("then", TEXT), ("", WORD)]  # fmt: skip
        _show.table(columns, [_row(f) for f in moved[:SHOWN]])
        _show.line()
    for note in report.notes:
        _show.line(f"note: {note}")


def _row(f: Changed) -> list[str]:
    before, after = f.says
    return [str(f), f"{f.change:+.2f}", *(f"{x:.2f}" for x in f.logprob), *(f"{x:g}" for x in f.ranks), before, after,
            f.state]  # fmt: skip


def _p(report: Report, which: str) -> str:
    if which == "known":
        score = report["change of what is known: p"]
        return f"McNemar, exact: p = {score.value:.2g} ({score.n} facts that one of them knows)"
    return f"paired, signs flipped: p = {report['change of log P(answer): p'].value:.2g}"


def _percent(score: Score) -> str:
    around = "" if score.interval is None else " [{:.1f}, {:.1f}]".format(*(100 * x for x in score.interval))
    return f"{100 * score.value:.1f}{around}"


def _decimal(score: Score) -> str:
    around = "" if score.interval is None else " [{:.3f}, {:.3f}]".format(*score.interval)
    return f"{score.value:.3f}{around}"
