"""Causal tracing as one writes it without the engine: two loops over tokens and layers, to be measured against.

Both send all samples through the whole network once for every token and every layer, and write into the corrupted rows,
at that token, what the clean run had there: what leaves a block, or what the FFNs or attentions of a window of layers
around it give out. That is the published way (Meng et al. 2022, appendix B).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..facts import Prompt
from ..models import Model
from ..models.questions import Row
from ..results import Floats
from ..traces import Kind, windows

Change = Callable[[Tensor], None]  # writes to the states [row, position, width] that a module gives out
Span = tuple[int, int]  # the first token, and the one behind the last


@dataclass(frozen=True, slots=True, eq=False)
class Restored:
    """The answer's probability, means over samples: clean, corrupted, and with each site restored. [token, layer]"""

    clean: float
    corrupted: float
    scores: Floats

    @property
    def total(self) -> float:
        """The total effect: clean minus corrupted."""
        return self.clean - self.corrupted

    def apart(self, other: Restored) -> float:
        """The largest difference of any of these probabilities.

        >>> one, two = Restored(0.5, 0.25, np.array([[0.5, 0.25]])), Restored(0.5, 0.25, np.array([[0.5, 0.125]]))
        >>> one.apart(two)
        0.125
        """
        cells = float(np.abs(self.scores - other.scores).max())
        return max(cells, abs(self.clean - other.clean), abs(self.corrupted - other.corrupted))


class Peer(Protocol):
    """A loop. `noise` [sample, subject token, width] is added to the subject's word embeddings."""

    def __call__(
        self, model: Model, prompt: Prompt, subject: Span, noise: Tensor, *, kind: Kind, window: int
    ) -> Restored: ...


def straightforward(
    model: Model, prompt: Prompt, subject: Span, noise: Tensor, *, kind: Kind = "block", window: int = 1
) -> Restored:
    """The published code's calls: a clean row beside the corrupted ones, its states read in the same pass.

    2 + tokens × layers calls of samples + 1 rows, the plain call of the network: the vocabulary at every position.
    """
    row, ids = _rows(model, prompt, 1 + len(noise))

    def said() -> Tensor:
        return _probability(model, model.net(input_ids=ids).logits[:, row.at], row)

    def copying(_layer: int, token: int) -> Change:
        def copy(states: Tensor) -> None:
            states[1:, token] = states[0, token]

        return copy

    with torch.no_grad():
        clean = said()[0]
        with _corrupting(model, subject, noise):
            corrupted = said()[1:].mean()
            scores = _each(model, len(row.ids), kind, window, copying, lambda: said()[1:].mean())
    return Restored(float(clean), float(corrupted), scores)


def written_well(
    model: Model, prompt: Prompt, subject: Span, noise: Tensor, *, kind: Kind = "block", window: int = 1
) -> Restored:
    """The loop written well: the clean states recorded once, the vocabulary at the asked position only.

    Every cell's samples still go through the whole network, for to start further up takes more than a loop.
    """
    row, ids = _rows(model, prompt, len(noise))
    kept: dict[int, Tensor] = {}

    def said(ids: Tensor = ids) -> Tensor:
        return _probability(model, model.net(input_ids=ids, **model.uncached).logits[:, 0], row)

    def keeping(layer: int) -> Change:
        return lambda states: kept.update({layer: states[0].clone()})

    def writing(layer: int, token: int) -> Change:
        def write(states: Tensor) -> None:
            states[:, token] = kept[layer][token]

        return write

    with torch.no_grad(), _answering(model.head, row.at):
        with _changing(model, kind, {layer.index: keeping(layer.index) for layer in model.layers}):
            clean = said(ids[:1])[0]
        with _corrupting(model, subject, noise):
            corrupted = said().mean()
            scores = _each(model, len(row.ids), kind, window, writing, lambda: said().mean())
    return Restored(float(clean), float(corrupted), scores)


PEERS: dict[str, Peer] = {"straightforward": straightforward, "written well": written_well}


def _rows(model: Model, prompt: Prompt, rows: int) -> tuple[Row, Tensor]:
    """The row that asks for the answer, and its tokens so many times. [row, token]"""
    (row,) = model.rows(prompt)
    return row, torch.tensor([row.ids], device=model.device).repeat(rows, 1)


def _probability(model: Model, logits: Tensor, row: Row) -> Tensor:
    return logits.to(model.precise).softmax(-1)[:, row.target]


def _each(
    model: Model,
    tokens: int,
    kind: Kind,
    window: int,
    restoring: Callable[[int, int], Change],
    said: Callable[[], Tensor],
) -> Floats:
    """What is said with each site restored, one after the other. [token, layer]"""
    found = np.empty((tokens, len(model.layers)))
    for token in range(tokens):
        for layer, around in enumerate(windows(window, len(model.layers))):
            with _changing(model, kind, {i: restoring(i, token) for i in range(*around)}):
                found[token, layer] = float(said())
    return found


@contextmanager
def _corrupting(model: Model, subject: Span, noise: Tensor) -> Iterator[None]:
    """Within the block the last rows' subject has noise on its word embeddings."""
    first, end = subject

    def add(_table: nn.Module, _args: Any, out: Tensor) -> None:
        out[-len(noise) :, first:end] += noise

    handle = model.net.get_input_embeddings().register_forward_hook(add)  # type: ignore[operator]
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _changing(model: Model, kind: Kind, changes: dict[int, Change]) -> Iterator[None]:
    """Within the block what these layers' sites give out is changed."""

    def hook(change: Change) -> Callable[[nn.Module, Any, Any], None]:
        return lambda _module, _args, out: change(out if isinstance(out, Tensor) else out[0])

    with ExitStack() as stack:
        for index, change in changes.items():
            stack.callback(_site(model, kind, index).register_forward_hook(hook(change)).remove)
        yield


def _site(model: Model, kind: Kind, index: int) -> nn.Module:
    layer = model.layers[index]
    found = {"block": layer.block, "ffn": layer.down, "attention": layer.attended}[kind]
    return found if found is not None else layer.attention[0]


@contextmanager
def _answering(head: nn.Module, at: int) -> Iterator[None]:
    """Within the block the head computes one position only. (Of a view, torch would multiply row by row.)"""
    handle = head.register_forward_pre_hook(lambda _m, args: (args[0][:, at : at + 1].contiguous(), *args[1:]))
    try:
        yield
    finally:
        handle.remove()
