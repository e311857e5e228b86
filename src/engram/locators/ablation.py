"""Every neuron silenced by itself, exactly: the ground truth that cheaper scores are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..models import Model
from ..models.batching import in_parts, prompts_within, start_bytes
from ..models.questions import Batch
from ..models.recording import Recording
from ..models.replay import Start, record, replay
from ..models.targets import Target, target_of
from .base import Locator, Scores, locators, pairs


@locators("ablation")
@dataclass(frozen=True, slots=True)
class Ablation(Locator):
    """How much does the target fall when this neuron alone is silent at the asked position? In the target's unit.

    `score_i = target(clean) − target(w_i = 0)`. One row per neuron, from the recorded state of its block.

    Raises UnknownName for a target that is none of `engram.locators.TARGETS`.

    >>> import engram as eg
    >>> model, prompt = eg.load(), eg.Prompt("The capital of Ireland is [Y].", "Dublin")
    >>> found, = eg.locate(model, prompt, by=Ablation())
    >>> (best, score), = found.best(1)
    >>> clean, silent = eg.ask(model, prompt) + eg.ask(model, prompt, under=eg.suppressed(eg.NeuronSet.of([best])))
    >>> print(best, abs(clean.probability - silent.probability - score) < 1e-5)
    L3.187 True
    """

    name: ClassVar[str] = "ablation"
    target: str = "probability"

    def __post_init__(self) -> None:
        target_of(self.target)

    def rows_at_once(self, model: Model, tokens: int) -> int:
        """Each asked row becomes one row per neuron; they are batched within."""
        return prompts_within(model, tokens)

    def score(self, model: Model, batch: Batch) -> Scores:
        """One clean pass, then each layer's neurons from its recorded block on."""
        target = target_of(self.target)
        clean = record(model, batch)
        spoken = target(clean.logits, batch).double()
        return Scores(tuple(_silence_each(model, clean, layer, target, spoken) for layer in range(len(model.layers))))


@torch.no_grad()
def _silence_each(model: Model, clean: Recording, layer: int, target: Target, spoken: Tensor) -> Tensor:
    w, y, down = clean.neurons[layer], clean.written[layer], model.layers[layer].down
    row, neuron = pairs(len(w), w.shape[1], w.device)
    fallen = torch.empty(len(row), dtype=torch.float64, device=w.device)

    def work(part: Sequence[int]) -> Sequence[int]:
        i = torch.as_tensor(part, device=w.device)
        without = w[row[i]].scatter(1, neuron[i, None], 0.0)
        written = y[row[i]] + down.forward(without) - down.forward(w[row[i]])
        said = target(replay(model, clean, [Start(layer, row[i], written)]), clean.batch.take(row[i]))
        fallen[i] = spoken[row[i]] - said.double()
        return part

    in_parts(model, [start_bytes(model, clean, layer, gradient=False)] * len(row), work)
    return fallen.view(w.shape)
