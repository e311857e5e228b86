"""Dai et al. (2022), sections 3.3 and 4.1: which neurons carry each fact? Their table 2 and figure 3.

Found once, for every experiment that changes them: by attribution, by activation alone (the paper's baseline), and
at random in the same layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ..errors import BadData, BadSetting, EngramError, UnaskablePrompt
from ..facts import Fact, FactSet, Prompt, Split
from ..locators import Activation, IntegratedGradients, Locator, locate
from ..metrics.outcomes import ARMS, notes, nothing_tried
from ..metrics.overlaps import overlaps
from ..models import Model
from ..models.batching import Progress
from ..neurons import NeuronSet
from ..presets import FROM_PRESET, fill
from ..results import Attribution, Report, Score
from ..selectors import Chance, Shared, ShareSearch, search_share
from .base import Case, Experiment, Result, ask_each, experiments, luck, reason
from .earlier import opened, stored_scores

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "engram": {
        "locator": IntegratedGradients(rule="gauss"), "selector": Shared(), "baseline": Shared(), "held_out": True,
    },
    "paper": {
        "locator": IntegratedGradients(preset="paper"), "selector": Shared(preset="paper"),
        "baseline": Shared(preset="paper"), "held_out": False,
    },
    "hunter": {
        "locator": IntegratedGradients(preset="hunter"), "selector": Shared(preset="hunter"),
        "baseline": Shared(preset="hunter-baseline"), "held_out": False,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Sets:
    """The neurons of the facts of one relation: of every arm, one set for each fact, which may be empty.

    `numbers` are the facts' places in their relation; `about` says in plain values how many were drawn, could be
    asked, and were known, and which share was settled on.
    """

    relation: str
    facts: tuple[Fact, ...]
    numbers: tuple[int, ...]
    arms: Mapping[str, tuple[NeuronSet, ...]]
    about: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[dict[str, str], ...] = ()


@experiments("neurons")
@dataclass(frozen=True, slots=True)
class Neurons(Experiment):
    """Find the refined neurons of every fact of each relation, and those of the two controls.

    The share of prompts that must agree is searched per relation, so that a fact has `mean` neurons on average, for
    the locator's scores with `selector` and for activations with `baseline`. `held_out`: find them on the discovery
    templates of a fact, and try them on its test templates; else both on all templates, as the paper does. `facts`
    limits the facts per relation, drawn by `seed` for each relation by itself; `known_only` keeps those of them that
    the model answers first in at least half of their discovery prompts (the paper keeps all). `relations` names those
    that are tried, by id or name; the others still serve as controls. `scores` and `activations` are folders of runs
    of `Attributions` (the second with the locator `Activation`): where they are given, nothing is located again, and
    `locator` is of no matter.

    Presets give what is left out. "engram" (the default): the integral itself, held-out templates. "paper": right sum
    of 20 steps, above 0.2 of the peak, no held-out templates. "hunter", the authors' code: left sum, at least 0.2
    (activations: 0.5), floor of 3 prompts. Raises BadSetting, UnknownName.

    >>> Neurons(preset="hunter").baseline.threshold, Neurons().held_out
    (0.5, True)
    """

    name: ClassVar[str] = "neurons"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "number": "whole", "subject": "text", "answer": "text", "fact_id": "text", "arm": "text",
        "neurons": "texts",
    }  # fmt: skip
    locator: Locator = FROM_PRESET
    selector: Shared = FROM_PRESET
    mean: tuple[float, float] = (2, 5)
    baseline: Shared = FROM_PRESET
    held_out: bool = FROM_PRESET
    facts: int | None = None
    known_only: bool = False
    seed: int = 0
    scores: str | Path | None = None
    activations: str | Path | None = None
    relations: tuple[str, ...] | None = None
    preset: str | None = None

    def __post_init__(self) -> None:
        fill(self, self.preset, PRESETS)
        if self.facts is not None and self.facts < 1:
            raise BadSetting(f"facts per relation is a number from 1 up, not {self.facts}")
        if self.seed < 0:
            raise BadSetting(f"a seed is not negative, this one is {self.seed}")

    def cases(self, facts: FactSet) -> list[Case]:
        """One case per relation, for the share is searched over its facts; `facts` are their numbers there."""
        drawn = []
        wanted = {facts.relation(r).id for r in self.relations or ()}
        for relation in facts.relations:
            if wanted and relation.id not in wanted:
                continue
            if n := len(facts.facts(relation.id)):
                order = luck(self.seed, relation.id).permutation(n)[: self.facts]
                drawn.append({"relation": relation.id, "facts": sorted(int(x) for x in order)})
        return drawn

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for every fact and arm."""
        found = self.sets(model, facts, case, progress=progress)
        rows = [
            {
                "relation": found.relation, "number": number, "subject": fact.subject, "answer": fact.answer,
                "fact_id": fact.id, "arm": arm, "neurons": [str(n) for n in found.arms[arm][i]],
            }
            for i, (number, fact) in enumerate(zip(found.numbers, found.facts, strict=True))
            for arm in ARMS
        ]  # fmt: skip
        return {**found.about, "relation": found.relation, "rows": rows, "skipped": list(found.skipped)}

    def sets(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Sets:
        """The neurons of the facts of a case, by every arm."""
        skipped: list[dict[str, str]] = []
        numbers = {facts.facts(case["relation"])[i]: i for i in case["facts"]}
        askable = [f for f in numbers if self.askable(model, facts, f, skipped)]
        known = self.known(model, facts, askable)
        about: dict[str, Any] = {
            "drawn": len(numbers), "askable": len(askable), "known": len(known) if self.known_only else None,
            "widths": list(model.widths), "shares": {},
        }  # fmt: skip
        kept: list[Fact] = []
        arms: dict[str, tuple[NeuronSet, ...]] = dict.fromkeys(ARMS, ())
        if known:
            found = {
                "attribution": self._searched(
                    model, facts, known, self.scores or self.locator, self.selector, progress
                ),
                "activation": self._searched(model, facts, known, self.activations or Activation(), self.baseline),
            }
            about["shares"] = {arm: _share(search) for arm, search in found.items()}
            kept, arms = self._with_chance(model, known, numbers, found, skipped)
        relation = case["relation"]
        return Sets(relation, tuple(kept), tuple(numbers[f] for f in kept), arms, about, tuple(skipped))

    def prompts(self, model: Model, facts: FactSet, fact: Fact, split: Split) -> tuple[Prompt, ...]:
        """What a fact is asked to find its neurons ("discovery"), and to try them ("test")."""
        return facts.prompts(fact, split=split if self.held_out else None, blank_last=model.blank_last)

    def askable(self, model: Model, facts: FactSet, fact: Fact, skipped: list[dict[str, str]]) -> bool:
        """Can this fact be asked, in both splits? If not, `skipped` learns why."""
        splits: tuple[Split, Split] = ("discovery", "test")
        try:
            for split in splits:
                prompts = self.prompts(model, facts, fact, split)
                if not prompts:
                    which = f"no {split} template" if self.held_out else "no template"
                    raise UnaskablePrompt(f"{which} of {fact.relation!r} can be asked of this model")
                for prompt in prompts:
                    model.rows(prompt)
        except EngramError as error:
            skipped.append(reason(fact, error))
            return False
        return True

    def known(self, model: Model, facts: FactSet, chosen: Sequence[Fact]) -> list[Fact]:
        """Those that count as known: all, unless `known_only`."""
        if not self.known_only:
            return list(chosen)
        answers = ask_each(model, [self.prompts(model, facts, f, "discovery") for f in chosen])
        return [f for f, own in zip(chosen, answers, strict=True) if 2 * sum(a.knows for a in own) >= len(own)]

    def summary(self, results: Iterable[Result]) -> Report:
        """Table 2 (neurons per fact, intersections) and figure 3 (layers), of attribution and of activation.

        Raises BadSetting where no fact was tried.
        """
        done = list(results)
        scores: list[Score] = []
        for arm in ("attribution", "activation"):
            groups = {r["relation"]: sets_of(r, arm) for r in done if r["rows"]}
            if not groups:
                raise BadSetting(nothing_tried(done))
            found = overlaps(groups, max(len(r["widths"]) for r in done), seed=self.seed)
            scores += [_named(arm, s) for s in (*found.scores, *found.layers)]
        return Report("neurons", tuple(scores), self.settings(), tuple(notes(done, self.mean)))

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        given = {"scores": self.scores, "activations": self.activations}
        return {
            "locator": {"name": self.locator.name, **asdict(self.locator)},  # type: ignore[call-overload]
            "selector": plain_selector(self.selector), "baseline": plain_selector(self.baseline),
            "mean": list(self.mean), "held_out": self.held_out, "facts": self.facts, "known_only": self.known_only,
            "seed": self.seed, "relations": self.relations and list(self.relations),
            **{key: folder and opened(folder, "attribution").folder.id for key, folder in given.items()},
        }  # fmt: skip

    def _searched(
        self, model: Model, facts: FactSet, chosen: Sequence[Fact], by: Locator | str | Path, selector: Shared,
        progress: Progress | None = None,
    ) -> ShareSearch:  # fmt: skip
        if isinstance(by, Locator):
            groups = self._located(model, facts, chosen, by, progress)
        else:
            groups = self._stored(model, facts, chosen, by)
        return search_share(groups, selector, mean=self.mean)

    def _stored(
        self, model: Model, facts: FactSet, chosen: Sequence[Fact], folder: str | Path
    ) -> Iterator[list[Attribution]]:
        """The same from an earlier run. Raises BadData where it has no scores of a fact's discovery prompts."""
        relation = chosen[0].relation
        wanted = {fact: [p.template for p in self.prompts(model, facts, fact, "discovery")] for fact in chosen}
        own = facts.facts(relation)
        found = {own[number]: scores for number, scores in stored_scores(folder, model, facts, relation)}
        for fact, templates in wanted.items():
            there = {a.prompt.template: a for a in found.get(fact, ())}
            if missing := [t for t in templates if t not in there]:
                raise BadData(folder, None, f"holds no scores of {fact} in its template {missing[0]}")
            yield [there[t] for t in templates]

    def _located(
        self, model: Model, facts: FactSet, chosen: Sequence[Fact], by: Locator, progress: Progress | None
    ) -> Iterator[list[Attribution]]:
        """The scores of every fact's discovery prompts, as many facts together as the budget holds the scores of."""
        prompts = [self.prompts(model, facts, f, "discovery") for f in chosen]
        each = 4 * len(model.widths) * max(model.widths) * max(map(len, prompts))
        size = max(1, model.budget // each)
        for start in range(0, len(chosen), size):
            part = prompts[start : start + size]

            def show(done: int, total: int, start: int = start, n: int = len(part)) -> None:
                if progress is not None:
                    progress(start + done * n // total, len(chosen))

            found = iter(locate(model, [p for own in part for p in own], by=by, progress=show))
            yield from ([next(found) for _ in own] for own in part)

    def _with_chance(
        self, model: Model, known: Sequence[Fact], numbers: Mapping[Fact, int], found: Mapping[str, ShareSearch],
        skipped: list[dict[str, str]],
    ) -> tuple[list[Fact], dict[str, tuple[NeuronSet, ...]]]:  # fmt: skip
        """The facts for which random neurons can be drawn, and their sets in every arm."""
        kept: list[Fact] = []
        arms: dict[str, list[NeuronSet]] = {arm: [] for arm in ARMS}
        for i, fact in enumerate(known):
            seed = int(luck(self.seed, fact.relation, numbers[fact]).integers(2**31))
            own = found["attribution"].sets[i]
            try:
                chance = Chance(own, widths=model.widths, seed=seed).draw()
            except EngramError as error:
                skipped.append(reason(fact, error))
                continue
            kept.append(fact)
            for arm, neurons in zip(ARMS, (own, found["activation"].sets[i], chance), strict=True):
                arms[arm].append(neurons)
        return kept, {arm: tuple(sets) for arm, sets in arms.items()}


def sets_of(result: Result, arm: str) -> list[NeuronSet]:
    """The neurons of every fact of a result, by this arm."""
    return [NeuronSet.parse(" ".join(row["neurons"])) for row in result["rows"] if row["arm"] == arm]


def plain_selector(selector: Shared) -> dict[str, Any]:
    """Its settings, the share as it is written exactly."""
    return {**asdict(selector), "share": str(selector.exact_share)}


def _share(search: ShareSearch) -> dict[str, Any]:
    return {"share": str(search.share), "mean": search.mean, "found": search.found}


def _named(arm: str, score: Score) -> Score:
    return Score(f"{arm}: {score.name}", score.value, score.n, score.unit, "neither", score.interval, score.level)
