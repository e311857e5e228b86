"""Rows that differ from some layer on only: what is below it is run once for those that read the same."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from . import detours, hooks
from .model import Model
from .questions import Batch


class _Enough(Exception):
    """The last block that is wanted was run."""


def running_on(
    model: Model, batch: Batch, starts: Sequence[int]
) -> Iterator[tuple[list[int], AbstractContextManager[None]]]:
    """In which parts, and each from where, is this batch run with the least work? Numbers of rows, and a context.

    `starts` says of each row the first layer in which it differs by more than what it reads; the number of layers where
    in none. Within its context, a pass over the rows of a part begins at that layer: below it, rows that read the same
    were run once. All rows in one part, and from the bottom, where that is no more work, and in models of two stacks or
    of layers that share a block.
    """
    first, own = _distinct(batch)
    layers, blocks = len(model.layers), [x.block for x in model.layers]
    top = max((s for s in starts if s < layers), default=0)
    begin = [min(s, top) for s in starts]
    shared = len(first) * top + sum(layers - s for s in begin)
    if shared >= len(begin) * layers or batch.decoder is not None or len(set(blocks)) < layers:
        yield list(range(len(begin))), nullcontext()
        return
    left = _left(model, batch.take(first), {s - 1 for s in begin if s})
    for start in sorted(set(begin)):
        rows = [i for i, s in enumerate(begin) if s == start]
        yield rows, _from(model, start, left, own[rows], len(first)) if start else nullcontext()


@contextmanager
def _from(model: Model, layer: int, left: Mapping[int, Any], rows: Tensor, of: int) -> Iterator[None]:
    """Within the block a pass begins at the layer, from what the one below gave out for these of the rows."""

    def chosen(x: Tensor) -> Tensor:
        return x.index_select(0, rows.to(x.device)) if x.ndim and len(x) == of else x

    below = hooks.map_tensors(left[layer - 1], chosen)  # blocks further down lead nowhere: this one gives it whole
    with detours.skipping(model.net, model.layers, layer, [below] * layer):
        yield


def _distinct(batch: Batch) -> tuple[Tensor, Tensor]:
    """Rows that read something of their own, and which of them each row reads. [distinct], [row]"""
    seen: dict[tuple[int, ...], int] = {}
    own = [seen.setdefault(tuple(ids), len(seen)) for ids in batch.ids.tolist()]
    first = [own.index(i) for i in range(len(seen))]
    return torch.tensor(first, device=batch.ids.device), torch.tensor(own)


def _left(model: Model, batch: Batch, layers: Collection[int]) -> dict[int, Any]:
    """What the blocks of these layers give out. Nothing behind the last of them is run."""
    found: dict[int, Any] = {}

    def keeping(layer: int, run: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            out = run(*args, **kwargs)
            found[layer] = hooks.map_tensors(out, lambda x: x.clone())  # some networks add to their tensors in place
            if layer == max(layers):
                raise _Enough
            return out

        return forward

    blocks = {model.layers[i].block: i for i in layers}
    with detours.instead({b: keeping(i, b.forward) for b, i in blocks.items()}), hooks.asking(batch.asked):
        try:
            model.net(**batch.inputs, **model.uncached)
        except _Enough:
            return found
    raise RuntimeError(f"the network never called its block {max(layers)}")
