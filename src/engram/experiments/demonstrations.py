"""Wen & Bai, context-ParaRel: what do demonstrations before a sentence do to the answer that a model gives in it?

The same sentences are asked alone and behind 1, 2, 4 other facts of the relation in the same words. A set whose
sentences have demonstrations is made by `data.with_demonstrations`, or read by `data.context_pararel`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..data.contexts import demonstrations_of, shortened
from ..errors import BadSetting
from ..facts import Fact, FactSet, Prompt
from ..metrics.tried import Tried, behind
from ..models import Model, ask
from ..models.batching import Progress
from ..results import Report, Score
from .base import Case, Result, experiments
from .drawn import Drawn, LeftOut, Skipped, askable


@experiments("demonstrations")
@dataclass(frozen=True, slots=True)
class Demonstrations(Drawn):
    """Ask each sentence behind its last so many demonstrations, for each number in `counts`; the first is 0, alone.

    Of a sentence that the model cannot be asked behind the most of them (it may be too long) none is asked, so that
    the same sentences are compared: it is left out, and counted. `prompts` takes the first so many sentences of each
    fact (None: all). Which facts are drawn is a setting of `Drawn`. Raises BadSetting, also for facts whose sentences
    have fewer demonstrations.

    >>> Demonstrations(counts=(0, 2)).conditions
    ('alone', 'behind 2')
    """

    name: ClassVar[str] = "demonstrations"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "number": "whole", "subject": "text", "answer": "text", "template": "whole",
        "prompt": "text", "logprob": "reals", "rank": "wholes",
    }  # fmt: skip
    counts: tuple[int, ...] = (0, 1, 2, 4)
    prompts: int | None = None
    shard: int = field(default=32, kw_only=True)

    def __post_init__(self) -> None:
        Drawn.__post_init__(self)
        if len(self.counts) < 2 or self.counts[0] != 0 or list(self.counts) != sorted(set(self.counts)):
            raise BadSetting(f"counts of demonstrations rise from 0, such as (0, 1, 2, 4), not {self.counts}")
        if self.prompts is not None and self.prompts < 1:
            raise BadSetting(f"prompts per fact is a number from 1 up, not {self.prompts}; None takes all")

    @property
    def conditions(self) -> tuple[str, ...]:
        """What each number of demonstrations is called."""
        return behind(self.counts)

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for every sentence: what the answer is, alone and behind each number of demonstrations."""
        skipped: Skipped = []
        able = askable(model, facts, case["facts"], skipped, limit=self.prompts, forms=self._forms)
        asked = [(number, self._forms(prompt)) for number, prompt in able]
        answers = iter(ask(model, [p for _, each in asked for p in each], top=1, progress=progress))
        rows = []
        for number, each in asked:
            said = [next(answers) for _ in each]
            alone, fact = each[0], each[0].fact or Fact("", "", each[0].answer)
            rows.append({
                "relation": fact.relation, "number": number, "subject": fact.subject, "answer": alone.answer,
                "template": alone.template, "prompt": each[-1].text, "logprob": [a.logprob for a in said],
                "rank": [a.rank for a in said],
            })  # fmt: skip
        notes = list(getattr(facts, "notes", ()))
        return {"rows": rows, "skipped": skipped, "asked": len(rows), "notes": notes}

    def summary(self, results: Iterable[Result]) -> Report:
        """P(answer), accuracy and their change behind each number of demonstrations.

        Means over facts with 95 % bootstraps over facts, and as published the mean over relations. Raises BadSetting
        where nothing was asked.
        """
        done = list(results)
        left = LeftOut.of(done)
        if not any(r["rows"] for r in done):
            raise left.nothing("sentence was asked")
        tried = Tried.of(done, self.conditions, seed=self.seed)
        n = sum(len(r["rows"]) for r in done)
        scores = [
            Score("facts", tried.n, tried.n, "facts"),
            Score("sentences", n, n, "sentences"),
            left.score(n, "sentences"),
        ]
        scores += [s for condition in self.conditions for s in tried.scores(condition)]
        notes = [*left.notes()]
        notes += dict.fromkeys(note for r in done for note in r["notes"])
        return Report("demonstrations", tuple(scores), self.settings(), (*notes, *_coarse(tried)))

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        return {"counts": list(self.counts), "prompts": self.prompts, **self.drawing()}

    def _forms(self, prompt: Prompt) -> list[Prompt]:
        """The sentence behind each number of its demonstrations. Raises BadSetting where it has fewer."""
        if (there := demonstrations_of(prompt)) < self.counts[-1]:
            raise BadSetting(
                f"{self.counts[-1]} demonstrations were asked for, and {prompt.text[:80]!r} has {there}: "
                "data.with_demonstrations puts them before the sentences of a data set"
            )
        return [shortened(prompt, n) for n in self.counts]


def _coarse(tried: Tried) -> Iterator[str]:
    per_relation = Counter(relation for relation, _ in {*zip(tried.relations, tried.facts, strict=True)})
    if 1 in per_relation.values():
        yield "the mean over relations has no interval: a relation has one fact only"
