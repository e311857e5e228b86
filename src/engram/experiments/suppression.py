"""Dai et al. (2022), section 4.2 and figures 4 and 5: what happens to the right answer when its neurons fall silent?

Neurons are found on the discovery templates of a fact and tried on its test templates, which had no part in finding
them. Beside every effect stand its controls: as many random neurons of the same layers, another fact of the same
relation, a fact of another relation.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..errors import BadSetting, EngramError, UnaskablePrompt
from ..facts import Fact, FactSet, Prompt, Split
from ..interventions import Scaled
from ..locators import IntegratedGradients, Locator, locate
from ..metrics import RelationChanges
from ..models import Model, ask
from ..models.batching import Progress
from ..neurons import NeuronSet
from ..results import Answer, Attribution, Report, Score
from ..selectors import Chance, Shared, search_share
from .base import Case, Experiment, Result, experiments
from .outcomes import changes, nothing_tried, scores_of


@experiments("suppression")
@dataclass(frozen=True, slots=True)
class Suppression(Experiment):
    """Suppress and amplify every fact's refined neurons at the blank; report how P(answer) changes.

    `facts` limits the facts per relation, drawn by `seed` for each relation by itself; `known_only` keeps those of
    them that the model answers first in at least half of their discovery prompts (Dai et al. keep all), and draws
    the fact of another relation from such facts too; `mean` is the wanted number of neurons per fact, for which the
    share is searched per relation; `by` is the factor of amplification. Raises BadSetting.
    """

    name: ClassVar[str] = "suppression"
    locator: Locator = field(default_factory=IntegratedGradients)
    selector: Shared = field(default_factory=Shared)
    mean: tuple[float, float] = (2, 5)
    by: float = 2.0
    facts: int | None = None
    known_only: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.facts is not None and self.facts < 1:
            raise BadSetting(f"facts per relation is a number from 1 up, not {self.facts}")
        if self.by < 0:
            raise BadSetting(f"neurons are amplified by a factor from 0 up, not {self.by:g}")
        if self.seed < 0:
            raise BadSetting(f"a seed is not negative, this one is {self.seed}")

    def cases(self, facts: FactSet) -> list[Case]:
        """One case per relation, for the share is searched over its facts; `facts` are their numbers there."""
        drawn = []
        for relation in facts.relations:
            if n := len(facts.facts(relation.id)):
                order = self._rng(relation.id).permutation(n)[: self.facts]
                drawn.append({"relation": relation.id, "facts": sorted(int(x) for x in order)})
        return drawn

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """Find the neurons of these facts, then ask under every condition."""
        skipped: list[dict[str, str]] = []
        numbers = {facts.facts(case["relation"])[i]: i for i in case["facts"]}
        askable = [f for f in numbers if self._askable(model, facts, f, skipped)]
        known = self._known(model, facts, askable)
        trials: list[_Trial] = []
        search = None
        if known:
            search = search_share(self._located(model, facts, known, progress), self.selector, mean=self.mean)
            for fact, neurons in zip(known, search.sets, strict=True):
                try:
                    trials.append(self._trial(model, known, fact, neurons, self._rng(fact.relation, numbers[fact])))
                except EngramError as error:
                    skipped.append(_reason(fact, error))
        return {
            "relation": case["relation"],
            "drawn": len(numbers),
            "askable": len(askable),
            "known": len(known) if self.known_only else None,
            "share": str(search.share) if search else None,
            "mean": search.mean if search else None,
            "found": bool(search and search.found),
            "widths": list(model.widths),
            "facts": self._tried(model, facts, trials, skipped, progress),
            "skipped": skipped,
        }

    def summary(self, results: Iterable[Result]) -> Report:
        """The change under every condition: pooled over prompts, and as the unweighted mean over relations.

        Intervals are 95 % bootstraps over facts. Raises BadSetting where no fact was tried.
        """
        return self.judged(results)[0]

    def judged(self, results: Iterable[Result]) -> tuple[Report, dict[str, RelationChanges]]:
        """The summary, and for every condition that was tried the change of each relation. Raises BadSetting."""
        done = list(results)
        sizes = [len(f["neurons"]) for r in done for f in r["facts"]]
        if not sizes:
            raise BadSetting(nothing_tried(done))
        n = len(sizes)
        scores = [
            Score("facts", n, n, "facts"),
            Score("neurons per fact", float(np.mean(sizes)), n, "neurons"),
            Score("facts without a neuron", sizes.count(0) / n, n, "fraction"),
        ]
        relations = changes(done, seed=self.seed)
        for condition, change in relations.items():
            scores += scores_of(done, condition, change.mean)
        return Report("suppression", tuple(scores), self.settings(), tuple(self._notes(done))), relations

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        return {
            "locator": repr(self.locator), "selector": repr(self.selector), "mean": list(self.mean), "by": self.by,
            "facts": self.facts, "known_only": self.known_only, "seed": self.seed,
        }  # fmt: skip

    def _notes(self, results: Sequence[Result]) -> Iterator[str]:
        for r in results:
            if r["skipped"]:
                reasons = Counter(x["reason"].partition(":")[0] for x in r["skipped"])
                why = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
                yield f"{r['relation']}: {len(r['skipped'])} of {r['drawn']} facts left out ({why})"
            if r["facts"] and not r["found"]:
                yield (
                    f"{r['relation']}: no share that was tried gives {self.mean[0]:g} to {self.mean[1]:g} neurons per "
                    f"fact; share {r['share']} gives {r['mean']:.2g}"
                )
            if r["askable"] and not r["facts"]:
                yield f"{r['relation']}: none of {r['askable']} facts is known, so none was tried"

    def _rng(self, relation: str, *more: int) -> np.random.Generator:
        """Of a relation by itself: what is drawn for it does not depend on which others are tried, or when."""
        return np.random.default_rng([self.seed, zlib.crc32(relation.encode()), *more])

    def _prompts(self, model: Model, facts: FactSet, fact: Fact, split: Split) -> tuple[Prompt, ...]:
        return facts.prompts(fact, split=split, blank_last=model.blank_last)

    def _askable(self, model: Model, facts: FactSet, fact: Fact, skipped: list[dict[str, str]]) -> bool:
        splits: tuple[Split, Split] = ("discovery", "test")
        try:
            for split in splits:
                prompts = self._prompts(model, facts, fact, split)
                if not prompts:
                    raise UnaskablePrompt(f"no {split} template of {fact.relation!r} can be asked of this model")
                for prompt in prompts:
                    model.rows(prompt)
        except EngramError as error:
            skipped.append(_reason(fact, error))
            return False
        return True

    def _known(self, model: Model, facts: FactSet, chosen: Sequence[Fact]) -> list[Fact]:
        if not self.known_only:
            return list(chosen)
        answers = _ask_each(model, [self._prompts(model, facts, f, "discovery") for f in chosen])
        return [f for f, own in zip(chosen, answers, strict=True) if 2 * sum(a.knows for a in own) >= len(own)]

    def _located(
        self, model: Model, facts: FactSet, chosen: Sequence[Fact], progress: Progress | None
    ) -> Iterator[list[Attribution]]:
        """The scores of every fact's discovery prompts, as many facts together as the budget holds the scores of."""
        prompts = [self._prompts(model, facts, f, "discovery") for f in chosen]
        each = 4 * len(model.widths) * max(model.widths) * max(map(len, prompts))
        size = max(1, model.budget // each)
        for start in range(0, len(chosen), size):
            part = prompts[start : start + size]

            def show(done: int, total: int, start: int = start, n: int = len(part)) -> None:
                if progress is not None:
                    progress(start + done * n // total, 2 * len(chosen))

            found = iter(locate(model, [p for own in part for p in own], by=self.locator, progress=show))
            yield from ([next(found) for _ in own] for own in part)

    def _trial(
        self, model: Model, known: Sequence[Fact], fact: Fact, neurons: NeuronSet, rng: np.random.Generator
    ) -> _Trial:
        chance = Chance(neurons, widths=model.widths, seed=int(rng.integers(2**31))).draw()
        near = [f for f in known if f.answer != fact.answer]
        return _Trial(fact, neurons, chance, near[int(rng.integers(len(near)))] if near else None, rng)

    def _tried(
        self, model: Model, facts: FactSet, trials: Sequence[_Trial], skipped: list[dict[str, str]],
        progress: Progress | None,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Every fact asked under every condition. What is asked of the model as it is, is asked all at once."""
        far = self._elsewhere(model, facts, trials)
        about = list(dict.fromkeys(f for t, x in zip(trials, far, strict=True) for f in (t.fact, t.near, x) if f))
        prompts = {f: self._prompts(model, facts, f, "test") for f in about}
        before = dict(zip(about, _ask_each(model, [prompts[f] for f in about]), strict=True))

        rows = []
        for done, (t, other) in enumerate(zip(trials, far, strict=True), 1):
            said = {}
            try:
                for condition, (fact, neurons, factor) in t.conditions(other, self.by).items():
                    if fact is not None:
                        under = Scaled(neurons, factor)
                        after = ask(model, prompts[fact], under=under) if neurons else before[fact]
                        said[condition] = _said(fact, before[fact], after)
                rows.append(t.row(said))
            except EngramError as error:
                skipped.append(_reason(t.fact, error))
            if progress is not None:
                progress(len(trials) + done, 2 * len(trials))
        return rows

    def _elsewhere(self, model: Model, facts: FactSet, trials: Sequence[_Trial]) -> list[Fact | None]:
        """For each fact one of another relation, with another answer, that can be asked (and is known), by chance.

        None where there is none, or twenty draws met none.
        """
        drawn: list[Fact | None] = [None] * len(trials)
        for _ in range(20):
            if None not in drawn:
                break
            tried = [(i, f) for i, t in enumerate(trials) if drawn[i] is None and (f := t.draw(facts)) is not None]
            usable = [(i, f) for i, f in tried if self._askable(model, facts, f, [])]
            known = set(self._known(model, facts, [f for _, f in usable]))
            for i, f in usable:
                drawn[i] = f if f in known else None
        return drawn


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """A fact with its neurons, as many random ones, another fact of its relation, and its own luck."""

    fact: Fact
    neurons: NeuronSet
    chance: NeuronSet
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
        return {
            "suppressed": (self.fact, self.neurons, 0.0),
            "chance suppressed": (self.fact, self.chance, 0.0),
            "same relation": (self.near, self.neurons, 0.0),
            "other relation": (far, self.neurons, 0.0),
            "amplified": (self.fact, self.neurons, by),
            "chance amplified": (self.fact, self.chance, by),
        }

    def row(self, said: dict[str, Any]) -> dict[str, Any]:
        """In plain values."""
        return {
            "subject": self.fact.subject,
            "answer": self.fact.answer,
            "neurons": [str(n) for n in self.neurons],
            "chance": [str(n) for n in self.chance],
            "conditions": said,
        }


def _ask_each(model: Model, prompts: Sequence[Sequence[Prompt]]) -> list[list[Answer]]:
    """All in one go: rows of equal length share a batch."""
    answers = iter(ask(model, [p for own in prompts for p in own]))
    return [[next(answers) for _ in own] for own in prompts]


def _reason(fact: Fact, error: EngramError) -> dict[str, str]:
    return {"fact": str(fact), "reason": f"{type(error).__name__}: {error}"}


def _said(about: Fact, before: Sequence[Answer], after: Sequence[Answer]) -> dict[str, Any]:
    return {
        "fact": [about.subject, about.relation, about.answer],
        "before": [a.probability for a in before],
        "after": [a.probability for a in after],
        "rank_before": [a.rank for a in before],
        "rank_after": [a.rank for a in after],
    }
