"""`engram reproduce`: a whole paper as runs that survive, and its tables and figures beside the published ones."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    from ..models import Model
    from ..recipes import Recipe, Step
    from ..texts import Texts

RECIPES = ("dai2022", "wen2022", "niu2024")
TRACED = 10  # facts that the place of an edit is looked for with


@dataclass(frozen=True)
class Choice:
    """Like whom, and how many facts."""

    like: Annotated[
        str,
        Option(
            help="engram: held-out templates, the integral itself; paper; of dai2022 also hunter, the paper's code."
        ),
    ] = "engram"
    facts: Annotated[
        int | None,
        Option(
            min=1, help="At most so many facts of each relation, by --seed. [shipped: as many as end soon; else all]"
        ),
    ] = None
    known_only: Annotated[bool, Option("--known-only", help="Only facts that the model knows.")] = False
    seed: Annotated[int, Option(min=0, help="Of every draw.")] = 0
    texts: Annotated[
        str | None,
        Option(
            help="Texts about the facts, for dai2022's tables 3 and 4: name or folder. [shipped: shipped; else none]"
        ),
    ] = None

    pairs: Annotated[
        str | None, Option(help="Minimal pairs, for niu2024: a name or a folder, such as BLiMP's. [those shipped]")
    ] = None
    corpus: Annotated[
        str | None, Option(help="Text in which niu2024 counts what occurs together: shipped, or a file. [shipped]")
    ] = None

    covariance: Annotated[
        str | None,
        Option(help="Of ROME's keys in wen2022: none, asked (of other facts, where they are asked), shipped or a file "
                    "of lines. [asked, where ROME writes there; else shipped]"),
    ] = None  # fmt: skip

    def recipe(
        self, kind: type[Any], known: FactSet, relations: Sequence[str] | None, more: Mapping[str, Any]
    ) -> Recipe:
        """Its settings, as far as it has them. Raises BadSetting, UnknownName, BadData."""
        from .. import data

        has = {f.name for f in dataclasses.fields(kind)}
        for name in ("texts", "pairs", "corpus", "covariance"):
            if name not in has and getattr(self, name) is not None:
                raise BadSetting(f"--{name} is not for {kind.__name__}")
        given = {
            "like": self.like, "facts": kind.few if self.facts is None and known.name == "shipped" else self.facts,
            "known_only": self.known_only, "seed": self.seed, "relations": tuple(relations) if relations else None,
            "data": known, "texts": self._texts(known) if "texts" in has else None,
            "pairs": data.read(self.pairs) if self.pairs is not None else None, **more,
        }  # fmt: skip
        if self.corpus is not None:
            given["corpus"] = self.corpus
        made: Recipe = kind(**{name: value for name, value in given.items() if name in has})
        return made

    def keyed(self, chosen: Any, model: Model | None) -> tuple[Recipe, str | None]:
        """The recipe with the covariance that its ROME takes, and what that is called. Raises EngramError."""
        if model is None or getattr(chosen, "place", None) is None or not hasattr(chosen, "covariance"):
            return chosen, None
        from ._editors import Among, How

        layer, token = chosen.place
        called = self.covariance or ("asked" if token == "asked" else "shipped")
        rome: Any = How(by="rome", covariance=called).at(model, [layer], token, Among(*chosen.edited))
        return replace(chosen, covariance=rome.covariance), called

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
    recipe: Annotated[str, Argument(help=f"Which paper: {', '.join(RECIPES)}.")],
    source: Source,
    choice: Choice,
    places: Places,
    options: ModelOptions,
) -> None:
    """All experiments of a paper, and a page with every table and figure beside the published one.

    Each experiment is a run in a folder of its name. Stop it or kill it, and call it again: it goes on where it was.
    With the shipped model and facts it takes some minutes, and needs no network.

    dai2022 is "Knowledge Neurons in Pretrained Transformers"; wen2022 is Wen & Bai, "A Study on Localization of
    Knowledge in Language Models"; niu2024 is Niu et al., "What does the Knowledge Neuron Thesis Have to do with
    Knowledge?".

    \b
    engram reproduce dai2022 --out runs/dai
    engram reproduce wen2022 --model engram:causal --out runs/wen
    engram reproduce dai2022 --model bert-base-cased --data pararel --texts bingrel --like paper --out runs/paper
    """
    kind = _kind(recipe)
    if (out := places.out) is None:
        raise BadSetting("the runs go to a folder: name it with --out")
    begin = time.monotonic()
    options = replace(options, model=options.model or getattr(kind, "model", "engram:masked"))
    known = source.read()
    model: Any = None
    more: dict[str, Any] = {}
    if "place" in {f.name for f in dataclasses.fields(kind)}:
        model = options.load()
        more = {"causal": model.blank_last, **_place(out, model, known)}
    chosen, keys = choice.keyed(choice.recipe(kind, known, source.relations(known), more), model)
    steps = list(chosen.steps(out))
    said = _said(recipe, chosen, known, options, steps)
    if keys is not None:
        said["settings"]["covariance"] = keys
    _noted(out, said)
    from ..report.beside import report_recipe

    if places.on != "serial":
        model = options.load
    whole = _all(steps, known, places, model or options.load(), out)
    page = report_recipe(out)
    _show.line(f"The report: {page} ({clock(time.monotonic() - begin)})")
    if not whole:
        raise typer.Exit(1)


def _kind(name: str) -> type[Any]:
    """The recipe of this name. Raises UnknownName."""
    if name not in RECIPES:
        raise UnknownName("paper to reproduce", name, RECIPES)
    from .. import recipes

    return {"dai2022": recipes.Dai2022, "wen2022": recipes.Wen2022, "niu2024": recipes.Niu2024}[name]


def _place(out: Path, model: Model, known: FactSet) -> dict[str, Any]:
    """Where edits go: as an earlier call noted, or where traces of some facts say."""
    from ..experiments import suggest_layer
    from ..report.beside import RECIPE

    if (out / RECIPE).is_file():
        there = _settings(out / RECIPE)
        place = there.get("place")
        return {"place": tuple(place) if place else None, "layers": there.get("layers")}
    layers = len(model.layers)
    try:
        with _show.progress("tracing") as bar:
            found = suggest_layer(model, known, n=TRACED, progress=bar)
    except BadSetting as error:
        _show.line(f"note: {error}")
        return {"place": None, "layers": layers}
    return {"place": (found.layer, found.token), "layers": layers}


def _all(steps: list[Step], known: FactSet, places: Places, model: Any, out: Path) -> bool:
    """Every run that is not done, in order; False where one could not be finished, and with it those behind it."""
    for i, step in enumerate(steps, 1):
        begin = time.monotonic()
        data = known if step.data is None else step.data
        done = places.run(step.experiment, data, model, out / step.name, f"{i}/{len(steps)} {step.name}")
        _show.line(f"{i} of {len(steps)}  {step.name:<20}  {step.finds} ({clock(time.monotonic() - begin)})")
        if not done.complete:
            _show.line(f"note: {done.path} is not complete: {len(done.quarantined)} shards were given up; see --retry")
            return False
    return True


def _said(recipe: str, chosen: Recipe, known: FactSet, options: ModelOptions, steps: list[Step]) -> dict[str, Any]:
    """What the folder is made by, in plain values."""
    own = {f.name: getattr(chosen, f.name) for f in dataclasses.fields(chosen) if f.name != "covariance"}  # type: ignore[arg-type]
    own |= {name: own[name] and own[name].name for name in ("data", "texts", "pairs") if name in own}
    relations = list(own.get("relations") or (r.id for r in known.relations))
    settings = {**own, "relations": relations, "model": options.model, "data": known.name}
    listed = [{"name": step.name, "finds": step.finds} for step in steps]
    plain = json.loads(json.dumps(settings, default=str))
    return {"recipe": recipe, "settings": plain, "steps": listed, "left_out": list(chosen.left_out)}


def _settings(path: Path) -> dict[str, Any]:
    """What the folder was made by. Raises BadData."""
    try:
        there: dict[str, Any] = dict(json.loads(path.read_bytes())["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(path, None, f"cannot be read ({error})") from None
    return there


def _noted(out: Path, said: dict[str, Any]) -> None:
    """Write down what the folder is made by, before anything is. Raises OtherRun, BadSetting, BadData."""
    from .. import files
    from ..report.beside import RECIPE

    path = out / RECIPE
    if path.is_file():
        there = _settings(path)
        differ = [k for k, v in said["settings"].items() if there.get(k) != v]
        if differ:
            words = ", ".join(f"{k} was {there.get(k)!r} and would be {said['settings'][k]!r}" for k in differ[:3])
            raise OtherRun(f"{out} reproduces something else: {words}")
        return
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise BadSetting(f"{out} holds something else than an earlier reproduction; name a new folder")
    files.folder_at(out)
    files.write(path, (json.dumps(said, ensure_ascii=False, indent=1) + "\n").encode())
