"""`engram judge`: what did a saved edit do?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from ..errors import BadSetting
from . import _show
from ._options import Json, ModelOptions, spread
from ._show import NUMBER, TEXT
from .ask import own_model

if TYPE_CHECKING:
    from ..facts import FactSet
    from ..results import Report, Score

ROWS = {
    "ES": "edited sentence: the new answer is likelier than the old (ES)",
    "EM": "… by how much (EM, points of probability)",
    "rewrite: exact": "… the new answer is the model's first",
    "rewrite: spoken": "… the model says it freely",
    "PS": "paraphrases: the new answer is likelier (PS)",
    "PM": "… by how much (PM)",
    "paraphrase: exact": "… the new answer is the first",
    "paraphrase: spoken": "… the model says it freely",
    "NS": "neighbours: the old answer stays likelier (NS)",
    "NM": "… by how much (NM)",
    "neighbour: exact": "… the old answer is the first",
    "neighbour: spoken": "… the model says it freely",
    "S": "harmonic mean of ES, PS and NS (S)",
    "attribute: exact": "others with the new answer: it is the first",
    "reverse: exact": "reverse, from the new answer: the subject is the first",
    "reverse of the old: exact": "reverse, from the old answer: the subject is the first",
    "synonym: success": "synonym: that of the new answer is likelier",
    "onward: success": "one step further: what follows from the new is likelier",
    "elsewhere: exact": "facts of other relations: the answer is the first",
    "syntax": "minimal pairs: the right word is likelier",
}
UNITS = {"value": "see each score", "interval": "95 %, bootstrap over facts, or of one fact over its sentences"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("judge")(spread(judge))


def judge(
    *,
    folder: Annotated[Path, Argument(help="Where the edit was saved.")],
    data: Annotated[
        str, Option("--data", "-d", help="Cases, or facts that they are made of: shipped, counterfact, a path …")
    ] = "shipped",
    syntax: Annotated[Path | None, Option(help="A folder of BLiMP: minimal pairs, before and after.")] = None,
    pairs: Annotated[int, Option(min=1, help="With --syntax: of each paradigm the first so many pairs.")] = 20,
    others: Annotated[int, Option(min=0, help="Facts of other relations that are asked.")] = 30,
    seed: Annotated[int, Option(min=0, help="Of what is drawn.")] = 0,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """What did an edit do, and what else did it do?

    Asked are the sentence that was edited, paraphrases, neighbours (others with the old answer, which should stay),
    others with the new answer, the reverse, facts of other relations, and ordinary text; without the edit, with it, and
    with changes of the same size that have nothing to do with the fact. The model is the one that the edit was planned
    on, or --model.

    \b
    engram judge edits/cork
    engram judge edits/cork --data data/counterfact --syntax data/blimp --json
    """
    from .. import data as sets
    from ..edits import Edit

    edit = Edit.load(folder)
    known = sets.read(data)
    minimal = None if syntax is None else sets.read(syntax)
    if minimal is not None and not minimal.own:
        raise BadSetting(f"--syntax {syntax}: minimal pairs are BLiMP's, and {minimal.name} has none")
    model = options.load(None if options.model is not None else own_model(edit))
    from ..experiments import judge as judged

    first = None if minimal is None else _first(minimal, pairs)
    with _show.progress("judging") as bar:
        report = judged(model, edit, known, seed=seed, others=others, syntax=first, progress=bar)
    if as_json:
        _show.document("judge", model=_show.about(model), units=UNITS, edit=str(edit), report=report.to_dict())
        return
    _lines(report, model.name)


def _first(minimal: FactSet, pairs: int) -> FactSet:
    """Of each paradigm the first pairs."""
    return replace(minimal, members={r: facts[:pairs] for r, facts in minimal.members.items()})


def _lines(report: Report, model: str) -> None:
    known = {s.name: s for s in report.scores}
    settings = report.settings
    arms = {"no edit": "no edit", "edited": "edited", **{a: f"edited, {a}" for a in settings["controls"]}}
    _show.line(report.title)
    _show.line(f"judged on {model}; sentences (%)")
    _show.line()
    rows = []
    for name, called in ROWS.items():
        found = [known.get(f"{arm}: {name}") for arm in arms.values()]
        if any(found):
            rows.append([called, *map(_percent, found), str(next(s.n for s in found if s is not None))])
    _show.table([("", TEXT), *((arm, NUMBER) for arm in arms), ("n", NUMBER)], rows)
    _show.line()
    _show.entries(_beside(known))
    _show.line(f"in brackets: {UNITS['interval']}; seed {settings['seed']}")
    for note in report.notes:
        _show.line(f"note: {note}")
    if "edited: NS" not in known:
        _show.line(f"note: {settings['data']} has no neighbours of this fact, so there is no NS, and no S")


def _beside(known: Mapping[str, Score]) -> Iterator[tuple[str, str]]:
    """What is no part of sentences: other facts, minimal pairs, ordinary text."""
    if (ratio := known.get("elsewhere: perplexity of the true answers, ratio")) is not None:
        yield "other relations", f"perplexity of the true answers times {_decimal(ratio)} ({ratio.n} facts)"
    if (change := known.get("syntax, change")) is not None:
        yield "minimal pairs", f"told apart: {100 * change.value:+.1f} points{_points(change)} ({change.n} pairs)"
    for name, grown in known.items():
        kind, _, what = name.partition(": ")
        if what == "ratio" and f"{kind} before" in known:
            before, after = (f"{known[f'{kind} {when}'].value:.1f}" for when in ("before", "after"))
            yield "ordinary text", f"{kind} {before} → {after}, times {_decimal(grown)} ({grown.n} texts)"


def _percent(score: Score | None) -> str:
    if score is None:
        return "–"
    around = "" if score.interval is None else " [{:.0f}, {:.0f}]".format(*(100 * x for x in score.interval))
    return f"{100 * score.value:.0f}{around}"


def _points(score: Score) -> str:
    return "" if score.interval is None else " [{:+.1f}, {:+.1f}]".format(*(100 * x for x in score.interval))


def _decimal(score: Score) -> str:
    around = "" if score.interval is None else " [{:.3f}, {:.3f}]".format(*score.interval)
    return f"{score.value:.3f}{around}"
