"""An edit held: value slots of the weights become others for the length of a block.

What is put back afterwards are copies of what was there, so a model that was edited and is so no longer is the same
to the last bit. Layers that share their weights share their slots: an edit of one is an edit of all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..edits import Edit, LowRank, Network, Patch, Place, Slot, Wishes, said
from ..errors import BadSetting, EditConflict, OtherWeights, UnsupportedModel
from ..neurons import Neuron, NeuronSet
from ..results import Floats
from .conditions import holding
from .hooks import Layer
from .model import Model, value_slots

_PLAIN: dict[torch.dtype, torch.dtype] = {  # what numpy holds a weight's numbers in, each of them exactly
    torch.bfloat16: torch.float32, torch.float16: torch.float16, torch.float32: torch.float32,
    torch.float64: torch.float64,
}  # fmt: skip
_HALF = ("bfloat16", "float16")
_HELD: WeakKeyDictionary[nn.Module, list[Edit]] = WeakKeyDictionary()  # now, in their order: what a conflict is with
_DIFFERS = "not bit for bit what it was made from (other weights, another edit held, or the same edit twice)"


def slot_of(model: Model, neuron: Neuron) -> Tensor:
    """The neuron's value slot, [hidden]: a view, writing to it writes to the model. Raises UnsupportedModel.

    >>> import engram as eg
    >>> slot_of(eg.load(), eg.Neuron(3, 187)).shape
    torch.Size([128])
    """
    layer = model.layers[neuron.layer]
    slot = value_slots(layer.down)[neuron.index]
    if slot.is_meta or slot.dtype not in _PLAIN:
        why = "is not in memory (offloaded?)" if slot.is_meta else f"is kept as {slot.dtype}, not as plain numbers"
        raise UnsupportedModel(f"the weight of {layer.path} {why}, so it cannot be edited")
    return slot


def plain(x: Tensor) -> Floats:
    """A copy of these numbers for numpy, each of them exact."""
    kept: Floats = x.detach().to("cpu", _PLAIN[x.dtype]).numpy().copy()
    return kept


def patch(model: Model, neuron: Neuron, after: Tensor) -> Slot:
    """The slot as it is, and as it would be: `after` [hidden], rounded to what the model keeps its weights in."""
    slot = slot_of(model, neuron)
    dtype = str(slot.dtype).removeprefix("torch.")
    return Slot(neuron, plain(slot), plain(after.to(slot.dtype)), dtype)


def planned(
    method: str, wish: Wishes, patches: Iterable[Patch], model: Model, settings: Mapping[str, Any] | None = None
) -> Edit:
    """The edit of these patches, which knows the network that they are for. Raises BadSetting for a layer not there.

    Where the model keeps its weights in a half type, `settings["rounding"]` says of each layer that is changed as a
    whole which part of the change rounding loses, ‖stored − planned‖ / ‖planned change‖: the change of a single number
    may be less than a step of its type.
    """
    kept = tuple(patches)
    lost = {str(p.layer): part for p in kept if (part := _rounding(model, p)) is not None}
    own = {**(settings or {}), **({"rounding": lost} if lost else {})}
    return Edit(method, wish, kept, model.name, own, _network(model, {p.layer for p in kept}))


def distinct(model: Model, neurons: NeuronSet) -> list[Neuron]:
    """One neuron for each value slot, the first: where layers share their weights, several name the same one."""
    first: dict[tuple[nn.Module, int], Neuron] = {}
    for n in neurons:
        first.setdefault((model.layers[n.layer].down, n.index), n)
    return list(first.values())


@holding.register(Edit)
@contextmanager
def _hold(edit: Edit, model: Model) -> Iterator[None]:
    copies = write(edit, model)
    _HELD[model.net] = [*_HELD.get(model.net, ()), edit]
    try:
        yield
    finally:
        _HELD[model.net] = [e for e in _HELD[model.net] if e is not edit]
        for slots, before in reversed(copies):
            slots.copy_(before)


def write(edit: Edit, model: Model) -> list[tuple[Tensor, Tensor]]:
    """Change the weights: all of the edit, or nothing. Says what was written to, and gives a copy of what was there.

    Raises OtherWeights where a slot is not bit for bit what the edit was made from, and EditConflict where that is
    because of another edit that is held.
    """
    model.check(edit.neurons)
    copies: list[tuple[Tensor, Tensor]] = []
    try:
        for p in edit.patches:
            slots = written_to(model, p)
            check_before(edit, p, slots, model)
            copies.append((slots, slots.clone()))
            slots.copy_(changed(slots, p) if isinstance(p, LowRank) else _tensor(p.after, slots))
    except BaseException:
        for slots, before in reversed(copies):
            slots.copy_(before)
        raise
    return copies


def written_to(model: Model, p: Patch) -> Tensor:
    """What a patch changes: a neuron's slot [hidden], or all of a layer's [neuron, hidden]; a view."""
    return slots_of(model, p.layer) if isinstance(p, LowRank) else slot_of(model, p.neuron)


def changed(slots: Tensor, patch: LowRank) -> Tensor:
    """The value slots [neuron, hidden] with the change in them, in the type they are kept in."""
    wide = torch.promote_types(slots.dtype, torch.float32)
    keys, values = (torch.tensor(x).to(slots.device, wide) for x in (patch.keys, patch.values))
    return (slots.to(wide) + keys.T @ values).to(slots.dtype)


def _rounding(model: Model, p: Patch) -> float | None:
    """Which part of a change of low rank is lost when it is stored; None in wide types, and of other weights."""
    if not isinstance(p, LowRank) or p.dtype not in _HALF or fingerprint(slots := slots_of(model, p.layer)) != p.before:
        return None
    keys, values = (torch.tensor(x, dtype=torch.float64) for x in (p.keys, p.values))
    whole = keys.T @ values
    lost = changed(slots, p).double().cpu() - (slots.double().cpu() + whole)
    return float(lost.norm() / whole.norm()) if whole.any() else 0.0


def slots_of(model: Model, layer: int) -> Tensor:
    """All value slots of a layer, [neuron, hidden]: a view, writing to it writes to the model.

    Raises BadSetting for a layer that is not there, UnsupportedModel.
    """
    if not 0 <= layer < len(model.layers):
        raise BadSetting(f"{model.name} has no layer {layer}: it has layers 0 to {len(model.layers) - 1}")
    slot_of(model, Neuron(layer, 0))
    return value_slots(model.layers[layer].down)


def fingerprint(slots: Tensor) -> str:
    """The SHA-256 of these numbers, row after row, bit for bit."""
    return hashlib.sha256(_bits(slots.detach().cpu()).numpy().tobytes()).hexdigest()


def low_rank(model: Model, layer: int, keys: Tensor, values: Tensor) -> LowRank:
    """A change of low rank of the layer's value slots as they are now."""
    slots = slots_of(model, layer)
    dtype = str(slots.dtype).removeprefix("torch.")
    return LowRank(layer, plain(keys.float()), plain(values.float()), fingerprint(slots), dtype)


