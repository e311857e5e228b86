"""One pass over a prompt as it is and with its subject corrupted, and what every site gave out on the way."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from ..errors import UnsupportedModel
from . import hooks, recording, replay, watching
from .hooks import Place
from .model import Model, value_slots
from .questions import Batch, Row
from .recording import CannotReplay, Recording

Corrupt = Callable[[Tensor], Tensor]  # embeddings [sample, position, width] of the prompt -> corrupted, the same shape
Value = str | tuple[int, ...]  # "clean", "corrupted", or the neurons that are as in the clean run
_whole: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()  # networks whose blocks cannot be run on, and why
_tested: WeakSet[nn.Module] = WeakSet()  # those that can


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """The clean run (row 0) and the corrupted ones, layer by layer: [1 + sample, position, hidden].

    `left` the block, `written` by the FFN, `attended` what attention added (empty where the family's table does not
    say), `neurons` what went into the FFN's second map. `changed` is the first position that differs in any layer,
    `asked` the one that answers. `logits` [1 + sample, vocabulary].
    """

    model: Model
    batch: Batch
    corrupting: Corrupt
    changed: int
    asked: int
    left: tuple[Tensor, ...]
    written: tuple[Tensor, ...]
    attended: tuple[Tensor, ...]
    neurons: tuple[Tensor, ...]
    logits: Tensor
    seen: watching.Seen
    cache: DynamicCache | None
    additive: frozenset[int]
    whole: bool
    rests: dict[int, Recording] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """How many corrupted runs there are."""
        return len(self.batch) - 1

    @property
    def length(self) -> int:
        """How many positions the prompt has."""
        return self.batch.ids.shape[1]

    @property
    def causal(self) -> bool:
        """Can nothing before a changed position change, and is there a cache to run on from?"""
        return self.model.blank_last and not self.whole

    def entered(self, layer: int) -> Tensor:
        """What the block of this layer was given, [1 + sample, position, hidden]."""
        found: Tensor = self.seen.entered[0] if layer == 0 else self.left[layer - 1]
        return found

    def sites(self, place: Place) -> tuple[Tensor, ...]:
        """What every layer gave out there, [1 + sample, position, hidden]."""
        return {"block": self.left, "ffn": self.written, "attention": self.attended}[place]

    def value(self, place: Place, layer: int, value: Value, token: int) -> Tensor:
        """What is put there, [sample, hidden]."""
        table = self.sites(place)
        if value == "corrupted":
            return table[layer][1:, token]
        if value == "clean":
            return table[layer][:1, token].expand(self.samples, -1)
        w = self.neurons[layer][:, token]
        index = torch.tensor(value, device=w.device)
        less = w[:1, index] - w[1:, index]
        return self.written[layer][1:, token] + less @ value_slots(self.model.layers[layer].down)[index]

    def rows(self, n: int) -> Batch:
        """The prompt n times."""
        return self.batch.take(torch.zeros(n, dtype=torch.long, device=self.batch.ids.device))

    def corrupt(self, x: Tensor, times: int) -> Tensor:
        """The embeddings of all samples, corrupted alike `times` times over: [time × sample, position, width]."""
        return self.corrupting(x[: self.samples]).repeat(times, 1, 1)

    def as_network(self) -> Recording:
        """For what it costs to run the whole network."""
        return _cut(self, 0, (), None)

    def onwards(self, start: int) -> Recording:
        """The corrupted rows from this position on, ready to be run on."""
        if start not in self.rests:
            self.rests[start] = _onwards(self, start)
        return self.rests[start]


def runs(model: Model, row: Row, corrupt: Corrupt, samples: int, changed: int) -> Runs:
    """One pass over 1 + `samples` rows of a prompt, the first as it is, the others with `corrupt`ed embeddings.

    `changed` is the first token that `corrupt` touches. Raises UnsupportedModel for a model of two stacks, NotFinite.
    """
    if any(layer.side == "output" for layer in model.layers) or row.decoder:
        raise UnsupportedModel(
            f"{model.name} has two stacks, and its layers see different tokens: a trace is of a masked or causal model"
        )
    batch = Batch.of([row] * (1 + samples), model.device)
    cache = DynamicCache() if model.blank_last and model.net not in _whole else None
    extra = {} if cache is None else {"past_key_values": cache, "use_cache": True}
    places: dict[Place, list[Any]] = {"attention": [None] * len(model.layers), "ffn": [None] * len(model.layers)}

    def corrupted(x: Tensor) -> Tensor:
        return torch.cat([x[:1], corrupt(x[1:])])

    with torch.no_grad(), ExitStack() as stack:
        seen = stack.enter_context(watching.recording(model.net, model.layers))
        for place, kept in places.items():
            if place == "ffn" or all(layer.attended is not None for layer in model.layers):
                keeping = {i: _keeping(i, kept) for i in range(len(model.layers))}
                stack.enter_context(hooks.rewriting(model.net, model.layers, keeping, place=place))
        stack.enter_context(hooks.embedding(model.net, corrupted))
        logits = model.finite(model.logits(batch, **extra))
    found = Runs(
        model, batch, corrupt, changed if cache is not None else 0, row.at, tuple(seen.left), tuple(places["ffn"]),
        tuple(x for x in places["attention"] if x is not None), tuple(seen.neurons), logits, seen, cache, frozenset(),
        whole=True,
    )  # fmt: skip
    return found if model.net in _whole else _tried(model, found, row)


def _keeping(layer: int, into: list[Any]) -> hooks.Change:
    def change(x: Tensor) -> Tensor:
        into[layer] = x.detach().clone()
        return x

    return change


def _tried(model: Model, found: Runs, row: Row) -> Runs:
    """Ready to be run on from any position, if that leads to what was said; else said why not, once."""
    try:
        with torch.no_grad():
            recording.check(model, found.seen)
            known = replay.record(model, Batch.of([row], model.device))
            if "network" in known.ways:
                raise CannotReplay("its blocks cannot be run by themselves")
            ready = replace(found, whole=False, additive=known.additive, rests={})
            _says_the_same(model, ready)
    except (CannotReplay, RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        _whole[model.net] = str(error)
        warnings.warn(
            f"{model.name}: the blocks cannot be run on from a position ({error}); every cell of a trace runs the "
            "whole network, which says the same and takes longer",
            RuntimeWarning,
            stacklevel=3,
        )
        return replace(found, cache=None, changed=0)
    return ready


def _says_the_same(model: Model, ready: Runs) -> None:
    """Run on from the first changed position and from a later one with nothing put in: the corrupted logits again?"""
    if model.net in _tested:
        return
    for start in {ready.changed, (ready.changed + ready.asked) // 2} if model.blank_last else {0}:
        rest = ready.onwards(start)
        own = torch.arange(1, len(ready.batch), device=ready.batch.ids.device)
        x = ready.entered(0)[1:, start:]
        for layer in model.layers:
            x = replay.through(rest, layer, x, own, None, layer.index == len(model.layers) - 1)
        said, expected = replay.behind(model, rest, x, own), ready.logits[1:]
        most = (replay.SAME if model.precise == model.dtype else replay.ROUGHLY) * float(expected.abs().max())
        if not float((said - expected).abs().max()) <= most:
            raise CannotReplay("they lead to other logits than the network")
    _tested.add(model.net)


def _onwards(of: Runs, start: int) -> Recording:
    model, n, device = of.model, len(of.batch), of.batch.ids.device
    cache = _until(of.cache, start) if of.cache is not None and start else None
    seen = replace(of.seen, left=[x[:, start:] for x in of.left])

    def called(rows: Tensor) -> list[Any]:
        extra: dict[str, Any] = dict(model.uncached)
        if cache is not None:
            kept = {"past_key_values": recording.cached(cache, rows), "use_cache": True}
            extra = {"input_ids": of.batch.ids[rows, start:], **kept}
        return recording.called(model, of.batch, seen, rows, extra)

    every = torch.arange(n, device=device)
    calls = recording.calls(called(every), called(torch.arange(n + 1, device=device) % n), n)
    return _cut(of, start, calls, cache)


def _cut(of: Runs, start: int, calls: tuple[recording.Call, ...], cache: DynamicCache | None) -> Recording:
    """The corrupted run as a recording that begins at a position."""
    batch = replace(of.batch, ids=of.batch.ids[:, start:], at=of.batch.at - start)
    ways: recording.Way = "network" if of.whole else "suffix"
    return Recording(
        batch, (ways,) * len(of.left), (), (), (), (), tuple(x[:, start:] for x in of.left), tuple(of.seen.rest),
        calls, cache, of.logits, of.additive,
    )  # fmt: skip


def _until(cache: DynamicCache, end: int) -> DynamicCache:
    """The keys and values before a position."""
    kept = recording.cached(cache, torch.arange(cache.layers[0].keys.shape[0]))
    for layer in kept.layers:
        layer.keys, layer.values = layer.keys[..., :end, :], layer.values[..., :end, :]
    return kept
