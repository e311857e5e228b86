"""Dai et al. (2022), section 4.5.1 and table 6: can a fact be given another answer through its neurons?

A fact that the model knows is to have another answer of its relation. The value slots of its neurons are rewritten by
knowledge surgery, and the model is asked: the very prompt on which the fact was chosen (all that the paper measures),
paraphrases of it, other facts of the relation, facts of other relations. Every edit is undone from copies before the
next is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from ..editors import KnowledgeSurgery, rewrite
from ..editors.vectors import Embedding, token
from ..errors import AnswerNotWritable, BadSetting, EngramError, UnaskablePrompt, UnknownName
from ..facts import Fact, FactSet, Prompt
from ..metrics.outcomes import ARMS
from ..models import Model, ask
from ..models.batching import Progress
from ..neurons import NeuronSet
from ..presets import FROM_PRESET, fill
from ..results import Answer, Report
from ..selectors import Chance, Exclusive
from ..selectors.shared import Share, exact
from .base import Case, Experiment, Result, experiments, halves, luck, reason
from .neurons import Neurons, Sets
from .stored import Finder
from .updated import scores_of

Counting = Literal["others", "paper", "hunter"]
Where = Literal["layers", "anywhere"]

_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "engram": {"remove": 1.0, "add": 8.0, "scaled": True, "counting": "others", "chance": "layers"},
    "paper": {"remove": 1.0, "add": 8.0, "scaled": False, "counting": "paper", "chance": "anywhere"},
    "hunter": {"remove": 1.0, "add": 8.0, "scaled": True, "counting": "hunter", "chance": "anywhere"},
}


@experiments("updating")
@dataclass(frozen=True, slots=True)
class Updating(Experiment):
    """Give facts another answer by `KnowledgeSurgery` (`remove`, `add`, `scaled`, `embedding`), and see what changes.

    Of each relation `facts` facts are edited (10 in the paper), in an order drawn by the neurons' seed, without
    repetition (the authors draw with). The prompt that a fact is chosen on is drawn from its discovery prompts, and
    the fact is left out where, `known_only`, the model does not answer that one first. The new answer is that of
    another fact of the relation, so as often as it occurs there; both answers must be one token.

    Neurons that more than the share `exclusive` of the relation's facts have are left out (None: none is), by
    `counting`: "others" counts the other facts, so that a small sample does not lose all; "paper" all facts, the fact
    itself among them; "hunter" as the authors' code does, the fact twice. A fact without a neuron left is not edited.
    `chance` draws as many random neurons from the same "layers", or, as the authors do, from "anywhere". `others` is
    the number of facts of the relation, and of facts of other relations, whose perplexity is compared.

    Presets give what is left out: "engram" (1, 8, scaled, others, layers), "paper" (1, 8, not scaled, paper, anywhere),
    "hunter" (1, 8, scaled, hunter, anywhere). How neurons are found is a setting of `neurons`. Raises BadSetting,
    UnknownName.

    >>> Updating().scaled, Updating(preset="paper").scaled, Updating().add
    (True, False, 8.0)
    """

    name: ClassVar[str] = "updating"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "number": "whole", "subject": "text", "answer": "text", "new_answer": "text", "arm": "text",
        "neurons": "texts", "place": "text", "templates": "wholes", "before": "reals", "after": "reals",
        "rank_before": "wholes", "rank_after": "wholes", "new_before": "reals", "new_after": "reals",
        "new_rank_before": "wholes", "new_rank_after": "wholes", "top_after": "texts",
    }  # fmt: skip
    neurons: Finder = field(default_factory=Neurons)
    remove: float = FROM_PRESET
    add: float = FROM_PRESET
    scaled: bool = FROM_PRESET
    embedding: Embedding = "input"
    exclusive: Share | None = "1/10"
    counting: Counting = FROM_PRESET
    chance: Where = FROM_PRESET
    facts: int | None = 10
    others: int = 5
    known_only: bool = True
    preset: str | None = None

    def __post_init__(self) -> None:
        fill(self, self.preset, _PRESETS)
        if self.facts is not None and self.facts < 1:
            raise BadSetting(f"facts per relation is a number from 1 up, not {self.facts}")
        if self.others < 0:
            raise BadSetting(f"others is a number of facts from 0 up, not {self.others}")
        for name, kinds in (("counting", Counting), ("chance", Where)):
            if getattr(self, name) not in get_args(kinds):
                raise UnknownName(name, getattr(self, name), get_args(kinds))
        if self.exclusive is not None and not 0 <= exact(self.exclusive) <= 1:
            raise BadSetting(f"exclusive is a share of the relation's facts between 0 and 1, not {self.exclusive}")
        self._editor(NeuronSet())

    def cases(self, facts: FactSet) -> list[Case]:
        """One case per relation; `facts` are the numbers of those whose neurons are found."""
        return self.neurons.cases(facts)

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for each edited fact, arm and place, with a number for each prompt.

        `before` and `after` are log-probabilities of the answer of who is asked, `new_before` and `new_after` those of
        the new answer. Places: "asked" (the prompt of choice), "paraphrases", "same relation", "other relation".
        """
        finding, trying = halves(progress)
        found = self.neurons.sets(model, facts, case, progress=finding)
        skipped = list(found.skipped)
        trials, counts = self._trials(model, facts, found, skipped)
        rows: list[dict[str, Any]] = []
        everything = list(dict.fromkeys(p for t in trials for p in t.asked()))
        before = dict(zip(everything, ask(model, everything, top=1), strict=True))
        for done, trial in enumerate(trials, 1):
            try:
                rows += list(self._rows(model, trial, before))
            except EngramError as error:
                skipped.append(reason(trial.fact, error))
            trying(done, len(trials))
        return {**found.about, **counts, "relation": found.relation, "rows": rows, "skipped": skipped}

    def summary(self, results: Iterable[Result]) -> Report:
        """Table 6, with intervals and what the paper leaves out, for every arm. Raises BadSetting without an edit."""
        return Report("updating", *scores_of(list(results), self.settings(), seed=self.neurons.seed))

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        chosen = ("remove", "add", "scaled", "embedding", "counting", "chance", "facts", "others", "known_only")
        share = None if self.exclusive is None else str(exact(self.exclusive))
        own = {name: getattr(self, name) for name in chosen}
        return {"neurons": self.neurons.settings(), **own, "exclusive": share}

    def _editor(self, neurons: NeuronSet) -> KnowledgeSurgery:
        return KnowledgeSurgery(neurons, self.remove, self.add, self.scaled, self.embedding)

    def _trials(
        self, model: Model, facts: FactSet, found: Sets, skipped: list[dict[str, str]]
    ) -> tuple[list[_Trial], dict[str, int]]:
        """The facts to be edited, and how many were passed over on the way: not known, or without a neuron left."""
        counts = {"tried": 0, "unknown": 0, "without_neurons": 0}
        trials: list[_Trial] = []
        asked = [self._asked(model, facts, found, i) for i in range(len(found.facts))]
        answers = ask(model, asked, top=1)
        for i in luck(self.neurons.seed, found.relation, 1).permutation(len(found.facts)):
            if self.facts is not None and len(trials) == self.facts:
                break
            counts["tried"] += 1
            arms = self._arms(model, found, int(i))
            if self.known_only and not answers[i].knows:
                counts["unknown"] += 1
            elif not arms["attribution"]:
                counts["without_neurons"] += 1
            else:
                try:
                    trials.append(self._trial(model, facts, found, int(i), asked[i], arms))
                except EngramError as error:
                    skipped.append(reason(found.facts[i], error))
        return trials, counts

    def _asked(self, model: Model, facts: FactSet, found: Sets, i: int) -> Prompt:
        prompts = self.neurons.prompts(model, facts, found.facts[i], "discovery")
        rng = luck(self.neurons.seed, found.relation, found.numbers[i], 2)
        return prompts[int(rng.integers(len(prompts)))]

    def _arms(self, model: Model, found: Sets, i: int) -> dict[str, NeuronSet]:
        """The neurons of each arm that few enough of the relation's facts have; by chance, as many as are left."""
        own = {arm: self._exclusive(found.arms[arm], i) for arm in ("attribution", "activation")}
        seed = int(luck(self.neurons.seed, found.relation, found.numbers[i], 3).integers(2**31))
        if self.chance == "layers":
            chance = Chance(own["attribution"], widths=model.widths, seed=seed).draw()
        else:
            ends = np.cumsum(model.widths)
            drawn = np.random.default_rng(seed).choice(ends[-1], len(own["attribution"]), replace=False)
            layers = np.searchsorted(ends, drawn, side="right")
            chance = NeuronSet.of((k, n - ends[k] + model.widths[k]) for k, n in zip(layers, drawn, strict=True))
        return {**own, "chance": chance}

    def _exclusive(self, sets: Sequence[NeuronSet], i: int) -> NeuronSet:
        if self.exclusive is None:
            return sets[i]
        if self.counting != "others":
            return Exclusive(tuple(sets), limit=self.exclusive, preset=self.counting).keep(sets[i])
        others = (*sets[:i], *sets[i + 1 :])
        return (
            Exclusive(others, limit=self.exclusive, preset="hunter", twice=False).keep(sets[i]) if others else sets[i]
        )

    def _trial(
        self, model: Model, facts: FactSet, found: Sets, i: int, asked: Prompt, arms: Mapping[str, NeuronSet]
    ) -> _Trial:
        fact, number = found.facts[i], found.numbers[i]
        rng = luck(self.neurons.seed, found.relation, number, 4)
        new = _new_answer(model, facts, asked, fact, rng)
        prompts = self.neurons.prompts(model, facts, fact, "test")
        about = {
            "same relation": self._drawn(model, facts, rng, fact, near=True),
            "other relation": self._drawn(model, facts, rng, fact, near=False),
        }
        places: dict[str, list[Prompt]] = {
            "asked": [asked],
            "paraphrases": [p for p in prompts if p.template != asked.template],
            **{place: [p for f in near for p in self.neurons.prompts(model, facts, f, "test")]
               for place, near in about.items()},
        }  # fmt: skip
        return _Trial(fact, number, new, arms, {place: own for place, own in places.items() if own})

    def _drawn(self, model: Model, facts: FactSet, rng: np.random.Generator, fact: Fact, *, near: bool) -> list[Fact]:
        """Other facts that can be asked: of the fact's relation, or each of a relation drawn from the others."""
        groups = [r.id for r in facts.relations if (r.id == fact.relation) is near and facts.facts(r.id)]
        drawn: dict[Fact, None] = {}
        for _ in range(20 * self.others if groups else 0):
            there = facts.facts(groups[int(rng.integers(len(groups)))])
            other = there[int(rng.integers(len(there)))]
            if other != fact and self.neurons.askable(model, facts, other, []):
                drawn[other] = None
            if len(drawn) == self.others:
                break
        return list(drawn)

    def _rows(self, model: Model, trial: _Trial, before: Mapping[Prompt, Answer]) -> Iterator[dict[str, Any]]:
        wish, asked = trial.fact.becoming(trial.new), trial.asked()
        for arm in ARMS:
            if trial.arms[arm]:
                edit = rewrite(model, wish, by=self._editor(trial.arms[arm]), prompt=trial.prompts["asked"][0])
                after = dict(zip(asked, ask(model, asked, under=edit, top=1), strict=True))
                for place in trial.prompts:
                    yield trial.row(arm, place, before, after)


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """A fact, the answer it is to have, the neurons of each arm, and who is asked at which place."""

    fact: Fact
    number: int
    new: str
    arms: Mapping[str, NeuronSet]
    prompts: Mapping[str, Sequence[Prompt]]

    def asked(self) -> list[Prompt]:
        """All that is asked; about the fact itself, for both answers."""
        each = (p for place in self.prompts for p in (*self.prompts[place], *self.renewed(place)))
        return list(dict.fromkeys(each))

    def renewed(self, place: str) -> list[Prompt]:
        """The prompts about the fact itself, asking for the new answer; none elsewhere."""
        return [p.asking_for(self.new) for p in self.prompts[place]] if place in ("asked", "paraphrases") else []

    def row(
        self, arm: str, place: str, before: Mapping[Prompt, Answer], after: Mapping[Prompt, Answer]
    ) -> dict[str, Any]:
        """In plain values."""
        own, new = self.prompts[place], self.renewed(place)
        return {
            "relation": self.fact.relation, "number": self.number, "subject": self.fact.subject,
            "answer": self.fact.answer, "new_answer": self.new, "arm": arm,
            "neurons": [str(n) for n in self.arms[arm]], "place": place, "templates": [p.template for p in own],
            "before": [before[p].logprob for p in own], "after": [after[p].logprob for p in own],
            "rank_before": [before[p].rank for p in own], "rank_after": [after[p].rank for p in own],
            "new_before": [before[p].logprob for p in new], "new_after": [after[p].logprob for p in new],
            "new_rank_before": [before[p].rank for p in new], "new_rank_after": [after[p].rank for p in new],
            "top_after": [after[p].top[0][0] for p in own],
        }  # fmt: skip


def _new_answer(model: Model, facts: FactSet, asked: Prompt, fact: Fact, rng: np.random.Generator) -> str:
    """The answer of another fact of the relation, by chance; another token than the fact's own. Both are one token."""
    old = token(model, asked)
    answers = [f.answer for f in facts.facts(fact.relation)]
    for answer in dict.fromkeys(answers[int(i)] for i in rng.permutation(len(answers))):
        try:
            if token(model, asked.asking_for(answer)) != old:
                return answer
        except UnaskablePrompt:
            continue
    raise AnswerNotWritable(f"no other answer of {fact.relation!r} is one token, so {fact} cannot get one")
