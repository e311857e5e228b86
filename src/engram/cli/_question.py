"""What the commands `ask` and `locate` are asked about: a sentence, or a fact of a data set in all its templates."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ..errors import AnswerNotWritable, BadSetting
from ..facts import Prompt

if TYPE_CHECKING:
    from ..models import Model


@dataclass(frozen=True)
class Question:
    """Either a sentence with its answer, or a data set with a relation and a subject."""

    words: Annotated[
        list[str] | None,
        Argument(metavar="[MODEL] [PROMPT]", help="A sentence with the blank [Y]; before it, a model."),
    ] = None
    answer: Annotated[str | None, Option("--answer", "-a", help="What belongs into the blank.")] = None
    against: Annotated[str | None, Option(help="A wrong answer to compare with.")] = None
    data: Annotated[str | None, Option("--data", "-d", help="A data set instead of a prompt: name or path.")] = None
    relation: Annotated[str | None, Option("--relation", "-r", help="With --data: a relation's id or name.")] = None
    subject: Annotated[str | None, Option("--subject", "-s", help="With --data: whom the fact is about.")] = None

    def named(self) -> str | None:
        """The model among the words, if one is. Raises what can be said against the question without a model."""
        words = self.words or []
        if self.data is None:
            if self.relation is not None or self.subject is not None:
                raise BadSetting("--relation and --subject say which fact of a data set; name it with --data")
            if not words:
                raise BadSetting('what is to be asked? A prompt such as "The capital of Ireland is [Y].", or --data')
        else:
            if self.relation is None or self.subject is None:
                raise BadSetting(f"--data {self.data} needs --relation and --subject: `engram data {self.data}`")
            if self.answer is not None:
                raise BadSetting("--answer goes with a prompt; a fact of --data has its own")
        most = 2 if self.data is None else 1
        if len(words) > most:
            form = "[MODEL] PROMPT, with the prompt in quotes" if most == 2 else "[MODEL], for --data is the question"
            raise BadSetting(f"{len(words)} arguments, where there can be {most}: {form}")
        _ = self.asked
        return words[0] if len(words) == most else None

    @functools.cached_property
    def asked(self) -> tuple[Prompt, ...]:
        """The sentence, or the fact in all its templates. A sentence without `--answer` still lacks one."""
        if self.data is None or self.relation is None or self.subject is None:
            return (Prompt((self.words or [""])[-1], self.answer or ""),)
        from .. import data

        facts = data.read(self.data)
        return facts.prompts(facts.fact(self.subject, self.relation))

    def prompts(self, model: Model) -> tuple[Prompt, ...]:
        """What this model is asked: the sentence, or the fact in every template that it can be asked in.

        Without `--answer`, the answer is the model's own first word. Raises UnaskablePrompt, BadSetting.
        """
        if self.data is None and self.answer is None:
            return tuple(p.asking_for(own_word(model, p.text)) for p in self.asked)
        if self.data is None or not model.blank_last:
            return self.asked
        if kept := tuple(p for p in self.asked if p.blank_last):
            return kept
        raise BadSetting(
            f"{model.name} continues a text, and none of the {len(self.asked)} templates of {self.relation} ends with "
            "its blank"
        )


def own_word(model: Model, text: str) -> str:
    """What would this model say first at the blank? The best of its tokens that can be asked for as a word."""
    from ..models import ask

    vocabulary = (model.tokenizer.decode([i]).strip() for i in range(len(model.tokenizer)))
    if (any_word := next((w for w in vocabulary if _is_one_token(model, text, w)), None)) is not None:
        (said,) = ask(model, Prompt(text, any_word), top=20)  # what is said does not depend on the answer asked for
        for word, p in said.top:
            if _is_one_token(model, text, word):
                (asked,) = ask(model, Prompt(text, word))
                if math.isclose(asked.probability, p, rel_tol=1e-3):  # the same token, not one that reads the same
                    return word
    raise AnswerNotWritable(f"{model.name} would say no whole word at the blank of {text!r}; give --answer")


def _is_one_token(model: Model, text: str, word: str) -> bool:
    try:
        return bool(word) and len(model.rows(Prompt(text, word))) == 1
    except AnswerNotWritable:
        return False
