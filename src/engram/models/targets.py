"""What is explained, restored or mediated: a number read off the logits at the asked position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import BadSetting, UnknownName
from .questions import Batch

Target = Callable[[Tensor, Batch], Tensor]  # logits [row, vocabulary], the rows -> [row]


def probability(logits: Tensor, batch: Batch) -> Tensor:
    """P(answer), over the whole vocabulary: the papers' target."""
    return logprob(logits, batch).exp()


def logprob(logits: Tensor, batch: Batch) -> Tensor:
    """ln P(answer), nats."""
    said: Tensor = _LogProbability.apply(logits, batch.target.to(logits.device)[:, None])  # type: ignore[no-untyped-call]
    return said


def logit(logits: Tensor, batch: Batch) -> Tensor:
    """The answer's logit."""
    return logits.gather(1, batch.target.to(logits.device)[:, None])[:, 0]


def logit_difference(logits: Tensor, batch: Batch) -> Tensor:
    """The answer's logit minus that of `Prompt.against`."""
    if batch.against is None:
        raise BadSetting("the target logit_difference needs prompts with a wrong answer: Prompt(..., against=...)")
    wrong = logits.gather(1, batch.against.to(logits.device)[:, None])[:, 0]
    return logit(logits, batch) - wrong


class _LogProbability(torch.autograd.Function):
    """`logit − logsumexp`, whose gradient is `answer − softmax`: the vocabulary is gone through once each way."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        most = logits.amax(-1, keepdim=True)
        parts = (logits - most).exp_()
        total = parts.sum(-1, keepdim=True)
        ctx.save_for_backward(parts, total, target)
        return (logits.gather(1, target) - most - total.log())[:, 0]

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        parts, total, target = ctx.saved_tensors
        parts.mul_(-slope[:, None] / total)  # in place: a second way back is refused by autograd
        return parts.scatter_add_(1, target, slope[:, None]), None


TARGETS: dict[str, Target] = {f.__name__: f for f in (probability, logprob, logit, logit_difference)}
"""What scores explain, by name: the answer's probability, its log-probability (nats), its logit, or its logit minus
that of the wrong answer (`Prompt.against`).
"""


def target_of(name: str) -> Target:
    """The target of this name. Raises UnknownName."""
    if name not in TARGETS:
        raise UnknownName("target", name, TARGETS)
    return TARGETS[name]
