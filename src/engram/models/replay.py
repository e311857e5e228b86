"""Run a network again from block `l` on, with its own blocks, from what a clean pass recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import hooks
from .model import Model
from .questions import Batch


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A clean pass: what each block gave out, the neurons at the asked position [row, neuron] per layer, the logits."""

    batch: Batch
    outputs: tuple[Any, ...]
    neurons: tuple[Tensor, ...]
    logits: Tensor


def record(model: Model, batch: Batch) -> Recording:
    """One clean pass, without gradients."""
    with torch.no_grad(), hooks.recording(model.net, model.layers) as (outputs, neurons):
        logits = model.logits(batch)
    here = torch.arange(len(batch), device=logits.device)
    at = batch.asked.at
    rows = [n[here.to(n.device), at[x.side].to(n.device)] for n, x in zip(neurons, model.layers, strict=True)]
    return Recording(batch, tuple(outputs), tuple(rows), logits)


def replay(model: Model, clean: Recording, layer: int, index: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """What would the rows `index` of the recording say, were the neurons of `layer` at the asked position changed?

    `change` gets the neurons there, [len(index), neuron], and gives what they are to be. No block below `layer` is
    run. Returns the logits at the asked position, [len(index), vocabulary]; differentiable in what `change` gives.
    """
    rows = len(clean.batch)
    batch = clean.batch.take(index)

    def taken(x: Tensor) -> Tensor:
        return x.index_select(0, index.to(x.device)) if x.ndim and x.shape[0] == rows else x

    below = [hooks.map_tensors(out, taken) for out in clean.outputs[:layer]]
    side = model.layers[layer].side
    at = batch.asked.at[side]
    here = torch.arange(len(index), device=at.device)

    def put(x: Tensor) -> Tensor:
        i, j = here.to(x.device), at.to(x.device)
        x[i, j] = change(x[i, j]).to(x.dtype)
        return x

    with (
        hooks.skipping(model.net, model.layers, layer, below),
        hooks.rewriting(model.net, model.layers, {layer: put}),
    ):
        return model.logits(batch)
