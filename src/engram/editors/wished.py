"""Several wishes at once: each with the sentence that asks for it, and none against another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..edits import Wish, said
from ..errors import BadSetting
from ..facts import Prompt, Rewrite
from ..models import Model
from .base import Editor, question
from .lookup import Lookup, Token, lookups


@dataclass(frozen=True, slots=True)
class Wished:
    """A fact's sentence with its new answer, and where it is looked up: by itself, and behind each opening."""

    subject: str
    asked: Prompt
    found: tuple[Lookup, ...]

    @property
    def first(self) -> list[Lookup]:
        """Those that ask for the first token of the answer: no answer is in sight yet."""
        return [x for x in self.found if x.nth == 0]


def wished(
    editor: Editor, model: Model, wish: Wish, prompt: Prompt | tuple[Prompt, ...] | None, openings: Sequence[str],
    token: Token, layer: int,
) -> list[Wished]:  # fmt: skip
    """Each wish with its sentence, looked up. Raises BadSetting, UnaskablePrompt, NoSubject."""
    wishes = wish if isinstance(wish, tuple) else (wish,)
    prompts = prompt if isinstance(prompt, tuple) else (None,) * len(wishes) if prompt is None else (prompt,)
    if not wishes or len(prompts) != len(wishes):
        raise BadSetting(
            f"{editor.name} takes one or more wishes, and a sentence for each: not {len(prompts)} sentences "
            f"for {len(wishes)} wishes"
        )
    pairs = [question(editor, one, where) for one, where in zip(wishes, prompts, strict=True)]
    _agreeing(pairs)
    found = []
    for new, where in pairs:
        asked = where.asking_for(str(new.answer))
        places = lookups(model, asked, new.fact.subject, openings, token, layer)
        found.append(Wished(new.fact.subject, asked, tuple(places)))
    return found


def _agreeing(pairs: Sequence[tuple[Rewrite, Prompt]]) -> None:
    """Raises BadSetting where a sentence is to have two answers, or a fact, or a wish is there twice."""
    sentences: dict[str, Rewrite] = {}
    facts: dict[tuple[str, str], Rewrite] = {}
    for new, where in pairs:
        fact = (new.fact.subject, new.fact.relation)
        if (other := sentences.get(where.text)) is not None:
            raise BadSetting(f"two wishes have the sentence {where.text!r}: {said(other)} and {said(new)}. Take one.")
        if (other := facts.get(fact)) is not None and other.answer != new.answer:
            raise BadSetting(f"two wishes give one fact two answers: {said(other)} and {said(new)}. Take one.")
        sentences[where.text] = facts[fact] = new
