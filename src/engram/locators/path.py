"""The joint path: every layer's activations at the asked position, scaled together from silence to what they are.

The FFN's second map is linear, so along the path it writes `y(α) = b + α·u`, with `u` what the neurons
contribute. A point on the path is a vector of the model's width, the neurons need no gradient of their own, and their
scores are one product with the value slots after the points are summed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ..errors import UnsupportedModel
from ..models import Model, value_slots
from ..models.batching import in_parts, start_bytes
from ..models.recording import Recording
from ..models.replay import Start, replay
from ..models.targets import Target
from ..results import Floats

Items = np.ndarray[tuple[int, int], np.dtype[np.int64]]  # [item, (row, layer, point)]


@dataclass(slots=True, eq=False)
class Points:
    """Points on the path of every row and layer: where they are, and what is known there (NaN, and 0: nothing yet).

    `alpha`, `value` (the target there) and `slope` (its derivative along the path), each [row, layer, point], float64
    on the CPU; `gradient` of the target by what the FFN writes, [row, layer, point, hidden].
    """

    alpha: Floats
    value: Floats
    slope: Floats
    gradient: Tensor

    @property
    def known(self) -> NDArray[np.bool_]:
        """Where was the target's gradient taken? [row, layer, point]."""
        return ~np.isnan(self.value)

    def take(self, columns: Sequence[int]) -> Points:
        """Some of the points, in this order."""
        alpha, value, slope = (x[..., columns] for x in (self.alpha, self.value, self.slope))
        return Points(alpha, value, slope, self.gradient[:, :, columns])

    def and_also(self, more: Points) -> Points:
        """These points, then the others."""
        both = [(self.alpha, more.alpha), (self.value, more.value), (self.slope, more.slope)]
        alpha, value, slope = (np.concatenate(x, -1) for x in both)
        return Points(alpha, value, slope, torch.cat([self.gradient, more.gradient], 2))


@contextmanager
def differentiable(model: Model) -> Iterator[None]:
    """Within the block, a part of the network that has no gradient here is told. Raises UnsupportedModel."""
    try:
        yield
    except NotImplementedError as error:
        used = getattr(model.config, "_attn_implementation", "of its own")
        raise UnsupportedModel(
            f"{model.name} has no gradient on {model.device} ({error}). Its attention is {used!r}: load the network "
            "with attn_implementation='sdpa' or 'eager', or locate with Ablation or Activation, which need none"
        ) from error


class JointPath:
    """The path of every row and layer of a clean pass, for one target."""

    def __init__(self, model: Model, clean: Recording, target: Target) -> None:
        self.model, self.clean, self.target = model, clean, target
        with torch.no_grad():
            maps = [layer.down.forward for layer in model.layers]  # without the hooks of whoever holds a condition
            both = [down(nn.functional.pad(w, (0, 0, 1, 0))) for down, w in zip(maps, clean.neurons, strict=True)]
            self.silent = tuple(x[:1] for x in both)  # [1, hidden]
            self.steps = tuple(x[1:] - x[:1] for x in both)

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows and layers."""
        return len(self.clean.batch), len(self.model.layers)

    def points(self, alpha: Floats, wanted: NDArray[np.bool_] | None = None) -> Points:
        """Points at these α, [row, layer, point]; known where `wanted`, or all of them."""
        points = self.blank(alpha)
        self.know(points, np.ones(alpha.shape, bool) if wanted is None else wanted)
        return points

    def blank(self, alpha: Floats) -> Points:
        """Points at these α, of which nothing is known yet."""
        device, width = self.clean.batch.ids.device, self.steps[0].shape[-1]
        gradient = torch.zeros(*alpha.shape, width, dtype=self.model.precise, device=device)
        return Points(np.asarray(alpha, np.float64), np.full(alpha.shape, np.nan), np.zeros(alpha.shape), gradient)

    def know(self, points: Points, wanted: NDArray[np.bool_]) -> None:
        """Take the gradient at these points, [row, layer, point], unless it is known. α = 1 is one for all layers."""
        alpha, device = points.alpha, points.gradient.device
        value = torch.tensor(points.value, device=device)
        asked = wanted & ~points.known
        row, point, layer = np.nonzero((asked & (alpha != 1)).swapaxes(1, 2))  # a row's layers next to each other
        ends = np.argwhere((asked & (alpha == 1)).any(1))  # as if of a layer below the first
        first = np.stack([ends[:, 0], np.full(len(ends), -1), ends[:, 1]], -1)
        items = np.concatenate([first, np.stack([row, layer, point], -1)])

        def work(part: Sequence[int]) -> Sequence[int]:
            mine = items[list(part)]
            self._walk(mine[mine[:, 1] < 0], mine[mine[:, 1] >= 0], alpha, value, points.gradient)
            return part

        costs = [start_bytes(self.model, self.clean, i) for i in range(self.shape[1])]
        in_parts(self.model, [costs[max(i, 0)] for i in items[:, 1]], work)
        u = torch.stack([x.to(points.gradient) for x in self.steps], 1)
        points.slope = torch.einsum("rlph,rlh->rlp", points.gradient, u).double().cpu().numpy()
        points.value = value.cpu().numpy()

    def _walk(self, clean: Items, items: Items, alpha: Floats, value: Tensor, gradient: Tensor) -> None:
        """One wavefront: the clean state of some rows, tapped at every layer, and points of several layers."""
        starts, taps, places = [], {}, []
        device = value.device
        if len(clean):
            rows = torch.as_tensor(clean[:, 0], device=device)
            starts.append(Start(0, rows, self._written(0, rows, 1.0)))
            shape, wide = (len(rows), gradient.shape[-1]), self.model.precise
            taps = {
                i: torch.zeros(shape, dtype=wide, device=u.device).requires_grad_()
                for i, u in enumerate(self.steps)
                if i > 0
            }
        for layer in np.unique(items[:, 1]):
            mine = items[items[:, 1] == layer]
            rows = torch.as_tensor(mine[:, 0], device=device)
            chosen = torch.as_tensor(alpha[tuple(mine.T)], device=device)
            starts.append(Start(int(layer), rows, self._written(int(layer), rows, chosen)))
            places.append(tuple(torch.as_tensor(x, device=device) for x in mine.T))
        with torch.enable_grad(), differentiable(self.model):
            logits = replay(self.model, self.clean, starts, taps)
            said = self.target(logits, self.clean.batch.take(torch.cat([s.rows for s in starts])))
            slopes = torch.autograd.grad(said.sum(), [*(s.written for s in starts), *taps.values()])
        values = torch.split(said.detach().double().to(device), [len(s.rows) for s in starts])
        if len(clean):
            rows, last = starts[0].rows, torch.as_tensor(clean[:, 2], device=device)
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
        """`w` times what the gradient by what the FFN writes is by its neurons."""
        down, w = self.model.layers[layer].down, self.clean.neurons[layer].detach()
        if type(down) in (nn.Linear, Conv1D):
            slots = value_slots(down)
            by_w = total.to(slots) @ slots.T
        else:  # a map that is wrapped, by an adapter say
            with torch.enable_grad():
                leaf = w.clone().requires_grad_()
                written: Tensor = down.forward(leaf)
                (by_w,) = torch.autograd.grad(written, leaf, total.to(written))
        scores: Tensor = w.double() * by_w.double()
        return scores
