"""The integral along the joint path: of a fixed rule, of a published grid from few points, or as far as is needed.

The target is known at every point that the gradient is taken at. Its differences from one point to the next must be the
integrals of its slope there, interpolated by a polynomial through the points: the largest mismatch estimates the error,
and costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..models.poles import poles
from ..results import Floats
from .base import Scores
from .path import JointPath, Points
from .quadrature import Nodes, between, gauss_of, interpolatory, nested, quadrature

ENDS = (0.0, 1.0)
COMPRESSED = (4, 6)  # free points, beside both ends
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
    """A rule with given nodes, the same for all."""
    inner = (nodes > 0) & (nodes < 1)
    rows, layers = len(path.clean.batch), len(path.steps)
    points = path.ends().and_also(path.at(np.broadcast_to(nodes[inner], (rows, layers, int(inner.sum())))))
    weight = np.array([weights[nodes == 0].sum(), weights[nodes == 1].sum(), *weights[inner]])
    return _scores(path, points, np.broadcast_to(weight, points.alpha.shape))


def adaptive(path: JointPath, tolerance: float) -> Scores:
    """Lobatto's 4 points; where the estimate asks for more, Kronrod's extensions to 7 and 13; then Gauss's 32."""
    variable = _variable(path)
    points = path.ends()
    x = np.array([-1.0, 1.0])
    open_ = np.ones(points.alpha.shape[:2], bool)
    weight = np.zeros(points.alpha.shape)
    error = np.full(open_.shape, np.inf)
    for wanted in nested():
        fresh = np.array([one for one in wanted if not np.isclose(one, x).any()])
        points = points.and_also(path.at(_where(open_, variable.alpha(fresh[None, None]))))
        x = np.concatenate([x, fresh])
        order = np.argsort(x).tolist()
        mine = points.take(order)
        speed = variable.speed(mine.alpha)
        new = np.zeros(points.alpha.shape)
        new[..., order] = interpolatory(x[order]) * speed
        weight = np.where(open_[..., None], new, np.pad(weight, [(0, 0), (0, 0), (0, len(fresh))]))
        error = np.where(open_, _mismatch(mine, speed, between(x[order])), error)
        open_ &= error > _allowed(path, points, weight, tolerance)
        if not open_.any():
            return _scores(path, points, weight, error)
    return _last(path, variable, points, weight, error, open_)


def _last(path: JointPath, variable: Variable, points: Points, weight: Floats, error: Floats, open_: Floats) -> Scores:
    nodes, weights = quadrature("gauss", LAST)
    x = 2 * nodes - 1
    more = path.at(_where(open_, variable.alpha(x[None, None])))
    weight = np.where(open_[..., None], 0.0, weight)
    more_weight = np.where(open_[..., None], 2 * weights * variable.speed(more.alpha), 0.0)
    both = points.take([0]).and_also(more).and_also(points.take([1]))
    everywhere = np.array([-1.0, *x, 1.0])
    better = _mismatch(both, variable.speed(both.alpha), between(everywhere))
    joined = np.nan_to_num(np.concatenate([weight, more_weight], -1))
    return _scores(path, points.and_also(more), joined, np.where(open_, better, error))


def compressed(path: JointPath, nodes: Nodes, weights: Nodes, tolerance: float) -> Scores:
    """The sum over a grid from the points of its own Gauss rule; literally where the estimate says that it fails."""
    variable = _variable(path)
    ends = points = path.ends()
    open_ = np.ones(ends.alpha.shape[:2], bool)
    weight: Floats = np.zeros(ends.alpha.shape)
    error: Floats = np.full(open_.shape, np.inf)
    grid = variable.x(np.broadcast_to(nodes, (*open_.shape, len(nodes)))).reshape(-1, len(nodes))
    for free in COMPRESSED:
        if free + len(ENDS) >= len(nodes):
            break
        found = gauss_of(grid, np.broadcast_to(weights, grid.shape), free + len(ENDS), (-1.0, 1.0))
        x, rule = (f.reshape(*open_.shape, -1) for f in found)
        more = path.at(_where(open_, variable.alpha(x[..., 1:-1])))
        both = ends.take([0]).and_also(more).and_also(ends.take([1]))
        weight = _replaced(weight, open_, rule)
        points = points.and_also(more)
        error = np.where(open_, _mismatch(both, variable.speed(both.alpha), between(x)), error)
        open_ = open_ & (error > _allowed(path, points, weight, tolerance))
        if not open_.any():
            return _scores(path, points, weight, error)
    inner = (nodes > 0) & (nodes < 1)
    more = path.at(_where(open_, np.broadcast_to(nodes[inner], (*open_.shape, int(inner.sum())))))
    rule = np.array([weights[nodes == 0].sum(), *weights[inner], weights[nodes == 1].sum()])
    weight = _replaced(weight, open_, np.broadcast_to(rule, (*open_.shape, len(rule))))
    return _scores(path, points.and_also(more), weight, np.where(open_, 0.0, error))


def _replaced(weight: Floats, open_: Floats, rule: Floats) -> Floats:
    """Weights [row, layer, point], with those of new points, [both ends and what is between], where still open."""
    new = np.concatenate([rule[..., [0, -1]], np.zeros((*open_.shape, weight.shape[-1] - 2)), rule[..., 1:-1]], -1)
    return np.where(open_[..., None], new, np.pad(weight, [(0, 0), (0, 0), (0, rule.shape[-1] - 2)]))


def _variable(path: JointPath) -> Variable:
    centre, width = poles(path.model, path.clean, path.steps)
    return Variable(centre.numpy(), width.numpy())


def _where(open_: Floats, alpha: Floats) -> Floats:
    """α [row, layer, point] where the layer is still open, NaN elsewhere."""
    return np.where(open_[..., None], alpha, np.nan)


def _mismatch(points: Points, speed: Floats, matrix: Floats) -> Floats:
    """How far are the target's differences from the integrals of its slope? The largest, [row, layer]."""
    integrals = (matrix @ (points.slope * speed)[..., None])[..., 0]
    far: Floats = np.abs(integrals - np.diff(points.value, axis=-1)).max(-1)
    return far


def _allowed(path: JointPath, points: Points, weight: Floats, tolerance: float) -> Floats:
    """How large may the error be? [row, 1]. Not below what rounding makes of the target itself."""
    scores = path.scores(points, np.nan_to_num(weight))
    peak = torch.stack([s.abs().amax(-1) for s in scores], -1).amax(-1).cpu().numpy()
    rounding = ROUNDING * torch.finfo(path.model.dtype).eps * np.abs(points.value[:, 0, 1])
    allowed: Floats = np.maximum(tolerance * peak, rounding)[:, None]
    return allowed


def _scores(path: JointPath, points: Points, weight: Floats, error: Floats | None = None) -> Scores:
    scores = path.scores(points, weight)
    change = torch.tensor(points.value[..., 1] - points.value[..., 0])
    gap = torch.stack([s.sum(-1).cpu() for s in scores], -1) - change
    used = torch.tensor((~np.isnan(points.alpha)).sum(-1))
    return Scores(scores, change, gap, None if error is None else torch.tensor(error), used)
