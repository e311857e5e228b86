"""Neurons set to given values, whatever the input says: mean ablation, patching, probing what a neuron writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

from ..neurons import Neuron, NeuronSet
from .base import Intervention, Place, interventions


@interventions("fixed")
@dataclass(frozen=True, slots=True)
class Fixed(Intervention):
    """What if these neurons had other values? They take those of `values`; one that it does not name takes `value`.

    In the activation's own unit. Made by `fixed`. Raises BadSetting when asked under it, for neurons that are nowhere.

    >>> from engram import NeuronSet
    >>> Fixed(NeuronSet.parse("L9.2141"), 0.5).value
    0.5
    """

    value: float = 0.0
    values: Mapping[Neuron, float] = field(default_factory=lambda: MappingProxyType({}))
    at: Place = "blank"

    def change(self, x: Tensor, layer: int, index: Tensor, ids: Tensor | None) -> Tensor:
        wanted = [self.values.get(Neuron(layer, i), self.value) for i in index.tolist()]
        return torch.tensor(wanted, dtype=x.dtype, device=x.device).expand_as(x)


def fixed(neurons: NeuronSet | Mapping[Neuron, float], value: float = 0.0, *, at: Place = "blank") -> Fixed:
    """These neurons take one value, or each its own (a mapping from neuron to value).

    >>> from engram import Neuron
    >>> len(fixed({Neuron(0, 1): 0.5, Neuron(0, 2): -1.0}).neurons)
    2
    """
    if isinstance(neurons, NeuronSet):
        return Fixed(neurons, float(value), at=at)
    return Fixed(NeuronSet.of(neurons), float(value), MappingProxyType(dict(neurons)), at)
