"""Where in a prompt's tokens is the subject? By character offsets, so that a token may be part of a letter."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import NoSubject, UnsupportedModel
from ..facts import BLANK, Prompt
from .model import Model
from .questions import Row, bare


@dataclass(frozen=True, slots=True)
class Span:
    """The first of the subject's tokens and the one behind its last; `notes` on what is unusual about it."""

    first: int
    end: int
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.end - self.first


def span_of(model: Model, prompt: Prompt, subject: str, row: Row, *, behind: int = 0) -> Span:
    """Which tokens of the prompt's first row are the subject? Where it stands twice, the first place, and that is said.

    Looked for from the letter with the number `behind` on.

    Raises NoSubject, UnsupportedModel.

    >>> import engram as eg
    >>> model, prompt = eg.load("engram:causal"), eg.Prompt("The capital of Ireland is [Y]", "Dublin")
    >>> span_of(model, prompt, "Ireland", model.rows(prompt)[0])
    Span(first=4, end=5, notes=())
    """
    wanted = subject.strip()
    before, after = prompt.text.split(BLANK)
    if not wanted:
        raise NoSubject(f"a subject of no letters was given; name the words to corrupt, in {prompt.text!r}")
    readable = before if model.blank_last else prompt.text
    found = [i for i in _places(readable, wanted) if i >= behind]
    if not found:
        raise NoSubject(f"{wanted!r} is not in {readable!r}; the subject is written as it stands in the prompt")
    place = found[0]
    start = place if place < len(before) else place - len(BLANK) + len(bare(prompt, prompt.answer))
    text = before.removesuffix(" ") if model.blank_last else before + bare(prompt, prompt.answer) + after
    inside = _tokens(model, text, start, start + len(wanted))
    if not inside or inside[-1] >= len(row.ids):
        raise NoSubject(f"the tokenizer writes no token of its own for {wanted!r} in {prompt.text!r}")
    notes = []
    if len(found) > 1:
        notes.append(f"{wanted!r} stands {len(found)} times in the prompt; the first was corrupted")
    if inside[-1] == len(row.ids) - 1:
        notes.append(f"{wanted!r} ends the prompt: its last token is the one that answers")
    return Span(inside[0], inside[-1] + 1, tuple(notes))


def exchanged(model: Model, prompt: Prompt, subject: str, other: str) -> Prompt:
    """The same sentence with another subject in the place that `span_of` finds. Raises NoSubject.

    >>> import engram as eg
    >>> exchanged(eg.load(), eg.Prompt("The Romans left [Y] for Rome.", "Britain"), "Rome", "York").text
    'The Romans left [Y] for York.'
    """
    readable = prompt.text.split(BLANK)[0] if model.blank_last else prompt.text
    found = _places(readable, subject)
    if not found:
        raise NoSubject(f"{subject!r} is not in {readable!r}; the subject is written as it stands in the prompt")
    return replace(prompt, text=prompt.text[: found[0]] + other + prompt.text[found[0] + len(subject) :])


def _places(text: str, wanted: str) -> list[int]:
    """Whole words first; where there is none, anywhere."""
    every, at = [], text.find(wanted)
    while at >= 0:
        every.append(at)
        at = text.find(wanted, at + 1)
    blank = text.find(BLANK)
    every = [i for i in every if blank < 0 or i + len(wanted) <= blank or i >= blank + len(BLANK)]

    def whole(i: int) -> bool:
        around = text[i - 1 : i] + text[i + len(wanted) : i + len(wanted) + 1]
        return not any(c.isalnum() for c in around)

    return [i for i in every if whole(i)] or every


def _tokens(model: Model, text: str, start: int, end: int) -> list[int]:
    if not getattr(model.tokenizer, "is_fast", False):
        raise UnsupportedModel(
            f"{type(model.tokenizer).__name__} cannot tell which tokens the subject is; use a fast tokenizer"
        )
    spans = model.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    return [i for i, (a, b) in enumerate(spans) if a < end and b > start]
