"""Ordinary text as the windows of tokens that a network reads, and the positions in them that count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import BadSetting, UnsupportedModel
from .model import Model
from .questions import positions

LONGEST = 512  # tokens of a window: attention takes the square of it


@dataclass(frozen=True, slots=True)
class Window:
    """What the network reads at once: tokens, and which of them count (special tokens do not).

    >>> len(Window((2, 7, 9, 3), (1, 2)))
    4
    """

    ids: tuple[int, ...]
    counted: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)


def corpus_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The texts in an order of their own, whichever they came in. Raises BadSetting.

    >>> corpus_of(["It rains.", "A dog barks."])
    ('A dog barks.', 'It rains.')
    """
    if isinstance(texts, str):
        raise BadSetting(f"texts are several strings, not one: [{texts[:40]!r}]")
    found = tuple(texts)
    if wrong := [t for t in found if not isinstance(t, str)]:
        raise BadSetting(f"a text is a string, not {type(wrong[0]).__name__}")
    return tuple(sorted(found))


def longest_window(model: Model) -> int:
    """How many tokens are read at once: as many as the model has positions, at most 512. Raises UnsupportedModel."""
    if model.family.asks not in ("next", "mask"):
        raise UnsupportedModel(
            f"{model.name} reads with one stack and answers with another: a text alone does not say what the second "
            "reads. Use a causal or a masked model."
        )
    return min(LONGEST, positions(model.tokenizer, model.config, model.family))


def windows(model: Model, texts: Iterable[str], tokens: int, seed: int = 0) -> list[Window]:
    """So many tokens of these texts, drawn by `seed`, as the network reads them; all of them where there are fewer.

    Which tokens does not depend on the order of the texts. A causal model's texts are packed one after another into
    windows of its longest length (at most 512), without padding; each window begins with what the tokenizer begins a
    text with, and between two texts stands the same, or else the token that ends a text. A masked model reads every
    text by itself with its special tokens, cut at that length. Raises BadSetting where no token counts, and
    UnsupportedModel for a model of two stacks.

    >>> import engram as eg
    >>> first, *_ = windows(eg.load(), ["The old man is in the garden."], tokens=3)
    >>> eg.load().tokenizer.convert_ids_to_tokens(first.ids)[:3], first.counted
    (['[CLS]', 'The', 'old'], (1, 2, 3))
    """
    if tokens < 1:
        raise BadSetting(f"tokens is how many are read, at least 1, not {tokens}")
    longest = longest_window(model)
    corpus = corpus_of(texts)
    drawn = [corpus[i] for i in np.random.default_rng(seed).permutation(len(corpus))]
    cut = _packed if model.blank_last else _whole
    found, left = [], tokens
    for ids in cut(drawn, model.tokenizer, longest):
        window = _counted(ids, model, left)
        if window.counted:
            found.append(window)
            left -= len(window.counted)
        if not left:
            break
    if not found:
        raise BadSetting(f"{len(corpus)} texts were given, and {model.name} finds no token to read in them")
    return found


def _packed(texts: Sequence[str], tokenizer: Any, longest: int) -> Iterator[list[int]]:
    begin: list[int] | None = None
    between: list[int] = []
    waiting: list[int] = []
    for text in texts:
        own = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if not own:
            continue
        if begin is None:
            begin = _begin(text, own, tokenizer)
            end = tokenizer.eos_token_id
            between = begin or ([] if end is None else [end])
            waiting = begin + own
        else:
            waiting += between + own
        while len(waiting) >= longest:
            yield waiting[:longest]
            rest = waiting[longest:]
            waiting = rest if rest[: len(begin)] == begin else begin + rest
    if begin is not None and len(waiting) > len(begin):
        yield waiting


def _begin(text: str, own: list[int], tokenizer: Any) -> list[int]:
    """What the tokenizer puts before a text."""
    framed: list[int] = tokenizer(text, verbose=False)["input_ids"]
    there = [i for i in range(len(framed) - len(own) + 1) if framed[i : i + len(own)] == own]
    return framed[: there[0]] if there else []


def _whole(texts: Sequence[str], tokenizer: Any, longest: int) -> Iterator[list[int]]:
    for text in texts:
        yield tokenizer(text, truncation=True, max_length=longest)["input_ids"]


def _counted(ids: Sequence[int], model: Model, left: int) -> Window:
    """The first so many that are no special tokens; a causal model reads no further than the last of them."""
    special = set(model.tokenizer.all_special_ids)
    counted = tuple(i for i, t in enumerate(ids) if t not in special)[:left]
    end = counted[-1] + 1 if counted and model.blank_last else len(ids)
    return Window(tuple(ids[:end]), counted)
