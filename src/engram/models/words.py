"""How likely are given words at the blank? All words of a prompt from one row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..errors import UnaskablePrompt
from ..facts import Prompt
from ..results import Floats
from . import hooks
from .batching import Progress, by_shape, in_batches, rows_within
from .conditions import holding
from .model import Model
from .questions import Batch, Row


@dataclass(frozen=True, slots=True)
class Choice:
    """A prompt as the model reads it, and the token that each word is at its blank, by word.

    `left_out` are the words that cannot be asked there, each with the reason.
    """

    row: Row
    tokens: dict[str, int]
    left_out: dict[str, str]


def choice(model: Model, prompt: Prompt, words: Iterable[str]) -> Choice:
    """Which token is each word at the blank of this prompt? Words of several tokens are left out.

    Words are written as the answer is: with a capital letter where it has one. Raises UnaskablePrompt where the answer
    itself is not one token.

    >>> import engram as eg
    >>> from engram.models.words import choice
    >>> found = choice(eg.load(), eg.Prompt("Anna saw [Y] horses.", "these"), ["this", "unbelievably"])
    >>> list(found.tokens), list(found.left_out)
    (['this'], ['unbelievably'])
    """
    rows = model.rows(replace(prompt, against=None))
    if len(rows) != 1:
        raise UnaskablePrompt(f"words of one token are asked for, and {prompt.answer!r} has {len(rows)}")
    tokens: dict[str, int] = {}
    left_out: dict[str, str] = {}
    capital = prompt.answer.strip()[:1].isupper()
    for word in words:
        written = word[:1].upper() + word[1:] if capital else word
        try:
            own = model.rows(replace(prompt, answer=written, against=None))
        except UnaskablePrompt as error:
            left_out[word] = type(error).__name__
            continue
        if len(own) == 1 and replace(own[0], target=rows[0].target) == rows[0]:
            tokens[word] = own[0].target
        else:
            left_out[word] = f"{len(own)} tokens"
    return Choice(rows[0], tokens, left_out)


def logprobs(
    model: Model, asked: Sequence[tuple[Row, Sequence[int]]], *, under: object = None, progress: Progress | None = None
) -> list[Floats]:
    """The log-probability in nats of each of these tokens at the asked position of their row: one array for each row.

    A row is read once, whatever the number of its tokens; rows of equal length go together, without padding. Leaves
    the model as it was. Raises NotFinite, OutOfMemory.

    >>> import engram as eg
    >>> from engram.models.words import choice, logprobs
    >>> model, prompt = eg.load(), eg.Prompt("Anna saw [Y] horses.", "these")
    >>> own = choice(model, prompt, ["these", "this"])
    >>> (found,) = logprobs(model, [(own.row, list(own.tokens.values()))])
    >>> bool(abs(found[0] - eg.ask(model, prompt)[0].logprob) < 1e-5)
    True
    """
    found: list[Floats] = [np.zeros(0)] * len(asked)
    done = 0
    with torch.no_grad(), hooks.quiet(model.net), holding(under, model):
        for group in by_shape([row.shape for row, _ in asked]):
            size = rows_within(model, sum(asked[group[0]][0].shape), gradient=False)
            parts = in_batches(model, [asked[i] for i in group], size, lambda part: _read(model, part))
            for i, values in zip(group, parts, strict=True):
                found[i] = values
            done += len(group)
            if progress is not None:
                progress(done, len(asked))
    return found


def _read(model: Model, part: Sequence[tuple[Row, Sequence[int]]]) -> list[Floats]:
    said = model.finite(model.logits(Batch.of([row for row, _ in part], model.device))).log_softmax(-1).cpu()
    return [said[i, list(tokens)].double().numpy() for i, (_, tokens) in enumerate(part)]
