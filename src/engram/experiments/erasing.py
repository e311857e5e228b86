"""Dai et al. (2022), section 4.5.2 and table 5: can a relation be erased through its neurons, and what else goes?

The value slots of the neurons that most facts of a relation share become zero. Then the relation is asked, all other
relations, and ordinary text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..editors import Erasure, rewrite
from ..editors.erasure import To
from ..errors import BadSetting, EngramError
from ..facts import Fact, FactSet
from ..models import Model
from ..models.batching import Progress
from ..models.perplexity import kind_of_perplexity, surprise
from ..neurons import Neuron, NeuronSet
from ..results import Report
from ..selectors import Chance
from .base import Case, Experiment, Result, ask_each, experiments, halves, luck
from .erased import by_relation, scores_of
from .neurons import Neurons, Sets
from .stored import Finder

TEXTS = (
    "The old man is in the garden.", "My sister bought two apples and a red hat.", "These letters are very heavy.",
    "Have you seen the big dog behind the house?", "The children slept at home after lunch.", "What a dark night!",
    "Although it was late, the farmer was busy.", "Her brother has several books about birds.",
    "This soup is too hot; that bread is cold.", "The doctor and the nurse went to the market.",
    "Two horses run near the river every morning.", "Our teacher asked them a strange question.",
    "In the evening, the girls sang for their mother.", "He lost his key, but she found it.",
    "A small boat was on the lake.", "The king thanked himself, and nobody laughed.",
)  # fmt: skip
Asked = tuple[str, Fact, int]  # the place, and a fact with its number in its relation


@experiments("erasing")
@dataclass(frozen=True, slots=True)
class Erasing(Experiment):
    """Erase a relation by its `neurons_erased` most frequent neurons (20 in the paper), and ask what is left.

    Counted over the facts of the relation whose neurons were found; of equally frequent ones, those met first. Arms:
    the most frequent neurons by attribution, by activation alone, and as many random ones of the same layers as the
    first. `to` is what their value slots become. `relations` are erased, each by itself (none named: all of them).

    Asked are all facts of the relation, known or not (or `own` of them), `others` facts of each other relation (None:
    all, as in the paper), drawn by the neurons' seed, and `texts` of ordinary language: of a causal model the
    perplexity, of a masked one the pseudo-perplexity, see `engram.models.perplexity`. Raises BadSetting, UnknownName.

    >>> Erasing(relations=("capital",)).neurons_erased
    20
    """

    name: ClassVar[str] = "erasing"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "arm": "text", "place": "text", "asked_relation": "text", "number": "whole",
        "subject": "text", "prompts": "whole", "before": "real", "after": "real", "right_before": "whole",
        "right_after": "whole",
    }  # fmt: skip
    neurons: Finder = field(default_factory=Neurons)
    neurons_erased: int = 20
    to: To = "zero"
    relations: tuple[str, ...] = ()
    own: int | None = None
    others: int | None = 20
    texts: tuple[str, ...] = TEXTS

    def __post_init__(self) -> None:
        for name, least in (("neurons_erased", 1), ("own", 1), ("others", 0)):
            if (n := getattr(self, name)) is not None and n < least:
                raise BadSetting(f"{name} is a number from {least} up, not {n}")
        given: tuple[object, ...] = (self.relations, self.texts)
        if any(isinstance(x, str) for x in given):
            raise BadSetting("relations and texts are tuples of texts, not one text")
        Erasure(NeuronSet(), self.to)

    def cases(self, facts: FactSet) -> list[Case]:
        """One case per relation to be erased; `facts` are the numbers of those whose neurons are found."""
        wanted = {facts.relation(name).id for name in self.relations}
        return [case for case in self.neurons.cases(facts) if not wanted or case["relation"] in wanted]

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for each arm and fact asked (place "own" or "other"), and for each text ("text").

        `before` and `after` are the means of −ln P(answer) over the fact's prompts, of which `prompts` were asked and
        `right_before` and `right_after` answered rightly; of a text, over its tokens. `erased` says which neurons.
        """
        finding, trying = halves(progress)
        found = self.neurons.sets(model, facts, case, progress=finding)
        skipped = list(found.skipped)
        asked = list(self._asked(model, facts, found.relation))
        arms = self._arms(model, found, skipped)
        before = self._said(model, facts, asked)
        rows: list[dict[str, Any]] = []
        for done, (arm, neurons) in enumerate(arms.items(), 1):
            try:
                edit = rewrite(model, facts.relation(found.relation), by=Erasure(neurons, self.to))
                after = self._said(model, facts, asked, under=edit)
            except EngramError as error:
                skipped.append(_left_out(arm, error))
            else:
                rows += [
                    {"relation": found.relation, "arm": arm, **about, "before": b[0], "after": a[0],
                     "right_before": b[1], "right_after": a[1]}
                    for about, b, a in zip(self._about(asked, before), before, after, strict=True)
                ]  # fmt: skip
            trying(done, len(arms))
        erased = {arm: [str(n) for n in neurons] for arm, neurons in arms.items()}
        kind = kind_of_perplexity(model)
        return {**found.about, "relation": found.relation, "erased": erased, "text_measure": kind, "rows": rows,
                "skipped": skipped}  # fmt: skip

    def summary(self, results: Iterable[Result]) -> Report:
        """How much perplexity grew and accuracy fell, on the mean over erased relations. Raises BadSetting."""
        return Report("erasing", *scores_of(list(results), self.settings(), seed=self.neurons.seed))

    def by_relation(self, results: Iterable[Result]) -> Report:
        """Table 5: the perplexity of each erased relation, of the others, and of text, before and after."""
        return Report("erasing by relation", by_relation(list(results), seed=self.neurons.seed), self.settings())

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        own = {name: getattr(self, name) for name in ("neurons_erased", "to", "own", "others")}
        return {
            "neurons": self.neurons.settings(), **own, "relations": list(self.relations), "texts": list(self.texts),
        }  # fmt: skip

    def _arms(self, model: Model, found: Sets, skipped: list[dict[str, str]]) -> dict[str, NeuronSet]:
        """The neurons that each arm erases; an arm without neurons is left out."""
        arms = {arm: self._frequent(found.arms[arm]) for arm in ("attribution", "activation")}
        seed = int(luck(self.neurons.seed, found.relation, 1).integers(2**31))
        try:
            arms["chance"] = Chance(arms["attribution"], widths=model.widths, seed=seed).draw()
        except EngramError as error:
            skipped.append(_left_out("chance", error))
        return {arm: neurons for arm, neurons in arms.items() if neurons}

    def _frequent(self, sets: Sequence[NeuronSet]) -> NeuronSet:
        counts: Counter[Neuron] = Counter(n for own in sets for n in own)  # equal ones stay in the order they are met
        return NeuronSet.of(n for n, _ in counts.most_common(self.neurons_erased))

    def _asked(self, model: Model, facts: FactSet, erased: str) -> Iterator[Asked]:
        """Who is asked: of the relation, and of each other, whichever is erased the same ones."""
        for relation in facts.relations:
            there = facts.facts(relation.id)
            limit = self.own if relation.id == erased else self.others
            left = len(there) if limit is None else limit
            for number in luck(self.neurons.seed, relation.id, 2).permutation(len(there)):
                if not left:
                    break
                if self.neurons.askable(model, facts, fact := there[int(number)], []):
                    left -= 1
                    yield "own" if relation.id == erased else "other", fact, int(number)

    def _said(
        self, model: Model, facts: FactSet, asked: Sequence[Asked], under: object = None
    ) -> list[tuple[float, int | None, int]]:
        """Of each fact, then of each text: mean −ln P, how many prompts are answered rightly, how many there are."""
        prompts = [self.neurons.prompts(model, facts, fact, "test") for _, fact, _ in asked]
        answers = ask_each(model, prompts, under=under)
        told = surprise(model, self.texts, under=under)
        return [
            *((-float(np.mean([a.logprob for a in own])), sum(a.knows for a in own), len(own)) for own in answers),
            *((float(np.mean(nats)), None, len(nats)) for nats in told),
        ]

    def _about(self, asked: Sequence[Asked], said: Sequence[tuple[float, int | None, int]]) -> Iterator[dict[str, Any]]:
        for (place, fact, number), (_, _, n) in zip(asked, said[: len(asked)], strict=True):
            yield {"place": place, "asked_relation": fact.relation, "number": number, "subject": fact.subject,
                   "prompts": n}  # fmt: skip
        for number, (text, (_, _, n)) in enumerate(zip(self.texts, said[len(asked) :], strict=True)):
            yield {"place": "text", "asked_relation": None, "number": number, "subject": text, "prompts": n}


def _left_out(arm: str, error: EngramError) -> dict[str, str]:
    return {"fact": f"the arm {arm}", "reason": f"{type(error).__name__}: {error}"}
