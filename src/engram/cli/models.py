"""`engram models`: which models are there, and what is this one?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument

from . import _show
from ._options import Json, ModelOptions, spread
from ._show import NUMBER, TEXT, WORD

if TYPE_CHECKING:
    from ..models import Model
    from ..models.family import Family

HEADLINES = {  # where a figure stands in a shipped model's figures.json, and what it says
    "test accuracy": ("recall", "facts answered rightly, in templates never trained on"),
    "suppressed": ("neurons", "change of P when a fact's neurons are silent"),
    "amplified": ("neurons", "change of P when they are doubled"),
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("models")(spread(models))


def models(
    *,
    name: Annotated[str | None, Argument(metavar="[MODEL]", help="Hub id, folder or engram:causal.")] = None,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Which models are there, and what is this one?

    \b
    engram models
    engram models gpt2
    """
    if name is not None or options.model is not None:
        model = options.load(name)
        one = _show.about(model) | {
            "masks": model.masks,
            "asked_by": _family(model.family)["asked_by"],
            "parameters": sum(p.numel() for p in model.net.parameters()),
            "vocabulary": len(model.tokenizer),
            "places": [layer.path for layer in model.layers],
        }
        _show.document("models", model=one) if as_json else _one(one)
        return
    from ..models.family import families

    shipped = _shipped(options)
    table = [_family(f) for f in dict.fromkeys(families().values())]
    _show.document("models", shipped=shipped, families=table) if as_json else _all(shipped, table)


def _shipped(options: ModelOptions) -> list[dict[str, Any]]:
    from ..models import loading

    home = Path(loading.__file__).parent / "shipped"
    found = [(name, home / folder) for name, folder in loading.SHIPPED.items() if (home / folder).is_dir()]
    return [_measured(options.load(name), folder) for name, folder in found]


def _measured(model: Model, folder: Path) -> dict[str, Any]:
    """A shipped model, its size in bytes, and what its card says of it."""
    card = folder / "figures.json"
    figures = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
    headlines = {name: figures.get(part, {}).get(name) for name, (part, _) in HEADLINES.items()}
    return _show.about(model) | {
        "bytes": sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
        "figures": {
            name: {key: figure.get(key) for key in ("value", "interval", "n")}
            for name, figure in headlines.items()
            if figure
        },
    }


def _family(family: Family) -> dict[str, Any]:
    from ..models.family import ASKS

    return {
        "family": family.name,
        "model_types": family.model_types,
        "asked_by": family.asks,
        "asking": ASKS[family.asks],
        "places": [
            ".".join(filter(None, (s.blocks, "*", s.per_block, s.per_block and "*", s.ffn_down))) for s in family.stacks
        ],
        "note": family.note,
    }


def _one(model: dict[str, Any]) -> None:
    first, *_, last = places = model.pop("places")
    wide = sorted(set(model["neurons"]))
    model |= {
        "neurons": f"{', '.join(map(str, wide))} in a layer, {sum(model['neurons'])} in all",
        "parameters": f"{model['parameters']:,}",
        "neurons go into": first if len(places) == 1 else f"{first} to {last}",
    }
    _show.entries((key.replace("_", " "), str(value)) for key, value in model.items())


def _all(shipped: list[dict[str, Any]], families: list[dict[str, Any]]) -> None:
    _show.line("Shipped with engram" if shipped else "No model is shipped with this copy of engram.")
    _show.line()
    if shipped:
        columns = [("model", WORD), ("family", WORD), ("layers × neurons", WORD), ("MB", NUMBER)]
        _show.table(columns, [_row(m) for m in shipped])
        _show.line()
        columns = [("model", WORD), ("figure", WORD), ("value", NUMBER), ("95 % interval", NUMBER), ("prompts", NUMBER)]
        _show.table(columns, [row for m in shipped for row in _figures(m)])
        _show.line()
        _show.entries((name, what) for name, (_, what) in HEADLINES.items())
        _show.line()
    _show.line("Architectures, and the modules whose inputs are their neurons")
    _show.line()
    columns = [("model_type", WORD), ("asked by", WORD), ("neurons go into", TEXT)]
    rows = [(", ".join(f["model_types"]), f["asked_by"], ", ".join(f["places"])) for f in families]
    _show.table(columns, rows)
    _show.line()
    _show.entries({f["asked_by"]: f["asking"] for f in families}.items())


def _row(model: dict[str, Any]) -> tuple[object, ...]:
    wide = "/".join(map(str, sorted(set(model["neurons"]))))
    return model["name"], model["family"], f"{model['layers']} × {wide}", f"{model['bytes'] / 1e6:.1f}"


def _figures(model: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    """What the card says, each with its interval and n."""
    for name, f in model["figures"].items():
        low, high = f["interval"]
        yield model["name"], name, f"{f['value']:.1%}", f"{low:.1%} to {high:.1%}", f"{f['n']:,}"
