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
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from ..errors import HookDidNotFire, UnsupportedModel
from .family import Side

Change = Callable[[Tensor], Tensor]  # [row, position, neuron] -> the same shape
Place = Literal["neurons", "ffn", "attention", "block"]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer of a network: its block, the linear map whose inputs are its neurons, its attention modules.

    `attended` gives out what attention adds to the hidden states; None where the family's table does not say.
    """

    index: int
    block: nn.Module
    down: nn.Module
    side: Side
    path: str
    attention: tuple[nn.Module, ...] = ()
    attended: nn.Module | None = None


class Asked(NamedTuple):
    """What the forward pass under way is about: the blank's position in each row, on each side, and the rows' ids."""

    at: Mapping[Side, Tensor]
    ids: Tensor


asked: ContextVar[Asked | None] = ContextVar("asked", default=None)
skipped: ContextVar[int] = ContextVar("skipped", default=0)  # layers below this one are not run
called: ContextVar[int | None] = ContextVar("called", default=None)  # the layer whose block is run by itself


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
    token = called.set(layer)
    try:
        yield
    finally:
        called.reset(token)


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
        index = called.get()
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
    net: nn.Module, layers: Sequence[Layer], changes: Mapping[int, Change], *, place: Place = "neurons"
) -> Iterator[None]:
    """Within the block, `changes[l](x)` stands in `place` of layer `l` instead of `x`, of which it is given a copy.

    The places: what goes into the FFN's second map (neurons), what that map gives out (ffn), what attention adds to the
    hidden states (attention), what leaves the block (block). `layers` are all layers of the network. Raises
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
        for module, block in {_at(x, place): x.block for x in layers if x.index in changes}.items():

            def before(_down: nn.Module, args: Any, block: nn.Module = block) -> Any:
                new = changed(block, args[0])
                return None if new is None else (new, *args[1:])

            def behind(_module: nn.Module, _args: Any, out: Any, block: nn.Module = block) -> Any:
                new = changed(block, out if isinstance(out, Tensor) else out[0])
                return new if new is None or isinstance(out, Tensor) else (new, *out[1:])

            handle = module.register_forward_pre_hook(before) if place == "neurons" else None
            stack.callback((handle or module.register_forward_hook(behind)).remove)
        yield


def _at(layer: Layer, place: Place) -> nn.Module:
    if place == "attention":
        if layer.attended is None:
            raise UnsupportedModel(f"the family's table does not say what attention adds in layer {layer.index}")
        return layer.attended
    return layer.block if place == "block" else layer.down


@contextmanager
def embedding(net: nn.Module, change: Change) -> Iterator[None]:
    """Within the block, what the table of word embeddings gives out, [row, position, width], is changed: a copy.

    Positions, types and normalisation come after. Raises HookDidNotFire where a forward pass did not ask the table.
    """
    met = [False]

    def behind(_table: nn.Module, _args: Any, out: Tensor) -> Tensor:
        met[0] = True
        return change(out.clone())

    def end(_net: nn.Module, _args: Any, _out: Any) -> None:
        if not met[0]:
            raise HookDidNotFire(
                "the network never asked its table of word embeddings, so nothing can be changed there"
            )

    with ExitStack() as stack:
        stack.callback(net.get_input_embeddings().register_forward_hook(behind).remove)  # type: ignore[operator]
        stack.callback(net.register_forward_hook(end).remove)
        yield


@contextmanager
def at_rows(head: nn.Module, positions: Tensor) -> Iterator[None]:
    """Within the block, the head computes one position of each row only, or these few: its output is [row, few, …].

    `positions` is [row], or [row, few].
    """

    def hook(head: nn.Module, args: Any, kwargs: Any) -> Any:
        x, rest = (args[0], args[1:]) if args else (kwargs.pop("hidden_states"), ())
        if x.ndim != 3:
            raise UnsupportedModel(f"the head {type(head).__name__} gets {tuple(x.shape)}, not [row, position, hidden]")
        few = positions.to(x.device).reshape(len(positions), -1, 1).expand(-1, -1, x.shape[-1])
        return (x.gather(1, few), *rest), kwargs

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
