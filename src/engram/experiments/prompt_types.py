"""The three types of prompts of Dai et al. (2022), table 4, made from texts: what is hidden, and where."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import UnaskablePrompt
from ..facts import BLANK, Fact, Prompt
from ..models import Model
from ..models.activations import slot_row
from ..texts import Mentions, Texts
from .base import luck

TYPES = {
    "T1": "the text mentions subject and answer, and the answer is hidden",
    "T2": "the text mentions the subject, and another word is hidden",
    "T3": "any text, and a word of it is hidden",
}
Slot = Literal["word", "entity"]
Others = Literal["all", "neither"]
Span = tuple[int, int]

WORDS = 50  # of a text, among which one is drawn
_SPARE = 100  # texts that may be passed over for a fact's T3


@dataclass(frozen=True, slots=True)
class PromptTypes:
    """Prompts of each type for a fact. Luck depends on `seed` and the fact alone. See `ActivationByPrompt`."""

    texts: Texts
    clean: bool
    slot: Slot
    others: Others
    seed: int

    def of(self, model: Model, fact: Fact, number: int, left_out: Counter[str]) -> dict[str, list[Prompt]]:
        """All that can be asked of this model; `left_out` learns what was not used, and why."""
        mentions = self.texts.of(fact.relation, number)
        first = self.first(model, fact, mentions, left_out)
        second = list(self._second(model, fact, mentions, luck(self.seed, fact.relation, number, 2), left_out))
        third = self._third(model, fact, len(first), luck(self.seed, fact.relation, number, 3), left_out)
        return {"T1": first, "T2": second, "T3": third}

    def first(self, model: Model, fact: Fact, mentions: Mentions, left_out: Counter[str]) -> list[Prompt]:
        """T1: the first mention of the answer outside the subject is hidden (causal models: behind the subject)."""
        made = []
        for text in mentions.both:
            hidden, heads = without(text, fact.subject)
            tails = mentioned(hidden, fact.answer)
            if self.clean and len(tails) > 1:
                left_out["T1: mentions the answer again"] += 1
                continue
            usable = [t for t in tails if not model.blank_last or (heads and t[0] >= heads[0][1])]
            if not usable:
                where = "behind the subject" if model.blank_last else "outside the subject"
                left_out[f"T1: no answer {where}"] += 1
            elif (prompt := _asked(model, fact, text, usable[0], "T1", left_out)) is not None:
                made.append(prompt)
        return made

    def _second(
        self, model: Model, fact: Fact, mentions: Mentions, rng: np.random.Generator, left_out: Counter[str]
    ) -> Iterator[Prompt]:
        both = set(mentions.both)
        for text in mentions.head:
            hidden, heads = without(text, fact.subject)
            if self.clean and (text in both or mentioned(hidden, fact.answer)):
                left_out["T2: mentions the answer, or is a text of T1"] += 1
                continue
            if self.slot == "entity":
                places = [h for h in heads if h[0] or not model.blank_last][:1]
            else:
                start = 0 if not model.blank_last else heads[0][1] if heads else len(text)
                places = [p for p in words(hidden) if p[0] >= start and p not in heads]
            if not places:
                left_out["T2: nothing to hide"] += 1
            elif (prompt := _asked(model, fact, text, _drawn(places, rng), "T2", left_out)) is not None:
                yield prompt

    def _third(
        self, model: Model, fact: Fact, n: int, rng: np.random.Generator, left_out: Counter[str]
    ) -> list[Prompt]:
        pool = self.texts.neither if self.others == "neither" else self.texts.everything
        made: list[Prompt] = []
        for i in rng.choice(len(pool), min(len(pool), 2 * n + _SPARE), replace=False) if n else ():
            text = pool[int(i)]
            if self.clean and (mentioned(text, fact.subject) or mentioned(text, fact.answer)):
                left_out["T3: mentions the subject or the answer"] += 1
                continue
            places = [p for p in (entities if self.slot == "entity" else words)(text) if p[0] or not model.blank_last]
            if not places:
                left_out["T3: nothing to hide"] += 1
            elif (prompt := _asked(model, fact, text, _drawn(places, rng), "T3", left_out)) is not None:
                made.append(prompt)
            if len(made) == n:
                break
        return made


def without(text: str, subject: str) -> tuple[str, list[Span]]:
    """The text with every mention of the subject overwritten, and where they are.

    A mention is a word of its own: `Niger` is not hidden in `Nigerien`.

    >>> without("Brody Raion lies near Brody.", "Brody Raion")
    ('@@@@@@@@@@@ lies near Brody.', [(0, 11)])
    """
    hidden, spans = text, mentioned(text, subject)
    for start, end in spans:
        hidden = hidden[:start] + "@" * (end - start) + hidden[end:]
    return hidden, spans


def mentioned(text: str, name: str) -> list[Span]:
    """Where a name stands as a word of its own: no letter from A to Z before or behind it, as in the authors' code.

    >>> mentioned("Rome, Romes, Rome2", "Rome")
    [(0, 4), (13, 17)]
    """
    return [m.span() for m in re.finditer(rf"(?<![A-Za-z]){re.escape(name)}(?![A-Za-z])", text)]


def words(text: str) -> list[Span]:
    """The first words of a text, with the marks that stick to them: what stands between spaces."""
    return [m.span() for m in re.finditer(r"[^ ]+", text)][:WORDS]


def entities(text: str) -> list[Span]:
    """Names: runs of capitalised words; of one that opens a sentence, the first word does not count.

    >>> text = "On Friday Mary Ann met him. Nobody saw it, but I did."
    >>> [text[a:b] for a, b in entities(text)]
    ['Friday Mary Ann']
    """
    runs: list[Span] = []
    for m in re.finditer(r"[^\W\d_][\w'’-]*", text):
        start, end = m.span()
        before = text[:start].rstrip(" \"“'(")
        if not m[0][0].isupper() or m[0] == "I" or not before or before[-1] in ".!?:…":
            continue
        if runs and text[runs[-1][1] : start] == " ":
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def _drawn(places: Sequence[Span], rng: np.random.Generator) -> Span:
    return places[int(rng.integers(len(places)))]


def _asked(model: Model, fact: Fact, text: str, place: Span, kind: str, left_out: Counter[str]) -> Prompt | None:
    """The text with this place hidden; None where the model cannot be asked it."""
    start, end = place
    try:
        prompt = Prompt(text[:start] + BLANK + text[end:], text[start:end], fact=fact)
        slot_row(model, prompt)
    except UnaskablePrompt as error:
        left_out[f"{kind}: {type(error).__name__}"] += 1
        return None
    return prompt
