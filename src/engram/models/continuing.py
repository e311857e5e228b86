"""What does a model say when it goes on by itself, each text under an edit of its own?

Scores of an answer's tokens, each given the gold tokens before it, flatter: a model that is let speak may never come to
them. So a rewritten fact is also judged by what is said freely.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..edits import Edit
from ..errors import BadSetting, PromptTooLong, UnaskablePrompt, UnsupportedModel
from ..facts import Prompt
from ..results import Floats
from . import detours, hooks
from .batching import Progress, by_shape, in_batches, rows_within, value_width
from .many import Under, each_under
from .model import Model
from .questions import positions, without_end
from .scoring import whose


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    """A text to be continued to `length` tokens under the edit of this number; `luck` in [0, 1) for each new one."""

    ids: tuple[int, ...]
    length: int
    edit: int
    luck: Floats


def continued(
    model: Model,
    texts: Sequence[str],
    *,
    tokens: int = 100,
    top: int = 5,
    seed: int = 0,
    edits: Sequence[Edit | None] = (None,),
    of: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """How does a causal model go on from these texts, under `edits[of[i]]`? Of each text, it and what follows.

    Up to `tokens` tokens with those of the text, each drawn from the `top` likeliest by their probabilities; 1 takes
    the likeliest. As in the published code (Meng et al. 2022), the end of a text is a token like others, and nothing is
    left out but such marks. What is drawn for a text depends on `seed`, the text, and how often it was given before
    under the same edit, not on its neighbours; the same text under two edits has the same luck. Texts of unequal length
    go together without padding: the shorter ones begin to speak while the longer ones are still being read. Leaves the
    model as it was. Raises UnsupportedModel, UnaskablePrompt, BadSetting, OtherWeights, NotFinite, OutOfMemory.

    >>> import engram as eg
    >>> from engram.models.continuing import continued
    >>> (text,) = continued(eg.load("engram:causal"), ["The author of Hamlet is"], tokens=8, top=1)
    >>> text.startswith("The author of Hamlet is")
    True
    """
    if tokens < 1 or top < 1:
        raise BadSetting(f"a text goes on to at least 1 token, drawn from at least 1, not {tokens} and {top}")
    under, seen = whose(texts, edits, of), Counter[tuple[int, str]]()
    given = []
    for text, e in zip(texts, under, strict=True):
        luck = _luck(seed, text, seen[e, text], tokens)
        seen[e, text] += 1
        given.append(_Text(_read(model, text, tokens), tokens, e, luck))
    order = sorted(range(len(given)), key=lambda i: len(given[i].ids))
    said = _on(model, [given[i] for i in order], edits, top, progress)
    whole = dict(zip(order, said, strict=True))
    return [_written(model, whole[i]) for i in range(len(texts))]


def spoken(
    model: Model,
    prompts: Sequence[Prompt],
    *,
    tokens: int | None = None,
    edits: Sequence[Edit | None] = (None,),
    of: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """What does a causal model say at each blank by itself, the likeliest token each time, under `edits[of[i]]`?

    So many `tokens`; None: as many as the prompt's answer has. The words alone, without spaces around them. Raises what
    `continued` does.

    >>> import engram as eg
    >>> from engram.models.continuing import spoken
    >>> spoken(eg.load("engram:causal"), [eg.Prompt("The author of Hamlet is [Y]", "Shakespeare")])
    ['Shakespeare']
    """
    if tokens is not None and tokens < 1:
        raise BadSetting(f"at least 1 token is said, not {tokens}")
    under, given = whose(prompts, edits, of), []
    for prompt, e in zip(prompts, under, strict=True):
        rows = model.rows(prompt)
        length = len(rows[0].ids) + (len(rows) if tokens is None else tokens)
        _check(model, prompt.text, length)
        given.append(_Text(rows[0].ids, length, e, np.zeros(length)))
    said: dict[int, list[int]] = {}
    for group in by_shape([(len(t.ids), t.length) for t in given]):
        said |= zip(group, _on(model, [given[i] for i in group], edits, 1, progress), strict=True)
    return [_written(model, said[i][len(t.ids) :]).strip() for i, t in enumerate(given)]


def _read(model: Model, text: str, tokens: int) -> tuple[int, ...]:
    ids = without_end(model.tokenizer(text)["input_ids"], model.tokenizer)
    if not ids:
        raise UnaskablePrompt(f"there is nothing to continue in {text!r}")
    _check(model, text, max(tokens, len(ids)))
    return tuple(ids)


def _check(model: Model, text: str, tokens: int) -> None:
    if not model.blank_last:
        raise UnsupportedModel(f"{model.name} is not a causal model: it does not continue texts")
    if tokens > (limit := positions(model.tokenizer, model.config, model.family)):
        raise PromptTooLong(f"{tokens} tokens, and this model has {limit} positions: {text[:80]!r}")


def _written(model: Model, ids: Sequence[int]) -> str:
    text: str = model.tokenizer.decode(list(ids), skip_special_tokens=True)
    return text


def _luck(seed: int, text: str, before: int, n: int) -> Floats:
    """Numbers in [0, 1) that belong to this text: the same next to any others."""
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
    return np.random.default_rng([seed, key, before]).random(n)


def _on(
    model: Model, texts: Sequence[_Text], edits: Sequence[Edit | None], top: int, progress: Progress | None
) -> list[list[int]]:
    """All tokens of each text, those given among them."""
    if not texts:
        return []
    done = 0

    def work(part: Sequence[_Text]) -> list[list[int]]:
        nonlocal done
        found = _together(model, part, under, top)
        done += len(part)
        if progress is not None:
            progress(done, len(texts))
        return found

    with torch.no_grad(), hooks.quiet(model.net), detours.fused(model.net), each_under(model, edits) as under:
        return in_batches(model, texts, _within(model, max(t.length for t in texts)), work)


def _within(model: Model, tokens: int) -> int:
    """How many texts go together: their keys and values take a half of the budget, a pass over them the other."""
    kept = model.dtype.itemsize * 2 * len(model.layers) * value_width(model) * tokens
    return max(1, min(rows_within(model, tokens, gradient=False), model.budget // 2 // kept))


def _together(model: Model, texts: Sequence[_Text], under: Under, top: int) -> list[list[int]]:
    """Read to the end of the shortest, then on by one token: the text's own as long as there is one, else drawn."""
    ids = [list(t.ids[: min(len(t.ids) for t in texts)]) for t in texts]
    new, cache, last = torch.tensor(ids, device=model.device), None, max(t.length for t in texts)
    luck = torch.tensor(np.array([np.resize(t.luck, last) for t in texts]), device=model.device)
    with under([t.edit for t in texts]) if len(ids[0]) < last else nullcontext():
        while (n := len(ids[0])) < last:
            logits, cache = _step(model, new, n, cache)
            drawn = _drawn(logits, luck[:, n].to(logits.device), top).tolist()
            for text, own, word in zip(texts, ids, drawn, strict=True):
                own.append(text.ids[n] if n < len(text.ids) else word)
            new = torch.tensor([own[-1:] for own in ids], device=model.device)
    return [[*t.ids, *own[len(t.ids) : t.length]] for t, own in zip(texts, ids, strict=True)]


def _step(model: Model, new: Tensor, n: int, cache: Any) -> tuple[Tensor, Any]:
    """What the network says behind its first `n` tokens, [row, vocabulary], and its keys and values."""
    whole = new.new_ones(len(new), n)
    at = torch.full_like(new[:, 0], new.shape[1] - 1)
    with hooks.asking(hooks.Asked({"input": at, "output": at}, new)), hooks.at_rows(model.head, at):
        out = model.net(input_ids=new, attention_mask=whole, past_key_values=cache, use_cache=True)
    if out.past_key_values is None:
        raise UnsupportedModel(f"{model.name} keeps no keys and values to go on from")
    return model.finite(out.logits[:, -1].to(model.precise)), out.past_key_values


def _drawn(logits: Tensor, luck: Tensor, top: int) -> Tensor:
    """One of the `top` likeliest tokens of each row, by where its luck falls among their probabilities. [row]"""
    best = logits.topk(min(top, logits.shape[-1]), -1)
    reached = best.values.softmax(-1).cumsum(-1)
    place = (reached <= luck[:, None]).sum(-1, keepdim=True).clamp(max=reached.shape[-1] - 1)
    return best.indices.gather(1, place)[:, 0]
