"""What one clean pass leaves behind, so that blocks can be run again from it without the network around them.

There are three ways to run on from a changed state. `position`: in a causal model nothing but the last position
differs after a change there, so that position alone runs on, against the keys and values that the prompt left.
`suffix`: all positions run on, in blocks called one by one with the arguments that the network gave them. `network`:
the whole network runs, its blocks below the change giving out what was recorded; that always works, and costs the most.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache

from . import detours, hooks, watching
from .hooks import Layer
from .model import Model
from .questions import Batch

Way = Literal["position", "suffix", "network"]


class CannotReplay(Exception):
    """Why the blocks of a network cannot be run by themselves."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A clean pass over a batch, layer by layer; everything but `states` at the asked position only.

    `entered` [row, 1, hidden] went into the block, `attended` its attention modules gave out, `neurons`
    [row, neuron] went into the FFN's second map, `written` [row, hidden] came out of it; `states` [row, position,
    hidden] left the block, and `rest` is what else it gave out. `calls` are the block's other arguments, `cache` the
    keys and values before the asked position (`position` only). `logits` [row, vocabulary]. `additive` are the layers
    whose block gives out what its FFN writes plus something that does not depend on it.
    """

    batch: Batch
    ways: tuple[Way, ...]
    entered: tuple[Tensor, ...]
    attended: tuple[tuple[Any, ...], ...]
    neurons: tuple[Tensor, ...]
    written: tuple[Tensor, ...]
    states: tuple[Tensor, ...]
    rest: tuple[Any, ...]
    calls: tuple[Call, ...]
    cache: DynamicCache | None
    logits: Tensor
    additive: frozenset[int] = frozenset()

    def left(self, layer: int, rows: Tensor, states: Tensor | None = None) -> Any:
        """What the block of a layer gave out for these rows, or would give out with these states."""
        given = self.states[layer] if states is None else states
        return _left(given, self.rest[layer], rows, len(self.batch), chosen=states is not None)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """The arguments of a block beside the hidden states, for the rows of a batch."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def of(self, rows: Tensor, cache: Callable[[], Cache] | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same for these rows of the batch, with a cache of their own."""

        def chosen(x: Any) -> Any:
            if isinstance(x, _Rowwise):
                return x.of(rows)
            return cache() if x is _CACHE and cache is not None else x

        return _mapped(self.args, chosen), _mapped(self.kwargs, chosen)


@dataclass(frozen=True, slots=True, eq=False)
class _Rowwise:
    """An argument [row × each, …], as one learns by asking with one row more."""

    values: Tensor
    each: int

    def of(self, rows: Tensor) -> Tensor:
        grouped = self.values.reshape(-1, self.each, *self.values.shape[1:])
        return grouped.index_select(0, rows.to(grouped.device)).flatten(0, 1)


_CACHE = object()  # stands where the network's cache of keys and values was given


def record(model: Model, batch: Batch, *, whole: bool = False) -> Recording:
    """One clean pass, without gradients; with `whole`, for running the whole network again.

    Raises NotFinite, CannotReplay.
    """
    with torch.no_grad():
        if whole:
            return _of(batch, _watched(model, batch), ["network"] * len(model.layers))
        return _by_position(model, batch) if model.blank_last else _by_suffix(model, batch)


def _by_position(model: Model, batch: Batch) -> Recording:
    cache = DynamicCache()
    watched = _watched(model, batch, at_asked(batch), past_key_values=cache, use_cache=True)
    if len(cache.layers) != len(model.layers):
        raise CannotReplay("it does not keep keys and values")
    for layer in cache.layers:
        if getattr(layer, "keys", None) is None or layer.keys.shape[::2] != batch.ids.shape:
            raise CannotReplay("its cache is not one key and one value per row and position")
        layer.keys, layer.values = layer.keys[..., :-1, :], layer.values[..., :-1, :]
    check(model, watched[0])

    def at_last(rows: Tensor) -> list[_Arguments]:
        last = {"input_ids": batch.ids[rows, -1:], "past_key_values": cached(cache, rows), "use_cache": True}
        return called(model, batch, watched[0], rows, last)

    own = calls(at_last(_rows(batch)), at_last(_rows(batch, more=1)), len(batch))
    return _of(batch, watched, ["position"] * len(model.layers), own, cache)


def _by_suffix(model: Model, batch: Batch) -> Recording:
    watched = _watched(model, batch)
    check(model, watched[0])
    side = "input" if batch.decoder is None else "output"
    more = called(model, batch, watched[0], _rows(batch, more=1), model.uncached)
    ways: list[Way] = ["suffix" if x.side == side else "network" for x in model.layers]
    return _of(batch, watched, ways, calls(watched[0].called, more, len(batch)))


