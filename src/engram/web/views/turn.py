"""What do neurons do to the answer when they are turned down or up? The page's part Turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from ...errors import BadSetting
from ...facts import Fact, Prompt
from ...interventions import Scaled
from ...metrics import compare
from ...models import Model, ask
from ...models.batching import Progress
from ...neurons import NeuronSet
from ...results import Answer
from .. import fact as facts
from ..kept import kept
from ..serving import serving
from .base import Question, Word, plain, views

DEEP = 100  # words asked for, so that those of one side are found on the other
SHOWN = 10
SAME, OTHER = 24, 29  # facts of the same relation; other relations, with one fact each


@views("turn")
class Turn(Question):
    """The answer before and after the neurons take `by` times their own value at the blank.

    `others` asks also the fact's other templates, other facts of its relation, and a fact of each other relation.
    """

    neurons: Annotated[str, Field(max_length=40_000)]
    by: Annotated[float, Field(ge=0, le=8, allow_inf_nan=False)] = 0.0
    subject: Word | None = None
    others: bool = False

    def run(self, model: Model, progress: Progress) -> dict[str, Any]:
        neurons = NeuronSet.parse(self.neurons)
        if not neurons:
            raise BadSetting("no neuron is selected: select some in the part Neurons, or write them like L3.17 L2.4")
        model.check(neurons)
        groups = self.groups(model)
        prompts = [p for own in groups.values() for p in own]
        edits = kept.under(self.under, model.name)
        before = ask(model, prompts, under=edits, top=DEEP, progress=lambda i, n: progress(i, 2 * n))
        bare = ask(model, prompts[:1]) if edits else []
        turned = [*edits, Scaled(neurons, by=self.by)]
        after = ask(model, prompts, under=turned, top=DEEP, progress=lambda i, n: progress(n + i, 2 * n))
        fact = facts.fact_of(self.asked(), self.subject)
        return {
            "neurons": list(map(str, neurons)),
            "by": self.by,
            "fact": None if fact is None else str(fact),
            "bare": _answer(bare[0]) if bare else None,
            "before": _answer(before[0]),
            "after": _answer(after[0]),
            "words": _words(before[0], after[0]),
            "groups": _groups(groups, before, after) if self.others else [],
        }

    def groups(self, model: Model) -> dict[str, list[Prompt]]:
        """The prompts by what they are to the question; without `others`, or a known fact, the sentence alone."""
        prompt = self.asked()
        found: dict[str, list[Prompt]] = {"this prompt": [prompt]}
        fact = facts.fact_of(prompt, self.subject) if self.others else None
        if fact is None:
            return found
        found["its other templates"] = facts.templates(model, prompt, fact)[1:]
        found["same relation, other facts"] = _same(model, fact)
        found["other relations"] = _other(model, fact)
        return {name: own for name, own in found.items() if own}

    def python(self, model: str) -> str:
        fact = facts.fact_of(self.asked(), self.subject) if self.others else None
        held, under = (kept.python(self.under, model), "[*under, turned]") if self.under else ("", "turned")
        lines = [facts.python(model, self.asked(), fact, held).rstrip("\n")]
        lines.append(f"turned = eg.Scaled(eg.NeuronSet.parse({self.neurons!r}), by={self.by!r})")
        given = ", under=under" if self.under else ""
        said, left = (_PYTHON_ALONE, "rows") if fact is None else (_PYTHON_GROUPS, "reports")
        asked = said.replace("BEFORE", given).replace("AFTER", f", under={under}")
        return "\n".join(lines) + asked + f'print(*{left}, sep="\\n")\n'


_PYTHON_ALONE = """
(before,), (after,) = eg.ask(model, promptBEFORE, top=10), eg.ask(model, promptAFTER, top=10)
rows = [(answer.probability, answer.rank, answer.top) for answer in (before, after)]
"""

_PYTHON_GROUPS = f"""
groups = {{
    "this prompt": prompts[:1],
    "its other templates": prompts[1:],
    "same relation, other facts": [
        p
        for f in facts.facts(fact.relation)
        for p in facts.prompts(f, blank_last=model.blank_last, limit=1)
        if f.subject != fact.subject and f.answer != fact.answer and askable(p)
    ][:{SAME}],
    "other relations": [
        p
        for relation in facts.relations
        for p in facts.prompts(facts.facts(relation.id)[0], blank_last=model.blank_last, limit=1)
        if relation.id != fact.relation and askable(p)
    ][:{OTHER}],
}}
reports = [
    eg.compare(eg.ask(model, askedBEFORE), eg.ask(model, askedAFTER), title=name)
    for name, asked in groups.items()
    if asked
]
"""


def _same(model: Model, fact: Fact) -> list[Prompt]:
    """Other facts of the relation, with other answers, each in its first template."""
    known = serving.facts()
    found: list[Prompt] = []
    for f in known.facts(fact.relation):
        if f.subject != fact.subject and f.answer != fact.answer and len(found) < SAME:
            found += [p for p in _first(model, f) if facts.askable(model, p)]
    return found


def _other(model: Model, fact: Fact) -> list[Prompt]:
    """The first fact of each other relation, in its first template."""
    known = serving.facts()
    firsts = [known.facts(r.id)[0] for r in known.relations if r.id != fact.relation]
    return [p for f in firsts for p in _first(model, f) if facts.askable(model, p)][:OTHER]


def _first(model: Model, fact: Fact) -> tuple[Prompt, ...]:
    return serving.facts().prompts(fact, blank_last=model.blank_last, limit=1)


def _answer(a: Answer) -> dict[str, Any]:
    return {"probability": a.probability, "logprob": plain(a.logprob), "rank": a.rank, "tokens": list(a.tokens)}


def _words(before: Answer, after: Answer) -> list[dict[str, Any]]:
    """The best few words of either side with their probability on both; None where it is not among the best 100."""
    was, now = (dict(reversed(a.top)) for a in (before, after))  # of two tokens that read the same, the likelier
    shown = list(dict.fromkeys([w for w, _ in (*before.top[:SHOWN], *after.top[:SHOWN])]))
    rows = [{"word": w, "before": was.get(w), "after": now.get(w)} for w in shown]
    return sorted(rows, key=lambda row: -max(row["before"] or 0.0, row["after"] or 0.0))


def _groups(groups: dict[str, list[Prompt]], before: Sequence[Answer], after: Sequence[Answer]) -> list[dict[str, Any]]:
    found, start = [], 0
    for name, own in groups.items():
        b, a = (answers[start : start + len(own)] for answers in (before, after))
        start += len(own)
        report = compare(b, a, title=name)
        found.append({"name": name, "scores": report.to_dict()["scores"], "notes": report.notes, "rows": _rows(b, a)})
    return found


def _rows(before: Sequence[Answer], after: Sequence[Answer]) -> list[dict[str, Any]]:
    return [
        {
            "text": b.prompt.text, "answer": b.prompt.answer, "before": b.probability, "after": a.probability,
            "rank_before": b.rank, "rank_after": a.rank,
        }
        for b, a in zip(before, after, strict=True)
    ]  # fmt: skip
