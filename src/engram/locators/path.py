"""The joint path: every layer's activations at the asked position, scaled together from silence to what they are.

The FFN's second map is linear, so along the path it writes `y(α) = b + α·u`, with `u` what the neurons
contribute. A point on the path is a vector of the model's width, the neurons need no gradient of their own, and their
scores are one product with the value slots after the points are summed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..models import Model
from ..models.batching import in_parts, start_bytes
from ..models.recording import Recording
from ..models.replay import Start, replay
from ..results import Floats
from .targets import Target


@dataclass(slots=True, eq=False)
class Points:
    """Points on the path of every row and layer, in the order they were asked for. NaN where none was.

    `alpha`, `value` (the target there) and `slope` (its derivative along the path), each [row, layer, point], float64
    on the CPU; `gradient` of the target by what the FFN writes, [row, layer, point, hidden].
    """

    alpha: Floats
    value: Floats
    slope: Floats
    gradient: Tensor

    def and_also(self, more: Points) -> Points:
        """These points, then the others."""
        both = [(self.alpha, more.alpha), (self.value, more.value), (self.slope, more.slope)]
        alpha, value, slope = (np.concatenate(x, -1) for x in both)
        return Points(alpha, value, slope, torch.cat([self.gradient, more.gradient], 2))

    def take(self, columns: Sequence[int]) -> Points:
        """Some of the points, in this order."""
        alpha, value, slope = (x[..., columns] for x in (self.alpha, self.value, self.slope))
        return Points(alpha, value, slope, self.gradient[:, :, columns])


Items = np.ndarray[tuple[int, int], np.dtype[np.int64]]  # [item, (row, layer, point)]


class JointPath:
    """The path of every row and layer of a clean pass, for one target."""

    def __init__(self, model: Model, clean: Recording, target: Target) -> None:
        self.model, self.clean, self.target = model, clean, target
        with torch.no_grad():
            zeros = [torch.zeros_like(w[:1]) for w in clean.neurons]
            maps = [layer.down.forward for layer in model.layers]  # without the hooks of whoever holds a condition
            self.silent = tuple(down(zero) for down, zero in zip(maps, zeros, strict=True))  # [1, hidden]
            self.steps = tuple(down(w) - b for down, w, b in zip(maps, clean.neurons, self.silent, strict=True))

    def ends(self) -> Points:
        """Silence, α = 0, and the clean state, α = 1, which is one for all layers: two points."""
        rows, layers = len(self.clean.batch), len(self.model.layers)
        return self.at(np.zeros((rows, layers, 1)), clean=True)

    def at(self, alpha: Floats, *, clean: bool = False) -> Points:
        """The points at these α, [row, layer, point]; NaN asks for none. With `clean`, then also α = 1."""
        rows, layers, points = alpha.shape
        device, width = self.clean.batch.ids.device, self.steps[0].shape[-1]
        gradient = torch.zeros(rows, layers, points + clean, width, dtype=self.model.precise, device=device)
        value = torch.full((rows, layers, points + clean), torch.nan, dtype=torch.float64, device=device)
        row, point, layer = np.nonzero(~np.isnan(alpha.swapaxes(1, 2)))  # a row's layers next to each other
        items = np.stack([row, layer, point], -1)
        if clean:  # one for all layers: as if of a layer below the first
            first = np.stack([np.arange(rows), np.full(rows, -1), np.full(rows, points)], -1)
            items = np.concatenate([first, items])

        def work(part: Sequence[int]) -> Sequence[int]:
            mine = items[list(part)]
            self._walk(mine[mine[:, 1] < 0], mine[mine[:, 1] >= 0], alpha, value, gradient)
            return part

        costs = [start_bytes(self.model, self.clean, i) for i in range(layers)]
        in_parts(self.model, [costs[max(i, 0)] for i in items[:, 1]], work)
        u = torch.stack([x.to(gradient) for x in self.steps], 1)
        slope = torch.einsum("rlph,rlh->rlp", gradient, u).double().cpu().numpy()
        known = np.concatenate([alpha, np.ones((rows, layers, 1))], -1) if clean else alpha
        return Points(known, value.cpu().numpy(), slope, gradient)

    def _walk(self, clean: Items, items: Items, alpha: Floats, value: Tensor, gradient: Tensor) -> None:
        """One wavefront: the clean state of some rows, tapped at every layer, and points of several layers."""
        starts, taps, places = [], {}, []
        device = value.device
        if len(clean):
            rows = torch.as_tensor(clean[:, 0], device=device)
            starts.append(Start(0, rows, self._written(0, rows, 1.0)))
            taps = {
                i: torch.zeros_like(self._written(i, rows, 1.0)).requires_grad_() for i in range(1, len(self.steps))
            }
        for layer in np.unique(items[:, 1]):
            mine = items[items[:, 1] == layer]
            rows = torch.as_tensor(mine[:, 0], device=device)
            chosen = torch.as_tensor(alpha[tuple(mine.T)], device=device)
            starts.append(Start(int(layer), rows, self._written(int(layer), rows, chosen)))
            places.append(tuple(torch.as_tensor(x, device=device) for x in mine.T))
        with torch.enable_grad():
            logits = replay(self.model, self.clean, starts, taps)
            said = self.target(logits, self.clean.batch.take(torch.cat([s.rows for s in starts])))
            slopes = torch.autograd.grad(said.sum(), [*(s.written for s in starts), *taps.values()])
        values = torch.split(said.detach().double().to(device), [len(s.rows) for s in starts])
        if len(clean):
            rows, last = starts[0].rows, int(clean[0, 2])
            value[rows, :, last] = values[0][:, None]
            for layer, slope in zip((0, *taps), (slopes[0], *slopes[len(starts) :]), strict=True):
                gradient[rows, layer, last] = slope.to(gradient)
        ours = slice(len(starts) - len(places), len(starts))
        for place, v, slope in zip(places, values[ours], slopes[ours], strict=True):
            value[place] = v
            gradient[place] = slope.to(gradient)

    def _written(self, layer: int, rows: Tensor, alpha: Tensor | float) -> Tensor:
        """What the FFN writes at these α, [n, hidden]: a leaf of its own."""
        u, silent = self.steps[layer], self.silent[layer]
        here = rows.to(u.device)
        share = torch.as_tensor(alpha, dtype=torch.float64, device=u.device).expand(len(rows))[:, None]
        wide = self.model.precise
        written: Tensor = silent.to(wide) + share.to(wide) * u[here].to(wide)
        return written.requires_grad_()

    def scores(self, points: Points, weights: Floats) -> tuple[Tensor, ...]:
        """`w_i · Σ weights · ∂target/∂w_i`, [row, neuron] of every layer, float64; weights [row, layer, point]."""
        total = torch.einsum("rlph,rlp->rlh", points.gradient, torch.tensor(weights).to(points.gradient))
        return tuple(self._by_neuron(i, total[:, i]) for i in range(len(self.steps)))

    def _by_neuron(self, layer: int, total: Tensor) -> Tensor:
        down, w = self.model.layers[layer].down, self.clean.neurons[layer].detach()
        with torch.enable_grad():
            w = w.clone().requires_grad_()
            written: Tensor = down.forward(w)
            (by_w,) = torch.autograd.grad(written, w, total.to(written))
        scores: Tensor = w.detach().double() * by_w.double()
        return scores
