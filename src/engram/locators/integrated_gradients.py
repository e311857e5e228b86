"""Knowledge attribution of Dai et al. (2022), equations 4 and 5: integrated gradients over FFN activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import UnknownName
from ..models import Model
from ..models.batching import in_batches, rows_within
from ..models.questions import Batch
from ..models.replay import Recording, record, replay
from ..presets import FROM_PRESET, fill
from .base import Locator, Scores, locators, pairs
from .quadrature import quadrature
from .targets import Target, target_of

PRESETS = {
    "paper": {"rule": "right", "steps": 20},
    "hunter": {"rule": "left", "steps": 20},
    "eleuther": {"rule": "linspace", "steps": 20},
}
PATHS = ("joint", "neuron")


@locators("integrated_gradients")
@dataclass(frozen=True, slots=True)
class IntegratedGradients(Locator):
    """How much of the answer's probability does each neuron contribute, from silence to its own value?

    `path="joint"` scales all neurons of a layer at the asked position together, as every published code does:
    `score_i = w_i · Σ_k c_k ∂target(α_k w)/∂w_i`, and a layer's scores add up to the change of the target when the
    layer falls silent there. `path="neuron"` is equation 5 to the letter, one neuron at a time, the others at their own
    values: dear (every neuron × every node is a row), and in the limit equal to `Ablation`.

    `rule` and `steps` are those of `quadrature`; `preset` names a published choice: "paper" (right, 20), "hunter" (the
    released code: left, 20), "eleuther" (linspace, 20). `target`: probability (the papers'), logprob, logit,
    logit_difference. A setting that is given wins over the preset. Each layer starts from the recorded state of its
    own block; no block below is run. Raises UnknownName, BadSetting.

    >>> IntegratedGradients(preset="hunter").rule
    'left'
    """

    name: ClassVar[str] = "integrated_gradients"
    steps: int = FROM_PRESET
    rule: str = FROM_PRESET
    path: Literal["joint", "neuron"] = "joint"
    target: str = "probability"
    preset: str | None = None

    def __post_init__(self) -> None:
        fill(self, self.preset, PRESETS)
        if self.path not in PATHS:
            raise UnknownName("path", str(self.path), PATHS)
        quadrature(self.rule, self.steps)
        target_of(self.target)

    def rows_at_once(self, model: Model, tokens: int) -> int:
        """Nodes × rows fill one batch."""
        return rows_within(model, tokens, gradient=True) // (self.steps + 1)

    def score(self, model: Model, batch: Batch) -> Scores:
        """One clean pass, then each layer's nodes from its recorded block on."""
        target = target_of(self.target)
        clean = record(model, batch)
        spoken = target(clean.logits, batch).double()
        along = _along_layer if self.path == "joint" else _along_neurons
        scores, change, gap = [], [], []
        for layer in range(len(model.layers)):
            attributed, fallen = along(model, clean, layer, target, spoken, *quadrature(self.rule, self.steps))
            scores.append(attributed)
            change.append(fallen)
            gap.append(attributed.sum(-1) - fallen)
        return Scores(tuple(scores), torch.stack(change, -1), torch.stack(gap, -1))


Nodes = np.ndarray[tuple[int], np.dtype[np.float64]]
Along = tuple[Tensor, Tensor]  # scores [row, neuron], what they must add up to [row]


def _along_layer(
    model: Model, clean: Recording, layer: int, target: Target, spoken: Tensor, nodes: Nodes, weights: Nodes
) -> Along:
    """All neurons of the layer from nothing to what they are, together."""
    w = clean.neurons[layer]
    alpha, weight = _with_silence(nodes, weights, w)
    row, node = pairs(len(w), len(alpha), w.device)
    total = torch.zeros(w.shape, dtype=torch.float64, device=w.device)
    value = torch.empty(len(row), dtype=torch.float64, device=w.device)

    def work(part: Sequence[int]) -> Sequence[int]:
        i = torch.as_tensor(part, device=w.device)
        scaled = (alpha[node[i], None] * w[row[i]]).requires_grad_()
        said = target(replay(model, clean, layer, row[i], lambda _x: scaled), clean.batch.take(row[i]))
        (slope,) = torch.autograd.grad(said.sum(), scaled)
        value[i] = said.detach().double()
        total.index_add_(0, row[i], slope.double() * weight[node[i], None])
        return part

    in_batches(model, range(len(row)), rows_within(model, clean.batch.tokens, gradient=True), work)
    return w.double() * total, spoken - value.view(len(w), -1)[:, -1]


def _along_neurons(
    model: Model, clean: Recording, layer: int, target: Target, spoken: Tensor, nodes: Nodes, weights: Nodes
) -> Along:
    """Each neuron of the layer by itself, the others at their own values."""
    w = clean.neurons[layer]
    alpha, weight = _with_silence(nodes, weights, w)
    row, rest = pairs(len(w), w.shape[1] * len(alpha), w.device)
    neuron, node = rest // len(alpha), rest % len(alpha)
    total = torch.zeros(w.shape, dtype=torch.float64, device=w.device)
    fallen = torch.zeros(len(w), dtype=torch.float64, device=w.device)

    def work(part: Sequence[int]) -> Sequence[int]:
        i = torch.as_tensor(part, device=w.device)
        scaled = (alpha[node[i]] * w[row[i], neuron[i]]).requires_grad_()
        here = torch.arange(len(i), device=w.device)

        def change(x: Tensor) -> Tensor:
            return x.index_put((here, neuron[i]), scaled.to(x.dtype))

        said = target(replay(model, clean, layer, row[i], change), clean.batch.take(row[i]))
        (slope,) = torch.autograd.grad(said.sum(), scaled)
        total.index_put_((row[i], neuron[i]), slope.double() * weight[node[i]], accumulate=True)
        silent = node[i] == len(alpha) - 1
        fallen.index_add_(0, row[i][silent], (spoken[row[i]] - said.detach().double())[silent])
        return part

    in_batches(model, range(len(row)), rows_within(model, clean.batch.tokens, gradient=True), work)
    return w.double() * total, fallen


def _with_silence(nodes: Nodes, weights: Nodes, w: Tensor) -> tuple[Tensor, Tensor]:
    """The rule's nodes and, last and without weight, α = 0: what the scores must add up to is measured there."""
    alpha = torch.tensor([*nodes, 0.0], dtype=w.dtype, device=w.device)
    return alpha, torch.tensor([*weights, 0.0], dtype=torch.float64, device=w.device)
