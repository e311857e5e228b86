"""Every neuron silenced by itself, exactly: the ground truth that cheaper scores are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..models import Model
from ..models.batching import in_batches, rows_within
from ..models.questions import Batch
from ..models.replay import Recording, record, replay
from .base import Locator, Scores, locators, pairs
from .targets import Target, target_of


@locators("ablation")
@dataclass(frozen=True, slots=True)
class Ablation(Locator):
    """How much does the target fall when this neuron alone is silent at the asked position? In the target's unit.

    `score_i = target(clean) − target(w_i = 0)`. One row per neuron, from the recorded state of its block.
    """

    name: ClassVar[str] = "ablation"
    target: str = "probability"

    def __post_init__(self) -> None:
        target_of(self.target)

    def rows_at_once(self, model: Model, tokens: int) -> int:
        """Each asked row becomes one row per neuron; they are batched within."""
        return max(1, rows_within(model, tokens, gradient=False) // max(model.widths))

    def score(self, model: Model, batch: Batch) -> Scores:
        """One clean pass, then each layer's neurons from its recorded block on."""
        target = target_of(self.target)
        clean = record(model, batch)
        spoken = target(clean.logits, batch).double()
        return Scores(tuple(_silence_each(model, clean, layer, target, spoken) for layer in range(len(model.layers))))


@torch.no_grad()
def _silence_each(model: Model, clean: Recording, layer: int, target: Target, spoken: Tensor) -> Tensor:
    w = clean.neurons[layer]
    row, neuron = pairs(len(w), w.shape[1], w.device)
    fallen = torch.empty(len(row), dtype=torch.float64, device=w.device)

    def work(part: Sequence[int]) -> Sequence[int]:
        i = torch.as_tensor(part, device=w.device)

        def change(x: Tensor) -> Tensor:
            return x.scatter(1, neuron[i, None], 0.0)

        said = target(replay(model, clean, layer, row[i], change), clean.batch.take(row[i]))
        fallen[i] = spoken[row[i]] - said.double()
        return part

    in_batches(model, range(len(row)), rows_within(model, clean.batch.tokens, gradient=False), work)
    return fallen.view(w.shape)
