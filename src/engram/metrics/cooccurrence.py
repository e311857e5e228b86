"""Does a word move the more, the more often it stands before plural nouns? The shift on log-odds from a corpus.

Niu et al. (2024, figure 4) argue that suppressing a number neuron moves words that are not marked for number by what
they occur with; no frequency is computed there. Here the shift is regressed on counted log-odds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from ..errors import BadSetting, UnknownName
from ..results import Floats
from .intervals import Resampling, percentile
from .likeness import spearman

Shift = Literal["log ratio", "symmetric fold"]
LEAST = 3  # words through which a line is drawn


@dataclass(frozen=True, slots=True)
class Slope:
    """By how much the shift of a word rises with its log-odds of a plural noun: `value` per nat of log-odds.

    `over_words` and `over_prompts` are 95 % intervals with words, or prompts, drawn anew; `intercept` is the shift at
    even odds; `spearman` the rank correlation with its interval over words. None where they cannot be computed.
    """

    value: float
    intercept: float
    over_words: tuple[float, float] | None
    over_prompts: tuple[float, float] | None
    spearman: float | None
    spearman_interval: tuple[float, float] | None
    words: int
    prompts: int


def log_odds(of: Mapping[str, Sequence[int]], words: Sequence[str], *, least: int = 1) -> dict[str, float]:
    """ln((plural + ½) / (singular + ½)) of each word that was counted `least` times or more, in nats.

    >>> {w: round(x, 2) for w, x in log_odds({"these": (0, 9), "a": (7, 0), "sole": (0, 0)}, ["a", "sole"]).items()}
    {'a': -2.71}
    """
    if least < 0:
        raise BadSetting(f"least is how often a word was counted, from 0 up, not {least}")
    found: dict[str, float] = {}
    for word in words:
        singular, plural = of.get(word, (0, 0))
        if singular + plural >= least:
            found[word] = float(np.log((plural + 0.5) / (singular + 0.5)))
    return found


def shifts(before: Floats, after: Floats, by: Shift, times: Floats | None = None) -> Floats:
    """How far each word moves, [word], from log-probabilities [prompt, word]; of resamples [resample, word].

    "log ratio": the mean over prompts of ln(after / before), in nats. "symmetric fold", of Niu et al.: of the means of
    the probabilities over prompts, (after − before) / the smaller of the two. Raises UnknownName.
    """
    if by not in get_args(Shift):
        raise UnknownName("measure of a word's shift", by, get_args(Shift))
    weights = np.ones((1, len(before))) if times is None else times
    weights = weights / weights.sum(1, keepdims=True)
    if by == "log ratio":
        found: Floats = weights @ (after - before)
    else:
        b, a = weights @ np.exp(before), weights @ np.exp(after)
        found = (a - b) / np.minimum(a, b)
    return found[0] if times is None else found


def regress(
    before: ArrayLike, after: ArrayLike, odds: Sequence[float], *, by: Shift = "log ratio", n: int = 2000, seed: int = 0
) -> Slope | None:
    """The line through the words' shifts, by least squares, from log-probabilities [prompt, word] and log-odds [word].

    None with fewer than three words, or where all have the same odds. A draw of words that all have the same odds has
    no line, and is left out. Raises BadSetting, UnknownName.

    >>> logits = np.log([[0.1, 0.2, 0.3]] * 4)
    >>> found = regress(logits, logits + [0.5, 0.0, -0.5], [-1.0, 0.0, 1.0])
    >>> round(found.value, 2), found.spearman
    (-0.5, -1.0)
    """
    b, a, x = (np.asarray(v, float) for v in (before, after, odds))
    if b.shape != a.shape or b.ndim != 2 or x.shape != b.shape[1:]:
        raise BadSetting(f"tables [prompt, word] of {b.shape} and {a.shape} do not belong to {x.shape} log-odds")
    y = shifts(b, a, by)
    if len(x) < LEAST or np.ptp(x) == 0 or not np.isfinite(y).all():
        return None
    value, intercept = _line(x, y)
    drawn = np.random.default_rng(seed).integers(len(x), size=(n, len(x)))
    drawn = drawn[np.ptp(x[drawn], axis=1) > 0]
    ranks = [r for d in drawn if (r := spearman(x[d], y[d])) is not None]
    over_prompts = None
    if len(b) > 1:
        times = Resampling.of(range(len(b)), n=n, seed=seed).times
        over_prompts = percentile(_slope(x[None], shifts(b, a, by, times.astype(float))))
    return Slope(
        value, intercept, percentile(_slope(x[drawn], y[drawn])), over_prompts, spearman(x, y),
        percentile(np.array(ranks)) if ranks else None, len(x), len(b),
    )  # fmt: skip


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Slope and intercept of least squares."""
    slope = float(_slope(x[None], y[None])[0])
    return slope, float(y.mean() - slope * x.mean())


def _slope(x: Floats, y: Floats) -> Floats:
    """The slope of each row, [row]."""
    centred = x - x.mean(1, keepdims=True)
    found: Floats = (centred * y).sum(1) / (centred * centred).sum(1)
    return found
