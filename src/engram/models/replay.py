"""Run a network on from altered FFN outputs, with its own blocks, from what a clean pass recorded.

The rows of all layers travel together, as a wavefront: at block `j` those are alive that were altered below it. So
there are few, large matrix products, and no block is run below any change.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from . import detours, hooks, recording
from .hooks import Asked, Layer
from .model import Model
from .questions import Batch
from .recording import CannotReplay, Recording, by_row, cached

_whole: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()  # networks whose blocks cannot be replayed, and why
_additive: WeakKeyDictionary[nn.Module, frozenset[int]] = WeakKeyDictionary()  # of networks that were tried
SAME, NEAR, ROUGHLY = 1e-3, 1e-4, 0.1  # of the largest logit or change; ROUGHLY in types smaller than float32


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Rows of a recorded batch whose FFN in `layer` writes something else at the asked position.

    `rows` [n] are their numbers in the batch, as often as named; `written` [n, hidden] what the FFN's second map gives
    out there instead.
    """

    layer: int
    rows: Tensor
    written: Tensor

    def write(self, x: Tensor) -> Tensor:
        """In place of the FFN's second map, whose input is `x`: a copy, for some blocks add to it in place."""
        return self.written.to(x.dtype).reshape(*x.shape[:-1], -1).clone()


def record(model: Model, batch: Batch) -> Recording:
    """One clean pass, without gradients, and the way to run on from it. Raises NotFinite.
    A network whose blocks cannot be run by themselves is run whole, and that is said once, with the reason.

    >>> import engram as eg
    >>> record(model := eg.load(), Batch.of(model.rows(eg.Prompt("It is [Y].", "so")), model.device)).neurons[0].shape
    torch.Size([1, 256])
    """
    if model.net in _whole:
        return recording.record(model, batch, whole=True)
    try:
        clean = recording.record(model, batch)
        if model.net not in _additive:
            _says_the_same(model, clean)
            _additive[model.net] = _adding(model, clean)
    except CannotReplay as error:
        _whole[model.net] = str(error)
        warnings.warn(
            f"{model.name}: the blocks cannot be run by themselves ({error}); every row runs the whole network, "
            "which says the same and takes longer",
            RuntimeWarning,
            stacklevel=2,
        )
        return recording.record(model, batch, whole=True)
    return replace(clean, additive=_additive[model.net])


def replay(model: Model, clean: Recording, starts: Sequence[Start], taps: Mapping[int, Tensor] | None = None) -> Tensor:
    """What would these rows say? The logits at the asked position [all rows of the starts, vocabulary], at least
    float32.

    `starts` go from the bottom to the top. Differentiable in what they write. `taps[layer]` [n, hidden] is added to
    what the FFN of a later layer writes for the rows of the first start: with zeros there, and in the start what was
    written anyway, one gradient has the slopes of all layers at once.
    """
    whole = [i for i, s in enumerate(starts) if clean.ways[s.layer] == "network"]
    if [s.layer for s in starts] != sorted(s.layer for s in starts) or whole != list(range(len(whole))):
        raise ValueError("starts go from the bottom to the top")
    said = [_through_the_network(model, clean, starts[i], taps if taps and i == 0 else {}) for i in whole]
    if alive := starts[len(whole) :]:
        said.append(_wavefront(model, clean, alive, {} if whole else taps or {}))
    return torch.cat(said) if len(said) > 1 else said[0]


def _wavefront(model: Model, clean: Recording, starts: Sequence[Start], taps: Mapping[int, Tensor]) -> Tensor:
    """All starts together, each from its own layer on."""
    rows = starts[0].rows[:0]
    alive = clean.states[0].new_zeros(0)  # none yet
    for layer in model.layers[starts[0].layer :]:
        last = layer.index == len(model.layers) - 1
        if len(rows):
            alive = through(clean, layer, alive, rows, taps.get(layer.index), last)
        for start in starts:
            if start.layer != layer.index:
                continue
            new = leaving(clean, layer, start)
            if not last and clean.ways[layer.index] == "suffix":
                new = _among_the_others(clean, layer, start.rows, new)
            alive = torch.cat([alive, new]) if len(rows) else new
            rows = torch.cat([rows, start.rows])
    return behind(model, clean, alive, rows)


