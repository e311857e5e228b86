"""How far did answers change? The published definitions differ by an order of magnitude, so each has its name.

Every function takes one number per prompt and returns one number. `mean` is how a mean over prompts is taken: plainly,
or (in intervals.py) over resampled facts, once for every resample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..errors import UnknownName
from ..results import Floats

Mean = Callable[[Floats], Floats]


def average(values: ArrayLike, mean: Mean = np.mean) -> Floats:
    """The mean over prompts.

    >>> float(average([0.4, 0.1]))
    0.25
    """
    return mean(np.asarray(values, float))


def average_of_known(values: ArrayLike, mean: Mean = np.mean) -> Floats:
    """The mean over those prompts that have a finite value; NaN where none has.

    >>> float(average_of_known([0.5, float("nan"), 0.25])), float(average_of_known([float("nan")]))
    (0.375, nan)
    """
    x = np.asarray(values, float)
    usable = np.isfinite(x)
    return _over(mean(np.where(usable, x, 0)), mean(usable.astype(float)))


def ratio_of_means(before: ArrayLike, after: ArrayLike, mean: Mean = np.mean) -> Floats:
    """(mean after − mean before) / mean before: Dai et al. (2022), figures 4 and 5. NaN where mean before is 0.

    >>> round(float(ratio_of_means([0.4, 0.1], [0.2, 0.2])), 3)
    -0.2
    """
    b, a = mean(np.asarray(before, float)), mean(np.asarray(after, float))
    return _over(a - b, b)


def mean_of_ratios(before: ArrayLike, after: ArrayLike, mean: Mean = np.mean) -> Floats:
    """Mean of (after − before) / before: EleutherAI's knowledge-neurons. Has no upper bound.

    Prompts without a ratio (`without_ratio`) are counted out; NaN where none is left.

    >>> round(float(mean_of_ratios([0.4, 0.1], [0.2, 0.2])), 3)
    0.25
    """
    ratio = _ratios(before, after)
    usable = np.isfinite(ratio)
    return _over(mean(np.where(usable, ratio, 0)), mean(usable.astype(float)))


def absolute(before: ArrayLike, after: ArrayLike, mean: Mean = np.mean) -> Floats:
    """mean after − mean before, in probability: Wen & Bai.

    >>> round(float(absolute([0.4, 0.1], [0.2, 0.2])), 3)
    -0.05
    """
    return mean(np.asarray(after, float) - np.asarray(before, float))


def symmetric_fold(before: ArrayLike, after: ArrayLike, mean: Mean = np.mean) -> Floats:
    """(mean after − mean before) / the smaller of them: Niu et al. (2024). −1 is halved, +1 doubled; NaN where it is 0.

    >>> round(float(symmetric_fold([0.4, 0.1], [0.2, 0.2])), 3)
    -0.25
    """
    b, a = mean(np.asarray(before, float)), mean(np.asarray(after, float))
    return _over(a - b, np.minimum(a, b))


def log_change(before: ArrayLike, after: ArrayLike, mean: Mean = np.mean) -> Floats:
    """Mean of after − before, both log-probabilities in nats.

    Prompts with a log-probability of −inf are counted out; NaN where none is left.

    >>> round(float(log_change([-1.0, -2.0], [-1.5, -3.0])), 3)
    -0.75
    """
    b, a = np.asarray(before, float), np.asarray(after, float)
    usable = np.isfinite(b) & np.isfinite(a)
    return _over(mean(np.subtract(a, b, out=np.zeros_like(b), where=usable)), mean(usable.astype(float)))


def accuracy(ranks: ArrayLike, mean: Mean = np.mean) -> Floats:
    """The share of prompts whose right answer has rank 1.

    >>> float(accuracy([1, 2, 1, 4]))
    0.5
    """
    return mean((np.asarray(ranks) == 1).astype(float))


def mean_reciprocal_rank(ranks: ArrayLike, mean: Mean = np.mean) -> Floats:
    """Mean of 1 / rank of the right answer.

    >>> float(mean_reciprocal_rank([1, 2, 1, 4]))
    0.6875
    """
    return mean(1 / np.asarray(ranks, float))


@dataclass(frozen=True, slots=True)
class Change:
    """One way to say how paired probabilities changed, with the unit that must stand beside its numbers.

    `of` takes what was before and after, [prompt], and the mean to be taken (by itself, or over resamples).

    >>> Change("absolute", "probability", absolute).of([0.5, 0.25], [0.25, 0.25]).item()
    -0.125
    """

    name: str
    unit: str
    of: Callable[..., Floats]


CHANGES = (
    Change("ratio of means", "ratio of means", ratio_of_means),
    Change("mean of ratios", "mean of ratios", mean_of_ratios),
    Change("absolute", "probability", absolute),
    Change("symmetric fold", "symmetric fold change", symmetric_fold),
)
"""The ways to say how probabilities changed, each with its unit: one `Change` for each of the functions here."""


def named(name: str) -> Change:
    """The change of this name. Raises UnknownName.

    >>> named("absolute").unit
    'probability'
    """
    for c in CHANGES:
        if c.name == name:
            return c
    raise UnknownName("change", name, [c.name for c in CHANGES])


def without_ratio(before: ArrayLike, after: ArrayLike) -> int:
    """How many prompts have no ratio, because their probability before is 0 (or too small to divide by)?

    >>> without_ratio([0.0, 0.1], [0.2, 0.2])
    1
    """
    return int((~np.isfinite(_ratios(before, after))).sum())


def _ratios(before: ArrayLike, after: ArrayLike) -> Floats:
    b, a = np.asarray(before, float), np.asarray(after, float)
    with np.errstate(over="ignore"):
        ratios: Floats = np.divide(a - b, b, out=np.full_like(b, np.nan), where=b != 0)
    return ratios


def _over(x: Floats, y: Floats) -> Floats:
    """x / y, NaN where y is 0."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    with np.errstate(over="ignore"):
        return np.asarray(np.divide(x, y, out=np.full_like(y, np.nan), where=y != 0))
