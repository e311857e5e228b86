"""How sure is a number? Whole facts are drawn again and again: a bootstrap over clusters, percentile intervals.

Prompts of one fact rise and fall together, so resampling prompts would give intervals that are far too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import BadSetting
from ..results import Floats

_BLOCK = 4_000_000  # numbers held at once
_NEAR = 100_000  # so many stay in the processor's cache


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """Facts drawn again and again: `row[prompt]` is the prompt's fact, `times[resample, fact]` how often it came up.

    >>> drawn = Resampling.of(["Ireland", "Ireland", "Italy"], n=1000)
    >>> drawn.times.shape, drawn.times.sum(1).max().item()  # two facts are drawn each time
    ((1000, 2), 2)
    >>> drawn.mean(np.array([0.0, 0.0, 1.0])).shape
    (1000,)
    """

    row: NDArray[np.intp]
    times: NDArray[np.uint16]

    @classmethod
    def of(cls, clusters: Sequence[Hashable], *, n: int = 2000, seed: int = 0) -> Resampling:
        """Draw as many facts as there are, with replacement, `n` times. Raises BadSetting."""
        if n < 1 or not len(clusters):
            raise BadSetting(f"a bootstrap needs at least one resample and one value, not {n} and {len(clusters)}")
        number = {c: i for i, c in enumerate(dict.fromkeys(clusters))}
        m, rng = len(number), np.random.default_rng(seed)
        times = np.empty((n, m), np.uint16)
        step = max(_NEAR // m, 1)
        for start in range(0, n, step):
            part = times[start : start + step]
            drawn = rng.integers(m, size=part.shape) + m * np.arange(len(part))[:, None]
            part[:] = np.bincount(drawn.ravel(), minlength=part.size).reshape(part.shape)
        return cls(np.array([number[c] for c in clusters]), times)

    def mean(self, x: Floats) -> Floats:
        """The mean of x [prompt] over the prompts of every resample, [resample]."""
        n, m = self.times.shape
        parts = np.stack([np.bincount(self.row, minlength=m), np.bincount(self.row, x, minlength=m)], axis=1)
        step = max(_BLOCK // m, 1)
        sums = np.concatenate([self.times[i : i + step].astype(float) @ parts for i in range(0, n, step)])
        means: Floats = sums[:, 1] / sums[:, 0]
        return means

    def draws(self, statistic: Callable[..., Floats], values: Sequence[ArrayLike]) -> Floats | None:
        """The statistic of every resample, [resample]; None where there is one fact only, for that says nothing."""
        if self.times.shape[1] < 2:
            return None
        return np.asarray(statistic(*values, mean=self.mean))


def bootstrap(
    statistic: Callable[..., Floats],
    values: Sequence[ArrayLike],
    clusters: Sequence[Hashable],
    *,
    n: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Between which values does this statistic lie, were other facts of the kind drawn?

    `statistic(*values, mean=…)` is a function of means over prompts, as all in changes.py; `values` are its arguments,
    [prompt] each; `clusters` names the fact of each prompt. The interval is the plain percentile one (Efron 1979),
    without correction for bias or skewness: (low, high), or None with one fact only, or where the statistic cannot
    be computed. Raises BadSetting.

    >>> from engram.metrics import absolute
    >>> low, high = bootstrap(absolute, ([0.4, 0.3, 0.5], [0.1, 0.2, 0.2]), ["Ireland", "Italy", "Kuwait"])
    >>> round(low, 2), round(high, 2)
    (-0.3, -0.1)
    """
    return percentile(Resampling.of(clusters, n=n, seed=seed).draws(statistic, values), level)


def percentile(draws: Floats | None, level: float = 0.95) -> tuple[float, float] | None:
    """The middle `level` of the draws; None without draws, or where one of them is not finite.

    Raises BadSetting for a level that is not between 0 and 1.

    >>> percentile(np.arange(101.0), 0.5)
    (25.0, 75.0)
    >>> percentile(None) is None
    True
    """
    if not 0 < level < 1:
        raise BadSetting(f"a level is between 0 and 1, not {level}")
    if draws is None or not np.isfinite(draws).all():
        return None
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def of_cases(
    x: Floats, *, least: float = 0.0, drawn: Resampling | None = None, seed: int = 0
) -> tuple[float, float] | None:
    """Between which values does the mean of x [case], from `least` to 1 each, lie, were other cases drawn (95 %)?

    A bootstrap over cases, or over the clusters of `drawn`, except where all cases are alike and no draw can differ:
    then, from the exact interval of a proportion, how many of another kind there might be. None of one case alone.

    >>> [round(end, 3) for end in of_cases(np.zeros(8))], [round(end, 3) for end in of_cases(np.zeros(8), least=-1)]
    ([0.0, 0.369], [-0.369, 0.369])
    >>> of_cases(np.zeros(1)) is None
    True
    """
    if len(x) < 2:
        return None
    if (x == x[0]).all():
        same, _ = proportion(np.ones(len(x))) or (0.0, 1.0)
        return float(x[0] * same + least * (1 - same)), float(x[0] * same + (1 - same))
    drawn = drawn or Resampling.of(range(len(x)), seed=seed)
    return percentile(drawn.draws(lambda values, mean: np.asarray(mean(values)), [x]))


def proportion(x: Floats, level: float = 0.95) -> tuple[float, float] | None:
    """Where all of x are 1, or all 0: between which values does their mean lie, were others drawn? Else None.

    The exact interval of a proportion (Clopper & Pearson 1934), of which a bootstrap would make a point.

    >>> low, high = proportion(np.ones(100))
    >>> round(low, 3), high, proportion(np.array([0.0, 1.0])), proportion(np.ones(1))
    (0.964, 1.0, None, None)
    """
    if len(x) < 2 or not ((x == 0).all() or (x == 1).all()):
        return None
    far = float(((1 - level) / 2) ** (1 / len(x)))
    return (far, 1.0) if x[0] == 1 else (0.0, 1 - far)
