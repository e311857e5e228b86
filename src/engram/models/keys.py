"""The keys of some layers, read and summed up: what goes into an FFN's second map, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

from ..errors import HookDidNotFire, NotFinite
from ..results import Floats
from . import hooks
from .batching import Progress, by_shape, in_batches, rows_within
from .model import Model
from .questions import Batch
from .windows import Window

STRIP = 512  # neurons: a sum of k·kᵀ is symmetric, and computed in strips from its diagonal on


class _Enough(Exception):
    """The topmost layer asked about was seen: what is above need not run."""


class Sums:
    """Σ k·kᵀ of some layers, row after row: a row that is run again, for want of memory, is not added again.

    One pass serves all of them and goes no further than the topmost. Products and sums are float64.

    >>> import engram as eg
    >>> sums = Sums(eg.load("engram:causal"), [1])
    >>> sums.read([Window((5, 6, 7), (0, 1, 2))], None)
    >>> sums.mean(1, 3).shape
    (256, 256)
    """

    def __init__(self, model: Model, wanted: Sequence[int]) -> None:
        self.model, self.wanted = model, wanted
        self.sums: dict[int, Tensor] = {}
        self.done: dict[int, int] = {}  # rows of this group added to the layer's sum
        self.first, self.counted = 0, torch.zeros(0, 0, dtype=torch.bool)  # of the rows under way: [row, position]

    def read(self, cut: Sequence[Window], progress: Progress | None) -> None:
        """Add the keys of all windows. Raises NotFinite, HookDidNotFire, OutOfMemory."""
        whole, read = sum(len(w.counted) for w in cut), 0
        changes = {i: self._change(i) for i in self.wanted}
        with torch.no_grad(), hooks.quiet(self.model.net), hooks.rewriting(self.model.net, self.model.layers, changes):
            for group in by_shape([(len(w), 0) for w in cut]):
                self.done = dict.fromkeys(self.wanted, 0)
                size = rows_within(self.model, len(cut[group[0]]), gradient=False)
                for at in range(0, len(group), size):  # so that progress is told of every batch
                    numbered = list(enumerate((cut[i] for i in group[at : at + size]), at))
                    in_batches(self.model, numbered, size, self._pass)
                    read += sum(len(w.counted) for _, w in numbered)
                    if progress is not None:
                        progress(read, whole)

    def mean(self, layer: int, count: int) -> Floats:
        """C [neuron, neuron]; the sum is given up."""
        upper = self.sums.pop(layer).cpu().triu_().div_(count)
        found: Floats = upper.add_(upper.triu(1).T).numpy()
        return found

    def _pass(self, part: Sequence[tuple[int, Window]]) -> Sequence[None]:
        self.first = part[0][0]
        self.counted = torch.zeros(len(part), len(part[0][1]), dtype=torch.bool)
        for row, (_, window) in enumerate(part):
            self.counted[row, list(window.counted)] = True
        ids = torch.tensor([w.ids for _, w in part], device=self.model.device)
        nothing = torch.zeros(len(part), dtype=torch.long, device=ids.device)
        with suppress(_Enough):
            self.model.logits(Batch(ids, nothing, nothing))
        if missed := [i for i in self.wanted if self.done[i] <= part[-1][0]]:
            raise HookDidNotFire(f"the network never passed {self.model.layers[missed[0]].path} (layer {missed[0]})")
        return [None] * len(part)

    def _change(self, layer: int) -> hooks.Change:
        def look(x: Tensor) -> Tensor:
            fresh = self.counted.clone()
            fresh[: max(0, self.done[layer] - self.first)] = False
            if bool(fresh.any()):
                self._add(layer, x[fresh.to(x.device)])
            self.done[layer] = max(self.done[layer], self.first + len(fresh))
            if layer == self.wanted[-1]:
                raise _Enough
            return x

        return look

    def _add(self, layer: int, keys: Tensor) -> None:
        """Keys [key, neuron]."""
        keys = (keys.cpu() if keys.device.type == "mps" else keys).to(torch.float64)  # mps has no float64
        if not bool(keys.sum().isfinite()):
            raise NotFinite(
                f"the neurons of layer {layer} of {self.model.name} are NaN or infinite. Are the weights whole, and is "
                f"{self.model.dtype} wide enough for this model?"
            )
        width = keys.shape[1]
        if layer not in self.sums:
            self.sums[layer] = torch.zeros(width, width, dtype=torch.float64, device=keys.device)
        for a in range(0, width, STRIP):
            self.sums[layer][a : a + STRIP, a:].addmm_(keys[:, a : a + STRIP].T, keys[:, a:])
