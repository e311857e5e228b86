"""`engram edit`: give a fact another answer, see what that did, and keep it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from ..errors import BadSetting
from ..neurons import NeuronSet
from . import _edited
from ._edited import Beside, Edited, Kept, Sharing
from ._editors import How, Spot
from ._options import Json, ModelOptions, spread
from ._question import Question
from .locate import Method

if TYPE_CHECKING:
    from ..edits import Edit
    from ..facts import Prompt
    from ..models import Model


@dataclass(frozen=True)
class Told(Question):
    """A sentence with its subject, its answer and another one; or a fact of a data set and another answer."""

    subject: Annotated[
        str | None, Option("--subject", "-s", help="Whom the fact is about, as it stands in the prompt.")
    ] = None
    to: Annotated[str | None, Option(help="The new answer.")] = None
    template: Annotated[
        int | None, Option(help="With --data: edit in this template. [the first that the model can be asked]")
    ] = None

    def named(self) -> str | None:
        """The model among the words, if one is. Raises what can be said against the question without a model."""
        if self.to is None:
            raise BadSetting("what is the new answer? Name it with --to")
        if self.against is not None:
            raise BadSetting("--against is for ask and locate; the answers of an edit are --answer and --to")
        if self.data is not None:
            return super().named()
        if self.template is not None:
            raise BadSetting("--template is the number of a data set's; name the set with --data")
        name = Question(self.words, self.answer, relation=self.relation).named()
        if self.subject is None or self.subject not in self.asked[0].text:
            raise BadSetting(
                "whom is the fact about? Name the subject with --subject" if self.subject is None
                else f"{self.subject!r} is not in {self.asked[0].text!r}: --subject is written as it stands there"
            )  # fmt: skip
        return name

    def prompts(self, model: Model) -> tuple[Prompt, ...]:
        """What this model is asked, the sentence that is edited first. Raises as `Question.prompts`."""
        found = tuple(replace(p, fact=_edited.about(p, self.subject, p.answer)) for p in super().prompts(model))
        if self.template is None:
            return found
        first = [p for p in found if p.template == self.template]
        if not first:
            raise BadSetting(f"{model.name} can be asked {self.relation} in the templates "
                             f"{[p.template for p in found]}, not in {self.template}")  # fmt: skip
        return (*first, *(p for p in found if p.template != self.template))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("edit")(spread(edit))


def edit(
    *,
    question: Told,
    how: How,
    method: Method,
    sharing: Sharing,
    kept: Kept,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Give a fact another answer.

    Plans the edit, says what it does to the sentence (with --data, to the fact in all its templates, of which one is
    edited) and to other facts, and with --out keeps it as a PEFT adapter. The model's own files stay as they are. Where
    --layer or --token are left out, the sentence is traced with one FFN restored, and the place of the largest effect
    is taken: a layer, and the subject's last token or the one that is asked; memit takes two layers below it as well.
    The options from --method to --share say how surgery finds its neurons.

    \b
    engram edit "The capital of Ireland is [Y]." -s Ireland -a Dublin --to Cork --by rome --out edits/cork
    engram edit gpt2 "The capital of Ireland is [Y]" -s Ireland -a Dublin --to Rome --by memit --layer 3 --layer 4
    engram edit --data shipped -r capital -s Ireland --to Paris --by surgery --out edits/paris
    """
    name = question.named()
    how.settings()
    kept.check()
    model = options.load(name)
    prompts = question.prompts(model)
    planned, at = _planned(model, question, prompts, how, method, sharing)
    if kept.out is not None:
        planned.save(kept.out)
    asked = [*prompts, *(p.asking_for(str(question.to)) for p in prompts)]
    others = _edited.unrelated(model, prompts, [p.answer for p in asked], kept.unrelated)
    beside = Beside.of(_edited.tried(model, others, planned, top=1)) if others else None
    notes = () if at is None else (("where", _where(at)),)
    pairs, sizes = _edited.tried(model, asked, planned), _edited.sizes(model, planned)
    Edited("edit", model, planned, pairs, len(prompts), sizes, beside, kept.out, notes).show(as_json)


def _planned(
    model: Model, question: Told, prompts: tuple[Prompt, ...], how: How, method: Method, sharing: Sharing
) -> tuple[Edit, Spot | None]:
    from ..editors import rewrite

    first = prompts[0]
    fact = first.fact or _edited.about(first, question.subject, first.answer)
    found = None
    if how.of_neurons:
        named = how.neurons is not None
        found = NeuronSet.parse(str(how.neurons)) if named else sharing.neurons(model, prompts, method)
    editor, at = how.editor(model, first, fact.subject, found)
    return rewrite(model, fact.becoming(question.to), by=editor, prompt=first), at


def _where(at: Spot) -> str:
    layers = f"layer{'s' * (len(at.layers) > 1)} {', '.join(map(str, at.layers))}"
    return f"{layers}{f', token {at.token}' if at.token != '' else ''}: {at.why}"
