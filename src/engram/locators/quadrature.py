"""Rules for the integral along the path: nodes α in [0, 1] and their weights.

The published sums disagree: the paper's equation 5 is the right sum over k/m for k = 1 … m; its released code
(Hunter-DDM) takes the left sum, k = 0 … m − 1; the replication most people use (EleutherAI) takes m equidistant points
with both ends in, each weighted 1/m, which is neither. All are here by name, beside rules with smaller error: Gauss's,
Radau's (one node is the end α = 1) and Lobatto's (both ends are nodes).
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from ..errors import BadSetting, UnknownName
from ..results import Floats

RULES = ("right", "left", "linspace", "trapezoid", "midpoint", "gauss", "radau", "lobatto")
"""The rules of `quadrature`: right, left and linspace are published sums; the others are what textbooks call them."""
PUBLISHED = ("right", "left", "linspace")

Nodes = NDArray[np.float64]


def quadrature(rule: str, steps: int) -> tuple[Nodes, Nodes]:
    """Nodes and weights of a rule with `steps` steps; `trapezoid` has steps + 1 nodes, all others `steps`.

    `gauss` is exact for polynomials of degree 2·steps − 1, `radau` of one degree less, `lobatto` of two.
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
            nodes, weights = legendre.leggauss(steps)
            return (nodes + 1) / 2, weights / 2
        case "radau":
            return _of_the_line(steps, (1.0,)) if steps > 1 else (np.ones(1), np.ones(1))
        case "lobatto":
            if steps < 2:
                raise BadSetting("lobatto has both ends for nodes: it takes at least 2 steps")
            return _of_the_line(steps, (0.0, 1.0)) if steps > 2 else (np.array([0.0, 1.0]), np.full(2, 0.5))
    raise UnknownName("integration rule", rule, RULES)


def _of_the_line(points: int, fixed: tuple[float, ...]) -> tuple[Nodes, Nodes]:
    """The Gauss rule of [0, 1] with some nodes given: that of a finer Gauss rule's own measure."""
    nodes, weights = legendre.leggauss(points + 4)
    found, weight = gauss_of(((nodes + 1) / 2)[None], (weights / 2)[None], points, fixed)
    return found[0], weight[0]


def gauss_of(nodes: Floats, weights: Floats, points: int, fixed: tuple[float, ...] = ()) -> tuple[Nodes, Nodes]:
    """The rules with few `points` that give what the sums Σ weights·f(nodes) give, for polynomials f.

    A sum over a grid is a measure, and has a Gauss rule of its own: exact for polynomials of degree 2·points − 1, less
    one for each node in `fixed` (0, 1 or 2 of them, at or beyond the ends of the grid). `nodes` and `weights` [sum,
    node] hold as many sums as wanted. Returns nodes, in order, and weights, each [sum, point]. After Golub & Welsch
    (1969), by Lanczos's recurrence; fixed nodes after Golub (1973).
    """
    a, b = _lanczos(nodes, weights, points)
    n = points - 1
    if len(fixed) == points:
        raise ValueError("a rule needs a node that is free")
    if len(fixed) == 1:
        a[:, n] = fixed[0] + b[:, n - 1] ** 2 * _last_of_inverse(a[:, :n], b[:, : n - 1], fixed[0])
    elif len(fixed) == 2:
        low, high = (_last_of_inverse(a[:, :n], b[:, : n - 1], end) for end in fixed)
        square = (fixed[1] - fixed[0]) / (low - high)
        a[:, n] = fixed[0] + square * low
        b[:, n - 1] = np.sqrt(square)
    jacobi = np.zeros((len(a), points, points))
    i = np.arange(points)
    jacobi[:, i, i] = a
    jacobi[:, i[1:], i[:-1]] = b[:, :n]
    found, vectors = np.linalg.eigh(jacobi)  # reads the lower triangle
    for end in fixed:  # to the last bit
        found[np.arange(len(found)), np.abs(found - end).argmin(-1)] = end
    return found, weights.sum(-1, keepdims=True) * vectors[:, 0] ** 2


def _lanczos(nodes: Floats, weights: Floats, steps: int) -> tuple[Nodes, Nodes]:
    """The recurrence of a measure's orthogonal polynomials: a [sum, steps], b [sum, steps − 1]."""
    basis = [np.sqrt(weights / weights.sum(-1, keepdims=True))]
    a = np.empty((len(nodes), steps))
    b = np.empty((len(nodes), max(steps - 1, 0)))
    for j in range(steps):
        rest = nodes * basis[j]
        a[:, j] = (rest * basis[j]).sum(-1)
        for _ in range(2):  # once more, for what rounding leaves
            for one in basis:
                rest -= (rest * one).sum(-1, keepdims=True) * one
        if j < steps - 1:
            b[:, j] = np.sqrt((rest**2).sum(-1))
            basis.append(rest / b[:, j, None])
    return a, b


def _last_of_inverse(a: Nodes, b: Nodes, at: float) -> Nodes:
    """The last entry of (J − at)⁻¹ for the tridiagonal J of a and b: [sum]."""
    pivot = a[:, 0] - at
    for j in range(1, a.shape[1]):
        pivot = a[:, j] - at - b[:, j - 1] ** 2 / pivot
    inverse: Nodes = 1 / pivot
    return inverse


_B, _A = np.sqrt(1 / 5), np.sqrt(2 / 3)
_X = (0.942882415695480, 0.641853342345781, 0.236383199662150)  # Gander & Gautschi (2000), adaptlob


@functools.cache
def nested() -> tuple[Nodes, ...]:
    """Node sets on [−1, 1], each holding the one before: Lobatto's 4, and its extensions after Kronrod to 7 and 13."""
    four = [-1.0, -_B, _B, 1.0]
    seven = [*four, -_A, 0.0, _A]
    return tuple(np.sort(np.array(x)) for x in (four, seven, [*seven, *_X, *(-x for x in _X)]))


def interpolatory(nodes: Floats) -> Nodes:
    """The weights on [−1, 1] that integrate every polynomial through these nodes [..., node]."""
    inverse = np.linalg.inv(legendre.legvander(nodes, nodes.shape[-1] - 1).astype(np.float64))
    return np.asarray(2 * inverse[..., 0, :], np.float64)


def between(nodes: Floats) -> Nodes:
    """The integrals, from each node in [−1, 1] to the next, of the polynomial through values at the nodes.

    Matrices [..., node − 1, node] to be multiplied with the values.
    """
    n = nodes.shape[-1]
    vander = legendre.legvander(nodes, n)
    j = np.arange(1, n)
    antiderivative = np.concatenate([nodes[..., None], (vander[..., 2:] - vander[..., :-2]) / (2 * j + 1)], -1)
    matrix = np.diff(antiderivative, axis=-2) @ np.linalg.inv(vander[..., :-1])
    return np.asarray(matrix, np.float64)
