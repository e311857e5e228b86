"""Perplexity of many answers from sums over facts, and how it grew."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..results import Floats
from .changes import Mean


def weighted(x: ArrayLike, weights: ArrayLike, mean: Mean = np.mean) -> Floats:
    """The sum of x over the sum of the weights: a mean over prompts, from sums over each fact's prompts.

    >>> float(weighted([3.0, 1.0], [2, 2]))
    1.0
    """
    return np.asarray(mean(np.asarray(x, float)) / mean(np.asarray(weights, float)))


def perplexity(x: ArrayLike, weights: ArrayLike, mean: Mean = np.mean) -> Floats:
    """exp of the mean −ln P."""
    return np.asarray(np.exp(weighted(x, weights, mean)))


def growth(x: ArrayLike, weights: ArrayLike, mean: Mean = np.mean) -> Floats:
    """Of mean changes of −ln P: by which part did perplexity grow? On relations, the geometric mean of the factors.

    >>> import math
    >>> round(float(growth([2 * math.log(3), 0.0], [2, 2])), 3)  # tripled at two prompts, the same at two others
    0.732
    """
    return np.asarray(np.expm1(weighted(x, weights, mean)))
