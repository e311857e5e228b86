"""The control: as many neurons, in the same layers, taken at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import BadSetting
from ..neurons import NeuronSet
from ..results import Attribution
from .base import Selector, same_widths, selectors


@selectors("chance")
@dataclass(frozen=True, slots=True)
class Chance(Selector):
    """Random neurons, as many per layer as `like` has and none of its own; `widths[layer]` is how many there are.

    What is drawn depends on `seed` and, layer by layer, on the members of `like`, and on nothing drawn before: two
    facts get neurons of their own, and the same fact the same ones, in whatever order facts are asked. Scores stand
    in for `widths` where it is not given. Raises BadSetting where a layer is too narrow, or does not hold `like`.

    >>> print(Chance(NeuronSet.parse("L0.0 L1.2"), widths=(2, 3)).draw() & NeuronSet.parse("L0.0 L1.2"))
    {}
    """

    like: NeuronSet
    widths: tuple[int, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise BadSetting(f"a seed is not negative, this one is {self.seed}")

    def draw(self) -> NeuronSet:
        """The random neurons."""
        if not self.widths:
            raise BadSetting("to draw at random one must know how many neurons each layer has: give `widths`")
        return NeuronSet.of(
            (layer, index) for layer, own in self.like.by_layer().items() for index in self._draw(layer, own)
        )

    def select(self, scores: Sequence[Attribution]) -> NeuronSet:
        widths = same_widths(scores)
        if self.widths and self.widths != widths:
            raise BadSetting(f"the scores are of layers of {widths} neurons, not of {self.widths}")
        return replace(self, widths=widths).draw()

    def _draw(self, layer: int, own: list[int]) -> list[int]:
        width = self.widths[layer] if layer < len(self.widths) else 0
        if own[-1] >= width:
            raise BadSetting(f"L{layer}.{own[-1]} is not in a model whose layer {layer} has {width} neurons")
        others = np.setdiff1d(np.arange(width), own)
        if len(others) < len(own):
            raise BadSetting(
                f"layer {layer} has {width} neurons: too few for {len(own)} random ones beside the {len(own)} given"
            )
        rng = np.random.default_rng([self.seed, layer, *own])
        return [int(i) for i in rng.choice(others, len(own), replace=False)]