def leaving(clean: Recording, layer: Layer, start: Start) -> Tensor:
    """What leaves the block whose FFN writes something else, at the asked position alone: [n, 1, hidden]."""
    if layer.index not in clean.additive:
        return through_the_ffn(clean, layer, start)
    states, less = clean.states[layer.index], clean.written[layer.index].to(start.written)
    here = start.rows.to(less.device)
    alone = states.shape[1] == 1
    left = states[here, _asked_positions(clean, layer, start.rows, states.device, alone=alone)[1]]
    return (left + start.written - less[here]).to(states.dtype)[:, None]


def through_the_ffn(
    clean: Recording, layer: Layer, start: Start, looking: Mapping[nn.Module, detours.Forward] | None = None
) -> Tensor:
    """The same by running the block. What is behind attention works on each position by itself.

    Attention gives out what it gave out. `looking` are further modules that run something else.
    """

    def chosen(x: Tensor) -> Tensor:
        return by_row(x, start.rows, len(clean.batch))

    attended = [hooks.map_tensors(x, chosen) for x in clean.attended[layer.index]]
    with attending(layer, attended), detours.instead({layer.down: start.write, **(looking or {})}):
        return run_block(clean, layer, chosen(clean.entered[layer.index]), start.rows)


def _among_the_others(clean: Recording, layer: Layer, rows: Tensor, new: Tensor) -> Tensor:
    """The block's recorded states with the asked position replaced: [n, position, hidden]."""
    states = by_row(clean.states[layer.index], rows, len(clean.batch))
    states[_asked_positions(clean, layer, rows, states.device)] = new[:, 0]
    return states


def through(clean: Recording, layer: Layer, x: Tensor, rows: Tensor, tap: Tensor | None, last: bool) -> Tensor:
    """The states one block further; behind the last one the asked position alone."""
    if not last or x.shape[1] == 1:
        with _tapped(clean, layer, rows, tap, x.shape[1]):
            return run_block(clean, layer, x, rows)
    here = _asked_positions(clean, layer, rows, x.device)
    if len(layer.attention) > 1:
        with _tapped(clean, layer, rows, tap, x.shape[1]):
            return run_block(clean, layer, x, rows)[here][:, None]
    attended = hooks.map_tensors(_attention(clean, layer, x, rows), lambda t: _cut(t, x, here))
    with attending(layer, [attended]), _tapped(clean, layer, rows, tap, 1):
        return run_block(clean, layer, x[here][:, None], rows)


def _cut(t: Tensor, x: Tensor, here: tuple[Tensor, Tensor]) -> Tensor:
    return t[here][:, None] if t.shape[:2] == x.shape[:2] else t


class _Attended(Exception):
    """Attention is done: the rest of the block need not run."""


def _attention(clean: Recording, layer: Layer, x: Tensor, rows: Tensor) -> Any:
    """What a block's attention gives out at all positions. The block is left there."""
    (part,) = layer.attention
    own, found = part.forward, []

    def stopping(*args: Any, **kwargs: Any) -> Any:
        found.append(own(*args, **kwargs))
        raise _Attended

    with detours.instead({part: stopping}), suppress(_Attended):
        run_block(clean, layer, x, rows)
    return found[0]


@contextmanager
def attending(layer: Layer, attended: Sequence[Any]) -> Iterator[None]:
    """Within the block, the layer's attention modules give this out."""

    def giving(out: Any) -> Callable[..., Any]:
        return lambda *_args, **_kwargs: out

    with detours.instead({part: giving(out) for part, out in zip(layer.attention, attended, strict=True)}):
        yield


@contextmanager
def _tapped(clean: Recording, layer: Layer, rows: Tensor, tap: Tensor | None, positions: int) -> Iterator[None]:
    """Within the block, `tap` is added to what the FFN writes for the first rows at the asked position."""
    if tap is None:
        yield
        return
    own = layer.down.forward

    def adding(*args: Any, **kwargs: Any) -> Tensor:
        out: Tensor = own(*args, **kwargs)
        i, j = _asked_positions(clean, layer, rows[: len(tap)], out.device, alone=positions == 1)
        flat = out.reshape(len(rows), positions, -1)
        return flat.index_put((i, j), tap.to(out.dtype), accumulate=True).reshape(out.shape)

    with detours.instead({layer.down: adding}):
        yield


