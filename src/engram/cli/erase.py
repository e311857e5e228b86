"""`engram erase`: empty the value slots that an answer comes from, and see what else that takes away."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from ..errors import BadSetting
from ..facts import BLANK, Prompt
from ..neurons import NeuronSet
from . import _edited
from ._edited import Beside, Edited, Kept, Sharing
from ._options import Json, ModelOptions, spread
from ._question import Question
from .locate import Method

if TYPE_CHECKING:
    from ..models import Model


@dataclass(frozen=True)
class Forgotten(Question):
    """Sentences with one answer, or a fact of a data set in all its templates."""

    words: Annotated[
        list[str] | None,
        Argument(metavar="[MODEL] [PROMPT]...", help="Sentences with the blank [Y]; before them, a model."),
    ] = None
    subject: Annotated[str | None, Option("--subject", "-s", help="Whom the fact is about.")] = None

    def named(self) -> str | None:
        """The model among the words, if one is. Raises what can be said against the question without a model."""
        if self.against is not None:
            raise BadSetting("--against is for ask and locate")
        if self.data is not None:
            return super().named()
        words = self.words or []
        model = words[:1] if words and BLANK not in words[0] and len(words) > 1 else []
        name = Question([*model, *words[-1:]], self.answer, relation=self.relation).named()
        if len(words) - len(model) > 1 and self.answer is None:
            raise BadSetting("several sentences need the answer that is theirs: --answer")
        for word in words[len(model) :]:
            Prompt(word, self.answer or "")
        return name

    def prompts(self, model: Model) -> tuple[Prompt, ...]:
        """What this model is asked. Raises as `Question.prompts`."""
        if self.data is not None:
            return super().prompts(model)
        words = [w for w in self.words or () if BLANK in w]
        found = [Question([w], self.answer).prompts(model)[0] for w in words]
        if self.subject is not None and self.subject not in found[0].text:
            raise BadSetting(f"{self.subject!r} is not in {found[0].text!r}: --subject is written as it stands there")
        fact = _edited.about(found[0], self.subject, found[0].answer)
        return tuple(replace(p, fact=fact) for p in found)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("erase")(spread(erase))


def erase(
    *,
    question: Forgotten,
    neurons: Annotated[str | None, Option(help='Such as "L3.1, L4.5". [as `engram locate` finds them]')] = None,
    writes: Annotated[str, Option(help="What the slots become: zero, or unk, in masked models.")] = "zero",
    method: Method,
    sharing: Sharing,
    kept: Kept,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Take an answer away.

    Finds the neurons that the answer comes from, in the sentences given or the fact's templates, plans their value
    slots to be zero (the same as silencing them everywhere), says what that does to the answer and to other facts, and
    with --out keeps the edit as a PEFT adapter. The model's own files stay as they are.

    \b
    engram erase "The capital of Ireland is [Y]." --answer Dublin --out edits/no-dublin
    engram erase "The capital of Ireland is [Y]." "Ireland's capital is [Y]." --answer Dublin
    engram erase --data shipped --relation capital --subject Ireland --share 0.5
    """
    name = question.named()
    given = NeuronSet.parse(neurons) if neurons is not None else None
    to: Any = writes
    from ..editors import Erasure, rewrite

    Erasure(NeuronSet(), to=to)
    kept.check()
    model = options.load(name)
    prompts = question.prompts(model)
    found = given if given is not None else sharing.neurons(model, prompts, method)
    fact = prompts[0].fact or _edited.about(prompts[0], question.subject, prompts[0].answer)
    planned = rewrite(model, fact.becoming(None), by=Erasure(found, to=to), prompt=prompts[0])
    if kept.out is not None:
        planned.save(kept.out)
    others = _edited.unrelated(model, prompts, [fact.answer], kept.unrelated)
    beside = Beside.of(_edited.tried(model, others, planned, top=1)) if others else None
    notes = (("neurons", f"{len(found)} of {sum(model.widths)}"),)
    pairs, sizes = _edited.tried(model, prompts, planned), _edited.sizes(model, planned)
    Edited("erase", model, planned, pairs, len(prompts), sizes, beside, kept.out, notes).show(as_json)
