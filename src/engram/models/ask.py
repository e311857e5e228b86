"""Does the model know it?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..facts import Prompt
from ..results import Answer
from . import hooks
from .batching import Progress, by_shape, in_batches, rows_within
from .conditions import holding
from .model import Model
from .questions import Batch, Row

Said = tuple[float, int, tuple[tuple[str, float], ...]]  # log-probability, rank, the best few


def ask(
    model: Model,
    prompts: Iterable[Prompt] | Prompt,
    *,
    under: object = None,
    top: int = 5,
    progress: Progress | None = None,
) -> list[Answer]:
    """How does the model answer these prompts (under an intervention or an edit)? One Answer per prompt, in order.

    Prompts of equal length go through the network together, without padding. An answer of several tokens counts as
    the sum of its tokens' log-probabilities, each given the gold tokens before it (see `Model.masks` for masked
    models). Leaves the model as it was. Raises UnaskablePrompt, NotFinite, OutOfMemory.

    >>> import engram as eg
    >>> answer, = eg.ask(eg.load(), eg.Prompt("The author of Hamlet is [Y].", "Shakespeare"))
    >>> answer.rank
    1
    """
    asked = [prompts] if isinstance(prompts, Prompt) else list(prompts)
    rows = [(i, row) for i, p in enumerate(asked) for row in model.rows(p)]
    said: list[Said | None] = [None] * len(rows)
    done = 0
    with torch.no_grad(), hooks.quiet(model.net), holding(under, model):
        for group in by_shape([row.shape for _, row in rows]):
            size = rows_within(model, sum(rows[group[0]][1].shape), gradient=False)
            results = in_batches(model, [rows[i][1] for i in group], size, lambda part: _say(model, part, top))
            for i, result in zip(group, results, strict=True):
                said[i] = result
            done += len(group)
            if progress is not None:
                progress(done, len(rows))
    owned: list[list[tuple[Row, Said]]] = [[] for _ in asked]
    for (owner, row), one in zip(rows, said, strict=True):
        if one is not None:
            owned[owner].append((row, one))
    return [answer_of(model, prompt, mine) for prompt, mine in zip(asked, owned, strict=True)]


def answer_of(model: Model, prompt: Prompt, said: Sequence[tuple[Row, Said]]) -> Answer:
    """What was said of all rows of one prompt, as its Answer."""
    tokens = model.tokenizer.convert_ids_to_tokens([row.target for row, _ in said])
    parts = [one for _, one in said]
    return Answer(prompt, tuple(tokens), sum(p[0] for p in parts), max(p[1] for p in parts), parts[0][2])


def _say(model: Model, rows: Sequence[Row], top: int) -> list[Said]:
    batch = Batch.of(rows, model.device)
    return said_of(model, batch, model.logits(batch), top)


def said_of(model: Model, batch: Batch, logits: Tensor, top: int) -> list[Said]:
    """What logits [row, vocabulary] say of each row's answer. Raises NotFinite."""
    logprob = model.finite(logits).log_softmax(-1)
    target = batch.target.to(logprob.device)[:, None]
    right = logprob.gather(1, target)
    rank = (logprob > right).sum(-1) + 1
    best = logprob.topk(min(top, logprob.shape[-1]), -1)
    words = [[model.tokenizer.decode([i]).strip() for i in ids] for ids in best.indices.tolist()]
    chances = best.values.exp().tolist()
    return [
        (p, r, tuple(zip(w, c, strict=True)))
        for p, r, w, c in zip(right[:, 0].tolist(), rank.tolist(), words, chances, strict=True)
    ]
