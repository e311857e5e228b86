"""An edit held: value slots of the weights become others for the length of a block.

What is put back afterwards are copies of what was there, so a model that was edited and is so no longer is the same
to the last bit. Layers that share their weights share their slots: an edit of one is an edit of all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..edits import Edit, LowRank, Network, Patch, Place, Slot, Wish
from ..errors import BadSetting, OtherWeights, UnsupportedModel
from ..neurons import Neuron, NeuronSet
from ..results import Floats
from .conditions import holding
from .hooks import Layer
from .model import Model, value_slots

_PLAIN: dict[torch.dtype, torch.dtype] = {  # what numpy holds a weight's numbers in, each of them exactly
    torch.bfloat16: torch.float32, torch.float16: torch.float16, torch.float32: torch.float32,
    torch.float64: torch.float64,
}  # fmt: skip


def slot_of(model: Model, neuron: Neuron) -> Tensor:
    """The neuron's value slot, [hidden]: a view, writing to it writes to the model. Raises UnsupportedModel."""
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
    method: str, wish: Wish, patches: Iterable[Patch], model: Model, settings: Mapping[str, Any] | None = None
) -> Edit:
    """The edit of these patches, which knows the network that they are for. Raises BadSetting for a layer not there."""
    kept = tuple(patches)
    return Edit(method, wish, kept, model.name, settings or {}, _network(model, {p.layer for p in kept}))


def distinct(model: Model, neurons: NeuronSet) -> list[Neuron]:
    """One neuron for each value slot, the first: where layers share their weights, several name the same one."""
    first: dict[tuple[nn.Module, int], Neuron] = {}
    for n in neurons:
        first.setdefault((model.layers[n.layer].down, n.index), n)
    return list(first.values())


@holding.register(Edit)
@contextmanager
def _hold(edit: Edit, model: Model) -> Iterator[None]:
    model.check(edit.neurons)
    with ExitStack() as stack:
        for p in edit.patches:
            if isinstance(p, LowRank):
                slots = slots_of(model, p.layer)
                _check_slots(edit, p, slots, model)
                stack.callback(slots.copy_, slots.clone())
                slots.copy_(changed(slots, p))
                continue
            slot = slot_of(model, p.neuron)
            _check(edit, p, slot, model)
            stack.callback(slot.copy_, slot.clone())
            slot.copy_(_tensor(p.after, slot))
        yield


def changed(slots: Tensor, patch: LowRank) -> Tensor:
    """The value slots [neuron, hidden] with the change in them, in the type they are kept in."""
    wide = torch.promote_types(slots.dtype, torch.float32)
    keys, values = (torch.tensor(x).to(slots.device, wide) for x in (patch.keys, patch.values))
    return (slots.to(wide) + keys.T @ values).to(slots.dtype)


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


def _check_slots(edit: Edit, p: LowRank, slots: Tensor, model: Model) -> None:
    dtype, shape = str(slots.dtype).removeprefix("torch."), (p.keys.shape[1], p.values.shape[1])
    if (p.dtype, shape) != (dtype, tuple(slots.shape)):
        differs = f"{tuple(slots.shape)} numbers of {dtype} here, and was {shape} of {p.dtype}"
    elif fingerprint(slots) != p.before:
        differs = "not bit for bit what it was made from (other weights, another edit held, or the same edit twice)"
    else:
        return
    raise OtherWeights(
        f"this edit ({edit.method}) was planned on {edit.model or 'another model'}: what layer {p.layer} of "
        f"{model.name} holds is {differs}. Plan it again, under whatever else is to hold."
    )


def _check(edit: Edit, p: Slot, slot: Tensor, model: Model) -> None:
    dtype = str(slot.dtype).removeprefix("torch.")
    if (p.dtype, p.before.shape) != (dtype, tuple(slot.shape)):
        differs = f"{len(slot)} numbers of {dtype} here, and was {len(p.before)} of {p.dtype}"
    elif not torch.equal(_bits(_tensor(p.before, slot)), _bits(slot)):
        differs = "not bit for bit what it was made from (other weights, another edit held, or the same edit twice)"
    else:
        return
    raise OtherWeights(
        f"this edit ({edit.method}) was planned on {edit.model or 'another model'}: the value slot of {p.neuron} of "
        f"{model.name} is {differs}. Plan it again, under whatever else is to hold."
    )


def _tensor(x: Floats, slot: Tensor) -> Tensor:
    return torch.tensor(x).to(slot.device, slot.dtype)


def _bits(x: Tensor) -> Tensor:
    """To be compared: a NaN is itself, and −0 is not 0."""
    kinds: dict[int, Any] = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return x.contiguous().view(kinds[x.element_size()])
