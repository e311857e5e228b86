"""Minimal pairs by the number of their right word, and the neurons that each number has for its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..data.labels import kind_of, label_of
from ..errors import BadSetting, UnaskablePrompt
from ..facts import FactSet, Prompt
from ..locators import IntegratedGradients, Locator, locate
from ..models import Model
from ..models.batching import Progress
from ..neurons import Neuron, NeuronSet
from ..selectors import Chance, Shared
from .base import Case, Experiment, luck
from .drawn import Skipped, left_out


@dataclass(frozen=True, slots=True)
class Pair:
    """A minimal pair as it is asked: the number of its fact in the relation, the prompt, and its right word's label."""

    number: int
    prompt: Prompt
    label: str


@dataclass(frozen=True, slots=True)
class Carrier:
    """The neurons of a label, and of each in which share of the label's prompts, and of the others', it counts."""

    neurons: NeuronSet
    own: tuple[float, ...] = ()
    others: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered(Experiment):
    """Experiments that silence the neurons of a number in the minimal pairs of each relation.

    `neurons` names them by label ({"plural": "L9.1094"}); else they are found: half of the pairs are located by
    `locator`, and of each label those `size` neurons are taken whose score is above `threshold` of the prompt's largest
    in a larger share of its prompts than of any other label's, by as much as possible. The other half is tried; no
    deciding word (the noun of a determiner, the subject of a verb) is in both halves. Neurons that are given are tried
    on all pairs. `draws` is how often as many random neurons of the same layers are tried beside them. `facts` limits
    the pairs of each relation, drawn by `seed`. `relations` names those that are tried, by id or name. Raises
    BadSetting.
    """

    neurons: Mapping[str, NeuronSet | str] | None = None
    locator: Locator = field(default_factory=lambda: IntegratedGradients(rule="gauss"))
    threshold: float = 0.2
    size: int = 1
    draws: int = 5
    facts: int | None = None
    seed: int = 0
    relations: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, least in (("size", 1), ("draws", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise BadSetting(f"{name} is a number from {least} up, not {getattr(self, name)}")
        if self.facts is not None and self.facts < 2:
            raise BadSetting(f"facts of each relation is a number from 2 up, for halves, not {self.facts}")
        _ = Shared(threshold=self.threshold)
        if self.neurons is not None:
            given = {label: _parsed(own) for label, own in self.neurons.items()}
            if not given or not all(given.values()):
                raise BadSetting("neurons are named by label, such as {'plural': 'L9.1094'}, and here one has none")
            object.__setattr__(self, "neurons", given)

    def cases(self, facts: FactSet) -> list[Case]:
        """One case for each relation whose pairs this experiment asks; `facts` are their numbers there."""
        wanted = {facts.relation(r).id for r in self.relations or ()}
        found = []
        for relation in facts.relations:
            n = len(facts.facts(relation.id))
            if n and (not wanted or relation.id in wanted) and self.asks(_kind(relation.id)):
                order = luck(self.seed, relation.id).permutation(n)[: self.facts]
                found.append({"relation": relation.id, "facts": sorted(int(i) for i in order)})
        return found

    def asks(self, kind: str) -> bool:
        """Are pairs in which this is asked (determiner, noun, verb, anaphor) pairs for this experiment?"""
        return bool(kind)

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        locator: dict[str, Any] = {"name": self.locator.name, **asdict(self.locator)}  # type: ignore[call-overload]
        given = self.neurons and {label: str(own) for label, own in self.neurons.items()}
        own = {name: getattr(self, name) for name in ("threshold", "size", "draws", "facts", "seed")}
        named = {"neurons": given, "relations": self.relations and list(self.relations)}
        return {"locator": None if given else locator, **named, **own}

    def pairs(self, model: Model, facts: FactSet, case: Case, skipped: Skipped) -> list[Pair]:
        """Of each fact the first prompt that this model can be asked; `skipped` learns why there is none."""
        known, found = facts.facts(case["relation"]), []
        for number in case["facts"]:
            why: Exception | str = "not askable: no sentence of it can be asked of this model"
            for prompt in facts.prompts(known[number], blank_last=model.blank_last):
                label = label_of(prompt) if prompt.against is not None else None
                if label is None:
                    why = "no label: which number is right cannot be told"
                    continue
                try:
                    model.rows(prompt)
                except UnaskablePrompt as error:
                    why = error
                else:
                    found.append(Pair(number, prompt, label))
                    break
            else:
                skipped.append(left_out(number, known[number], None, why))
        return found

    def carriers(
        self, model: Model, relation: str, pairs: Sequence[Pair], *, progress: Progress | None = None
    ) -> tuple[dict[str, Carrier], list[Pair]]:
        """The neurons of each label, and the pairs on which they are tried: all, or the half that did not find them."""
        if self.neurons is not None:
            given = {label: Carrier(_parsed(own)) for label, own in self.neurons.items()}
            return given, list(pairs)
        finding, trying = in_halves(pairs, self.seed, relation)
        votes = self._votes(model, finding, progress)
        of = Counter(p.label for p in finding)
        return {label: self._carrier(label, votes, of) for label in sorted(of)}, trying

    def chance(self, model: Model, relation: str, neurons: NeuronSet) -> list[NeuronSet]:
        """As many random neurons of the same layers, once for each draw. Raises BadSetting where a layer is narrow."""
        seeds = [int(luck(self.seed, relation, draw).integers(2**31)) for draw in range(self.draws)]
        return [Chance(neurons, widths=model.widths, seed=seed).draw() for seed in seeds]

    def _votes(self, model: Model, pairs: Sequence[Pair], progress: Progress | None) -> dict[str, Counter[Neuron]]:
        """In how many prompts of each label does each neuron count? As many together as the budget holds scores of."""
        selector, votes = Shared(threshold=self.threshold), {p.label: Counter[Neuron]() for p in pairs}
        size = max(1, model.budget // (8 * len(model.widths) * max(model.widths)))
        for start in range(0, len(pairs), size):
            part = pairs[start : start + size]
            for pair, scores in zip(part, locate(model, [p.prompt for p in part], by=self.locator), strict=True):
                votes[pair.label].update(selector.votes([scores]))
            if progress is not None:
                progress(start + len(part), len(pairs))
        return votes

    def _carrier(self, label: str, votes: Mapping[str, Counter[Neuron]], of: Mapping[str, int]) -> Carrier:
        own = {n: v / of[label] for n, v in votes[label].items()}
        others = {n: max((votes[k][n] / of[k] for k in of if k != label), default=0.0) for n in own}
        best = sorted((n for n in own if own[n] > others[n]), key=lambda n: (others[n] - own[n], -own[n], n))
        chosen = sorted(best[: self.size])
        return Carrier(NeuronSet.of(chosen), tuple(own[n] for n in chosen), tuple(others[n] for n in chosen))


def in_halves(pairs: Sequence[Pair], seed: int, relation: str) -> tuple[list[Pair], list[Pair]]:
    """Those by which neurons are found, and those on which they are tried; no deciding word is in both.

    >>> from engram.facts import Fact
    >>> pairs = [Pair(i, Prompt("[Y]", "these", Fact(w, "r", "these")), "plural") for i, w in enumerate("abab")]
    >>> [sorted(p.number for p in half) for half in in_halves(pairs, 0, "r")]
    [[0, 2], [1, 3]]
    """
    words = sorted({_deciding(p) for p in pairs})
    order = luck(seed, relation, 2).permutation(len(words))
    first = {words[int(i)] for i in order[: (len(words) + 1) // 2]}
    return [p for p in pairs if _deciding(p) in first], [p for p in pairs if _deciding(p) not in first]


def _parsed(neurons: NeuronSet | str) -> NeuronSet:
    return NeuronSet.parse(neurons) if isinstance(neurons, str) else neurons


def _kind(relation: str) -> str:
    """What is asked there; nothing in a relation that is no paradigm of agreement."""
    try:
        return kind_of(relation)
    except BadSetting:
        return ""


def _deciding(pair: Pair) -> str:
    return pair.prompt.fact.subject.lower() if pair.prompt.fact is not None else pair.prompt.text
