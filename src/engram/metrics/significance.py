"""Could this change be chance? Paired tests over facts, and the false discovery rate over many of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import BadSetting, UnknownName
from ..results import Floats

Test = Literal["sign flips", "wilcoxon"]

_EXACT = 12  # up to 2^12 sign flips are all tried
_BLOCK = 4_000_000  # signs held at once


@dataclass(frozen=True, slots=True)
class Tested:
    """The p-value (two-sided) of a paired test over `n` facts, and how it was computed.

    >>> found = paired_test([0.5, 0.6, 0.7, 0.4, 0.5, 0.6], [0.1, 0.2, 0.2, 0.1, 0.3, 0.2], "abcdef")
    >>> round(found.p, 3), found.n
    (0.031, 6)
    """

    p: float
    n: int
    method: str


def paired_test(
    before: ArrayLike,
    after: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    by: Test = "sign flips",
    draws: int = 9999,
    seed: int = 0,
) -> Tested:
    """How often would facts that do not change on the whole look as changed as these?

    The unit is the fact: the mean of after − before over its prompts ([prompt] each, `clusters` names the facts).
    "sign flips": were there no change, every fact's difference might as well have the other sign; the p-value is the
    share of sign patterns whose mean is at least as far from 0. All patterns up to 2^12, else `draws` random ones
    and (k + 1) / (draws + 1). "wilcoxon": scipy's signed-rank test. Facts without any difference say nothing in
    either; where there are no others, p is 1. Raises BadSetting (NaN included), UnknownName.

    >>> paired_test([0.4, 0.3, 0.5], [0.1, 0.2, 0.3], ["Ireland", "Italy", "Kuwait"])
    Tested(p=0.25, n=3, method='sign flips, all 8')
    """
    if by not in get_args(Test):
        raise UnknownName("paired test", by, get_args(Test))
    d = fact_means(np.asarray(after, float) - np.asarray(before, float), clusters)
    if not np.isfinite(d).all():
        raise BadSetting("a paired test needs finite values; some of these are NaN or infinite")
    changed = d[d != 0]
    if by == "wilcoxon":
        from scipy import stats

        p = float(stats.wilcoxon(changed).pvalue) if changed.size else 1.0
        return Tested(p, len(d), "wilcoxon")
    if changed.size <= _EXACT:
        return Tested(_all_flips(changed), len(d), f"sign flips, all {2**changed.size}")
    return Tested(_random_flips(changed, draws, seed), len(d), f"sign flips, {draws} random")


def fact_means(values: Floats, clusters: Sequence[Hashable]) -> Floats:
    """The mean of `values` [prompt] over each fact's prompts, [fact], in order of appearance. Raises BadSetting."""
    if values.shape != (len(clusters),) or not len(clusters):
        raise BadSetting(f"values of shape {values.shape} and {len(clusters)} facts do not belong together")
    number = {c: i for i, c in enumerate(dict.fromkeys(clusters))}
    row = np.array([number[c] for c in clusters])
    means: Floats = np.bincount(row, values) / np.bincount(row)
    return means


def false_discovery(pvalues: ArrayLike, *, method: Literal["bh", "by"] = "bh") -> Floats:
    """The q-value of every p-value: at which false discovery rate would it still count as a discovery?

    "bh": Benjamini & Hochberg (1995), for independent or positively dependent tests; "by": Benjamini & Yekutieli
    (2001), for any. Raises BadSetting for what is no p-value, NaN included.

    >>> [round(float(q), 3) for q in false_discovery([0.01, 0.04, 0.03, 0.005])]
    [0.02, 0.04, 0.04, 0.02]
    """
    p = np.asarray(pvalues, float)
    if method not in ("bh", "by"):
        raise UnknownName("false discovery correction", method, ["bh", "by"])
    if not ((p >= 0) & (p <= 1)).all():
        raise BadSetting(f"p-values are between 0 and 1; these are not: {p[~((p >= 0) & (p <= 1))][:5].tolist()}")
    from scipy import stats

    q: Floats = stats.false_discovery_control(p, method=method)
    return q


def _all_flips(d: Floats) -> float:
    flipped = np.arange(2**d.size)[:, None] >> np.arange(d.size) & 1
    return float(np.mean(_as_far(flipped, d)))


def _random_flips(d: Floats, draws: int, seed: int) -> float:
    if draws < 1:
        raise BadSetting(f"at least one random pattern of signs is needed, not {draws}")
    rng = np.random.default_rng(seed)
    words = -(-d.size // 64)
    step = max(_BLOCK // d.size, 1)
    k = 0
    for start in range(0, draws, step):
        bits = rng.integers(2**64, size=(min(step, draws - start), words), dtype=np.uint64)
        flipped = np.unpackbits(bits.view(np.uint8), axis=1, count=d.size)
        k += int(_as_far(flipped, d).sum())
    return (k + 1) / (draws + 1)


def _as_far(flipped: NDArray[Any], d: Floats) -> NDArray[np.bool_]:
    """Which patterns of flipped signs, 1 or 0 [pattern, fact], take the sum at least as far from 0? Up to rounding."""
    slack = 1e-12 * np.abs(d).sum()
    far: NDArray[np.bool_] = np.abs(d.sum() - 2 * (flipped.astype(float) @ d)) >= abs(d.sum()) - slack
    return far
