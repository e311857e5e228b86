"""How an edit is planned for a case, and what it is compared with."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ..cases import Case
from ..editors import Editor, Erasure, KnowledgeSurgery, rewrite
from ..editors.controls import CONTROLS
from ..edits import Edit
from ..errors import BadSetting, UnknownName
from ..locators import IntegratedGradients, Locator, locate
from ..models import Model
from ..neurons import Neuron, NeuronSet

TOWARD = "toward the truth"
ARMS = (*CONTROLS, TOWARD)


class Planner(ABC):
    """Plans edits for cases. Subclasses are frozen dataclasses: their fields are their settings."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in tables."""

    @abstractmethod
    def plan(self, model: Model, case: Case) -> Edit:
        """The edit of this case. Raises EngramError where there is none."""

    def control(self, model: Model, case: Case, edit: Edit, arm: str, seed: int) -> Edit | None:
        """What this edit is compared with; None where there is nothing of the kind. Raises EngramError, UnknownName."""
        if arm == TOWARD:
            return self.plan(model, toward_the_truth(case))
        if arm not in CONTROLS:
            raise UnknownName("control", arm, ARMS)
        return CONTROLS[arm](model, edit, seed=seed)

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything that decides the edit, as plain values."""


def toward_the_truth(case: Case) -> Case:
    """The case with its answers exchanged: to tell the model what is so already, with all that editing costs.

    >>> from engram.facts import Fact, Prompt
    >>> case = Case("0", Fact("Ireland", "capital", "Dublin"), "Cork", Prompt("The capital is [Y]", "Dublin"))
    >>> turned = toward_the_truth(case)
    >>> turned.fact.answer, turned.wish.answer
    ('Cork', 'Dublin')
    """
    fact = replace(case.fact, answer=case.new)
    return Case(case.id, fact, case.fact.answer, replace(case.prompt, answer=case.new, fact=fact))


@dataclass(frozen=True, slots=True)
class By(Planner):
    """An editor that needs nothing but the wish: ROME, MEMIT, fine-tuning … `called` is its name in tables.

    >>> import engram as eg
    >>> By(eg.ROME(layer=1, covariance=None)).name, By(eg.ROME(layer=1, covariance=None), called="mine").name
    ('r-rome', 'mine')
    """

    editor: Editor
    called: str = ""

    @property
    def name(self) -> str:
        """The editor's, with its preset where it has one."""
        return self.called or str(getattr(self.editor, "preset", None) or self.editor.name)

    def plan(self, model: Model, case: Case) -> Edit:
        return rewrite(model, case.wish, by=self.editor, prompt=case.prompt)

    def settings(self) -> dict[str, Any]:
        return {"editor": self.editor.name, **plain(self.editor)}


@dataclass(frozen=True, slots=True)
class ByNeurons(Planner):
    """Finds the neurons of a case by `locator` on the sentence that is edited, and rewrites or erases through them.

    They are those that score more than `threshold` of the largest, at most the `most` best. What is said in other
    sentences has no part in it.

    Raises BadSetting, UnknownName.

    >>> import engram as eg
    >>> case = eg.data.cases("shipped", relations=["capital"]).cases[0]
    >>> edit = ByNeurons(most=3).plan(eg.load("engram:causal"), case)
    >>> edit.method, len(edit.neurons)
    ('knowledge_surgery', 3)
    """

    kind: Literal["surgery", "erasure"] = "surgery"
    locator: Locator = field(default_factory=lambda: IntegratedGradients(rule="gauss"))
    threshold: float = 0.2
    most: int = 10
    editor: Editor | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("surgery", "erasure"):
            raise UnknownName("edit through neurons", self.kind, ("surgery", "erasure"))
        if not 0 <= self.threshold < 1 or self.most < 1:
            raise BadSetting(
                f"a threshold is a part of the largest score and most a number of neurons from 1 up, not "
                f"{self.threshold} and {self.most}"
            )

    @property
    def name(self) -> str:
        """What is done through neurons."""
        return {"surgery": "knowledge surgery", "erasure": "erasure"}[self.kind]

    def neurons(self, model: Model, case: Case) -> NeuronSet:
        """Where this fact is. Raises BadSetting where no score is above 0."""
        (found,) = locate(model, [case.prompt], by=self.locator)
        above = found.above(self.threshold * found.peak) if found.peak > 0 else frozenset()
        kept = [n for n, _ in found.best(self.most) if n in above]
        if not kept:
            raise BadSetting(f"no neuron speaks for {case.fact.answer!r} in {case.prompt.text!r}")
        return NeuronSet.of(kept)

    def plan(self, model: Model, case: Case) -> Edit:
        return self._through(self.neurons(model, case), model, case)

    def control(self, model: Model, case: Case, edit: Edit, arm: str, seed: int) -> Edit | None:
        """Random neurons are edited as the fact's own would be."""
        if arm not in CONTROLS:
            return Planner.control(self, model, case, edit, arm, seed) if self.kind == "surgery" else None
        drawn = _drawn(model, edit.neurons, np.random.default_rng(seed), near=arm == "random neurons")
        return self._through(drawn, model, case) if drawn else None

    def settings(self) -> dict[str, Any]:
        located = {"name": self.locator.name, **plain(self.locator)}
        own = {"kind": self.kind, "threshold": self.threshold, "most": self.most}
        return {**own, "locator": located, "editor": plain(self._editor(NeuronSet()))}

    def _editor(self, neurons: NeuronSet) -> Editor:
        made: Any = self.editor or (KnowledgeSurgery(neurons) if self.kind == "surgery" else Erasure(neurons))
        edited: Editor = replace(made, neurons=neurons)
        return edited

    def _through(self, neurons: NeuronSet, model: Model, case: Case) -> Edit:
        wish = case.wish if self.kind == "surgery" else case.fact.becoming(None)
        return rewrite(model, wish, by=self._editor(neurons), prompt=case.prompt)


def plain(strategy: Any) -> dict[str, Any]:
    """The fields of a strategy as plain values; a covariance is named by what it was made of."""
    found: dict[str, Any] = {}
    for f in dataclasses.fields(strategy):
        value = getattr(strategy, f.name)
        if f.name.startswith("covariance"):
            found[f.name] = _source(value)
        elif isinstance(value, NeuronSet):
            found[f.name] = str(value) if value else None
        elif dataclasses.is_dataclass(value):
            found[f.name] = plain(value)
        else:
            found[f.name] = value
    return found


def _source(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _source(v) for k, v in value.items()}
    return "none: the identity" if value is None else getattr(value, "source", "given")


def _drawn(model: Model, own: NeuronSet, luck: np.random.Generator, *, near: bool) -> NeuronSet:
    """As many neurons of each layer, of the same one or of another as wide; not the fact's own."""
    found: list[Neuron] = []
    for layer in dict.fromkeys(n.layer for n in own):
        count = sum(n.layer == layer for n in own)
        others = [i for i, w in enumerate(model.widths) if i != layer and w == model.widths[layer]]
        if not near and not others:
            return NeuronSet()
        home = layer if near else others[int(luck.integers(len(others)))]
        free: Sequence[int] = [i for i in range(model.widths[home]) if Neuron(home, i) not in own]
        found += [Neuron(home, int(i)) for i in luck.choice(free, min(count, len(free)), replace=False)]
    return NeuronSet.of(found)
