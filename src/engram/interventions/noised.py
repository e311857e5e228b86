"""Neurons with Gaussian noise on top: do they carry a precise value, or only a sign?"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import BadSetting
from ..neurons import NeuronSet
from .base import Intervention, Place, interventions


@interventions("noised")
@dataclass(frozen=True, slots=True)
class Noised(Intervention):
    """The neurons take their own value plus noise of standard deviation `sd`, in the activation's own unit.

    The draw depends on the seed, the layer and the row's tokens alone: not on the other rows of the batch, and the
    same row gets the same noise when asked again.

    Made by `noised`. Raises BadSetting for an `sd` below 0.

    >>> import engram as eg
    >>> model, prompt = eg.load(), eg.Prompt("The capital of Ireland is [Y].", "Dublin")
    >>> noise = Noised(eg.NeuronSet.parse("L3.187 L3.242"), sd=1.0)
    >>> eg.ask(model, prompt, under=noise) == eg.ask(model, prompt, under=noise)  # seeded
    True
    """

    sd: float
    seed: int = 0
    at: Place = "blank"

    def __post_init__(self) -> None:
        if not self.sd >= 0:
            raise BadSetting(f"the standard deviation of noise is 0 or more, not {self.sd}")

    def change(self, x: Tensor, layer: int, index: Tensor, ids: Tensor | None) -> Tensor:
        shape = tuple(x.shape[1:])
        keys = [b""] * x.shape[0] if ids is None else [row.cpu().numpy().tobytes() for row in ids]
        draws = [np.random.default_rng([self.seed, layer, zlib.crc32(key)]).standard_normal(shape) for key in keys]
        return x + torch.tensor(np.stack(draws) * self.sd, dtype=x.dtype, device=x.device)


def noised(neurons: NeuronSet, sd: float, *, seed: int = 0, at: Place = "blank") -> Noised:
    """Gaussian noise of standard deviation `sd` on these neurons, seeded.

    Raises BadSetting for an `sd` below 0.

    >>> from engram import NeuronSet
    >>> noised(NeuronSet.parse("L9.2141"), 0.1).sd
    0.1
    """
    return Noised(neurons, float(sd), seed, at)
