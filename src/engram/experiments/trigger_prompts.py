"""Dai et al. (2022), section 4.4 and table 3: which texts that state a fact activate its neurons most, which least?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from ..errors import BadSetting, EngramError, UnknownName
from ..facts import BLANK, Fact, FactSet, Prompt
from ..metrics.averages import by_key, relation_mean
from ..metrics.outcomes import ARMS, notes, nothing_tried
from ..models import Model
from ..models.activations import activations
from ..models.batching import Progress
from ..neurons import NeuronSet
from ..presets import FROM_PRESET, fill
from ..results import Report, Score
from ..texts import Texts
from .activation_by_prompt import NO_NEURONS, NO_TEXTS
from .base import Case, Experiment, Result, experiments, halves, reason
from .neurons import Neurons, Sets
from .prompt_types import PromptTypes
from .stored import Finder

Scoring = Literal["mean", "sum"]
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "engram": {"score": "mean", "k": 2, "clean": True},
    "paper": {"score": "mean", "k": 2, "clean": False},
    "hunter": {"score": "sum", "k": 20, "clean": False},
}


@experiments("trigger_prompts")
@dataclass(frozen=True, slots=True)
class TriggerPrompts(Experiment):
    """The `k` texts about a fact that activate its neurons most, and the `k` that do so least.

    Texts that mention subject and answer, the first mention of the answer hidden, are ranked by the "mean" (the paper)
    or the "sum" (the authors' code) of the activations of the fact's neurons there: T1 of `ActivationByPrompt`, and
    `clean` as there. A text is never in both lists: the lower one is the shorter where there are too few texts.

    Presets: "engram" (the default: mean, 2, clean), "paper" (mean, 2, not clean), "hunter" (sum, 20, not clean). How
    neurons are found, and of how many facts, is a setting of `neurons`. Raises BadSetting, UnknownName.

    >>> from engram.texts import Mentions
    >>> texts = Texts("mine", {"P36": (Mentions(("Dublin lies in Ireland.",), ()),)})
    >>> TriggerPrompts(texts).k, TriggerPrompts(texts, preset="hunter").k
    (2, 20)
    """

    name: ClassVar[str] = "trigger_prompts"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "number": "whole", "subject": "text", "answer": "text", "arm": "text", "neurons": "texts",
        "end": "text", "rank": "whole", "text": "text", "score": "real", "n": "whole",
    }  # fmt: skip
    texts: Texts
    neurons: Finder = field(default_factory=Neurons)
    score: Scoring = FROM_PRESET
    k: int = FROM_PRESET
    clean: bool = FROM_PRESET
    preset: str | None = None

    def __post_init__(self) -> None:
        fill(self, self.preset, PRESETS)
        if self.score not in get_args(Scoring):
            raise UnknownName("score of a text", self.score, get_args(Scoring))
        if self.k < 1:
            raise BadSetting(f"k is a number of texts from 1 up, not {self.k}")

    def cases(self, facts: FactSet) -> list[Case]:
        """One case per relation; `facts` are the numbers of those whose neurons are found."""
        return self.neurons.cases(facts)

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for each fact, arm and text in one of the lists.

        `end` is "top" or "bottom", `rank` counts from that end, `n` is how many texts were ranked, and `text` is
        whole again.
        """
        finding, trying = halves(progress)
        found = self.neurons.sets(model, facts, case, progress=finding)
        skipped, left_out = list(found.skipped), Counter[str]()
        rows: list[dict[str, Any]] = []
        for i, fact in enumerate(found.facts):
            try:
                rows += self._of_fact(model, found, i, skipped, left_out)
            except EngramError as error:
                skipped.append(reason(fact, error))
            trying(i + 1, len(found.facts))
        about = {"tried": len(found.facts), "texts_left_out": dict(left_out)}
        return {**found.about, **about, "relation": found.relation, "rows": rows, "skipped": skipped}

    def summary(self, results: Iterable[Result]) -> Report:
        """For every arm the mean score of both lists, and by how much they differ, over facts that have both.

        A relation counts once; intervals are 95 % bootstraps over facts. Whether a text states the fact is for a
        reader to judge. Raises BadSetting where no text was ranked.
        """
        done = list(results)
        rows = by_key((row for r in done for row in r["rows"]), "arm")
        if not rows:
            raise BadSetting(nothing_tried(done))
        scores: list[Score] = []
        for arm in ARMS:
            scores += _of_arm(arm, rows.get(arm, ()), self.score, self.neurons.seed)
        return Report("trigger prompts", tuple(scores), self.settings(), tuple(self._notes(done)))

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        chosen = {"score": self.score, "k": self.k, "clean": self.clean}
        return {"neurons": self.neurons.settings(), "texts": self.texts.settings(), **chosen}

    def _of_fact(
        self, model: Model, found: Sets, i: int, skipped: list[dict[str, str]], left_out: Counter[str]
    ) -> Iterator[dict[str, Any]]:
        fact, number = found.facts[i], found.numbers[i]
        arms = {arm: sets[i] for arm, sets in found.arms.items() if sets[i]}
        if not arms:
            skipped.append({"fact": str(fact), "reason": f"{NO_NEURONS}: it has none in any arm"})
            return
        types = PromptTypes(self.texts, self.clean, "word", "all", self.neurons.seed)
        prompts = types.first(model, fact, self.texts.of(fact.relation, number), left_out)
        if not prompts:
            skipped.append({"fact": str(fact), "reason": f"{NO_TEXTS}: it has none for T1"})
            return
        every = NeuronSet(frozenset(n for own in arms.values() for n in own))
        values = np.array(activations(model, prompts, [every] * len(prompts)), float)  # [text, neuron]
        for arm, own in arms.items():
            mine = values[:, [n in own for n in every]]
            scores = mine.mean(1) if self.score == "mean" else mine.sum(1)
            for end, rank, prompt, score in self._ends(prompts, scores.tolist()):
                yield {
                    **_who(fact, number), "arm": arm, "neurons": [str(n) for n in own], "end": end, "rank": rank,
                    "text": prompt.text.replace(BLANK, prompt.answer), "score": score, "n": len(prompts),
                }  # fmt: skip

    def _ends(self, prompts: Sequence[Prompt], scores: Sequence[float]) -> Iterator[tuple[str, int, Prompt, float]]:
        order = sorted(range(len(prompts)), key=lambda i: -scores[i])  # of equal ones, the first in the texts' order
        top, rest = order[: self.k], order[self.k :]
        for end, chosen in (("top", top), ("bottom", rest[::-1][: self.k])):
            yield from ((end, rank, prompts[i], scores[i]) for rank, i in enumerate(chosen, 1))

    def _notes(self, results: Sequence[Result]) -> Iterator[str]:
        yield from notes([{**r, "rows": True} for r in results], self.neurons.mean)
        if why := sum((Counter(r["texts_left_out"]) for r in results), Counter[str]()):
            yield "texts left out: " + "; ".join(f"{n} of {reason}" for reason, n in sorted(why.items()))


def _who(fact: Fact, number: int) -> dict[str, Any]:
    return {"relation": fact.relation, "number": number, "subject": fact.subject, "answer": fact.answer}


def _of_arm(arm: str, rows: Sequence[Mapping[str, Any]], scoring: str, seed: int) -> Iterator[Score]:
    groups: dict[str, dict[int, dict[str, list[float]]]] = {}  # relation → fact → end
    for r in rows:
        ends = groups.setdefault(r["relation"], {}).setdefault(r["number"], {"top": [], "bottom": []})
        ends[r["end"]].append(r["score"])
    facts = sum(map(len, groups.values()))
    yield Score(f"{arm}: facts", facts, facts, "facts")
    means = {
        relation: [(n, float(np.mean(x["top"])), float(np.mean(x["bottom"]))) for n, x in own.items() if x["bottom"]]
        for relation, own in groups.items()
    }
    means = {relation: own for relation, own in means.items() if own}
    if not means:
        return
    unit = f"{scoring} of activations, mean over relations"
    for name, a, b in (("top", 1, 0), ("bottom", 0, 1), ("top − bottom", 1, -1)):
        measured = {relation: [(n, a * top + b * low) for n, top, low in own] for relation, own in means.items()}
        yield relation_mean(f"{arm}: {name}", unit, measured, seed=seed)
