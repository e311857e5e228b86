"""`engram suggest-layer`: in which layer, and at which token, should facts be edited?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from . import _show
from ._editors import How
from ._options import Json, ModelOptions, spread
from ._run_editing import Cases
from ._show import NUMBER

if TYPE_CHECKING:
    from ..experiments import Suggestion
    from ..experiments.suggesting import Trying
    from ..models import Model

UNITS = {
    "effects": "[layer]: P(answer) with the FFN of one layer as in the clean run, minus corrupted; mean over facts",
    "sure": "part of bootstrap samples of the facts in which this layer and token come first",
    "tried": "[layer]: part of the facts that an edit there gives the new answer (ES)",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("suggest-layer")(spread(suggest_layer))


def suggest_layer(
    *,
    name: Annotated[str | None, Argument(metavar="[MODEL]", help="Hub id, folder or shipped model.")] = None,
    source: Cases,
    facts: Annotated[int, Option(min=1, help="So many facts that the model knows are traced.")] = 10,
    seed: Annotated[int, Option(min=0, help="Of the draw.")] = 0,
    trying: Annotated[
        str | None, Option("--try", help="Also edit these facts in every layer, by this editor: rome, memit, ft …")
    ] = None,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """In which layer, and at which token, should facts be edited?

    Traces some facts that the model knows, with the FFN of one layer restored at a time, and names the place of the
    largest mean effect, with how sure that is. Where tracing points need not be where edits succeed (Hase et al. 2023):
    --try edits the same facts in every layer, and says where that works.

    \b
    engram suggest-layer engram:causal
    engram suggest-layer gpt2 --data data/known_1000 --facts 20 --try r-rome
    """
    if trying is not None:
        How(by=trying).kind()
    known = source.cases(seed)
    model = options.load(name)
    from ..experiments import suggest_layer as suggested

    with _show.progress("tracing") as bar:
        by = None if trying is None else _trying(model, trying)
        found = suggested(model, known, n=facts, seed=seed, trying=by, progress=bar)
    _document(found, model, known.name) if as_json else _lines(found, model, known.name)


def _trying(model: Model, by: str) -> Trying:
    from ..experiments.planning import By, Planner

    def planner(layer: int, token: str) -> Planner:
        return By(How(by=by).at(model, [layer], token), called=by)

    return planner


def _document(found: Suggestion, model: Model, data: str) -> None:
    effects = {t: {"mean": b.mean.tolist(), "low": b.low.tolist(), "high": b.high.tolist()}
               for t, b in found.effects.items()}  # fmt: skip
    best = found.tried_best
    _show.document(
        "suggest-layer", model=_show.about(model), data=data, units=UNITS, layer=found.layer, token=found.token,
        sure=found.sure, effects=effects, facts=[str(f) for f in found.facts], left_out=list(found.left_out),
        tried={t: x.tolist() for t, x in found.tried.items()},
        tried_best=None if best is None else {"layer": best[0], "token": best[1]},
    )  # fmt: skip


def _lines(found: Suggestion, model: Model, data: str) -> None:
    names = {"subject": "subject's last token", "asked": "asked token"}
    _show.line(f"{len(found.facts)} facts of {data} that {model.name} knows; mean effect of restoring one FFN")
    _show.line()
    columns = [("layer", NUMBER), *((names[t], NUMBER) for t in found.effects)]
    columns += [(f"edits at {t}: ES (%)", NUMBER) for t in found.tried]
    rows = []
    for layer in range(len(model.layers)):
        row = [str(layer)]
        for b in found.effects.values():
            interval = b.interval(layer)
            around = "" if interval is None else " [{:.3f}, {:.3f}]".format(*interval)
            row.append(f"{b.mean[layer]:.3f}{around}")
        row += [f"{100 * x[layer]:.0f}" if math.isfinite(x[layer]) else "–" for x in found.tried.values()]
        rows.append(row)
    _show.table(columns, rows)
    _show.line()
    _show.entries([("suggested", str(found))])
    for why in found.left_out[:3]:
        _show.line(f"note: left out: {why}")
