"""How would the weights have to be for a wish to come true? What every editor shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..edits import Edit, LowRank, Wish, said
from ..errors import BadSetting
from ..facts import Prompt, Rewrite
from ..models import Model
from ..models.editing import distinct, fingerprint, patch, planned, slot_of, slots_of
from ..neurons import Neuron, NeuronSet
from ..registry import Registry


class Editor(ABC):
    """Turns a wish into an edit. Subclasses are frozen dataclasses: their fields are their settings.

    >>> from dataclasses import dataclass
    >>> import engram as eg
    >>> @dataclass(frozen=True)
    ... class Halved(Editor):
    ...     neurons: eg.NeuronSet
    ...     name = "halved"
    ...     def plan(self, model, wish, prompt=None):
    ...         return edited(self, model, wish, self.neurons, lambda neuron, slot: slot / 2)
    >>> wish = eg.Fact("Hamlet", "author", "Shakespeare").becoming(None)
    >>> print(rewrite(eg.load(), wish, by=Halved(eg.NeuronSet.parse("L3.51"))))
    halved of ⟨Hamlet, author, Shakespeare⟩: {L3.51}
    """

    name: ClassVar[str]

    @abstractmethod
    def plan(self, model: Model, wish: Wish, prompt: Prompt | None = None) -> Edit:
        """The edit that this wish asks for, made from the model's weights as they are. Changes nothing."""


class Together(Editor):
    """An editor that fulfils many wishes by one edit: `plan` takes a sentence for each."""

    @abstractmethod
    def plan(self, model: Model, wish: Wish, prompt: Prompt | tuple[Prompt, ...] | None = None) -> Edit:
        """The edit that these wishes ask for, made from the model's weights as they are. Changes nothing."""


def rewrite(model: Model, wish: Wish, *, by: Editor, prompt: Prompt | tuple[Prompt, ...] | None = None) -> Edit:
    """Which change of the weights does this editor plan for this wish? Nothing in the model changes.

    The edit is a value: ask under it (`eg.ask(…, under=edit)`), hold it (`eg.holding`), keep it. `prompt` is a sentence
    of the fact, in which the answers are written; where none is given they follow the subject. An editor of several
    wishes (MEMIT, AlphaEdit) takes as many sentences. Raises EngramError.

    >>> import engram as eg
    >>> model, prompt = eg.load("engram:causal"), eg.Prompt("The author of Hamlet is [Y].", "Shakespeare")
    >>> scores = eg.locate(model, prompt, by=eg.IntegratedGradients(steps=20))
    >>> neurons = eg.select(scores, by=eg.Top(5))
    >>> wish = eg.Fact("Hamlet", "author", "Shakespeare").becoming("Dante")
    >>> edit = eg.rewrite(model, wish, by=eg.KnowledgeSurgery(neurons))
    >>> eg.ask(model, prompt, under=edit)[0].top[0][0], eg.ask(model, prompt)[0].top[0][0]
    ('Dante', 'Shakespeare')
    """
    if prompt is None or isinstance(prompt, Prompt):
        return by.plan(model, wish, prompt)
    if not isinstance(by, Together):
        raise BadSetting(f"{by.name} takes one sentence, not {len(prompt)}; MEMIT and AlphaEdit take one for each fact")
    return by.plan(model, wish, prompt)


def question(editor: Editor, wish: Wish, prompt: Prompt | None) -> tuple[Rewrite, Prompt]:
    """The fact with its new answer, and the sentence to ask for it: the given one, or the subject alone.

    Raises BadSetting for a wish that names no new answer, or the old one.

    >>> import engram as eg
    >>> by = eg.KnowledgeSurgery(eg.NeuronSet.parse("L3.51"))
    >>> wish, prompt = question(by, eg.Fact("Hamlet", "author", "Shakespeare").becoming("Dante"), None)
    >>> wish.answer, prompt.text
    ('Dante', 'Hamlet [Y]')
    """
    if not isinstance(wish, Rewrite) or wish.answer is None:
        raise BadSetting(
            f"{editor.name} gives one fact another answer: wish fact.becoming('Cork'), not {said(wish)!r} without one. "
            "To erase, use Erasure."
        )
    if wish.answer.strip() == wish.fact.answer.strip():
        raise BadSetting(f"the new answer {wish.answer!r} is the old one")
    return wish, prompt or Prompt(f"{wish.fact.subject} [Y]", wish.fact.answer)


def edited(
    editor: Editor, model: Model, wish: Wish, neurons: NeuronSet, change: Callable[[Neuron, Tensor], Tensor]
) -> Edit:
    """The edit in which `change(neuron, slot)` says what each value slot becomes.

    A slot that several neurons name (of layers that share their weights) is changed once. `slot` is float64, [hidden].
    Raises BadSetting where there are no neurons, or one that the model does not have.

    >>> import engram as eg
    >>> model, wish = eg.load(), eg.Fact("Hamlet", "author", "Shakespeare").becoming(None)
    >>> by = eg.Erasure(eg.NeuronSet.parse("L3.51"))
    >>> print(edited(by, model, wish, by.neurons, lambda neuron, slot: -slot))
    erasure of ⟨Hamlet, author, Shakespeare⟩: {L3.51}
    """
    if not neurons:
        raise BadSetting(f"{editor.name} changes the value slots of some neurons, and was given none")
    model.check(neurons)
    with torch.no_grad():
        patches = tuple(
            patch(model, n, change(n, slot_of(model, n).to("cpu", torch.float64))) for n in distinct(model, neurons)
        )
    settings: dict[str, Any] = {**asdict(editor), "neurons": str(neurons)}  # type: ignore[call-overload]
    return planned(editor.name, wish, patches, model, settings)


def undone(model: Model, edit: Edit) -> bool:
    """Is what this edit changed as it was before, by its SHA-256? Part of an audit, after the edit was held."""
    return all(fingerprint(slots_of(model, p.layer)) == p.before for p in edit.patches if isinstance(p, LowRank))


editors: Registry[Any] = Registry("editor", "engram.editors", Editor)
"""The editors by name; a plug-in registers its own with `@editors("name")`."""
