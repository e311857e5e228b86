"""`engram reproduce`: a whole paper as runs that survive, and its tables and figures beside the published ones."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from ..errors import BadData, BadSetting, OtherRun, UnknownName
from . import _show
from ._drawn import Source
from ._options import ModelOptions, spread
from ._running import Places, clock

if TYPE_CHECKING:
    from ..facts import FactSet
    from ..recipes import Dai2022, Step
    from ..texts import Texts

RECIPES = ("dai2022",)
FEW = 5  # facts of each relation, of the shipped ones: ends within ten minutes on two cores


@dataclass(frozen=True)
class Choice:
    """Like whom, and how many facts."""

    like: Annotated[
        str, Option(help="engram: held-out templates, the integral itself; paper; hunter (the paper's code).")
    ] = "engram"
    facts: Annotated[
        int | None, Option(min=1, help=f"At most so many facts of each relation, by --seed. [shipped: {FEW}; else all]")
    ] = None
    known_only: Annotated[bool, Option("--known-only", help="Only facts that the model knows.")] = False
    seed: Annotated[int, Option(min=0, help="Of every draw.")] = 0
    texts: Annotated[
        str | None,
        Option(help="Texts about the facts, for tables 3 and 4: name or folder. [shipped: shipped; else none]"),
    ] = None

    def recipe(self, known: FactSet, relations: Sequence[str] | None) -> Dai2022:
        """Its settings. Raises BadSetting, UnknownName, BadData."""
        from ..recipes import Dai2022

        like: Any = self.like
        few = FEW if self.facts is None and known.name == "shipped" else self.facts
        return Dai2022(
            like, few, self.known_only, self.seed, self._texts(known), tuple(relations) if relations else None
        )

    def _texts(self, known: FactSet) -> Texts | None:
        from .. import data

        if self.texts is None and known.name != "shipped":
            return None
        return data.texts(self.texts or "shipped", known)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reproduce")(spread(reproduce))


def reproduce(
    *,
    recipe: Annotated[str, Argument(help="Which paper: dai2022.")],
    source: Source,
    choice: Choice,
    places: Places,
    options: ModelOptions,
) -> None:
    """All experiments of a paper, and a page with every table and figure beside the published one.

    Each experiment is a run in a folder of its name. Stop it or kill it, and call it again: it goes on where it was.
    With the shipped model and facts it takes some minutes, and needs no network.

    \b
    engram reproduce dai2022 --out runs/dai
    engram reproduce dai2022 --model bert-base-cased --data pararel --texts bingrel --like paper --out runs/paper
    """
    if recipe not in RECIPES:
        raise UnknownName("paper to reproduce", recipe, RECIPES)
    if (out := places.out) is None:
        raise BadSetting("the runs go to a folder: name it with --out")
    begin = time.monotonic()
    known = source.read()
    chosen = choice.recipe(known, source.relations(known))
    steps = list(chosen.steps(out))
    _noted(out, _said(recipe, chosen, known, options, steps))
    from ..report.beside import report_recipe

    whole = _all(steps, known, places, options, out)
    page = report_recipe(out)
    _show.line(f"The report: {page} ({clock(time.monotonic() - begin)})")
    if not whole:
        raise typer.Exit(1)


def _all(steps: list[Step], known: FactSet, places: Places, options: ModelOptions, out: Path) -> bool:
    """Every run that is not done, in order; False where one could not be finished, and with it those behind it."""
    model: Any = options.load() if places.on == "serial" else options.load
    for i, step in enumerate(steps, 1):
        begin = time.monotonic()
        done = places.run(step.experiment, known, model, out / step.name, f"{i}/{len(steps)} {step.name}")
        _show.line(f"{i} of {len(steps)}  {step.name:<20}  {step.finds} ({clock(time.monotonic() - begin)})")
        if not done.complete:
            _show.line(f"note: {done.path} is not complete: {len(done.quarantined)} shards were given up; see --retry")
            return False
    return True


def _said(recipe: str, chosen: Dai2022, known: FactSet, options: ModelOptions, steps: list[Step]) -> dict[str, Any]:
    """What the folder is made by, in plain values."""
    texts = chosen.texts
    settings = {
        "like": chosen.like, "facts": chosen.facts, "known_only": chosen.known_only, "seed": chosen.seed,
        "model": options.model or "engram:masked", "data": known.name, "texts": texts.name if texts else None,
        "relations": list(chosen.relations or (r.id for r in known.relations)),
    }  # fmt: skip
    missing = ["Tables 3 and 4 are left out: there are no texts about these facts, --texts names some."]
    listed = [{"name": step.name, "finds": step.finds} for step in steps]
    return {"recipe": recipe, "settings": settings, "steps": listed, "left_out": [] if texts else missing}


def _noted(out: Path, said: dict[str, Any]) -> None:
    """Write down what the folder is made by, before anything is. Raises OtherRun, BadSetting, BadData."""
    from .. import files
    from ..report.beside import RECIPE

    path = out / RECIPE
    if path.is_file():
        try:
            there = json.loads(path.read_bytes())["settings"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadData(path, None, f"cannot be read ({error})") from None
        differ = [k for k, v in said["settings"].items() if there.get(k) != v]
        if differ:
            words = ", ".join(f"{k} was {there.get(k)!r} and would be {said['settings'][k]!r}" for k in differ[:3])
            raise OtherRun(f"{out} reproduces something else: {words}")
        return
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise BadSetting(f"{out} holds something else than an earlier reproduction; name a new folder")
    files.folder_at(out)
    files.write(path, (json.dumps(said, ensure_ascii=False, indent=1) + "\n").encode())
