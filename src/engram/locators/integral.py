"""The integral along the joint path: of a fixed rule, of a published grid from few points, or as far as is needed.

The target is known at every point that the gradient is taken at. Its differences from one point to the next must be the
integrals of its slope there, interpolated by a polynomial through the points: the largest mismatch estimates the error,
and costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..models.poles import poles
from ..results import Floats
from .base import Scores
from .path import JointPath, Points
from .quadrature import Nodes, between, gauss_of, interpolatory, nested, quadrature

ENDS = (0.0, 1.0)
LADDER = (np.array([-1.0, 0.0, 1.0]), *nested())
LENGTHS = (0.3, 0.5)  # of the way in t: where to begin on the ladder
COMPRESSED = (6, 8)  # points, both ends among them
LAST = 32
ROUNDING = 4  # what a number in the network's type is off by, in its epsilons


@dataclass(frozen=True, slots=True)
class Variable:
    """α = centre + width · sinh(t), x the place of t in [−1, 1] between the ends: smooth near the pole of `poles`."""

    centre: Floats  # [row, layer]
    width: Floats

    def t(self, alpha: Floats | float) -> Floats:
        """[row, layer, …] for α [row, layer, …] or one for all."""
        found: Floats = np.arcsinh((np.asarray(alpha) - self.centre[..., None]) / self.width[..., None])
        return found

    def x(self, alpha: Floats | float) -> Floats:
        low, high = self.t(0.0), self.t(1.0)
        return (2 * self.t(alpha) - low - high) / (high - low)

    def alpha(self, x: Floats) -> Floats:
        """And back, [row, layer, point]; the ends are the ends, to the last bit."""
        low, high = self.t(0.0), self.t(1.0)
        t = (low + high + x * (high - low)) / 2
        found = self.centre[..., None] + self.width[..., None] * np.sinh(t)
        return np.where(x == -1, 0.0, np.where(x == 1, 1.0, np.clip(found, 0, 1)))

    def speed(self, alpha: Floats) -> Floats:
        """dα/dx."""
        low, high = self.t(0.0), self.t(1.0)
        pace: Floats = np.hypot(self.width[..., None], alpha - self.centre[..., None]) * (high - low) / 2
        return pace


def fixed(path: JointPath, nodes: Nodes, weights: Nodes) -> Scores:
    """A rule with given nodes, the same for all. Both ends are points too, if need be of weight 0."""
    alpha, weight = _with_ends(nodes, weights)
    points = path.points(np.broadcast_to(alpha, (*path.shape, len(alpha))))
    return _scores(points, path.scores(points, np.broadcast_to(weight, points.alpha.shape)))


def _with_ends(nodes: Nodes, weights: Nodes) -> tuple[Nodes, Nodes]:
    """A rule with both ends among its nodes, if need be with weight 0."""
    alpha = np.unique(np.concatenate([ENDS, nodes]))
    weight = np.zeros(len(alpha))
    weight[np.searchsorted(alpha, nodes)] = weights
    return alpha, weight


def adaptive(path: JointPath, tolerance: float) -> Scores:
    """3, 4 or 7 points to begin with, by the length of the way; where the estimate asks for more, 7, 13, Gauss's 32."""
    variable, every = _variable(path), LADDER[-1]
    length = (variable.t(1.0) - variable.t(0.0))[..., 0]
    rung = np.digitize(length, LENGTHS)
    points = path.points(variable.alpha(every[None, None]), _member(rung, every))
    weight: Floats = np.zeros(points.alpha.shape)
    error: Floats = np.full(path.shape, np.inf)
    open_, beyond = np.ones(path.shape, bool), np.zeros(path.shape, bool)
    speed = variable.speed(points.alpha)
    while True:
        for i in np.unique(rung[open_]):
            x, columns = LADDER[i], np.flatnonzero(np.isin(every, LADDER[i])).tolist()
            here = open_ & (rung == i)
            new = np.zeros(points.alpha.shape)
            new[..., columns] = interpolatory(x) * speed[..., columns]
            weight = np.where(here[..., None], new, weight)
            error = np.where(here, _mismatch(points.take(columns), speed[..., columns], between(x)), error)
        open_ = open_ & (error > _allowed(path, points, scores := path.scores(points, weight), tolerance))
        beyond = beyond | (open_ & (rung == len(LADDER) - 1))
        open_ = open_ & ~beyond
        if not open_.any():
            break
        rung = np.where(open_, np.maximum(rung + 1, 2), rung)
        path.know(points, _member(rung, every) & open_[..., None])
    return _last(path, variable, points, weight, error, beyond) if beyond.any() else _scores(points, scores, error)


def _member(rung: NDArray[np.intp], every: Nodes) -> NDArray[np.bool_]:
    """Which of all points belong to each one's rung of the ladder? [row, layer, point]."""
    found: NDArray[np.bool_] = np.stack([np.isin(every, x) for x in LADDER])[rung]
    return found


