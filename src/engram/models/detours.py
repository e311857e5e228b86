"""Modules that give out what is already known instead of computing it. Each is itself again when the block ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from transformers.activations import FastGELUActivation, NewGELUActivation

from .hooks import Layer, skipped, turns

Forward = Callable[..., Any]
_NONE = object()


@contextmanager
def instead(forwards: Mapping[nn.Module, Forward]) -> Iterator[None]:
    """Within the block, each of these modules runs the function in place of its own forward; its hooks still fire."""
    previous = {module: module.__dict__.get("forward", _NONE) for module in forwards}
    try:
        for module, forward in forwards.items():
            module.__dict__["forward"] = forward
        yield
    finally:
        for module, own in previous.items():
            if own is _NONE:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = own


@contextmanager
def fused(net: nn.Module) -> Iterator[None]:
    """Within the block, GELU in its tanh form is torch's own one operation where the network has it as eight."""
    spelt_out = [m for m in net.modules() if type(m) in (NewGELUActivation, FastGELUActivation)]
    with instead(dict.fromkeys(spelt_out, _gelu)):
        yield


def _gelu(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


@contextmanager
def skipping(net: nn.Module, layers: Sequence[Layer], below: int, outputs: Sequence[Any]) -> Iterator[None]:
    """Within the block, no block below layer `below` is run: each gives out what it is said to have given out."""
    token = skipped.set(below)
    try:
        with turns(net, layers) as now:

            def giving(block: nn.Module, run: Forward) -> Forward:
                def forward(*args: Any, **kwargs: Any) -> Any:
                    index = now[block].layer
                    return outputs[index] if index < below else run(*args, **kwargs)

                return forward

            blocks = {x.block for x in layers if x.index < below}
            with instead({block: giving(block, block.forward) for block in blocks}):
                yield
    finally:
        skipped.reset(token)
