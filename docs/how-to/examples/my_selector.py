"""A selector of one's own: the fewest neurons that carry a given part of what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engram.neurons import NeuronSet
from engram.results import Attribution
from engram.selectors import Selector, selectors


@selectors("mass")
@dataclass(frozen=True, slots=True)
class Mass(Selector):
    """The fewest neurons whose mean scores add up to `part` of all positive ones.

    >>> from engram.facts import Prompt
    >>> from engram.selectors import select
    >>> scores = np.array([[1.0, 5.0], [3.0, 1.0]])
    >>> a = Attribution(Prompt("It is [Y].", "so"), "toy", scores, gap=np.zeros(2), change=np.zeros(2), widths=(2, 2))
    >>> print(select([a], by=Mass(0.8)))
    {L0.1, L1.0}
    """

    part: float = 0.5

    def select(self, scores: Sequence[Attribution]) -> NeuronSet:
        mean = np.maximum(np.mean([a.dense() for a in scores], axis=0), 0)
        order = np.argsort(-mean, axis=None, kind="stable")
        reached = np.cumsum(mean.ravel()[order])
        needed = int(np.searchsorted(reached, self.part * reached[-1])) + 1
        return NeuronSet.of(divmod(int(i), mean.shape[1]) for i in order[:needed])
