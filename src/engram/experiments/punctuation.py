"""Wen & Bai (2022), section 5.5: are there neurons for marks of punctuation, and does each mark have its own?

Neurons are found as those of facts are, a mark being the answer in many sentences. Beside the published counts they
are tried: found in half of a mark's sentences, silenced in the others, against random neurons and other marks' ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, ClassVar

import numpy as np

from ..errors import BadSetting, EngramError, UnaskablePrompt
from ..facts import BLANK, Fact, FactSet, Prompt
from ..interventions import Scaled
from ..locators import IntegratedGradients, Locator, locate
from ..metrics.intervals import of_cases
from ..metrics.punctuated import Counted, counted, held_out, universal
from ..models import Model, ask
from ..models.batching import Progress
from ..neurons import Neuron, NeuronSet
from ..presets import FROM_PRESET, fill
from ..results import Answer, Report, Score
from ..selectors import Chance
from .base import Case, Experiment, Result, experiments, luck, reason
from .drawn import LeftOut

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "engram": {"locator": IntegratedGradients(rule="gauss"), "more_than": False, "whole": True, "literal": ""},
    "published": {
        "locator": IntegratedGradients(preset="eleuther"), "more_than": True, "whole": False, "literal": " [MASK]",
    },
}  # fmt: skip
SHARES = (0.6, 0.7, 0.8, 0.9, 1.0)


@experiments("punctuation")
@dataclass(frozen=True, slots=True)
class Punctuation(Experiment):
    """Find the neurons of each mark in its sentences; silence those of one half in the other half. Data: a relation
    for each mark (`data.punctuation`).

    A neuron counts in a sentence above `threshold` of its largest score, and is a mark's at a share of `shares` if it
    counts in at least (`more_than`: in more than) that part of its sentences. Those at `tried` are silenced where the
    mark is asked. `sentences` draws so many of each mark by `seed`; `relations` names the marks.

    Presets give what is left out. "engram" (the default): the integral itself; a masked model reads how the sentence
    goes on (`whole`). "published", the committed code: 20 points with both ends, "more than", sentences cut off; and to
    a causal model, which has no mask, prompts that end in the literal text " [MASK]" (`literal`). Where the tokenizer
    writes "]" and the mark as one token, as GPT-2's does, a space stands between them. Raises BadSetting, UnknownName.

    >>> Punctuation(preset="published").literal, Punctuation().shares
    (' [MASK]', (0.6, 0.7, 0.8, 0.9, 1.0))
    """

    name: ClassVar[str] = "punctuation"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "mark": "text", "number": "whole", "sentence": "text", "answer": "text", "half": "text",
        "condition": "text", "neurons": "texts", "before": "real", "after": "real", "rank_before": "whole",
        "rank_after": "whole",
    }  # fmt: skip
    locator: Locator = FROM_PRESET
    threshold: float = 0.3
    shares: tuple[float, ...] = SHARES
    tried: float = 0.6
    more_than: bool = FROM_PRESET
    whole: bool = FROM_PRESET
    literal: str = FROM_PRESET
    sentences: int | None = None
    seed: int = 0
    relations: tuple[str, ...] | None = None
    preset: str | None = None

    def __post_init__(self) -> None:
        fill(self, self.preset, PRESETS)
        if not 0 < self.threshold < 1:
            raise BadSetting(f"a threshold is a part of the largest score, between 0 and 1, not {self.threshold:g}")
        if not self.shares or not all(0 < s <= 1 for s in (*self.shares, self.tried)):
            raise BadSetting(f"shares are parts of the sentences, up to 1, not {self.shares} and {self.tried}")
        if self.sentences is not None and self.sentences < 2:
            raise BadSetting(f"a mark needs two sentences, one to find and one to try, not {self.sentences}")
        if self.seed < 0:
            raise BadSetting(f"a seed is not negative, this one is {self.seed}")

    def cases(self, facts: FactSet) -> list[Case]:
        """One case per mark; `facts` are the numbers of its sentences there."""
        return [{"relation": r, "facts": sorted(chain(*self._halves(facts, r)))} for r in self._marks(facts)]

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for every sentence in which neurons were located, and every held-out one that was asked without them.

        Held-out sentences of the other marks are asked, too, without the neurons of this one.
        """
        skipped: list[dict[str, str]] = []
        relation = case["relation"]
        marks = [relation, *(r for r in self._marks(facts) if r != relation)]
        half = dict(zip(("discovery", "test"), self._halves(facts, relation), strict=True))
        asked = {n: p for n in case["facts"] if (p := self._asked(model, facts, relation, n, skipped)) is not None}
        about = {"relation": relation, "mark": facts.relation(relation).name, "drawn": len(case["facts"])}
        rows = list(self._located(model, facts, relation, half, asked, progress))
        found = {"rows": rows, "mark": about["mark"]}
        own = counted([found], "discovery").get(about["mark"], Counted(about["mark"], 0, {}))
        neurons = NeuronSet.of(own.at(self.tried, strict=self.more_than))
        seed = int(luck(self.seed, relation, 1).integers(2**31))
        chance = Chance(neurons, widths=model.widths, seed=seed).draw()
        for mark in marks:
            numbers = [n for n in self._halves(facts, mark)[1] if n in asked or mark != relation]
            prompts = {n: p for n in numbers if (p := self._asked(model, facts, mark, n, [])) is not None}
            arms = {"own": neurons, "chance": chance} if mark == relation else {"own": neurons}
            rows += self._tried(model, facts, (relation, mark), prompts, arms)
        sets = {"neurons": [str(n) for n in neurons], "chance": [str(n) for n in chance]}
        return {**about, **sets, "rows": rows, "skipped": skipped}

    def summary(self, results: Iterable[Result]) -> Report:
        """How many neurons each mark has at every share, how many they have in common, and what they are needed for.

        95 % bootstraps over sentences. Raises BadSetting where no sentence was asked.
        """
        done = list(results)
        marks = counted(done)
        if not marks:
            raise LeftOut.of(done).nothing("sentence was asked")
        n = sum(own.n for own in marks.values())
        scores = [Score("sentences", n, n, "sentences"), LeftOut.of(done).score(n, "sentences")]
        for share in self.shares:
            for mark, own in marks.items():
                count = len(own.at(share, strict=self.more_than))
                scores.append(Score(f"{mark} neurons at {share:g}", count, own.n, "neurons"))
            common = universal(marks, share, strict=self.more_than)
            every = sum(len(whose) == len(marks) for whose in common.values()) if len(marks) > 1 else 0
            scores.append(Score(f"neurons of several marks at {share:g}", len(common), n, "neurons"))
            scores.append(Score(f"neurons of every mark at {share:g}", every, n, "neurons"))
        scores += self._agreed(done)
        for e in held_out(done, seed=self.seed):
            scores += [e.part, e.change, Score(f"{e.change.name}: q", e.q, e.change.n, "q-value")]
            if e.q_above == e.q_above:
                scores.append(Score(f"{e.change.name}, against random neurons: q", e.q_above, e.change.n, "q-value"))
        return Report("punctuation", tuple(scores), self.settings(), tuple(self._notes(done, marks)))

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        own = ("threshold", "tried", "more_than", "whole", "literal", "sentences", "seed")
        return {
            "locator": {"name": self.locator.name, **asdict(self.locator)},  # type: ignore[call-overload]
            **{name: getattr(self, name) for name in own}, "shares": list(self.shares),
            "relations": self.relations and list(self.relations),
        }  # fmt: skip

    def _marks(self, facts: FactSet) -> list[str]:
        wanted = {facts.relation(r).id for r in self.relations or ()}
        return [r.id for r in facts.relations if facts.facts(r.id) and (not wanted or r.id in wanted)]

    def _halves(self, facts: FactSet, relation: str) -> tuple[list[int], list[int]]:
        """The numbers of the sentences of a mark that neurons are found in, and of those that they are tried in."""
        drawn = luck(self.seed, relation).permutation(len(facts.facts(relation)))[: self.sentences].tolist()
        cut = (len(drawn) + 1) // 2
        return sorted(drawn[:cut]), sorted(drawn[cut:])

    def _asked(
        self, model: Model, facts: FactSet, relation: str, number: int, skipped: list[dict[str, str]]
    ) -> Prompt | None:
        fact = facts.facts(relation)[number]
        try:
            return self._prompt(model, facts, fact)
        except EngramError as error:
            skipped.append(reason(fact, error))
            return None

    def _prompt(self, model: Model, facts: FactSet, fact: Fact) -> Prompt:
        """How a sentence is asked. Raises UnaskablePrompt."""
        prompts = facts.prompts(fact, blank_last=model.blank_last or not self.whole)
        if not prompts:
            raise UnaskablePrompt(f"no sentence of {fact.relation!r} ends in its mark")
        prompt = prompts[0]
        if self.literal and model.blank_last:
            near, apart = (
                Prompt(prompt.text.replace(BLANK, f"{self.literal}{space}{BLANK}"), prompt.answer, fact)
                for space in ("", " ")
            )
            try:
                model.rows(near)
            except UnaskablePrompt:
                prompt = apart
            else:
                prompt = near
        model.rows(prompt)
        return prompt

    def _located(
        self, model: Model, facts: FactSet, relation: str, half: Mapping[str, Sequence[int]],
        asked: Mapping[int, Prompt], progress: Progress | None,
    ) -> Iterator[dict[str, Any]]:  # fmt: skip
        size = max(1, model.budget // (16 * len(model.widths) * max(model.widths)))
        numbers = list(asked)
        for start in range(0, len(numbers), size):
            part = numbers[start : start + size]
            prompts = [asked[n] for n in part]
            answers, scores = ask(model, prompts), locate(model, prompts, by=self.locator)
            for number, answer, found in zip(part, answers, scores, strict=True):
                above: Iterable[Neuron] = found.above(self.threshold * found.peak) if found.peak > 0 else ()
                which = "discovery" if number in half["discovery"] else "test"
                row = self._row(facts, (relation, relation), number, "located", which)
                yield {**row, "neurons": [str(n) for n in NeuronSet.of(above)], **_said(answer, answer)}
            if progress is not None:
                progress(start + len(part), len(numbers))

    def _tried(
        self, model: Model, facts: FactSet, marks: tuple[str, str], prompts: Mapping[int, Prompt],
        arms: Mapping[str, NeuronSet],
    ) -> Iterator[dict[str, Any]]:  # fmt: skip
        """The sentences of the second mark without neurons of the first."""
        if not prompts:
            return
        before = ask(model, list(prompts.values()))
        for arm, neurons in arms.items():
            after = ask(model, list(prompts.values()), under=Scaled(neurons, 0.0)) if neurons else before
            for number, was, now in zip(prompts, before, after, strict=True):
                yield {**self._row(facts, marks, number, arm, "test"), "neurons": [], **_said(was, now)}

    def _row(self, facts: FactSet, marks: tuple[str, str], number: int, condition: str, half: str) -> dict[str, Any]:
        fact = facts.facts(marks[1])[number]
        return {
            "relation": marks[0], "mark": facts.relation(marks[0]).name, "number": number, "sentence": fact.subject,
            "answer": fact.answer, "half": half, "condition": condition,
        }  # fmt: skip

    def _agreed(self, done: Sequence[Result]) -> Iterator[Score]:
        """Of the neuron that is commonest in the first half of a mark's sentences: its share of the second half."""
        first, second = counted(done, "discovery"), counted(done, "test")
        for mark, own in first.items():
            if own.votes and mark in second:
                hits, n = second[mark].votes.get(next(iter(own.at(1e-9, strict=False))), 0), second[mark].n
                x = np.repeat([1.0, 0.0], [hits, n - hits])
                name = f"{mark} commonest neuron of one half, in the other"
                yield Score(name, hits / n, n, "fraction of sentences", interval=of_cases(x, seed=self.seed))

    def _notes(self, done: Sequence[Result], marks: Mapping[str, Counted]) -> Iterator[str]:
        yield from LeftOut.of(done).notes()
        for r in done:
            if r["mark"] in marks and not r["neurons"]:
                yield f"{r['mark']} has no neuron at a share of {self.tried:g}: nothing was silenced, nothing changes"
        if self.literal:
            yield f"a causal model is asked behind the literal text {self.literal!r}: what is found may be its neurons"


def _said(before: Answer, after: Answer) -> dict[str, Any]:
    return {
        "before": before.probability, "after": after.probability, "rank_before": before.rank, "rank_after": after.rank,
    }  # fmt: skip
