"""The k best neurons: a set whose size is chosen, not searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import BadSetting
from ..neurons import NeuronSet
from ..results import Attribution
from .base import Selector, degenerate, same_widths, selectors, usable, warn_degenerate


@selectors("top")
@dataclass(frozen=True, slots=True)
class Top(Selector):
    """The `k` neurons with the largest mean score over the prompts; ties by layer, then index.

    Degenerate prompts (see `degenerate`) are left out of the mean, with a warning. Raises BadSetting, and BelowFloor
    where only high scores were kept, for a mean needs them all.

    >>> import numpy as np
    >>> from engram.facts import Prompt
    >>> one, other = (Attribution(Prompt("It is [Y].", "so"), "toy", np.array([scores]), gap=np.zeros(1),
    ...                           change=np.zeros(1), widths=(3,)) for scores in ([0.1, 0.9, 0.4], [0.8, 0.5, 0.4]))
    >>> print(Top(2).select([one, other]))  # means 0.45, 0.7 and 0.4
    {L0.0, L0.1}
    """

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise BadSetting(f"at least one neuron is to be selected, not {self.k}")

    def select(self, scores: Sequence[Attribution]) -> NeuronSet:
        same_widths(scores)
        warn_degenerate(degenerate(scores), len(scores))
        dense = [a.dense() for a in scores if usable(a)]
        if not dense:
            return NeuronSet()
        mean = np.sum(dense, axis=0, dtype=float) / len(dense)
        return NeuronSet.of(neuron for neuron, _ in replace(scores[0], scores=mean).best(self.k))