def run_block(clean: Recording, layer: Layer, x: Tensor, rows: Tensor, about: Asked | None = None) -> Tensor:
    """One block, called by itself on the states [n, position, hidden] of these rows.

    `about` says where the blank is among other positions than all or the asked one.
    """
    cache = clean.cache
    args, kwargs = clean.calls[layer.index].of(
        rows, None if cache is None else lambda: cached(cache, rows, layer.index)
    )
    batch = clean.batch.take(rows)
    about = about or (batch.asked if x.shape[1] == batch.length(layer.side) else batch.alone.asked)
    with hooks.calling(layer.index), hooks.asking(about):
        out = layer.block(x, *args, **kwargs)
    states: Tensor = out if isinstance(out, Tensor) else out[0]
    return states


def behind(model: Model, clean: Recording, x: Tensor, rows: Tensor) -> Tensor:
    """From the states behind the last block, [n, 1, hidden], to the logits: what the network does there itself."""
    outputs = [clean.left(layer.index, rows, x) for layer in model.layers]
    with detours.skipping(model.net, model.layers, len(model.layers), outputs):
        return model.logits(clean.batch.take(rows).alone)


def _asked_positions(
    clean: Recording, layer: Layer, rows: Tensor, device: torch.device, *, alone: bool = False
) -> tuple[Tensor, Tensor]:
    at = clean.batch.asked.at[layer.side].index_select(0, rows)
    at = torch.zeros_like(at) if alone else at
    return torch.arange(len(rows), device=device), at.to(device)


def _through_the_network(model: Model, clean: Recording, start: Start, taps: Mapping[int, Tensor]) -> Tensor:
    """All rows of one start through the whole network, its blocks below giving out what they gave out."""
    given = {start.layer: start.written, **{layer: tap for layer, tap in taps.items() if layer > start.layer}}

    def changing(index: int) -> hooks.Change:
        def change(x: Tensor) -> Tensor:
            here = _asked_positions(clean, model.layers[index], start.rows, x.device)
            new = given[index] if index == start.layer else x[here] + given[index]
            return x.index_put(here, new.to(x.dtype))

        return change

    below = [clean.left(i, start.rows) for i in range(start.layer)]
    with (
        detours.skipping(model.net, model.layers, start.layer, below),
        hooks.rewriting(model.net, model.layers, {i: changing(i) for i in given}, place="ffn"),
    ):
        return model.logits(clean.batch.take(start.rows))


def _says_the_same(model: Model, clean: Recording) -> None:
    """Do the blocks, run by themselves, lead to what the whole network says? Raises CannotReplay.

    Tried on one row: from every layer as it was, which must say what was said, and from the first with what its FFN
    wrote turned round, against the whole network (a model that only seems to be causal is told by that).
    """
    row = torch.zeros(1, dtype=torch.long, device=clean.batch.ids.device)
    ours = [x.index for x in model.layers if clean.ways[x.index] != "network"]
    starts = [Start(i, row, clean.written[i][:1]) for i in ours]
    other = Start(ours[0], row, clean.written[ours[0]][:1].flip(-1))
    try:
        with torch.no_grad():
            said = replay(model, clean, [other, *starts])
            expected = clean.logits[:1].expand(len(starts), -1).to(said.device)
            if ours[0] == 0:
                expected = torch.cat([_through_the_network(model, clean, other, {}), expected])
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
        raise CannotReplay(f"{type(error).__name__}: {error}") from error
    most = (SAME if model.precise == model.dtype else ROUGHLY) * float(expected.abs().max())
    if not float((said[-len(expected) :] - expected).abs().max()) <= most:
        raise CannotReplay("they lead to other logits than the network")


def _adding(model: Model, clean: Recording) -> frozenset[int]:
    """In which layers is it enough to add to what left the block? Tried on one row, with another thing written."""
    row, found = torch.zeros(1, dtype=torch.long, device=clean.batch.ids.device), set[int]()
    near = NEAR if model.precise == model.dtype else ROUGHLY
    with torch.no_grad():
        for layer in model.layers:
            if clean.ways[layer.index] == "network":
                continue
            y = clean.written[layer.index][:1]
            start = Start(layer.index, row, y.flip(-1))
            ran = through_the_ffn(clean, layer, start)
            added = leaving(replace(clean, additive=frozenset([layer.index])), layer, start)
            if float((ran - added).abs().max()) <= near * float((y.flip(-1) - y).abs().max()):
                found.add(layer.index)
    return frozenset(found)
