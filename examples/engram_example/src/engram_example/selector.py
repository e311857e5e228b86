"""A selector of one's own: the fewest neurons that carry a given part of what was found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from engram.errors import BadSetting
from engram.neurons import Neuron, NeuronSet
from engram.results import Attribution
from engram.selectors import Selector, selectors


@selectors("mass")
@dataclass(frozen=True, slots=True)
class Mass(Selector):
    """The fewest neurons whose scores add up to `part` of all scores of at least `least` of their prompt's largest.

    >>> import numpy as np
    >>> from engram.facts import Prompt
    >>> from engram.selectors import select
    >>> scores = np.array([[1.0, 5.0], [3.0, 1.0]])
    >>> a = Attribution(Prompt("It is [Y].", "so"), "toy", scores, gap=np.zeros(2), change=np.zeros(2), widths=(2, 2))
    >>> print(select([a], by=Mass(0.8)))
    {L0.1, L1.0}
    """

    part: float = 0.5
    least: float = 0.2

    def __post_init__(self) -> None:
        if not (0 < self.part <= 1 and 0 < self.least <= 1):
            raise BadSetting(f"part and least are above 0 and at most 1, not {self.part:g} and {self.least:g}")

    def select(self, scores: Sequence[Attribution]) -> NeuronSet:
        sums: dict[Neuron, float] = defaultdict(float)
        for a in scores:
            if a.peak > 0:  # else this prompt names no neuron
                for neuron in a.above(self.least * a.peak, strict=False):
                    sums[neuron] += float(a.scores[neuron.layer, neuron.index])
        whole, carried, kept = sum(sums.values()), 0.0, []
        for neuron in sorted(sums, key=lambda n: (-sums[n], n)):
            if carried >= self.part * whole:
                break
            carried += sums[neuron]
            kept.append(neuron)
        return NeuronSet.of(kept)
