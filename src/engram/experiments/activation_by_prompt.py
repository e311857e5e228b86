"""Dai et al. (2022), section 4.4 and table 4: do texts that state a fact activate its neurons more than others do?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, ClassVar, get_args

import numpy as np

from ..errors import BadSetting, EngramError, UnknownName
from ..facts import Fact, FactSet, Prompt
from ..metrics.averages import by_key, relation_mean
from ..metrics.outcomes import ARMS, notes, nothing_tried
from ..models import Model
from ..models.activations import activations
from ..models.batching import Progress
from ..neurons import Neuron, NeuronSet
from ..presets import FROM_PRESET, fill
from ..results import Report, Score
from ..texts import Texts
from .base import Case, Experiment, Result, experiments, halves, reason
from .neurons import Neurons, Sets
from .prompt_types import TYPES, Others, PromptTypes, Slot
from .stored import Finder

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "engram": {"clean": True, "slot": "word"},
    "paper": {"clean": False, "slot": "word", "others": "all"},
    "hunter": {"clean": False, "slot": "word", "others": "all"},
}
TOGETHER = 64  # facts whose texts go through the network together
NO_TEXTS, NO_NEURONS = "NoTexts", "NoNeurons"


@experiments("activation_by_prompt")
@dataclass(frozen=True, slots=True)
class ActivationByPrompt(Experiment):
    """The mean activation of a fact's neurons at the hidden word, in texts of three types.

    T1: texts that mention subject and answer, the first mention of the answer hidden. T2: texts that mention the
    subject, another word hidden. T3: as many texts as T1 has, drawn from `others`: "all" texts about facts, as the
    paper does, or "neither", ordinary ones (what is taken where the texts have any). The hidden place is one mask.

    `clean` leaves out what blurs the difference: of T1 texts that mention the answer again, of T2 those that mention
    it or are texts of T1 too, of T3 those that mention the fact's subject or answer. `slot` is what is hidden in T2
    and T3: "word", a random one of the first 50, as the paper does, or "entity", so that an entity's place is compared
    with an entity's place: in T2 the subject, in T3 a capitalised name. A fact needs a neuron, and texts of each type.

    A causal model reads the text up to the hidden place and is asked at its last token. For it, the place lies behind
    the first mention of the subject (T1; T2 with "word"), so that what it has read mentions the subject; in T2 with
    "entity" it has not yet read it.

    Presets: "engram" (the default), "paper" (not clean, "word", "all"). How neurons are found is a setting of
    `neurons`. Raises BadSetting, UnknownName.

    >>> from engram.texts import Mentions
    >>> about = {"P36": (Mentions(("Dublin lies in Ireland.",), ("Ireland is green.",)),)}
    >>> texts = Texts("mine", about, neither=("It rains.",))
    >>> ActivationByPrompt(texts).others, ActivationByPrompt(texts, preset="paper").clean
    ('neither', False)
    """

    name: ClassVar[str] = "activation_by_prompt"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "number": "whole", "subject": "text", "answer": "text", "arm": "text", "neuron": "text",
        "type": "text", "activation": "real", "n": "whole",
    }  # fmt: skip
    texts: Texts
    neurons: Finder = field(default_factory=Neurons)
    clean: bool = FROM_PRESET
    slot: Slot = FROM_PRESET
    others: Others = FROM_PRESET
    preset: str | None = None

    def __post_init__(self) -> None:
        fill(self, self.preset, PRESETS)
        if self.others is FROM_PRESET:
            object.__setattr__(self, "others", "neither" if self.texts.neither else "all")
        if self.slot not in get_args(Slot):
            raise UnknownName("slot", self.slot, get_args(Slot))
        if self.others not in get_args(Others):
            raise UnknownName("choice of other texts", self.others, get_args(Others))
        if self.others == "neither" and not self.texts.neither:
            raise BadSetting(f"the texts {self.texts.name!r} have no ordinary ones among them: others='all'")

    def cases(self, facts: FactSet) -> list[Case]:
        """One case per relation; `facts` are the numbers of those whose neurons are found."""
        return self.neurons.cases(facts)

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for each fact, arm, neuron and type of text: the mean activation over its `n` texts."""
        finding, trying = halves(progress)
        found = self.neurons.sets(model, facts, case, progress=finding)
        skipped, left_out = list(found.skipped), Counter[str]()
        trials = list(self._trials(model, found, skipped, left_out))
        rows: list[dict[str, Any]] = []
        for start in range(0, len(trials), TOGETHER):
            part = trials[start : start + TOGETHER]
            rows += _rows(model, part, skipped)
            trying(start + len(part), len(trials))
        about = {"tried": len(found.facts), "texts_left_out": dict(left_out)}
        return {**found.about, **about, "relation": found.relation, "rows": rows, "skipped": skipped}

    def summary(self, results: Iterable[Result]) -> Report:
        """Table 4 for every arm: the mean of each type, and what T1 has more than T2 and T3.

        A relation counts once: its mean is over all pairs of a fact and a neuron. Intervals are 95 % bootstraps over
        facts. Raises BadSetting where no fact was tried.
        """
        done = list(results)
        rows = by_key((row for r in done for row in r["rows"]), "arm")
        if not rows:
            raise BadSetting(nothing_tried(done))
        tried = sum(r["tried"] for r in done)
        scores = [Score("facts tried", tried, tried, "facts")]
        for kind, name in ((NO_TEXTS, "texts"), (NO_NEURONS, "a neuron")):
            n = sum(x["reason"].startswith(kind) for r in done for x in r["skipped"])
            scores.append(Score(f"facts left out for want of {name}", n, tried, "facts"))
        for arm in ARMS:
            scores += _of_arm(arm, rows.get(arm, ()), self.neurons.seed)
        return Report("activation by prompt", tuple(scores), self.settings(), tuple(self._notes(done)))

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        chosen = {"clean": self.clean, "slot": self.slot, "others": self.others}
        return {"neurons": self.neurons.settings(), "texts": self.texts.settings(), **chosen}

    def _trials(
        self, model: Model, found: Sets, skipped: list[dict[str, str]], left_out: Counter[str]
    ) -> Iterator[_Trial]:
        types = PromptTypes(self.texts, self.clean, self.slot, self.others, self.neurons.seed)
        for i, (fact, number) in enumerate(zip(found.facts, found.numbers, strict=True)):
            arms = {arm: sets[i] for arm, sets in found.arms.items() if sets[i]}
            if not arms:
                skipped.append({"fact": str(fact), "reason": f"{NO_NEURONS}: it has none in any arm"})
                continue
            prompts = types.of(model, fact, number, left_out)
            if missing := [kind for kind, own in prompts.items() if not own]:
                skipped.append({"fact": str(fact), "reason": f"{NO_TEXTS}: it has none for {' and '.join(missing)}"})
                continue
            yield _Trial(fact, number, arms, prompts)

    def _notes(self, results: Sequence[Result]) -> Iterator[str]:
        yield from notes([{**r, "rows": True} for r in results], self.neurons.mean)  # what has none is said above
        if why := sum((Counter(r["texts_left_out"]) for r in results), Counter[str]()):
            yield "texts left out: " + "; ".join(f"{n} of {reason}" for reason, n in sorted(why.items()))


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """A fact, its neurons in every arm that has any, and its prompts of each type."""

    fact: Fact
    number: int
    arms: Mapping[str, NeuronSet]
    prompts: Mapping[str, Sequence[Prompt]]

    @property
    def neurons(self) -> NeuronSet:
        """Those of all arms."""
        return reduce(NeuronSet.__or__, self.arms.values())

    def rows(self, means: Mapping[str, Mapping[Neuron, float]]) -> Iterator[dict[str, Any]]:
        """A row for each arm, neuron and type."""
        who = {
            "relation": self.fact.relation, "number": self.number, "subject": self.fact.subject,
            "answer": self.fact.answer,
        }  # fmt: skip
        for arm, neurons in self.arms.items():
            for neuron in neurons:
                for kind in TYPES:
                    said = {"type": kind, "activation": means[kind][neuron], "n": len(self.prompts[kind])}
                    yield {**who, "arm": arm, "neuron": str(neuron), **said}