_Watched = tuple[watching.Seen, Tensor]
_Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def _watched(model: Model, batch: Batch, states: watching.Cut = watching.whole, **extra: Any) -> _Watched:
    with watching.recording(model.net, model.layers, states, at_asked(batch)) as seen:
        return seen, model.finite(model.logits(batch, **extra))


def _of(
    batch: Batch,
    watched: _Watched,
    ways: list[Way],
    calls: tuple[Call, ...] = (),
    cache: DynamicCache | None = None,
) -> Recording:
    seen, logits = watched
    return Recording(
        batch,
        tuple(ways),
        tuple(seen.entered),
        tuple(tuple(x) for x in seen.attended),
        tuple(x[:, 0] for x in seen.neurons),
        tuple(x[:, 0] for x in seen.written),
        tuple(seen.left),
        tuple(seen.rest),
        calls,
        cache,
        logits,
    )


def check(model: Model, seen: watching.Seen) -> None:
    for layer, chained, attended in zip(model.layers, seen.chained, seen.attended, strict=True):
        if not chained:
            raise CannotReplay(f"something is done to the hidden states before layer {layer.index}")
        if not layer.attention:
            raise CannotReplay(f"the table of {model.family.name} does not name the attention of its blocks")
        if len(attended) != len(layer.attention):
            raise CannotReplay(f"layer {layer.index} passes {len(attended)} of its attention modules")


def _rows(batch: Batch, more: int = 0) -> Tensor:
    """All rows of a batch, and the first one again."""
    return torch.arange(len(batch) + more, device=batch.ids.device) % len(batch)


def at_asked(batch: Batch) -> watching.Cut:
    """Of a tensor [row, position, …] the asked position, [row, 1, …]."""

    def cut(layer: Layer, x: Tensor) -> Tensor:
        at = batch.asked.at[layer.side].to(x.device)
        return x[torch.arange(len(at), device=x.device), at, None].detach()

    return cut


def by_row(x: Tensor, rows: Tensor, of: int) -> Tensor:
    """These rows of a tensor that has one for each of the batch's; any other tensor as it is."""
    return x.index_select(0, rows.to(x.device)) if x.ndim and x.shape[0] == of else x


def cached(cache: DynamicCache, rows: Tensor, layer: int | None = None) -> DynamicCache:
    """A cache of these rows' keys and values, to be written to; with `layer`, of that layer alone."""
    mine = DynamicCache()
    for i, kept in enumerate(cache.layers):
        own = copy.copy(kept)
        if layer is None or i == layer:
            own.keys, own.values = _of_rows(kept.keys, rows), _of_rows(kept.values, rows)
        mine.layers.append(own)
    return mine


def _of_rows(x: Tensor, rows: Tensor) -> Tensor:
    return x.expand(len(rows), *x.shape[1:]) if x.shape[0] == 1 else x.index_select(0, rows.to(x.device))


def called(model: Model, batch: Batch, seen: watching.Seen, rows: Tensor, extra: dict[str, Any]) -> list[_Arguments]:
    """What does the network call its blocks with, asked these rows? No block is run, nor what is behind them."""
    outputs = [_left(s, r, rows, len(batch)) for s, r in zip(seen.left, seen.rest, strict=True)]
    asked = batch.take(rows)
    with (
        detours.skipping(model.net, model.layers, len(model.layers), outputs),
        hooks.asking(asked.asked),
        watching.calls(model.net, model.layers) as found,
    ):
        model.net(**{**asked.inputs, **extra})
    return found


def _left(states: Tensor, rest: Any, rows: Tensor, of: int, *, chosen: bool = False) -> Any:
    states = states if chosen else states.index_select(0, rows.to(states.device))
    return states if rest is None else (states, *hooks.map_tensors(rest, lambda x: by_row(x, rows, of)))


def calls(some: list[_Arguments], more: list[_Arguments], rows: int) -> tuple[Call, ...]:
    """Arguments with one row more tell which of them have rows."""

    def learnt(a: Any, b: Any) -> Any:
        if isinstance(a, Cache):
            return _CACHE
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            if a.shape == b.shape:
                return a
            each = a.shape[0] // rows
            if b.shape == (each * (rows + 1), *a.shape[1:]):
                return _Rowwise(a, each)
        elif type(a) is type(b) and isinstance(a, (tuple, list)) and len(a) == len(b):
            return tuple(learnt(x, y) for x, y in zip(a, b, strict=True))
        elif isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
            return {key: learnt(a[key], b[key]) for key in a}
        elif type(a) is type(b):
            return a
        raise CannotReplay(f"an argument of its blocks changes its form with the rows: {type(a).__name__}")

    return tuple(Call(learnt(a[0], b[0]), learnt(a[1], b[1])) for a, b in zip(some, more, strict=True))


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, tuple):
        return tuple(_mapped(x, change) for x in value)
    if isinstance(value, dict):
        return {key: _mapped(x, change) for key, x in value.items()}
    return change(value)
