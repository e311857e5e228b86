"""Dai et al. (2022), section 4.2 and figures 4 and 5: what happens to the right answer when its neurons fall silent?

Neurons are found on the discovery templates of a fact and tried on its test templates, which had no part in finding
them. Beside every effect stand its controls: neurons chosen by activation alone, as many random neurons of the same
layers, another fact of the same relation, a fact of another relation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..errors import BadSetting, EngramError
from ..facts import Fact, FactSet, Prompt
from ..interventions import Scaled
from ..metrics import RelationChanges
from ..metrics.outcomes import UNRELATED, changes, in_points, notes, nothing_tried, scores_of
from ..models import Model, ask
from ..models.batching import Progress
from ..neurons import NeuronSet
from ..results import Answer, Report, Score
from .base import Case, Experiment, Result, ask_each, experiments, halves, luck, reason
from .neurons import Neurons, Sets
from .stored import Finder


@experiments("suppression")
@dataclass(frozen=True, slots=True)
class Suppression(Experiment):
    """Suppress and amplify every fact's refined neurons at the blank; report how P(answer) changes.

    `neurons` finds them, or knows the run that did; its settings say which facts are tried, and whether in templates
    that had no part in finding them. `by` is the factor of amplification. `unrelated` is what Wen & Bai (2022) add:
    facts of the same and of another relation are asked with the neurons amplified, too (their code silences them
    again), and every change is also told in probability, over prompts and as the mean over relations. Raises
    BadSetting.

    >>> import engram as eg
    >>> experiment = Suppression(Neurons(relations=("capital",), facts=1))
    >>> model, facts = eg.load(), eg.data.read("shipped")
    >>> report = experiment.summary(experiment.run(model, facts, case) for case in experiment.cases(facts))
    >>> report["suppressed"].unit, report["suppressed"].value < report["chance suppressed"].value
    ('ratio of means', True)
    """

    name: ClassVar[str] = "suppression"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "number": "whole", "subject": "text", "answer": "text", "condition": "text",
        "neurons": "texts", "asked_subject": "text", "asked_relation": "text", "asked_answer": "text",
        "before": "reals", "after": "reals", "rank_before": "wholes", "rank_after": "wholes",
    }  # fmt: skip
    neurons: Finder = field(default_factory=Neurons)
    by: float = 2.0
    unrelated: bool = False

    def __post_init__(self) -> None:
        if self.by < 0:
            raise BadSetting(f"neurons are amplified by a factor from 0 up, not {self.by:g}")

    def cases(self, facts: FactSet) -> list[Case]:
        """One case per relation; `facts` are their numbers there."""
        return self.neurons.cases(facts)

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """Find the neurons of these facts, then ask under every condition: a row for each fact and condition."""
        finding, trying = halves(progress)
        found = self.neurons.sets(model, facts, case, progress=finding)
        skipped = list(found.skipped)
        trials = [self._trial(found, i) for i in range(len(found.facts))]
        rows = self._tried(model, facts, trials, skipped, trying)
        return {**found.about, "relation": found.relation, "rows": rows, "skipped": skipped}

    def summary(self, results: Iterable[Result]) -> Report:
        """The change under every condition: pooled over prompts, and as the unweighted mean over relations.

        Intervals are 95 % bootstraps over facts. Raises BadSetting where no fact was tried.
        """
        return self.judged(results)[0]

    def judged(self, results: Iterable[Result]) -> tuple[Report, dict[str, RelationChanges]]:
        """The summary, and for every condition that was tried the change of each relation. Raises BadSetting."""
        done = list(results)
        sizes = [len(row["neurons"]) for r in done for row in r["rows"] if row["condition"] == "suppressed"]
        if not sizes:
            raise BadSetting(nothing_tried(done))
        n = len(sizes)
        scores = [
            Score("facts", n, n, "facts"),
            Score("neurons per fact", float(np.mean(sizes)), n, "neurons"),
            Score("facts without a neuron", sizes.count(0) / n, n, "fraction"),
        ]
        relations = changes(done, seed=self.neurons.seed)
        for condition, change in relations.items():
            scores += scores_of(done, condition, change.mean)
        if self.unrelated:
            for condition, change in changes(done, by="absolute", seed=self.neurons.seed).items():
                scores += in_points(done, condition, change.mean)
        said = tuple(notes(done, self.neurons.mean))
        return Report("suppression", tuple(scores), self.settings(), said), relations

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        added = {"unrelated": True} if self.unrelated else {}
        return {"neurons": self.neurons.settings(), "by": self.by, **added}

    def _trial(self, found: Sets, i: int) -> _Trial:
        fact, number = found.facts[i], found.numbers[i]
        rng = luck(self.neurons.seed, fact.relation, number, 1)
        near = [f for f in found.facts if f.answer != fact.answer]
        arms = {arm: sets[i] for arm, sets in found.arms.items()}
        return _Trial(fact, number, arms, near[int(rng.integers(len(near)))] if near else None, rng)

    def _tried(
        self, model: Model, facts: FactSet, trials: Sequence[_Trial], skipped: list[dict[str, str]],
        trying: Progress,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Every fact asked under every condition. What is asked of the model as it is, is asked all at once."""
        far = self._elsewhere(model, facts, trials)
        about = list(dict.fromkeys(f for t, x in zip(trials, far, strict=True) for f in (t.fact, t.near, x) if f))
        prompts = {f: self.neurons.prompts(model, facts, f, "test") for f in about}
        before = dict(zip(about, ask_each(model, [prompts[f] for f in about]), strict=True))

        rows: list[dict[str, Any]] = []
        for done, (t, other) in enumerate(zip(trials, far, strict=True), 1):
            try:
                rows += list(self._rows(model, t, other, prompts, before))
            except EngramError as error:
                skipped.append(reason(t.fact, error))
            trying(done, len(trials))
        return rows

    def _rows(
        self, model: Model, t: _Trial, other: Fact | None, prompts: Mapping[Fact, Sequence[Prompt]],
        before: Mapping[Fact, Sequence[Answer]],
    ) -> Iterator[dict[str, Any]]:  # fmt: skip
        for condition, (fact, neurons, factor) in t.conditions(other, self.by).items():
            if fact is None or (condition in UNRELATED and not self.unrelated):
                continue
            after = ask(model, prompts[fact], under=Scaled(neurons, factor)) if neurons else before[fact]
            yield {
                "relation": t.fact.relation, "number": t.number, "subject": t.fact.subject, "answer": t.fact.answer,
                "condition": condition, "neurons": [str(n) for n in neurons],
                "asked_subject": fact.subject, "asked_relation": fact.relation, "asked_answer": fact.answer,
                "before": [a.probability for a in before[fact]], "after": [a.probability for a in after],
                "rank_before": [a.rank for a in before[fact]], "rank_after": [a.rank for a in after],
            }  # fmt: skip

    def _elsewhere(self, model: Model, facts: FactSet, trials: Sequence[_Trial]) -> list[Fact | None]:
        """For each fact one of another relation, with another answer, that can be asked (and is known), by chance.

        None where there is none, or twenty draws met none.
        """
        drawn: list[Fact | None] = [None] * len(trials)
        for _ in range(20):
            if None not in drawn:
                break
            tried = [(i, f) for i, t in enumerate(trials) if drawn[i] is None and (f := t.draw(facts)) is not None]
            usable = [(i, f) for i, f in tried if self.neurons.askable(model, facts, f, [])]
            known = set(self.neurons.known(model, facts, [f for _, f in usable]))
            for i, f in usable:
                drawn[i] = f if f in known else None
        return drawn


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """A fact with its neurons by every arm, another fact of its relation, and its own luck."""

    fact: Fact
    number: int
    arms: Mapping[str, NeuronSet]
    near: Fact | None
    rng: np.random.Generator

    def draw(self, facts: FactSet) -> Fact | None:
        """A fact of another relation; None where it has the same answer, or there are no others."""
        others = [r.id for r in facts.relations if r.id != self.fact.relation and facts.facts(r.id)]
        if not others:
            return None
        there = facts.facts(others[int(self.rng.integers(len(others)))])
        drawn = there[int(self.rng.integers(len(there)))]
        return drawn if drawn.answer != self.fact.answer else None

    def conditions(self, far: Fact | None, by: float) -> dict[str, tuple[Fact | None, NeuronSet, float]]:
        """Who is asked, with which neurons taken how many times."""
        own, baseline, chance = (self.arms[arm] for arm in ("attribution", "activation", "chance"))
        return {
            "suppressed": (self.fact, own, 0.0),
            "baseline suppressed": (self.fact, baseline, 0.0),
            "chance suppressed": (self.fact, chance, 0.0),
            "same relation": (self.near, own, 0.0),
            "other relation": (far, own, 0.0),
            "amplified": (self.fact, own, by),
            "baseline amplified": (self.fact, baseline, by),
            "chance amplified": (self.fact, chance, by),
            "same relation amplified": (self.near, own, by),
            "other relation amplified": (far, own, by),
        }