def _last(
    path: JointPath, variable: Variable, points: Points, weight: Floats, error: Floats, open_: NDArray[np.bool_]
) -> Scores:
    nodes, weights = quadrature("gauss", LAST)
    x = np.array([-1.0, *(2 * nodes - 1), 1.0])
    more = path.points(variable.alpha(x[None, None, 1:-1]), np.broadcast_to(open_[..., None], (*path.shape, LAST)))
    speed = variable.speed(more.alpha)
    both = points.take([0]).and_also(more).and_also(points.take([-1]))
    error = np.where(open_, _mismatch(both, variable.speed(both.alpha), between(x)), error)
    weight = np.where(open_[..., None], 0.0, weight)
    further = np.where(open_[..., None], 2 * weights * speed, 0.0)
    points = points.and_also(more)
    return _scores(points, path.scores(points, np.concatenate([weight, further], -1)), error)


def compressed(path: JointPath, nodes: Nodes, weights: Nodes, tolerance: float) -> Scores:
    """The sum over a grid from the points of its own Gauss rule; literally where the estimate says that it fails."""
    variable = _variable(path)
    grid = variable.x(np.broadcast_to(nodes, (*path.shape, len(nodes)))).reshape(-1, len(nodes))
    points = path.blank(np.broadcast_to(np.array(ENDS), (*path.shape, 2)))
    weight: Floats = np.zeros(points.alpha.shape)
    error: Floats = np.full(path.shape, np.inf)
    open_ = np.ones(path.shape, bool)
    for count in (n for n in COMPRESSED if n < len(nodes)):
        found = gauss_of(grid, np.broadcast_to(weights, grid.shape), count, (-1.0, 1.0))
        x, rule = (f.reshape(*path.shape, -1) for f in found)
        points, weight = _more(path, points, variable.alpha(x), rule, weight, open_)
        mine = points.take([0, *range(points.alpha.shape[-1] - count + 2, points.alpha.shape[-1]), 1])
        error = np.where(open_, _mismatch(mine, variable.speed(mine.alpha), between(x)), error)
        open_ = open_ & (error > _allowed(path, points, scores := path.scores(points, weight), tolerance))
        if not open_.any():
            return _scores(points, scores, error)
    alpha, rule = _with_ends(nodes, weights)
    shape = (*path.shape, len(alpha))
    points, weight = _more(path, points, np.broadcast_to(alpha, shape), np.broadcast_to(rule, shape), weight, open_)
    return _scores(points, path.scores(points, weight), np.where(open_, 0.0, error))


def _more(
    path: JointPath, points: Points, alpha: Floats, rule: Floats, weight: Floats, open_: NDArray[np.bool_]
) -> tuple[Points, Floats]:
    """Points of another rule, both ends among them, and its weights in place of those so far, where still open.

    The ends are the first two points, known already or not; what is between is put behind.
    """
    inner = alpha[..., 1:-1]
    both = points.and_also(path.blank(inner))
    wanted = np.broadcast_to(open_[..., None], both.alpha.shape).copy()
    wanted[..., 2 : points.alpha.shape[-1]] = False
    path.know(both, wanted)
    new = np.concatenate([rule[..., [0, -1]], np.zeros((*open_.shape, weight.shape[-1] - 2)), rule[..., 1:-1]], -1)
    old = np.concatenate([weight, np.zeros(inner.shape)], -1)
    return both, np.where(open_[..., None], new, old)


def _variable(path: JointPath) -> Variable:
    centre, width = poles(path.model, path.clean, path.steps)
    return Variable(centre.numpy(), width.numpy())


def _mismatch(points: Points, speed: Floats, matrix: Floats) -> Floats:
    """How far are the target's differences from the integrals of its slope? The largest, [row, layer]."""
    integrals = (matrix @ (points.slope * speed)[..., None])[..., 0]
    far: Floats = np.abs(integrals - np.diff(points.value, axis=-1)).max(-1)
    return far


def _allowed(path: JointPath, points: Points, scores: Sequence[Tensor], tolerance: float) -> Floats:
    """How large may the error be? [row, 1]. Not below what rounding makes of the target itself."""
    peak = torch.stack([s.abs().amax(-1).cpu() for s in scores], -1).amax(-1).numpy()
    target = np.nanmax(np.abs(points.value), axis=(1, 2))
    rounding = ROUNDING * torch.finfo(path.model.dtype).eps * target
    allowed: Floats = np.maximum(tolerance * peak, rounding)[:, None]
    return allowed


def _scores(points: Points, scores: tuple[Tensor, ...], error: Floats | None = None) -> Scores:
    silent, clean = (np.nanmax(np.where(points.alpha == end, points.value, np.nan), -1) for end in ENDS)
    change = torch.tensor(clean - silent)
    gap = torch.stack([s.sum(-1).cpu() for s in scores], -1) - change
    return Scores(
        scores, change, gap, None if error is None else torch.tensor(error), torch.tensor(points.known.sum(-1))
    )
