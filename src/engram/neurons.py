"""Places inside a model. A neuron is one input of one FFN's second linear map."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .errors import BadSetting


class Neuron(NamedTuple):
    """The `index`-th input of the second linear map of layer `layer`'s FFN, both from 0; written `L9.2141`.

    Its value slot is the matching row of that map's weight (Dai et al. 2022, figure 2). It means the same in every
    architecture: behind GELU in BERT, behind ReLU in OPT, behind `act(gate) · up` in Llama.

    >>> Neuron.parse("L9.2141")
    Neuron(layer=9, index=2141)
    >>> print(Neuron(9, 2141))
    L9.2141
    """

    layer: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here

    def __str__(self) -> str:
        return f"L{self.layer}.{self.index}"

    @classmethod
    def parse(cls, text: str) -> Neuron:
        """The neuron that `text` names. Raises BadSetting."""
        if not (m := re.fullmatch(r"L(\d+)\.(\d+)", text.strip())):
            raise BadSetting(f"a neuron is written like L9.2141, not {text!r}")
        return cls(int(m[1]), int(m[2]))


@dataclass(frozen=True, slots=True)
class NeuronSet:
    """An immutable set of neurons, iterated in order of layer and index. Supports `in`, `len`, `|`, `&`, `-`.

    >>> a, b = NeuronSet.of([(9, 2141), (10, 1122)]), NeuronSet.parse("L9.2141 L3.1")
    >>> print(a | b, len(a & b), Neuron(3, 1) in a)
    {L3.1, L9.2141, L10.1122} 1 False
    """

    members: frozenset[Neuron] = frozenset()

    @classmethod
    def of(cls, neurons: Iterable[tuple[int, int]]) -> NeuronSet:
        """From (layer, index) pairs."""
        return cls(frozenset(Neuron(int(layer), int(index)) for layer, index in neurons))

    @classmethod
    def parse(cls, text: str) -> NeuronSet:
        """From text such as `L9.2141, L10.1122`. Raises BadSetting."""
        return cls(frozenset(Neuron.parse(t) for t in re.split(r"[,\s]+", text.strip(" {}")) if t))

    def by_layer(self) -> dict[int, list[int]]:
        """The indices of each layer, in order."""
        out: dict[int, list[int]] = {}
        for layer, index in self:
            out.setdefault(layer, []).append(index)
        return out

    def __iter__(self) -> Iterator[Neuron]:
        return iter(sorted(self.members))

    def __len__(self) -> int:
        return len(self.members)

    def __contains__(self, neuron: object) -> bool:
        return neuron in self.members

    def __or__(self, other: NeuronSet) -> NeuronSet:
        return NeuronSet(self.members | other.members)

    def __and__(self, other: NeuronSet) -> NeuronSet:
        return NeuronSet(self.members & other.members)

    def __sub__(self, other: NeuronSet) -> NeuronSet:
        return NeuronSet(self.members - other.members)

    def __str__(self) -> str:
        return "{" + ", ".join(map(str, self)) + "}"
