"""Hooks that only look: what does a network compute on its way, and what does it call its blocks with?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .hooks import Change, Layer, Turn, map_tensors, rewriting, turns


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
    with ExitStack() as stack, turns(net, layers) as now:
        watch = _Watch(layers, now, states, inside)
        for x in {layer.block: layer for layer in layers}.values():
            stack.callback(x.block.register_forward_pre_hook(watch.enter, with_kwargs=True).remove)
            stack.callback(x.block.register_forward_hook(watch.leave).remove)
            for part in x.attention:
                hook = part.register_forward_hook(lambda _m, _args, out, block=x.block: watch.attend(block, out))
                stack.callback(hook.remove)
        every = range(len(layers))
        stack.enter_context(rewriting(net, layers, {i: watch.keep(i, watch.seen.neurons) for i in every}))
        stack.enter_context(rewriting(net, layers, {i: watch.keep(i, watch.seen.written) for i in every}, place="ffn"))
        yield watch.seen


class _Watch:
    """Writes down what the hooks of `recording` see."""

    def __init__(self, layers: Sequence[Layer], now: Mapping[nn.Module, Turn], states: Cut, inside: Cut) -> None:
        self.layers, self.now, self.states, self.inside = layers, now, states, inside
        self.last: Any = None

        def nothing() -> list[Any]:
            return [None] * len(layers)

        self.seen = Seen(
            nothing(), nothing(), [[] for _ in layers], nothing(), nothing(), nothing(), nothing(), [True] * len(layers)
        )

    def enter(self, block: nn.Module, args: Any, kwargs: Any) -> None:
        i = self.now[block].layer
        x = args[0] if args else kwargs["hidden_states"]
        first = i == 0 or self.layers[i - 1].side != self.layers[i].side
        self.seen.chained[i] = first or x is self.last or torch.equal(x, self.last.to(x.device))
        self.seen.entered[i] = self.inside(self.layers[i], x)
        self.seen.called[i] = _beside_states(args, kwargs)
        self.seen.attended[i] = []

    def leave(self, block: nn.Module, _args: Any, out: Any) -> None:
        i = self.now[block].layer
        self.last = out if isinstance(out, Tensor) else out[0]
        self.seen.left[i] = self.states(self.layers[i], self.last)
        self.seen.rest[i] = None if isinstance(out, Tensor) else map_tensors(out[1:], lambda t: t.detach())

    def attend(self, block: nn.Module, out: Any) -> None:
        i, *shape = self.now[block]
        kept = map_tensors(out, lambda t: self.inside(self.layers[i], t) if [*t.shape[:2]] == shape else t.detach())
        self.seen.attended[i].append(kept)

    def keep(self, i: int, into: list[Any]) -> Change:
        def change(x: Tensor) -> Tensor:
            into[i] = self.inside(self.layers[i], x)
            return x

        return change


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
