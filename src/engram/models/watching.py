"""Hooks that only look: what does a network compute on its way, and what does it call its blocks with?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .hooks import Change, Layer, map_tensors, rewriting, turns


@dataclass(slots=True, eq=False)
class Seen:
    """What a forward pass showed, layer by layer.

    `entered` and `left` are the hidden states before and behind the block, `rest` what else the block gave out (None:
    it gives out the states alone), `called` its other arguments, `attended` what its attention modules gave out,
    `neurons` what went into the FFN's second map and `written` what came out of it. `chained` says of each layer that
    what entered is what left the layer before.
    """

    entered: list[Any]
    called: list[Any]
    attended: list[list[Any]]
    neurons: list[Any]
    written: list[Any]
    left: list[Any]
    rest: list[Any]
    chained: list[bool]


Cut = Callable[[Layer, Tensor], Tensor]  # a layer's tensor [row, position, …] -> what is kept of it


def whole(_layer: Layer, x: Tensor) -> Tensor:
    """All of it: a copy, for some networks add to their tensors in place later on (Falcon does)."""
    return x.detach().clone()


@contextmanager
def recording(net: nn.Module, layers: Sequence[Layer], states: Cut = whole, inside: Cut = whole) -> Iterator[Seen]:
    """Within the block: what does the network compute on its way? Filled by one forward pass.

    `states` says what is kept of the hidden states that leave a block, `inside` what of all else.
    """
    n = len(layers)

    def nothing() -> list[Any]:
        return [None] * n

    seen = Seen(nothing(), nothing(), [[] for _ in layers], nothing(), nothing(), nothing(), nothing(), [True] * n)
    last: list[Any] = [None]

    def enter(block: nn.Module, args: Any, kwargs: Any) -> None:
        layer = layers[now[block].layer]
        x = args[0] if args else kwargs["hidden_states"]
        first = layer.index == 0 or layers[layer.index - 1].side != layer.side
        seen.chained[layer.index] = first or x is last[0] or torch.equal(x, last[0].to(x.device))
        seen.entered[layer.index] = inside(layer, x)
        seen.called[layer.index] = _beside_states(args, kwargs)
        seen.attended[layer.index] = []

    def leave(block: nn.Module, _args: Any, out: Any) -> None:
        layer = layers[now[block].layer]
        last[0] = out if isinstance(out, Tensor) else out[0]
        seen.left[layer.index] = states(layer, last[0])
        seen.rest[layer.index] = None if isinstance(out, Tensor) else map_tensors(out[1:], lambda t: t.detach())

    def attend(block: nn.Module, out: Any) -> None:
        index, rows, positions = now[block]
        layer = layers[index]
        kept = map_tensors(out, lambda t: inside(layer, t) if t.shape[:2] == (rows, positions) else t.detach())
        seen.attended[index].append(kept)

    def keep(index: int, into: list[Any]) -> Change:
        def change(x: Tensor) -> Tensor:
            into[index] = inside(layers[index], x)
            return x

        return change

    with ExitStack() as stack, turns(net, layers) as now:
        for x in {layer.block: layer for layer in layers}.values():
            stack.callback(x.block.register_forward_pre_hook(enter, with_kwargs=True).remove)
            stack.callback(x.block.register_forward_hook(leave).remove)
            for part in x.attention:
                hook = part.register_forward_hook(lambda _m, _args, out, block=x.block: attend(block, out))
                stack.callback(hook.remove)
        stack.enter_context(rewriting(net, layers, {i: keep(i, seen.neurons) for i in range(n)}))
        stack.enter_context(rewriting(net, layers, {i: keep(i, seen.written) for i in range(n)}, outputs=True))
        yield seen


class _Enough(Exception):
    """The last block was called: what is behind it need not run."""


@contextmanager
def calls(net: nn.Module, layers: Sequence[Layer]) -> Iterator[list[Any]]:
    """Within the block: what does the network call its blocks with, beside the hidden states? Then it may stop."""
    found: list[Any] = [None] * len(layers)

    def enter(block: nn.Module, args: Any, kwargs: Any) -> None:
        index = now[block].layer
        found[index] = _beside_states(args, kwargs)
        if index == len(layers) - 1:
            raise _Enough

    with ExitStack() as stack, turns(net, layers) as now:
        for block in {x.block for x in layers}:
            stack.callback(block.register_forward_pre_hook(enter, with_kwargs=True).remove)
        with suppress(_Enough):
            yield found


def _beside_states(args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return tuple(args[1:]), {k: v for k, v in kwargs.items() if k != "hidden_states"}
