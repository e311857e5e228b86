"""What a model says to the sentences of a case, under an edit and without it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..cases import Case
from ..edits import Edit
from ..errors import UnaskablePrompt
from ..facts import BLANK, Prompt
from ..metrics.entropy import entropies
from ..metrics.judged import BEFORE, TEXT
from ..models import Model
from ..models.batching import Progress
from ..models.continuing import continued, spoken
from ..models.scoring import Scored, score

NOTHING = float("nan")
SAID = ("nll_new", "nll_old", "hits_new", "hits_old", "wanted", "spoken")  # columns with an entry for each sentence


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a case: the two answers that are compared in it (`old` may be missing), and the right one."""

    group: str
    prompt: Prompt
    new: str
    old: str | None
    wanted: str


@dataclass(frozen=True, slots=True)
class Condition:
    """What a case is asked under: an edit, and by which editor and for what it was made."""

    editor: str
    arm: str
    edit: Edit | None


UNEDITED = Condition("", BEFORE, None)


def sentences(model: Model, case: Case) -> list[Sentence]:
    """The sentences of a case that this model can be asked. Raises UnaskablePrompt where the edited one cannot be.

    The reverse is asked twice: from the new answer, and from the old one (can the model answer the reverse at all?).
    """
    found = []
    for s in _sentences(case):
        try:
            for answer in (s.new, s.old):
                if answer is not None:
                    model.rows(s.prompt.asking_for(answer))
        except UnaskablePrompt:
            if s.group == "rewrite":
                raise
        else:
            found.append(s)
    return found


def _sentences(case: Case) -> Iterator[Sentence]:
    new, old = case.new, case.fact.answer
    for p in (case.prompt, *case.paraphrase):
        yield Sentence("rewrite" if p is case.prompt else "paraphrase", p, new, old, new)
    for p in case.neighbour:
        yield Sentence("neighbour", p, new, p.answer, p.answer)
    for p in case.attribute:
        yield Sentence("attribute", p, p.answer, old, p.answer)
    for p in (replace(p, against=None) for p in case.reverse):  # a contrast would have to be of one token
        yield Sentence("reverse", p, p.answer, None, p.answer)
        if (before := _turned(p, new, old)) is not None:
            yield Sentence("reverse of the old", before, p.answer, None, p.answer)
    for group in ("synonym", "onward"):
        for p in case.asked(group):
            if p.against is not None:
                yield Sentence(group, replace(p, against=None), p.against, p.answer, p.against)


def _turned(prompt: Prompt, new: str, old: str) -> Prompt | None:
    """The same sentence about the old answer; None where the new one does not stand in it as words of their own."""
    before, _, behind = prompt.text.partition(BLANK)
    name = rf"(?<!\w){re.escape(new)}(?!\w)"
    parts = [re.sub(name, lambda _: old, part) for part in (before, behind)]
    return Prompt(BLANK.join(parts), prompt.answer) if parts != [before, behind] else None


@dataclass(frozen=True, slots=True)
class Asked:
    """A case's sentences under one condition; `edit` is its number among all edits."""

    number: int
    case: Case
    condition: Condition
    told: Sequence[Sentence]
    edit: int


def readings(
    model: Model, cases: Sequence[tuple[int, Case, Sequence[Condition]]], *, speaks: bool = False, writes: int = 0,
    seed: int = 0, progress: Progress | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Of each case (with its number) and condition a row for each group of sentences, as `metrics.judged` reads them.

    A causal model that `speaks` also answers by itself, and where it `writes`, goes on from the case's texts up to so
    many tokens, drawn by `seed`. All in as few passes as memory allows, each row of a batch under its own edit; no
    weight is written. Raises UnaskablePrompt, OtherWeights, NotFinite, OutOfMemory, PromptTooLong.
    """
    plan: list[Asked] = []
    for number, case, conditions in cases:
        told = sentences(model, case)
        for condition in conditions:
            plan.append(Asked(number, case, condition, told, len(plan)))
    edits = [a.condition.edit for a in plan]
    asked = [(p, a.edit) for a in plan for s in a.told for p in _asked(s)]
    scored = iter(score(model, [p for p, _ in asked], edits=edits, of=[e for _, e in asked], progress=progress))
    said = iter(_spoken(model, plan, edits) if speaks and model.blank_last else ())
    rows = [row for a in plan for row in _rows(a, scored, said)]
    return [*rows, *(_written(model, plan, edits, writes, seed) if writes and model.blank_last else ())]


def _spoken(model: Model, plan: Sequence[Asked], edits: Sequence[Edit | None]) -> list[str]:
    """What is said freely in each sentence, as many tokens as the right answer has."""
    asked = [(s.prompt.asking_for(s.wanted), a.edit) for a in plan for s in a.told]
    return spoken(model, [p for p, _ in asked], edits=edits, of=[e for _, e in asked])


def _written(
    model: Model, plan: Sequence[Asked], edits: Sequence[Edit | None], tokens: int, seed: int
) -> Iterator[dict[str, Any]]:
    texts = [(text, a.edit) for a in plan for text in a.case.texts]
    whole = continued(model, [t for t, _ in texts], tokens=tokens, seed=seed, edits=edits, of=[e for _, e in texts])
    bits = iter(entropies(whole).tolist())
    for a in plan:
        own = [next(bits) for _ in a.case.texts]
        if own:
            yield {**_about(a, TEXT), **{k: [] for k in SAID}, "entropy": own}


def _asked(s: Sentence) -> Iterator[Prompt]:
    for answer in (s.new, s.old):
        if answer is not None:
            yield s.prompt.asking_for(answer)


def _rows(a: Asked, scored: Iterator[Scored], said: Iterator[str]) -> Iterator[dict[str, Any]]:
    groups: dict[str, list[tuple[Sentence, Scored, Scored | None, str | None]]] = {}
    for s in a.told:
        new, old = next(scored), next(scored) if s.old is not None else None
        groups.setdefault(s.group, []).append((s, new, old, next(said, None)))
    for group, own in groups.items():
        yield {
            **_about(a, group), "nll_new": [new.nll for _, new, _, _ in own],
            "nll_old": [_or(old, "nll") for _, _, old, _ in own], "hits_new": [new.hits for _, new, _, _ in own],
            "hits_old": [_or(old, "hits") for _, _, old, _ in own], "wanted": [s.wanted for s, *_ in own],
            "spoken": [x for *_, x in own if x is not None], "entropy": [],
        }  # fmt: skip


def _about(a: Asked, group: str) -> dict[str, Any]:
    fact, condition = a.case.fact, a.condition
    return {"relation": fact.relation, "number": a.number, "subject": fact.subject, "answer": fact.answer,
            "new_answer": a.case.new, "editor": condition.editor, "arm": condition.arm, "group": group}  # fmt: skip


def _or(scored: Scored | None, what: str) -> float:
    return NOTHING if scored is None else float(getattr(scored, what))


def each_sentence(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of one case with each sentence for itself, as if it were a case."""
    numbers: dict[tuple[str, int], int] = {}
    return [
        {**row, **{k: row[k][i : i + 1] for k in SAID}, "number": numbers.setdefault((row["group"], i), len(numbers))}
        for row in rows
        for i in range(len(row["nll_new"]))
    ]
