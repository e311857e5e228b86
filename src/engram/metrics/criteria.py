"""Did an edit reach what else it should: the fact the other way round, or in another word (Niu et al. 2024)?

Their paper counts where the answer that follows from the edit is more probable than the one that was true; their code
measures which part of a given answer's tokens come first. Neither looks at the model before the edit, which is done
here: with no control, a rate says nothing, for of two answers one is always the more probable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..results import Floats, Score
from .intervals import of_cases
from .judged import BEFORE

Criterion = Literal["symmetry", "synonymy"]
Compared = Literal["tokens", "whole"]

OLD, NEW = "old answer", "new answer"
FROM_NEW, FROM_NEW_OTHER = "from the new answer: the subject", "from the new answer: whose it was"
FROM_OLD, FROM_OLD_OTHER = "from the old answer: the subject", "from the old answer: whose the new one was"
WORD_OLD, WORD_NEW = "in another word: the old answer", "in another word: the new answer"

STRINGS: Mapping[Criterion, Mapping[str, tuple[int | None, int | None]]] = {
    "symmetry": {  # each with its places in the published list: after the edit, and before it
        OLD: (0, 1), NEW: (2, None), FROM_OLD_OTHER: (3, None), FROM_NEW: (4, None), FROM_OLD: (5, None),
        FROM_NEW_OTHER: (6, None),
    },
    "synonymy": {OLD: (0, 4), NEW: (1, None), WORD_OLD: (2, 5), WORD_NEW: (3, None)},
}  # fmt: skip
PASSED: Mapping[Criterion, tuple[str, str]] = {"symmetry": (FROM_NEW, FROM_NEW_OTHER), "synonymy": (WORD_NEW, WORD_OLD)}
ANSWERED: Mapping[Criterion, str] = {"symmetry": FROM_OLD, "synonymy": WORD_OLD}
MEASURES = ("paper", "code")
KNOWN = "answered before"

Row = Mapping[str, Any]


def columns() -> dict[str, str]:
    """What is kept: a row for each string of each case under each condition.

    `nll` is the mean −ln P per token of the string, `hits` the part of its tokens that are the model's first choice,
    each given those before it.
    """
    about = {"relation": "text", "number": "whole", "subject": "text", "answer": "text", "new_answer": "text"}
    who = {"criterion": "text", "editor": "text", "arm": "text"}
    return {**about, **who, "string": "text", "prompt": "text", "said": "text", "nll": "real", "hits": "real",
            "tokens": "whole"}  # fmt: skip


def of_strings(criterion: Criterion, said: Mapping[str, Row], compared: Compared = "tokens") -> dict[str, float]:
    """The measures of one case under one condition, from its strings; what lacks a string is left out. Ties fail.

    >>> said = {OLD: {"nll": 2.0, "hits": 0, "tokens": 1}, NEW: {"nll": 1.0, "hits": 1, "tokens": 1}}
    >>> of_strings("symmetry", said)
    {'code: old answer': 0.0, 'code: new answer': 1.0, 'reliability, paper': 1.0, 'reliability, code': 1.0}
    """

    def surprise(string: str) -> float:
        row = said[string]
        return float(row["nll"]) * (row["tokens"] if compared == "whole" else 1)

    found = {f"code: {string}": float(said[string]["hits"]) for string in STRINGS[criterion] if string in said}
    for name, (new, old) in (("reliability", (NEW, OLD)), ("passed", PASSED[criterion])):
        if new in said and old in said:
            found[f"{name}, paper"] = float(surprise(new) < surprise(old))
        if new in said:
            found[f"{name}, code"] = float(said[new]["hits"])
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """One criterion, its cases in order, and of each condition every measure: arrays [case], NaN where it has none.

    `known` says of which cases the model without an edit answers what the criterion asks, from the true answer.
    """

    criterion: Criterion
    relations: Sequence[str]
    known: Floats
    conditions: Mapping[tuple[str, str], Mapping[str, Floats]]

    def of(self, relation: str) -> Passed:
        """The cases of one relation."""
        keep = np.array([r == relation for r in self.relations])
        own = {who: {name: x[keep] for name, x in each.items()} for who, each in self.conditions.items()}
        return Passed(self.criterion, [relation] * int(keep.sum()), self.known[keep], own)


def passed(rows: Iterable[Row], compared: Compared = "tokens") -> list[Passed]:
    """Every criterion of these rows, in the order of `STRINGS`."""
    said: dict[str, dict[tuple[str, int], dict[tuple[str, str], dict[str, Row]]]] = {}
    for row in rows:
        of_case = said.setdefault(row["criterion"], {}).setdefault((row["relation"], row["number"]), {})
        of_case.setdefault((row["editor"], row["arm"]), {})[row["string"]] = row
    return [_passed(criterion, said[criterion], compared) for criterion in STRINGS if criterion in said]


def _passed(
    criterion: Criterion, cases: Mapping[tuple[str, int], Mapping[tuple[str, str], Mapping[str, Row]]],
    compared: Compared,
) -> Passed:  # fmt: skip
    found = [{who: of_strings(criterion, own, compared) for who, own in each.items()} for each in cases.values()]
    conditions: dict[tuple[str, str], dict[str, Floats]] = {}
    for who in dict.fromkeys(who for each in found for who in each):
        names = dict.fromkeys(name for each in found for name in each.get(who, {}))
        conditions[who] = {n: np.array([each.get(who, {}).get(n, np.nan) for each in found]) for n in names}
    before = (each.get(("", BEFORE), {}) for each in found)
    known = np.array([each.get(f"code: {ANSWERED[criterion]}", np.nan) for each in before])
    first = np.where(np.isfinite(known), (known == 1).astype(float), np.nan)
    return Passed(criterion, [relation for relation, _ in cases], first, conditions)


def called(editor: str, arm: str) -> str:
    """A condition in words."""
    return arm if arm == BEFORE else editor if arm == "edited" else f"{editor}, {arm}"


def scores(
    found: Passed, name: str, *, measures: Sequence[str] = MEASURES, brief: bool = False, seed: int = 0
) -> Iterator[Score]:
    """Every measure of every condition, and how far edits are above their controls, case by case.

    Means over cases with 95 % bootstrap intervals over cases; also of the cases alone that the model answers before.
    `brief` is only which cases pass, and which are answered.
    """
    there = found.known[np.isfinite(found.known)]
    if len(there):
        yield _mean_of(f"{name}: {KNOWN}", there, seed)
    for (editor, arm), own in found.conditions.items():
        who = f"{name}, {called(editor, arm)}"
        for measure, x in own.items():
            if _wanted(measure, measures) and (not brief or measure.startswith("passed")):
                yield from _of(f"{who}: {measure}", x, found.known, seed, both=measure.startswith("passed"))
    if brief:
        return
    for (editor, arm), own in found.conditions.items():
        if arm == "edited":
            for other, control in found.conditions.items():
                if other == ("", BEFORE) or (other[0] == editor and other[1] != "edited"):
                    yield from _above(f"{name}, {editor}", own, control, other[1], found.known, measures, seed)


def _above(
    who: str, own: Mapping[str, Floats], control: Mapping[str, Floats], arm: str, known: Floats,
    measures: Sequence[str], seed: int,
) -> Iterator[Score]:  # fmt: skip
    for kind in ("reliability", "passed"):
        for measure in measures:
            name = f"{kind}, {measure}"
            if name in own and name in control:
                apart = own[name] - control[name]
                yield from _of(f"{who}: {name}, above {arm}", apart, known, seed, both=kind == "passed", least=-1)


def _of(name: str, x: Floats, known: Floats, seed: int, *, both: bool, least: float = 0.0) -> Iterator[Score]:
    """The mean of what is there; with `both`, also over the cases that the model answers before."""
    there = np.isfinite(x)
    if there.any():
        yield _mean_of(name, x[there], seed, least)
    if both and (there & (known == 1)).any():
        yield _mean_of(f"{name}, {KNOWN}", x[there & (known == 1)], seed, least)


def _wanted(measure: str, measures: Sequence[str]) -> bool:
    return "code" in measures if measure.startswith("code") else measure.rpartition(", ")[2] in measures


def _mean_of(name: str, x: Floats, seed: int, least: float = 0.0) -> Score:
    return Score(name, float(x.mean()), len(x), "fraction", interval=of_cases(x, least=least, seed=seed))