def _rows(model: Model, trials: Sequence[_Trial], skipped: list[dict[str, str]]) -> list[dict[str, Any]]:
    """All together; where one of them cannot be answered, each by itself."""
    asked = [(p, t.neurons) for t in trials for kind in TYPES for p in t.prompts[kind]]
    try:
        found = iter(activations(model, [p for p, _ in asked], [n for _, n in asked]))
    except EngramError as error:
        if len(trials) > 1:
            return [row for t in trials for row in _rows(model, [t], skipped)]
        skipped += [reason(t.fact, error) for t in trials]
        return []
    rows: list[dict[str, Any]] = []
    for trial in trials:
        means = {}
        for kind in TYPES:
            values = np.mean([next(found) for _ in trial.prompts[kind]], axis=0, dtype=float)
            means[kind] = dict(zip(trial.neurons, values.tolist(), strict=True))
        rows += trial.rows(means)
    return rows


def _of_arm(arm: str, rows: Sequence[Mapping[str, Any]], seed: int) -> Iterator[Score]:
    """Its facts, the mean of every type, and the paired differences."""
    facts = {(r["relation"], r["number"]) for r in rows}
    yield Score(f"{arm}: facts", len(facts), len(facts), "facts")
    if not rows:
        return
    groups: dict[str, dict[tuple[int, str], dict[str, float]]] = {}  # relation → (fact, neuron) → type
    for r in rows:
        pair = (r["number"], r["neuron"])
        groups.setdefault(r["relation"], {}).setdefault(pair, {})[r["type"]] = r["activation"]
    for name, less in (("T1", None), ("T2", None), ("T3", None), ("T1", "T2"), ("T1", "T3")):
        measured = {
            relation: [(fact, x[name] - (x[less] if less else 0.0)) for (fact, _), x in own.items()]
            for relation, own in groups.items()
        }
        title = f"{arm}: {name} − {less}" if less else f"{arm}: {name}"
        yield relation_mean(title, "activation, mean over relations", measured, seed=seed)
