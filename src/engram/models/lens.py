"""Which layer already knows the answer? What leaves each block, read by the network's own end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..facts import Prompt
from ..results import Answer
from . import hooks
from .ask import Said, answer_of, said_of
from .batching import Progress, by_shape, in_batches, rows_within
from .below import running_on
from .conditions import holding
from .model import Model
from .questions import Batch, Row


def lens(
    model: Model,
    prompts: Iterable[Prompt] | Prompt,
    *,
    under: object = None,
    top: int = 5,
    progress: Progress | None = None,
) -> list[dict[int, Answer]]:
    """How would the model answer if its blocks ended here? Per prompt, an Answer for each layer, bottom to top.

    The logit lens (nostalgebraist 2020): what leaves a block at the asked position goes, in the place of what leaves
    the last one, to whatever the network has behind its blocks: its last normalisation, where it has one, and its
    head. Nothing is reimplemented, so the last layer's answer is the model's. Of two stacks, the decoder's layers are
    read. A lower layer's state was never meant to be read so: a rank that comes late is no proof that a layer does not
    know. Leaves the model as it was. Raises UnaskablePrompt, NotFinite, OutOfMemory.

    >>> import engram as eg
    >>> layers, = eg.lens(eg.load(), eg.Prompt("The author of Hamlet is [Y].", "Shakespeare"))
    >>> layers[max(layers)].rank
    1
    """
    asked = [prompts] if isinstance(prompts, Prompt) else list(prompts)
    rows = [(i, row) for i, p in enumerate(asked) for row in model.rows(p)]
    said: list[dict[int, Said]] = [{} for _ in rows]
    done = 0
    with torch.no_grad(), hooks.quiet(model.net), holding(under, model):
        for group in by_shape([row.shape for _, row in rows]):
            size = rows_within(model, sum(rows[group[0]][1].shape), gradient=False)
            for i, one in zip(group, _in_batches(model, [rows[i][1] for i in group], size, top), strict=True):
                said[i] = one
            done += len(group)
            if progress is not None:
                progress(done, len(rows))
    owned: list[list[tuple[Row, dict[int, Said]]]] = [[] for _ in asked]
    for (owner, row), one in zip(rows, said, strict=True):
        owned[owner].append((row, one))
    return [
        {layer: answer_of(model, prompt, [(row, one[layer]) for row, one in mine]) for layer in _answering(model)}
        for prompt, mine in zip(asked, owned, strict=True)
    ]


def _in_batches(model: Model, rows: Sequence[Row], size: int, top: int) -> list[dict[int, Said]]:
    """What every layer says of each row, of which so many fit into memory at once."""
    found: list[dict[int, Said]] = []
    for start in range(0, len(rows), size):
        batch = Batch.of(rows[start : start + size], model.device)
        left = _left(model, batch)
        pairs = [(i, layer) for layer in left for i in range(len(batch))]
        said = in_batches(model, pairs, size, lambda some, b=batch, x=left: _ended(model, b, x, some, top))  # type: ignore[misc]
        each: list[dict[int, Said]] = [{} for _ in range(len(batch))]
        for (i, layer), one in zip(pairs, said, strict=True):
            each[i][layer] = one
        found += each
    return found


def _answering(model: Model) -> list[int]:
    """The layers of the stack that answers."""
    side = model.layers[-1].side
    return [x.index for x in model.layers if x.side == side]


def _left(model: Model, batch: Batch) -> dict[int, Tensor]:
    """What leaves the block of each layer that answers, at the asked position. [row, hidden]"""
    left: dict[int, Tensor] = {}

    def keeping(layer: int) -> hooks.Change:
        def change(x: Tensor) -> Tensor:
            left[layer] = x[_at(batch, x)]
            return x

        return change

    with hooks.rewriting(model.net, model.layers, {i: keeping(i) for i in _answering(model)}, place="block"):
        model.logits(batch)
    return left


def _ended(
    model: Model, batch: Batch, left: dict[int, Tensor], pairs: Sequence[tuple[int, int]], top: int
) -> list[Said]:
    """What is said of these pairs of row and layer, if what left the layer had left the last one."""
    last = len(model.layers) - 1
    many = batch.take(torch.tensor([i for i, _ in pairs], device=batch.ids.device))
    said: dict[int, Said] = {}
    for part, beginning in running_on(model, many, [last] * len(pairs)):
        some = many.take(torch.tensor(part, device=many.ids.device))
        states = [left[pairs[k][1]][pairs[k][0]] for k in part]

        def end(x: Tensor, some: Batch = some, states: Sequence[Tensor] = states) -> Tensor:
            x[_at(some, x)] = torch.stack([s.to(x.device) for s in states])
            return x

        with beginning, hooks.rewriting(model.net, model.layers, {last: end}, place="block"):
            said |= zip(part, said_of(model, some, model.logits(some), top), strict=True)
    return [said[k] for k in range(len(pairs))]


def _at(batch: Batch, x: Tensor) -> tuple[Tensor, Tensor]:
    """The asked position of each row, as an index into [row, position, …]."""
    return torch.arange(len(x), device=x.device), batch.answered_at.to(x.device)
