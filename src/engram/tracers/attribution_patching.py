"""Attribution patching: the first order of causal tracing, all sites from one pass forwards and one back."""

from __future__ import annotations

from collections.abc import Sequence
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

    def effects(self, asked: Asked, corrupted: Floats) -> Floats:
        """One pass back from each token of the answer."""
        first = [
            torch.stack([x.sum(-1) for x in changes(asked, i, self.kind, self.metric)], -1)[:, : asked.tokens]
            for i in range(len(asked.runs))
        ]  # [sample, token, layer]
        whole = chained(self.metric, [x.cpu().numpy() for x in first], corrupted)
        found = np.stack([whole[..., a:b].sum(-1) for a, b in self.windows(len(asked.model.layers))], -1)
        return np.asarray(found.transpose(1, 2, 0))


def smooth(metric: str) -> None:
    """Raises BadSetting for a metric without a gradient."""
    if metric_of(metric).slope is None:
        raise BadSetting(f"{metric} has no gradient, and the first order needs one: use probability or logprob")


def changes(asked: Asked, i: int, place: hooks.Place, metric: str) -> list[Tensor]:
    """What each number of each layer's site adds to the reading of the answer's i-th token, to first order.

    Its change from corrupted to clean times the gradient in the corrupted run: [sample, position, …], float64.
    """
    own = asked.runs[i]
    by_site = slopes(own, place, asked.reader(metric_of(metric), i))
    states = own.neurons if place == "neurons" else own.sites(place)
    return [(x[:1] - x[1:]).double() * s.double() for x, s in zip(states, by_site, strict=True)]


def chained(metric: str, parts: Sequence[Floats], corrupted: Floats) -> Floats:
    """First orders of the answer's tokens, [sample, …] each, as one of the metric, which is `corrupted` [sample]."""
    slope = metric_of(metric).slope
    total: Floats = np.sum(parts, axis=0)
    factor = np.ones_like(corrupted) if slope is None else slope(corrupted)
    return total * factor.reshape(-1, *[1] * (total.ndim - 1))


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
