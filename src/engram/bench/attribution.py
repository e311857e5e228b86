"""Attribution as one writes it without the engine: two loops over prompts and layers, to be measured against.

Both take one prompt and one layer at a time, scale all neurons of the layer together at the asked position, and send
all points of the grid through the whole network as one batch. Their sum is the one most widely used: m equidistant
points with both ends in, each weighted 1/m. A neuron is what it is everywhere here, an input of the FFN's second map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..facts import Prompt
from ..locators import quadrature
from ..models import Model, hooks
from ..models.questions import Row

RULE, STEPS = "linspace", 20
Peer = Callable[[Model, Sequence[Prompt]], list[Tensor]]  # the scores of each prompt, [layer, neuron]


def straightforward(model: Model, prompts: Sequence[Prompt], *, rule: str = RULE, steps: int = STEPS) -> list[Tensor]:
    """The loop written well: parameters frozen, one clean pass a prompt, the vocabulary at the asked position only.

    Every layer's points still go through the whole network, for to start further up takes more than a loop.
    """
    nodes, weights = quadrature(rule, steps)
    found = []
    with hooks.quiet(model.net):
        for prompt in prompts:
            row, ids = _row(model, prompt)
            downs = [layer.down for layer in model.layers]
            with torch.no_grad(), _at(model.head, row.at), _reading(downs, row.at) as neurons:
                model.net(input_ids=ids, **_uncached(model))
            scores = []
            for layer, w in zip(model.layers, neurons, strict=True):
                scaled = (_tensor(nodes, w)[:, None] * w).requires_grad_()
                with _putting(layer.down, row.at, scaled), _at(model.head, row.at):
                    logits = model.net(input_ids=ids.expand(len(nodes), -1), **_uncached(model)).logits
                (slope,) = torch.autograd.grad(_said(logits[:, 0], row), scaled)
                scores.append(w * (slope * _tensor(weights, w)[:, None]).sum(0))
            found.append(torch.stack(scores))
    return found


def replication(model: Model, prompts: Sequence[Prompt], *, steps: int = STEPS) -> list[Tensor]:
    """The calls of the replication that most people use (EleutherAI's knowledge-neurons), in our own words.

    For each layer one clean pass to read its neurons, then one batch of all points, forwards and backwards: 24 calls
    and 252 sequences a prompt at 12 layers and 20 steps. Parameters ask for gradients, so autograd follows everything,
    and the vocabulary is computed at every position. What it does at GPT-2's other neuron (before the activation
    function) costs the same.
    """
    found = []
    with _wanting(model.net):
        for prompt in prompts:
            row, ids = _row(model, prompt)
            scores = []
            for layer in model.layers:
                with _reading([layer.down], row.at) as neurons:
                    model.net(input_ids=ids)
                (w,) = neurons
                scaled = (torch.linspace(0, 1, steps, device=w.device, dtype=w.dtype)[:, None] * w).requires_grad_()
                with _putting(layer.down, row.at, scaled):
                    logits = model.net(input_ids=ids.repeat(steps, 1)).logits
                (slope,) = torch.autograd.grad(_said(logits[:, row.at], row), scaled)
                scores.append(w * slope.sum(0) / steps)
            found.append(torch.stack(scores))
    return found


PEERS: dict[str, Peer] = {"straightforward": straightforward, "replication": replication}


def _row(model: Model, prompt: Prompt) -> tuple[Row, Tensor]:
    """The one row that asks for the answer, and its tokens. [1, token]"""
    (row,) = model.rows(prompt)
    return row, torch.tensor([row.ids], device=model.device)


def _said(logits: Tensor, row: Row) -> Tensor:
    return logits.float().softmax(-1)[:, row.target].sum()


def _uncached(model: Model) -> dict[str, bool]:
    return {"use_cache": False} if model.blank_last else {}


def _tensor(values: object, like: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)


@contextmanager
def _wanting(net: nn.Module) -> Iterator[None]:
    """Within the block every parameter asks for a gradient, as in a network that was just loaded."""
    frozen = [p for p in net.parameters() if not p.requires_grad]
    try:
        for p in frozen:
            p.requires_grad_(True)
        yield
    finally:
        for p in frozen:
            p.requires_grad_(False)


@contextmanager
def _reading(downs: Sequence[nn.Module], at: int) -> Iterator[list[Tensor]]:
    """Within the block: what enters these maps at a position of the first row, in the order in which they run."""
    seen: list[Tensor] = []
    handles = [d.register_forward_pre_hook(lambda _m, args: seen.append(args[0][0, at].detach())) for d in downs]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _putting(down: nn.Module, at: int, scaled: Tensor) -> Iterator[None]:
    """Within the block this map sees `scaled` [row, neuron] at a position."""

    def put(_m: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x = args[0].clone()
        x[:, at] = scaled
        return (x, *args[1:])

    handle = down.register_forward_pre_hook(put)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _at(head: nn.Module, at: int) -> Iterator[None]:
    """Within the block the head computes one position only. (Of a view, torch would multiply row by row.)"""
    handle = head.register_forward_pre_hook(lambda _m, args: (args[0][:, at : at + 1].contiguous(), *args[1:]))
    try:
        yield
    finally:
        handle.remove()
