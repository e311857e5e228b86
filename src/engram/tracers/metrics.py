"""In what the answer is measured: read off the logits of each of its tokens, and put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..errors import BadSetting, UnknownName
from ..models.questions import Batch
from ..models.targets import Target, logit, logit_difference, logprob
from ..results import Floats


def rank(logits: Tensor, batch: Batch) -> Tensor:
    """The answer's rank in the vocabulary, 1 is best."""
    return (logits > logit(logits, batch)[:, None]).sum(-1) + 1


@dataclass(frozen=True, slots=True)
class Metric:
    """`read` is taken of every token of the answer, and `joined` makes one number of them, elementwise.

    `slope`, where there is one, is the derivative of that number by each part, given the number.
    """

    read: Target
    joined: Callable[[Sequence[Floats]], Floats]
    slope: Callable[[Floats], Floats] | None


def _itself(x: Floats) -> Floats:
    """The derivative of exp."""
    return x


def _product(parts: Sequence[Floats]) -> Floats:
    found: Floats = np.exp(np.sum(parts, axis=0))
    return found


def _sum(parts: Sequence[Floats]) -> Floats:
    found: Floats = np.sum(parts, axis=0)
    return found


def _worst(parts: Sequence[Floats]) -> Floats:
    found: Floats = np.max(parts, axis=0)
    return found


def _only(parts: Sequence[Floats]) -> Floats:
    if len(parts) != 1:
        raise BadSetting(f"a logit difference is of one token, and this answer has {len(parts)}; use logprob")
    return parts[0]


METRICS = {
    "probability": Metric(logprob, _product, _itself),
    "logprob": Metric(logprob, _sum, np.ones_like),
    "logit_difference": Metric(logit_difference, _only, np.ones_like),
    "rank": Metric(rank, _worst, None),
}


def metric_of(name: str) -> Metric:
    """The metric of this name. Raises UnknownName."""
    if name not in METRICS:
        raise UnknownName("metric", name, METRICS)
    return METRICS[name]
