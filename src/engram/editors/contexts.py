"""Openings that a sentence is tried behind, so that what is learnt of its subject does not hang on its beginning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..errors import BadSetting
from ..models import Model, hooks
from ..models.questions import Batch, Row

TOP = 5  # the next token is one of so many
BEGINNINGS = ("The", "Therefore", "Because", "I", "You")  # for tokenizers that do not begin a text by themselves
Lengths = Sequence[tuple[int, int]]  # (tokens, how many)
Contexts = tuple[tuple[int, int], ...] | tuple[str, ...]


def openings(model: Model, contexts: Contexts, seed: int) -> tuple[str, ...]:
    """The texts themselves, or texts of these (tokens, how many) that the model writes; a masked model writes none.

    Raises BadSetting.
    """
    texts = tuple(x for x in contexts if isinstance(x, str))
    lengths = tuple(x for x in contexts if not isinstance(x, str))
    if texts and lengths:
        raise BadSetting("contexts are texts or (tokens, how many), not both")
    return texts or (sampled(model, lengths, seed) if lengths and model.blank_last else ())


def sampled(model: Model, lengths: Lengths, seed: int) -> tuple[str, ...]:
    """Texts that a causal model writes by itself: of each length so many, each token one of its best five.

    ROME's `generate_fast`, seeded. A length counts the token that the text begins with. Raises BadSetting.
    """
    if not model.blank_last:
        raise BadSetting(f"{model.name} does not continue texts: give contexts as texts, or () for none")
    luck, found = np.random.default_rng(seed), []
    begin = getattr(model.tokenizer, "bos_token_id", None)
    with torch.no_grad(), hooks.quiet(model.net):
        for length, count in lengths:
            if length < 2 or count < 0:
                raise BadSetting(f"contexts are (tokens from 2 up, how many), not ({length}, {count})")
            starts = [[begin] if begin is not None else _first(model, i) for i in range(count)]
            found += [_written(model, ids, length, luck) for ids in starts]
    return tuple(found)


def _first(model: Model, i: int) -> list[int]:
    return list(model.tokenizer(BEGINNINGS[i % len(BEGINNINGS)], add_special_tokens=False)["input_ids"])


def _written(model: Model, ids: list[int], length: int, luck: np.random.Generator) -> str:
    while len(ids) < length:
        logits = model.finite(model.logits(Batch.of([Row(tuple(ids), len(ids) - 1, 0)], model.device)))
        best = logits[0].double().topk(min(TOP, logits.shape[1]))
        chances = best.values.softmax(0).cpu().numpy()
        ids = [*ids, int(best.indices[luck.choice(len(chances), p=chances / chances.sum())])]
    text: str = model.tokenizer.decode(ids, skip_special_tokens=True)
    return text.replace("{", " ").replace("}", " ").replace("[Y]", " ").strip()
