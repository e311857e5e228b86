"""Has a model come to harm? Ordinary text that surprises it more, and weights that grow (Yang et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..results import Floats, Score
from .changes import Mean
from .intervals import bootstrap

LIMIT = 1.5  # times the perplexity of before: past it, an alarm


def ratio(before: Floats, after: Floats, weights: Floats, mean: Mean = np.mean) -> Floats:
    """Perplexity after, over perplexity before, of texts with so many tokens.

    >>> import math
    >>> float(ratio(np.array([0.0]), np.array([math.log(2)]), np.array([5])))
    2.0
    """
    shift = mean((np.asarray(after) - np.asarray(before)) * weights) / mean(np.asarray(weights, float))
    return np.asarray(np.exp(shift))


def told(before: Sequence[Sequence[float]], after: Sequence[Sequence[float]], kind: str) -> tuple[Score, ...]:
    """Perplexity before, after, and their ratio, from −ln P of the tokens of texts; 95 % bootstraps over texts."""
    tokens = np.array([len(x) for x in before], float)
    one, other = (np.array([np.mean(x) for x in each]) for each in (before, after))
    named = list(range(len(tokens)))

    def perplexity(x: Floats, weights: Floats, mean: Mean = np.mean) -> Floats:
        return np.asarray(np.exp(mean(x * weights) / mean(weights)))

    return (
        *(
            Score(f"{kind} {when}", float(perplexity(x, tokens)), len(tokens), kind, "neither",
                  bootstrap(perplexity, [x, tokens], named))
            for when, x in (("before", one), ("after", other))
        ),
        Score(f"{kind}: ratio", float(ratio(one, other, tokens)), len(tokens), "ratio", "lower",
              bootstrap(ratio, [one, other, tokens], named)),
    )  # fmt: skip


def alarm(perplexity: float, norm: float = 0.0, *, limit: float = LIMIT) -> str | None:
    """What is wrong, in words; None where nothing is.

    `perplexity` is that of ordinary text over what it was before, `norm` the size of the change over the weight's.

    >>> alarm(1.02, 0.1) is None, alarm(3.0)
    (True, 'ordinary text: perplexity is 3.0 times what it was')
    >>> alarm(float("nan"))
    'ordinary text: perplexity is not a number any more'
    """
    if not np.isfinite(perplexity):
        return "ordinary text: perplexity is not a number any more"
    if perplexity > limit:
        return f"ordinary text: perplexity is {perplexity:.1f} times what it was"
    if norm > 1:
        return f"the change is {norm:.1f} times as large as the weight it changes"
    return None
