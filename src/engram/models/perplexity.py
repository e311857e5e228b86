"""How surprised is the model by ordinary text?

A causal model: the negative log-probability of every token given those before it; its exponentiated mean is perplexity.
A masked one: every token is masked in turn and asked for; the exponentiated mean is pseudo-perplexity (Salazar et al.
2020), another quantity, not to be compared with the first. Models of two stacks are asked like masked ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from . import hooks
from .batching import by_shape, in_batches, rows_within
from .conditions import holding
from .model import Model
from .questions import Batch, Row, text_rows


def kind_of_perplexity(model: Model) -> str:
    """What `surprise` adds up to: "perplexity" of a causal model, "pseudo-perplexity" of any other."""
    return "perplexity" if model.blank_last else "pseudo-perplexity"


def surprise(model: Model, texts: Iterable[str], *, under: object = None) -> list[list[float]]:
    """−ln P of every token of every text, in nats: of each text a list, special tokens left out.

    A causal model's first token has nothing before it and is left out, unless the tokenizer puts one there. Leaves the
    model as it was. Raises UnaskablePrompt for a text of which no token can be asked, NotFinite, OutOfMemory.

    >>> import math
    >>> import engram as eg
    >>> from engram.models.perplexity import surprise
    >>> (nats,) = surprise(eg.load("engram:causal"), ["The old man is in the garden."])
    >>> math.exp(sum(nats) / len(nats)) < 1000
    True
    """
    said = [text_rows(t, model.tokenizer, model.config, model.family) for t in texts]
    whole = model.blank_last  # one pass shows a causal model's answer to every token of a text
    passes = [(i, part) for i, rows in enumerate(said) for part in ([rows] if whole else [[row] for row in rows])]
    nats: list[list[float]] = [[] for _ in said]
    with torch.no_grad(), hooks.quiet(model.net), holding(under, model):
        for group in by_shape([part[-1].shape for _, part in passes]):
            tokens = sum(passes[group[0]][1][-1].shape)
            size = rows_within(model, tokens, gradient=False)
            size = max(1, size // tokens) if whole else size  # logits of every token are held
            found = in_batches(model, [passes[i][1] for i in group], size, lambda parts: _nats(model, parts))
            for i, own in zip(group, found, strict=True):
                nats[passes[i][0]] += own
    return nats


def _nats(model: Model, parts: Sequence[Sequence[Row]]) -> list[list[float]]:
    """−ln P of the rows of each part, all of which the part's last row shows: of a causal model a text, else one."""
    batch = Batch.of([rows[-1] for rows in parts], model.device)
    if model.blank_last:
        logits = model.net(**batch.inputs, **model.uncached).logits.to(model.precise)  # [text, position, vocabulary]
        at = [[r.at for r in rows] for rows in parts]
    else:
        logits, at = model.logits(batch)[:, None], [[0]] * len(parts)
    found = []
    for said, places, rows in zip(logits, at, parts, strict=True):
        logprob = model.finite(said[places]).log_softmax(-1)
        target = torch.tensor([r.target for r in rows], device=logprob.device)
        found.append((-logprob.gather(1, target[:, None])[:, 0]).tolist())
    return found
