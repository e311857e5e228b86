"""How far are scores from the published sum and from the integral, and do they select the same neurons?"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..results import Floats

THRESHOLD = 0.2  # of the prompt's peak: the usual one
Scores = Sequence[Floats]  # of each prompt, [layer, neuron]


@dataclass(frozen=True, slots=True)
class Apart:
    """A prompt's difference is the largest of its scores, relative to its largest score: the worst and median prompt.

    `sets` is the Jaccard index of the neurons above a fifth of the prompt's peak on both sides, mean over prompts.
    """

    worst: float
    median: float
    sets: float

    @classmethod
    def of(cls, ours: Scores, theirs: Scores) -> Apart:
        """Both of the same prompts.

        >>> Apart.of([np.array([0.25, 0.625, 1.0])], [np.array([0.25, 0.5, 1.0])])
        Apart(worst=0.125, median=0.125, sets=1.0)
        """
        pairs = list(zip(ours, theirs, strict=True))
        each = [float(np.abs(o - t).max() / np.abs(t).max()) for o, t in pairs]
        kept = [(o > THRESHOLD * o.max(), t > THRESHOLD * t.max()) for o, t in pairs]
        same = [float((a & b).sum() / max(1, (a | b).sum())) for a, b in kept]
        return cls(max(each), statistics.median(each), statistics.fmean(same))


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How far scores are from the published sum, from the integral, and from the same rule, all in float32.

    `rounding` is None where the same rule in float32 is what was measured.
    """

    prompts: int
    published: Apart
    integral: Apart
    rounding: Apart | None

    @classmethod
    def of(cls, scores: Scores, published: Scores, integral: Scores, precise: Scores | None) -> Accuracy:
        """All of the same prompts."""
        rounding = None if precise is None else Apart.of(scores, precise)
        return cls(len(scores), Apart.of(scores, published), Apart.of(scores, integral), rounding)
