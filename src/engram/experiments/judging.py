"""What a model says to the sentences of a case, under an edit and without it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..cases import Case
from ..edits import Edit
from ..errors import UnaskablePrompt
from ..facts import BLANK, Prompt
from ..metrics.judged import BEFORE
from ..models import Model
from ..models.batching import Progress
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
    for p in case.reverse:
        yield Sentence("reverse", p, p.answer, None, p.answer)
        if (before := _about(p, new, old)) is not None:
            yield Sentence("reverse of the old", before, p.answer, None, p.answer)
    for group in ("synonym", "onward"):
        for p in case.asked(group):
            if p.against is not None:
                yield Sentence(group, p, p.against, p.answer, p.against)


def _about(prompt: Prompt, new: str, old: str) -> Prompt | None:
    """The same sentence about the old answer; None where the new one does not stand in it as words of their own."""
    before, _, behind = prompt.text.partition(BLANK)
    name = rf"(?<!\w){re.escape(new)}(?!\w)"
    parts = [re.sub(name, lambda _: old, part) for part in (before, behind)]
    return Prompt(BLANK.join(parts), prompt.answer) if parts != [before, behind] else None


def readings(
    model: Model, cases: Sequence[tuple[int, Case, Sequence[Condition]]], *, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Of each case (with its number) and condition a row for each group of sentences, as `metrics.judged` reads them.

    All in as few passes as memory allows, each row of a batch under its own edit; no weight is written. Raises
    UnaskablePrompt, OtherWeights, NotFinite, OutOfMemory.
    """
    asked: list[Prompt] = []
    edits: list[Edit | None] = []
    of: list[int] = []
    plan: list[tuple[int, Case, Condition, list[Sentence]]] = []
    for number, case, conditions in cases:
        told = sentences(model, case)
        for condition in conditions:
            plan.append((number, case, condition, told))
            edits.append(condition.edit)
            own = [p for s in told for p in _asked(s)]
            asked += own
            of += [len(edits) - 1] * len(own)
    scored = iter(score(model, asked, edits=edits, of=of, progress=progress))
    return [row for number, case, condition, told in plan for row in _rows(number, case, condition, told, scored)]


def _asked(s: Sentence) -> Iterator[Prompt]:
    for answer in (s.new, s.old):
        if answer is not None:
            yield s.prompt.asking_for(answer)


def _rows(
    number: int, case: Case, condition: Condition, told: Sequence[Sentence], scored: Iterator[Scored]
) -> Iterator[dict[str, Any]]:
    groups: dict[str, list[tuple[Sentence, Scored, Scored | None]]] = {}
    for s in told:
        groups.setdefault(s.group, []).append((s, next(scored), next(scored) if s.old is not None else None))
    for group, own in groups.items():
        yield {
            "relation": case.fact.relation, "number": number, "subject": case.fact.subject,
            "answer": case.fact.answer, "new_answer": case.new, "editor": condition.editor, "arm": condition.arm,
            "group": group, "nll_new": [new.nll for _, new, _ in own], "nll_old": [_or(old, "nll") for *_, old in own],
            "hits_new": [new.hits for _, new, _ in own], "hits_old": [_or(old, "hits") for *_, old in own],
            "wanted": [s.wanted for s, *_ in own], "spoken": [],
        }  # fmt: skip


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
