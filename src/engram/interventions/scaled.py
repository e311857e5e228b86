"""Dai et al. (2022), section 4.5: suppressing is scaling by 0, amplifying is scaling by 2."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..neurons import NeuronSet
from .base import Intervention, Place, interventions


@interventions("scaled")
@dataclass(frozen=True, slots=True)
class Scaled(Intervention):
    """What if these neurons spoke louder, or not at all? They take `by` times their own value.

    0 silences them, 1 changes nothing. Made by `suppressed` and `amplified`. Dai et al. (2022), section 4.5.

    >>> import engram as eg
    >>> model, prompt = eg.load(), eg.Prompt("The capital of Ireland is [Y].", "Dublin")
    >>> neurons = eg.NeuronSet.parse("L3.187 L3.242")
    >>> [round(eg.ask(model, prompt, under=Scaled(neurons, by))[0].probability, 1) for by in (0.0, 1.0, 2.0)]
    [0.4, 0.5, 0.6]
    """

    by: float
    at: Place = "blank"

    def change(self, x: Tensor, layer: int, index: Tensor, ids: Tensor | None) -> Tensor:
        return x * self.by


def suppressed(neurons: NeuronSet, *, at: Place = "blank") -> Scaled:
    """These neurons fall silent: their value is 0.

    >>> from engram import NeuronSet
    >>> suppressed(NeuronSet.parse("L9.2141")).by
    0.0
    """
    return Scaled(neurons, by=0.0, at=at)


def amplified(neurons: NeuronSet, *, by: float = 2.0, at: Place = "blank") -> Scaled:
    """These neurons speak louder: `by` times their own value.

    >>> from engram import NeuronSet
    >>> amplified(NeuronSet.parse("L9.2141")).by
    2.0
    """
    return Scaled(neurons, by=by, at=at)
