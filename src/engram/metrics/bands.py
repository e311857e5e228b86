"""Means over facts of many numbers at once, each with its interval: facts are drawn as wholes, the same for all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import BadSetting
from ..results import Floats
from .intervals import Resampling

_BLOCK = 4_000_000  # numbers held at once


@dataclass(frozen=True, slots=True, eq=False)
class Bands:
    """Means over facts with their intervals, [number]; `n` says over how many facts each is taken.

    `draws` [resample, number] are the means of the facts as drawn anew. Where there is one fact only, or none, `low`,
    `high` and `draws` are NaN: one fact says nothing of others.
    """

    mean: Floats
    low: Floats
    high: Floats
    n: NDArray[np.intp]
    draws: Floats

    def interval(self, i: int) -> tuple[float, float] | None:
        """Of one of the numbers; None where there is none."""
        found = float(self.low[i]), float(self.high[i])
        return found if np.isfinite(found).all() else None


def bands(values: ArrayLike, *, n: int = 2000, seed: int = 0, level: float = 0.95) -> Bands:
    """The mean of each column of values [fact, number], and where it would lie, were other facts drawn.

    Facts are drawn anew `n` times, each with all its numbers (bootstrap over facts, percentile intervals). A fact whose
    number is NaN has no part in that number, neither in its mean nor in its draws. Numbers of the same facts share
    their draws, so differences between them are paired. Raises BadSetting.

    >>> found = bands([[0.4, 1.0], [0.2, float("nan")], [0.3, 2.0]])
    >>> found.mean.round(2).tolist(), found.n.tolist(), bool(found.low[0] < 0.3 < found.high[0])
    ([0.3, 1.5], [3, 2], True)
    """
    x = np.asarray(values, float)
    if x.ndim != 2:
        raise BadSetting(f"numbers of facts are a table [fact, number], not an array of shape {x.shape}")
    if not 0 < level < 1 or n < 1:
        raise BadSetting(f"a level is between 0 and 1, and resamples are from 1 up, not {level} and {n}")
    columns = x.shape[1]
    mean, low, high = (np.full(columns, np.nan) for _ in range(3))
    draws = np.full((n, columns), np.nan)
    for who, of in _same(np.isfinite(x)):
        own = x[np.ix_(who, of)]
        if len(own):
            mean[of] = own.mean(0)
        if len(own) > 1:
            draws[:, of] = _drawn(own, n, seed)
            low[of], high[of] = np.quantile(draws[:, of], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Bands(mean, low, high, np.isfinite(x).sum(0), draws)


def _same(known: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The facts of each group of columns that are known of the same facts, and the columns."""
    groups: dict[bytes, list[int]] = {}
    for i, column in enumerate(known.T):
        groups.setdefault(column.tobytes(), []).append(i)
    for of in groups.values():
        yield np.flatnonzero(known[:, of[0]]), np.array(of)


def _drawn(own: Floats, n: int, seed: int) -> Floats:
    facts = len(own)
    times = Resampling.of(range(facts), n=n, seed=seed).times
    step = max(_BLOCK // facts, 1)
    found: Floats = np.concatenate([times[i : i + step].astype(float) @ own for i in range(0, n, step)]) / facts
    return found
