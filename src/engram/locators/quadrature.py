"""Rules for the integral along the path: nodes α in [0, 1] and their weights.

The published sums disagree: the paper's equation 5 is the right sum over k/m for k = 1 … m; its released code
(Hunter-DDM) takes the left sum, k = 0 … m − 1; the replication most people use (EleutherAI) takes m equidistant points
with both ends in, each weighted 1/m, which is neither. All are here by name, beside rules with smaller error.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import BadSetting, UnknownName

RULES = ("right", "left", "linspace", "trapezoid", "midpoint", "gauss")

Nodes = NDArray[np.float64]


def quadrature(rule: str, steps: int) -> tuple[Nodes, Nodes]:
    """Nodes and weights of a rule with `steps` steps; `trapezoid` has steps + 1 nodes, all others `steps`.

    Raises UnknownName, BadSetting.

    >>> nodes, weights = quadrature("right", 4)
    >>> nodes.tolist(), weights.tolist()
    ([0.25, 0.5, 0.75, 1.0], [0.25, 0.25, 0.25, 0.25])
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise BadSetting(f"steps is a whole number from 1 up, not {steps!r}")
    k = np.arange(steps, dtype=np.float64)
    even = np.full(steps, 1 / steps)
    match rule:
        case "right":
            return (k + 1) / steps, even
        case "left":
            return k / steps, even
        case "linspace":
            return np.linspace(0, 1, steps), even
        case "midpoint":
            return (k + 0.5) / steps, even
        case "trapezoid":
            weights = np.full(steps + 1, 1 / steps)
            weights[[0, -1]] /= 2
            return np.linspace(0, 1, steps + 1), weights
        case "gauss":
            nodes, weights = np.polynomial.legendre.leggauss(steps)
            return (nodes + 1) / 2, weights / 2
    raise UnknownName("integration rule", rule, RULES)
