"""Dai et al. (2022), section 4.5: suppressing is scaling by 0, amplifying is scaling by 2."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..neurons import NeuronSet
from .base import Intervention, Place, interventions


@interventions("scaled")
@dataclass(frozen=True, slots=True)
class Scaled(Intervention):
    """The neurons take `by` times their own value. 0 silences them, 1 changes nothing."""

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
    """These neurons speak louder: `by` times their own value."""
    return Scaled(neurons, by=by, at=at)