def _network(model: Model, layers: Iterable[int]) -> Network:
    net, kind = model.net, type(model.net)
    revision = getattr(net.config, "_commit_hash", None)
    places = tuple(_place(model, i) for i in sorted(layers))
    return Network(
        kind.__name__, kind.__module__, getattr(net, "name_or_path", None) or None, revision, model.family.asks, places
    )


def _place(model: Model, layer: int) -> Place:
    (neurons, hidden), (path, down) = slots_of(model, layer).shape, _map(model.layers[layer])
    tied = {p for p, x in map(_map, model.layers) if x is not down and x.weight is down.weight}
    kind = "Linear" if isinstance(down, nn.Linear) else type(down).__name__
    return Place(layer, path, kind, neurons, hidden, tuple(sorted(tied)))


def _map(layer: Layer) -> tuple[str, nn.Module]:
    """The map of a layer and its path, under a PEFT adapter too."""
    return layer.path, getattr(layer.down, "base_layer", layer.down)


def check_before(edit: Edit, p: Patch, now: Tensor, model: Model) -> None:
    """Raises OtherWeights, EditConflict."""
    dtype = str(now.dtype).removeprefix("torch.")
    if isinstance(p, LowRank):
        what, shape = f"what layer {p.layer} of {model.name} holds is", (p.keys.shape[1], p.values.shape[1])
    else:
        what, shape = f"the value slot of {p.neuron} of {model.name} is", p.before.shape
    differs, alike = _DIFFERS, (p.dtype, shape) == (dtype, tuple(now.shape))
    if alike and _is_before(p, now):
        return
    if not alike:
        differs = f"{_numbers(now.shape)} numbers of {dtype} here, and was {_numbers(shape)} of {p.dtype}"
    elif other := _holder(p, model):
        raise EditConflict(
            f"this edit ({edit.method} of {said(edit.wish)}) was not planned under the one that is held "
            f"({other.method} of {said(other.wish)}): {what} {_DIFFERS}. Plan it again, under whatever else is to hold."
        )
    raise OtherWeights(
        f"this edit ({edit.method}) was planned on {edit.model or 'another model'}: {what} {differs}. Plan it again, "
        "under whatever else is to hold."
    )


def _is_before(p: Patch, now: Tensor) -> bool:
    if isinstance(p, LowRank):
        return fingerprint(now) == p.before
    return torch.equal(_bits(_tensor(p.before, now)), _bits(now))


def _holder(p: Patch, model: Model) -> Edit | None:
    """The edit held last that changes something of what this patch changes."""

    def weight(layer: int) -> object:
        return _map(model.layers[layer])[1].weight

    def meets(q: Patch) -> bool:
        others = isinstance(p, Slot) and isinstance(q, Slot) and p.index != q.index
        return weight(p.layer) is weight(q.layer) and not others

    return next((e for e in reversed(_HELD.get(model.net, ())) if any(map(meets, e.patches))), None)


def _numbers(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def _tensor(x: Floats, slot: Tensor) -> Tensor:
    return torch.tensor(x).to(slot.device, slot.dtype)


def _bits(x: Tensor) -> Tensor:
    """To be compared: a NaN is itself, and −0 is not 0."""
    kinds: dict[int, Any] = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return x.contiguous().view(kinds[x.element_size()])
