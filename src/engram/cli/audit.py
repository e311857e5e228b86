"""`engram audit`: the sceptic's battery, in one command and on one page."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from ..errors import BadData, BadSetting, OtherRun
from . import _show
from ._drawn import Source
from ._editors import How
from ._options import Json, ModelOptions, spread
from ._running import Places, clock

if TYPE_CHECKING:
    from ..cases import CaseSet
    from ..experiments.planning import Planner
    from ..facts import FactSet
    from ..models import Model
    from ..recipes import Audit, Step
    from ..report.statements import Statement

EDITORS = ("r-rome", "surgery")
TRACED = 10  # facts that the place of an edit is looked for with


@dataclass(frozen=True)
class Much:
    """How much is asked."""

    facts: Annotated[int, Option(min=1, help="Facts of each relation whose neurons are found and silenced.")] = 5
    compared: Annotated[int, Option(min=1, help="Facts of each relation by which methods are compared.")] = 1
    edited: Annotated[int, Option(min=1, help="Cases of each relation that are edited.")] = 1
    follow: Annotated[
        int, Option(min=1, help="Cases of each relation that can be turned round, or said in another word.")
    ] = 5
    turns: Annotated[int, Option(min=1, help="Cases that are edited one after the other, of all relations.")] = 20
    asked: Annotated[int, Option(min=2, help="Minimal pairs of each paradigm.")] = 60
    sets: Annotated[
        int,
        Option(min=2, help="Facts of each relation, and sets of sentences of each paradigm: how localised are they?"),
    ] = 4
    known_only: Annotated[bool, Option("--known-only/--all", help="Only facts that the model knows.")] = True
    seed: Annotated[int, Option(min=0, help="Of every draw.")] = 0
    pairs: Annotated[str, Option(help="Minimal pairs: pairs (those that come with engram), a folder, or none.")] = (
        "pairs"
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("audit")(spread(audit))


def audit(
    *,
    name: Annotated[str | None, Argument(metavar="[MODEL]", help="Hub id, folder or shipped model.")] = None,
    source: Source,
    much: Much,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """What can be believed of a model's neurons, traces and edits? The sceptic's battery, on one page.

    Do neurons found on some templates matter in the others, more than chance, and for their own fact alone? Do methods
    agree? Do edits reach paraphrases, spare neighbours, follow through, and what do many of them cost? Is syntax as
    local as facts? Each answer is a statement with its number, interval, test and verdict. There is no overall score.

    Each part is a run in a folder of --out. Stop it or kill it, and call it again: it goes on where it was. With the
    shipped models and facts it takes some minutes.

    \b
    engram audit engram:causal --out runs/audit
    engram audit gpt2 --data data/pararel --pairs data/blimp --facts 3 --out runs/gpt2
    """
    begin = time.monotonic()
    options = options if name is None else replace(options, model=_one(name, options.model))
    with tempfile.TemporaryDirectory() as aside:
        out = places.out or Path(aside) / "audit"
        known = source.read()
        relations = source.relations(known)
        minimal = _pairs(much.pairs)
        settings = _settings(much, options, known, minimal, relations)
        there = _there(out, settings)
        model = options.load()
        cases = _cases(known, model, much.seed)
        place = there["place"] if there else _place(model, cases, much.seed)
        chosen = _recipe(much, known, cases, minimal, relations, _planners(model, place))
        steps = list(chosen.steps(out))
        if not there:
            _noted(out, settings, place, steps)
        whole = _all(steps, known, places, options, model, out, quiet=as_json)
        _told(out, begin, as_json=as_json, kept=places.out is not None)
        if not whole:
            raise typer.Exit(1)


def _one(name: str, other: str | None) -> str:
    if other is not None:
        raise BadSetting(f"two models were named, {name!r} and --model {other!r}; name one")
    return name


def _pairs(named: str) -> FactSet | None:
    """Minimal pairs. Raises BadSetting, UnknownName, BadData."""
    from .. import data

    if named == "none":
        return None
    found = data.read(named)
    if not found.own:
        raise BadSetting(f"--pairs {named}: minimal pairs are BLiMP's or engram's own, and {found.name} has none")
    return found


def _cases(known: FactSet, model: Model, seed: int) -> CaseSet:
    """What edits are judged by: the data's own cases, or made of its facts."""
    from .. import data
    from ..cases import CaseSet

    return known if isinstance(known, CaseSet) else data.counterfact_from(
        known, seed=seed, masked=not model.blank_last
    )  # fmt: skip


def _place(model: Model, cases: CaseSet, seed: int) -> dict[str, Any]:
    """Where traces say that facts should be edited, and how sure they are."""
    from ..experiments import suggest_layer

    with _show.progress("tracing") as bar:
        found = suggest_layer(model, cases, n=TRACED, seed=seed, progress=bar)
    return {"layer": found.layer, "token": found.token, "sure": found.sure, "facts": len(found.facts)}


