"""Hooks that change what a network computes. Every hook made here is gone when the block ends, however it ends.

What a caller sees at a place is always [row, position, neuron], also in families that flatten the positions on the way
(OPT does) or run the same block again and again (ALBERT does): the folding and the counting are here, so that nobody
else has to know. A hook that was to fire in a forward pass and did not is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from ..errors import HookDidNotFire, UnsupportedModel
from .family import Side

Change = Callable[[Tensor], Tensor]  # [row, position, neuron] -> the same shape


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer of a network: its block, the linear map whose inputs are its neurons, its attention modules."""

    index: int
    block: nn.Module
    down: nn.Module
    side: Side
    path: str
    attention: tuple[nn.Module, ...] = ()


class Asked(NamedTuple):
    """What the forward pass under way is about: the blank's position in each row, on each side, and the rows' ids."""

    at: Mapping[Side, Tensor]
    ids: Tensor


asked: ContextVar[Asked | None] = ContextVar("asked", default=None)
skipped: ContextVar[int] = ContextVar("skipped", default=0)  # layers below this one are not run
_called: ContextVar[int | None] = ContextVar("called", default=None)  # the layer whose block is run by itself


@contextmanager
def asking(what: Asked) -> Iterator[None]:
    """Within the block, conditions that act at the blank know where it is."""
    token = asked.set(what)
    try:
        yield
    finally:
        asked.reset(token)


@contextmanager
def quiet(net: nn.Module) -> Iterator[None]:
    """Within the block the network is in evaluation mode and no parameter wants a gradient; after it, all as before."""
    training = [m for m in net.modules() if m.training]
    wanting = [p for p in net.parameters() if p.requires_grad]
    try:
        net.eval()
        for p in wanting:
            p.requires_grad_(False)
        yield
    finally:
        for p in wanting:
            p.requires_grad_(True)
        for m in training:
            m.training = True


@contextmanager
def calling(layer: int) -> Iterator[None]:
    """Within the block, a block of the network is called by itself, as this layer."""
    token = _called.set(layer)
    try:
        yield
    finally:
        _called.reset(token)


class Turn(NamedTuple):
    """What a block is computing: which layer, on how many rows and positions."""

    layer: int
    rows: int
    positions: int


@contextmanager
def turns(net: nn.Module, layers: Sequence[Layer]) -> Iterator[dict[nn.Module, Turn]]:
    """Within the block: what is each block of the network computing? (A shared one computes layer after layer.)

    Read from what enters the blocks, for an encoder may be run by itself (`generate` does).
    """
    owned: dict[nn.Module, list[int]] = {}
    for layer in layers:
        owned.setdefault(layer.block, []).append(layer.index)
    now: dict[nn.Module, Turn] = {}
    done: dict[nn.Module, int] = {}

    def begin(_net: nn.Module, _args: Any) -> None:
        done.clear()

    def enter(block: nn.Module, args: Any, kwargs: Any) -> None:
        n = done.get(block, 0)
        index = _called.get()
        if index is None:
            index, done[block] = owned[block][n % len(owned[block])], n + 1
        x = args[0] if args else kwargs["hidden_states"]
        now[block] = Turn(index, x.shape[0], x.shape[1])

    with ExitStack() as stack:
        stack.callback(net.register_forward_pre_hook(begin).remove)
        for block in owned:
            stack.callback(block.register_forward_pre_hook(enter, with_kwargs=True).remove)
        yield now


@contextmanager
def _meeting(net: nn.Module, layers: Sequence[Layer], wanted: Collection[int]) -> Iterator[set[int]]:
    """Within the block: the layers met in the forward pass under way. Raises HookDidNotFire where it passed one by."""
    met, excused = set[int](), set[int]()

    def begin(_net: nn.Module, _args: Any, kwargs: Any) -> None:
        met.clear()
        excused.clear()
        excused.update(x.index for x in layers if x.index < skipped.get())
        if kwargs.get("encoder_outputs") is not None:
            excused.update(x.index for x in layers if x.side == "input")

    def end(_net: nn.Module, _args: Any, _out: Any) -> None:
        if missing := sorted(set(wanted) - met - excused):
            places = ", ".join(f"{layers[i].path} (layer {i})" for i in missing)
            raise HookDidNotFire(
                f"the network never passed {places}: its forward goes another way (a fused kernel, a layer dropped, "
                "an expert not chosen), so its neurons can neither be read nor changed"
            )

    with ExitStack() as stack:
        stack.callback(net.register_forward_pre_hook(begin, with_kwargs=True).remove)
        stack.callback(net.register_forward_hook(end).remove)
        yield met


@contextmanager
def rewriting(
    net: nn.Module, layers: Sequence[Layer], changes: Mapping[int, Change], *, outputs: bool = False
) -> Iterator[None]:
    """Within the block, the FFN's second map of layer `l` sees `changes[l](x)` in place of its input `x`, a copy.

    With `outputs`, it is what the map gives out that is changed. `layers` are all layers of the network. Raises
    HookDidNotFire at the end of a forward pass that passed one by.
    """

    def changed(block: nn.Module, x: Tensor) -> Tensor | None:
        index, rows, positions = now[block]
        if index not in changes:
            return None
        if x.numel() != rows * positions * x.shape[-1]:
            raise UnsupportedModel(
                f"{layers[index].path} gets {tuple(x.shape)}, not the {rows} rows × {positions} positions of "
                "its block: the network works in chunks or packs its rows, so a position cannot be told"
            )
        met.add(index)
        return changes[index](x.reshape(rows, positions, x.shape[-1]).clone()).reshape(x.shape)

    with ExitStack() as stack, turns(net, layers) as now, _meeting(net, layers, changes) as met:
        for down, block in {x.down: x.block for x in layers if x.index in changes}.items():

            def before(_down: nn.Module, args: Any, block: nn.Module = block) -> Any:
                new = changed(block, args[0])
                return None if new is None else (new, *args[1:])

            def behind(_down: nn.Module, _args: Any, out: Any, block: nn.Module = block) -> Any:
                return changed(block, out)

            handle = down.register_forward_hook(behind) if outputs else down.register_forward_pre_hook(before)
            stack.callback(handle.remove)
        yield


@contextmanager
def at_rows(head: nn.Module, positions: Tensor) -> Iterator[None]:
    """Within the block, the head computes one position of each row only: its output is [row, 1, …]."""

    def hook(head: nn.Module, args: Any, kwargs: Any) -> Any:
        x, rest = (args[0], args[1:]) if args else (kwargs.pop("hidden_states"), ())
        if x.ndim != 3:
            raise UnsupportedModel(f"the head {type(head).__name__} gets {tuple(x.shape)}, not [row, position, hidden]")
        row = positions.to(x.device)[:, None, None].expand(-1, 1, x.shape[-1])
        return (x.gather(1, row), *rest), kwargs

    handle = head.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nesting of tuples, with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple):
        return tuple(map_tensors(v, change) for v in value)
    return value
