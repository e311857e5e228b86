"""Knowledge attribution of Dai et al. (2022), equations 4 and 5: integrated gradients over FFN activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..errors import BadSetting, UnknownName
from ..models import Model
from ..models.batching import in_parts, prompts_within, start_bytes
from ..models.questions import Batch
from ..models.recording import Recording
from ..models.replay import Start, record, replay
from ..models.targets import Target, target_of
from ..presets import FROM_PRESET, fill
from . import integral
from .base import Locator, Scores, locators, pairs
from .path import JointPath, differentiable
from .quadrature import PUBLISHED, Nodes, quadrature

PRESETS = {
    "paper": {"rule": "right", "steps": 20},
    "hunter": {"rule": "left", "steps": 20},
    "eleuther": {"rule": "linspace", "steps": 20},
}
PATHS = ("joint", "neuron")
GRIDS = ("literal", "compressed")


@locators("integrated_gradients")
@dataclass(frozen=True, slots=True)
class IntegratedGradients(Locator):
    """How much of the answer's probability does each neuron contribute, from silence to its own value?

    `path="joint"` scales all neurons of a layer at the asked position together, as every published code does:
    `score_i = w_i · Σ_k c_k ∂target(α_k w)/∂w_i`, and a layer's scores add up to the change of the target when the
    layer falls silent there. `path="neuron"` is equation 5 to the letter, one neuron at a time, the others at their own
    values: dear (every neuron × every node is a row), and in the limit equal to `Ablation`.

    `rule` and `steps` are those of `quadrature`. **Recommended** is `rule="gauss"` without `steps`: as many nodes in
    each layer as bring the estimated error below `tolerance` of the prompt's largest score (3 to 13 points of Lobatto
    and Kronrod, each set within the next; where they fail, Gauss-Legendre with 32), in a variable that is smooth where
    the FFN is large beside the residual; it is several times faster than the published grids, and nearer to the
    integral. `preset` names a published choice: "paper" (right, 20), "hunter" (the released code: left, 20), "eleuther"
    (linspace, 20). `grid="compressed"` computes the sum over the rule's grid from the few points of its own Gauss rule,
    to within `tolerance`, and where that fails literally. `Attribution.error` has the estimates. `target`: probability
    (the papers'), logprob, logit, logit_difference. A setting that is given wins over the preset. Raises UnknownName,
    BadSetting.

    >>> IntegratedGradients(preset="hunter").rule
    'left'
    """

    name: ClassVar[str] = "integrated_gradients"
    steps: int | None = FROM_PRESET
    rule: str = FROM_PRESET
    path: Literal["joint", "neuron"] = "joint"
    target: str = "probability"
    preset: str | None = None
    grid: Literal["literal", "compressed"] = "literal"
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        adaptive = self.rule == "gauss" and self.steps is None and self.preset is None
        if not adaptive:
            fill(self, self.preset, PRESETS)
            quadrature(self.rule, self.steps)  # type: ignore[arg-type]
        if self.path not in PATHS:
            raise UnknownName("path", str(self.path), PATHS)
        if self.grid not in GRIDS:
            raise UnknownName("grid", str(self.grid), GRIDS)
        if not 0 < self.tolerance < 1:
            raise BadSetting(f"tolerance is a share of the largest score, between 0 and 1, not {self.tolerance!r}")
        if self.path == "neuron" and (adaptive or self.grid == "compressed"):
            raise BadSetting('path="neuron" takes a rule with steps, and its literal grid')
        if self.grid == "compressed" and self.rule not in PUBLISHED:
            raise BadSetting(f"only the published grids are compressed ({', '.join(PUBLISHED)}), not {self.rule!r}")
        target_of(self.target)

    def rows_at_once(self, model: Model, tokens: int) -> int:
        """So many that what is kept of them fits; their nodes are batched within."""
        return prompts_within(model, tokens, points=(self.steps or 32) + 2)

    def score(self, model: Model, batch: Batch) -> Scores:
        """One clean pass, then all layers' nodes together, each from its own block on."""
        target = target_of(self.target)
        clean = record(model, batch)
        if self.path == "neuron":
            return _neuron_by_neuron(model, clean, target, *quadrature(self.rule, self.steps))  # type: ignore[arg-type]
        path = JointPath(model, clean, target)
        if self.steps is None:
            return integral.adaptive(path, self.tolerance)
        nodes, weights = quadrature(self.rule, self.steps)
        if self.grid == "compressed":
            return integral.compressed(path, nodes, weights, self.tolerance)
        return integral.fixed(path, nodes, weights)


def _neuron_by_neuron(model: Model, clean: Recording, target: Target, nodes: Nodes, weights: Nodes) -> Scores:
    spoken = target(clean.logits, clean.batch).double()
    scored = [_along_neurons(model, clean, i, target, spoken, nodes, weights) for i in range(len(model.layers))]
    scores, fallen = zip(*scored, strict=True)
    change = torch.stack(fallen, -1)
    return Scores(tuple(scores), change, torch.stack([s.sum(-1) for s in scores], -1) - change)


def _along_neurons(
    model: Model, clean: Recording, layer: int, target: Target, spoken: Tensor, nodes: Nodes, weights: Nodes
) -> tuple[Tensor, Tensor]:
    """Each neuron of the layer by itself: its scores [row, neuron], and what they must add up to [row]."""
    w, y, down = clean.neurons[layer], clean.written[layer], model.layers[layer].down
    alpha, weight = (torch.tensor([*x, 0.0], dtype=torch.float64, device=w.device) for x in (nodes, weights))
    row, rest = pairs(len(w), w.shape[1] * len(alpha), w.device)
    neuron, node = rest // len(alpha), rest % len(alpha)
    total = torch.zeros(w.shape, dtype=torch.float64, device=w.device)
    fallen = torch.zeros(len(w), dtype=torch.float64, device=w.device)

    def work(part: Sequence[int]) -> Sequence[int]:
        i = torch.as_tensor(part, device=w.device)
        here = torch.arange(len(i), device=w.device)
        with torch.enable_grad(), differentiable(model):
            less = ((alpha[node[i]] - 1) * w[row[i], neuron[i]]).to(w.dtype).requires_grad_()
            moved = torch.zeros(len(i), w.shape[1], dtype=w.dtype, device=w.device).index_put((here, neuron[i]), less)
            written = y[row[i]] + down.forward(moved) - down.forward(torch.zeros_like(moved[:1]))
            said = target(replay(model, clean, [Start(layer, row[i], written)]), clean.batch.take(row[i]))
            (slope,) = torch.autograd.grad(said.sum(), less)
        total.index_put_((row[i], neuron[i]), slope.double() * weight[node[i]], accumulate=True)
        silent = node[i] == len(alpha) - 1
        fallen.index_add_(0, row[i][silent], (spoken[row[i]] - said.detach().double())[silent])
        return part

    in_parts(model, [start_bytes(model, clean, layer)] * len(row), work)
    return w.double() * total, fallen
