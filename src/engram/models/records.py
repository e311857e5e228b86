"""What `edit.json` says: an edit as plain JSON, and back, the same to the last bit."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from ..edits import Edit, LowRank, Network, Patch, Place, Slot, Wishes
from ..errors import BadSetting
from ..facts import Fact, Relation, Rewrite
from ..neurons import Neuron
from ..results import Floats

Factors = Mapping[str, tuple[Floats, Floats]]  # by the path of the map: keys [rank, neuron], values [rank, hidden]


def as_json(edit: Edit) -> dict[str, Any]:
    """All of the edit but the keys and values of its changes of low rank. Raises BadSetting."""
    return {
        "method": edit.method, "wish": _wish(edit.wish), "model": edit.model,
        "settings": {name: _setting(value, name) for name, value in edit.settings.items()},
        "network": asdict(edit.network) if edit.network else None, "patches": [_patch(p) for p in edit.patches],
    }  # fmt: skip


def from_json(said: Mapping[str, Any], factors: Factors) -> Edit:
    """The edit again, with the keys and values of its changes of low rank from `factors`.

    Raises KeyError, TypeError, ValueError where this is no edit, or not one of these factors.
    """
    network = _network(said["network"])
    paths, used, patches = {p.layer: p.path for p in network.places}, dict.fromkeys(factors, 0), []
    for one in said["patches"]:
        path = paths[one["layer"]]
        keys, values = (x[used[path] :] for x in factors[path])
        patches.append(_unpatched(one, keys, values))
        used[path] += 1 if "neuron" in one else one["rank"]
    if used != {path: len(keys) for path, (keys, _) in factors.items()}:
        raise ValueError("the ranks are not those of the patches")
    settings = {name: _unset(value) for name, value in said["settings"].items()}
    return Edit(said["method"], _unwished(said["wish"]), tuple(patches), said["model"], settings, network)


def _patch(p: Patch) -> dict[str, Any]:
    if isinstance(p, LowRank):
        return {"layer": p.layer, "rank": p.rank, "dtype": p.dtype, "before": p.before}
    kept = {"numbers": p.before.dtype.name, "before": _written(p.before), "after": _written(p.after)}
    return {"layer": p.layer, "neuron": p.index, "dtype": p.dtype, **kept}


def _unpatched(one: Mapping[str, Any], keys: Floats, values: Floats) -> Patch:
    if "neuron" not in one:
        return LowRank(one["layer"], keys[: one["rank"]], values[: one["rank"]], one["before"], one["dtype"])
    before, after = (_read(one[name], one["numbers"]) for name in ("before", "after"))
    return Slot(Neuron(one["layer"], one["neuron"]), before, after, one["dtype"])


def _written(x: Floats) -> str:
    return base64.b64encode(x.astype(x.dtype.newbyteorder("<")).tobytes()).decode()


def _read(text: str, numbers: str) -> Floats:
    kind = np.dtype(numbers)
    return np.frombuffer(base64.b64decode(text, validate=True), kind.newbyteorder("<")).astype(kind)


def _wish(wish: Wishes) -> dict[str, Any]:
    if isinstance(wish, tuple):
        return {"rewrites": [asdict(one) for one in wish]}  # a relation among them has an id, and no fact
    return {"relation" if isinstance(wish, Relation) else "rewrite": asdict(wish)}


def _unwished(said: Mapping[str, Any]) -> Wishes:
    if "rewrites" in said:
        return tuple(map(_wished, said["rewrites"]))
    return _wished(said["relation"] if "relation" in said else said["rewrite"])


def _wished(one: Mapping[str, Any]) -> Rewrite | Relation:
    if "fact" in one:
        return Rewrite(Fact(**one["fact"]), one["answer"])
    return Relation(**{**one, "templates": tuple(one["templates"])})


def _network(said: Mapping[str, Any]) -> Network:
    places = tuple(Place(**{**p, "tied": tuple(p["tied"])}) for p in said["places"])
    return Network(**{**said, "places": places})


def _setting(value: object, name: str) -> Any:
    """JSON knows no tuples: they are written as {"tuple": […]}."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, tuple):
        return {"tuple": [_setting(x, name) for x in value]}
    if isinstance(value, list):
        return [_setting(x, name) for x in value]
    if isinstance(value, Mapping) and all(isinstance(k, str) for k in value) and "tuple" not in value:
        return {k: _setting(x, f"{name}.{k}") for k, x in value.items()}
    raise BadSetting(
        f"the setting {name} of this edit is a {type(value).__name__}, and what is kept with an edit are texts, "
        "numbers, and lists and mappings of them"
    )


def _unset(value: Any) -> Any:
    if isinstance(value, list):
        return [_unset(x) for x in value]
    if isinstance(value, dict):
        return tuple(map(_unset, value["tuple"])) if "tuple" in value else {k: _unset(x) for k, x in value.items()}
    return value