def _planners(model: Model, place: Mapping[str, Any]) -> tuple[Planner, ...]:
    from ..experiments.planning import By, ByNeurons

    rome = How(by=EDITORS[0]).at(model, [place["layer"]], place["token"])
    return (By(rome, called=EDITORS[0]), ByNeurons())


def _recipe(
    much: Much, known: FactSet, cases: CaseSet, minimal: FactSet | None, relations: Any, by: tuple[Planner, ...]
) -> Audit:
    from .. import data
    from ..recipes import Audit

    both = None if minimal is None else data.together(known, data.sentence_sets(minimal, seed=much.seed))
    return Audit(
        facts=much.facts, compared=much.compared, edited=much.edited, follow=much.follow, turns=much.turns,
        known_only=much.known_only, seed=much.seed, by=by, cases=cases, pairs=minimal, asked=much.asked,
        both=both, sets=much.sets, relations=tuple(relations) if relations else None,
    )  # fmt: skip


def _settings(
    much: Much, options: ModelOptions, known: FactSet, minimal: FactSet | None, relations: Any
) -> dict[str, Any]:
    """What decides the numbers, in plain values."""
    return {
        "model": options.model or "engram:masked", "revision": options.revision, "data": known.name,
        "relations": list(relations or (r.id for r in known.relations)), "facts": much.facts,
        "compared": much.compared, "edited": much.edited, "follow": much.follow, "turns": much.turns,
        "asked": much.asked, "sets": much.sets, "known_only": much.known_only, "seed": much.seed,
        "pairs": minimal.name if minimal else None,
    }  # fmt: skip


def _there(out: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an audit that was begun in this folder says of itself. Raises OtherRun, BadSetting, BadData."""
    from ..report.audit import AUDIT

    path = out / AUDIT
    if not path.is_file():
        if out.is_file() or (out.is_dir() and any(out.iterdir())):
            raise BadSetting(f"{out} holds something else than an earlier audit; name a new folder")
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        there = found["settings"]
        differ = [k for k, v in settings.items() if there.get(k) != v]
        _ = found["place"], found["steps"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadData(path, None, f"cannot be read ({error})") from None
    if differ:
        words = ", ".join(f"{k} was {there.get(k)!r} and would be {settings[k]!r}" for k in differ[:3])
        raise OtherRun(f"{out} audits something else: {words}")
    return found


def _noted(out: Path, settings: Mapping[str, Any], place: Mapping[str, Any], steps: list[Step]) -> None:
    """Write down what the folder is made by, before anything is."""
    from .. import files
    from ..report.audit import AUDIT

    said = {"settings": settings, "place": place, "steps": [{"name": s.name, "finds": s.finds} for s in steps]}
    files.folder_at(out)
    files.write(out / AUDIT, (json.dumps(said, ensure_ascii=False, indent=1) + "\n").encode())


def _all(
    steps: list[Step], known: FactSet, places: Places, options: ModelOptions, model: Model, out: Path, *, quiet: bool
) -> bool:
    """Every run that is not done, in order; False where one could not be finished, and with it those behind it."""
    source: Any = model if places.on == "serial" else options.load
    for i, step in enumerate(steps, 1):
        begin = time.monotonic()
        data = known if step.data is None else step.data
        done = places.run(step.experiment, data, source, out / step.name, f"{i}/{len(steps)} {step.name}")
        if not quiet:
            _show.line(f"{i} of {len(steps)}  {step.name:<14}  {step.finds} ({clock(time.monotonic() - begin)})")
        if not done.complete:
            _show.line(f"note: {done.path} is not complete: {len(done.quarantined)} shards were given up; see --retry")
            return False
    return True


def _told(out: Path, begin: float, *, as_json: bool, kept: bool) -> None:
    from ..report.audit import report_audit, statements_of

    told = statements_of(out)
    page = report_audit(out) if kept else None
    if as_json:
        _show.document("audit", out=str(out) if kept else None, statements=[s.plain() for s in told])
        return
    _show.line()
    about = ""
    for s in told:
        if s.about != about:
            about = s.about
            _show.line(about)
        _show.line(f"  {s.verdict:<9}  {s.says}: {s.number}")
        _show.line(f"  {'':<9}  {_small(s)}")
    _show.line()
    took = clock(time.monotonic() - begin)
    _show.line(f"The report: {page} ({took})" if page else f"Nothing was kept: name a folder with --out ({took})")


def _small(s: Statement) -> str:
    return "; ".join(filter(None, [f"held if {s.wanted}" if s.wanted else "", s.beside, s.test, f"n = {s.counted}"]))
