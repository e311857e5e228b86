"""Attribution patching: the first order of causal tracing, all sites from one pass forwards and one back."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..errors import BadSetting
from ..models import hooks
from ..models.passes import Runs
from ..results import Floats
from .base import Asked, Tracer, tracers
from .metrics import metric_of


@tracers("attribution_patching")
@dataclass(frozen=True, slots=True)
class AttributionPatching(Tracer):
    """About how much would the site bring back? Its change from corrupted to clean, times the gradient there.

    First order only: `(clean − corrupted) · ∂metric/∂site`, in the corrupted run, summed over a window's layers. It
    costs one backward pass for all sites, and is wrong where the network bends. Settings as in `Tracer`; a rank has no
    gradient (BadSetting).

    >>> AttributionPatching(kind="block").name
    'attribution_patching'
    """

    name: ClassVar[str] = "attribution_patching"

    def __post_init__(self) -> None:
        Tracer.__post_init__(self)
        smooth(self.metric)

    def effects(self, asked: Asked) -> tuple[Floats, Floats]:
        """One pass back from each token of the answer."""
        metric, layers = metric_of(self.metric), len(asked.model.layers)
        parts, low = [], []
        for i, own in enumerate(asked.runs):
            read = asked.reader(metric, i)
            by_site = slopes(own, self.kind, read)
            clean = _table(own, self.kind)
            each = [((c[:1] - c[1:]).double() * s.double()).sum(-1) for c, s in zip(clean, by_site, strict=True)]
            parts.append(torch.stack(each, -1)[:, : asked.tokens].cpu().numpy())  # [sample, token, layer]
            low.append(read(own.logits[1:]).double().cpu().numpy())
        corrupted = metric.joined(low)
        factor = corrupted if self.metric == "probability" else np.ones_like(corrupted)  # P's slope, of ln P's
        first = np.sum(parts, axis=0) * factor[:, None, None]
        found = np.stack([first[..., a:b].sum(-1) for a, b in self.windows(layers)], -1)
        return np.asarray(found.transpose(1, 2, 0)), corrupted


def smooth(metric: str) -> None:
    """Raises BadSetting for a metric without a gradient."""
    if not metric_of(metric).smooth:
        raise BadSetting(f"{metric} has no gradient, and the first order needs one: use probability or logprob")


def slopes(runs: Runs, place: hooks.Place, read: Any) -> list[Tensor]:
    """The gradient by what stands in each layer's place, in every corrupted run: [sample, position, …] of each."""
    model, kept = runs.model, {}

    def keeping(layer: int) -> hooks.Change:
        def change(x: Tensor) -> Tensor:
            kept[layer] = x
            return x

        return change

    with torch.enable_grad(), ExitStack() as stack:
        wanting = torch.zeros((), device=model.device, requires_grad=True)  # so that autograd follows everything
        stack.enter_context(hooks.embedding(model.net, lambda x: runs.corrupting(x) + wanting.to(x)))
        changes = {layer.index: keeping(layer.index) for layer in model.layers}
        stack.enter_context(hooks.rewriting(model.net, model.layers, changes, place=place))
        logits = model.logits(runs.rows(runs.samples))
        found = torch.autograd.grad(
            read(logits).sum(), [kept[layer.index] for layer in model.layers], allow_unused=True
        )
    return [torch.zeros_like(kept[i]) if x is None else x for i, x in enumerate(found)]


def _table(runs: Runs, place: str) -> tuple[Tensor, ...]:
    return {"block": runs.left, "ffn": runs.written, "attention": runs.attended}[place]
