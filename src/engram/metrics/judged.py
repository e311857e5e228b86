"""What an edit did, from what a model says to the sentences of a case: CounterFact's scores, and what they leave out.

Meng et al. (2022), section 3.4: a sentence succeeds where the answer it should have is more probable than the other,
each by its mean −ln P per token; magnitudes are differences of the geometric means of the tokens' probabilities. S is
the harmonic mean of the means of ES, PS and NS over cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import BadSetting
from ..results import Better, Floats, Score
from .intervals import Resampling, of_cases, percentile

LETTERS = {"rewrite": "E", "paraphrase": "P", "neighbour": "N", "attribute": "A"}  # of ES, EM, PS …
STAYS = ("neighbour",)  # groups in which the old answer is the right one
PARTS = ("ES", "PS", "NS")  # of S
BEFORE = "no edit"
TEXT = "text"  # the group of what the model writes by itself

Row = Mapping[str, Any]


def columns() -> dict[str, str]:
    """What is kept of a case under one condition, group of sentences by group: a number for each sentence.

    `nll` are mean −ln P per token of the answer, `hits` the part of its tokens that are the model's first, given those
    before; `new` and `old` are the wish's answer and the true one (or what takes their places in the group; NaN where
    there is no such answer). `spoken` is what the model says by itself, `entropy` that of each text it writes, in bits.
    """
    about = {"relation": "text", "number": "whole", "subject": "text", "answer": "text", "new_answer": "text"}
    who = {"editor": "text", "arm": "text", "group": "text"}
    said = {"nll_new": "reals", "nll_old": "reals", "hits_new": "reals", "hits_old": "reals"}
    return {**about, **who, **said, "wanted": "texts", "spoken": "texts", "entropy": "reals"}


def of_sentences(row: Row) -> dict[str, float]:
    """The scores of one group of one case: means over its sentences.

    >>> said = {"group": "neighbour", "nll_new": [2.0, 1.0], "nll_old": [1.0, 1.0], "hits_new": [0, 0],
    ...         "hits_old": [1, 1], "wanted": ["Rome", "Rome"], "spoken": []}
    >>> found = of_sentences(said)
    >>> found["NS"], found["neighbour: exact"]
    (0.5, 1.0)
    """
    group = row["group"]
    if group == TEXT:
        return {"GE": float(np.mean(row["entropy"]))}
    right, wrong = ("old", "new") if group in STAYS else ("new", "old")
    nll, other = (np.asarray(row[f"nll_{which}"], float) for which in (right, wrong))
    hits, old = (np.asarray(row[f"hits_{which}"], float) for which in (right, "old"))
    found: dict[str, Floats] = {
        f"{group}: accuracy": hits, f"{group}: exact": hits == 1, f"{group}: says the old answer": old == 1,
        f"{group}: P(old answer)": np.exp(-np.asarray(row["nll_old"], float)),
    }  # fmt: skip
    if np.isfinite(other).all():  # ties fail
        letter = LETTERS.get(group)
        names = (f"{letter}S", f"{letter}M") if letter else (f"{group}: success", f"{group}: magnitude")
        found |= dict(zip(names, ((nll < other).astype(float), np.exp(-nll) - np.exp(-other)), strict=True))
    if row["spoken"]:
        found[f"{group}: spoken"] = np.array([s == w for s, w in zip(row["spoken"], row["wanted"], strict=True)])
    return {name: float(np.mean(np.asarray(x, float))) for name, x in found.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The scores of all cases under one condition: arrays [case], NaN where a case has no sentences of the group."""

    editor: str
    arm: str
    scores: Mapping[str, Floats]

    @property
    def name(self) -> str:
        """The condition in words."""
        if self.arm == BEFORE:
            return BEFORE
        return self.editor if self.arm == "edited" else f"{self.editor}, {self.arm}"


def judged(rows: Iterable[Row]) -> list[Judged]:
    """Every condition of these rows, each with all cases in one order. Raises BadSetting where there is no row."""
    cases: dict[tuple[str, int], int] = {}
    found: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
    for row in rows:
        case = cases.setdefault((row["relation"], row["number"]), len(cases))
        found.setdefault((row["editor"], row["arm"]), {}).setdefault(case, {}).update(of_sentences(row))
    if not found:
        raise BadSetting("no case was judged")
    return [Judged(editor, arm, _arrays(own, len(cases))) for (editor, arm), own in found.items()]


def _arrays(own: Mapping[int, Mapping[str, float]], n: int) -> dict[str, Floats]:
    names = dict.fromkeys(name for each in own.values() for name in each)
    return {name: np.array([own.get(i, {}).get(name, np.nan) for i in range(n)]) for name in names}


def harmonic_mean(parts: ArrayLike) -> Floats:
    """Of the last axis; 0 where a part is 0.

    >>> float(harmonic_mean([1.0, 0.5, 1.0])), float(harmonic_mean([1.0, 0.0]))
    (0.75, 0.0)
    """
    x = np.asarray(parts, float)
    with np.errstate(divide="ignore"):
        return np.asarray(x.shape[-1] / (1 / x).sum(-1))


def agrees(s: float, parts: Sequence[float], *, digits: int = 1) -> bool:
    """Can S be the harmonic mean of these parts, all rounded to so many digits? A table that fails was spliced.

    >>> agrees(80.8, (100.0, 98.6, 63.9)), agrees(73.8, (99.7, 95.5, 49.6))
    (False, True)
    """
    half = 0.5 * 10**-digits
    low, high = (float(harmonic_mean([max(p + sign * half, 0) for p in parts])) for sign in (-1, 1))
    return bool(low - half <= s <= high + half)


def summaries(found: Judged, *, seed: int) -> Iterator[Score]:
    """Of every score the mean over cases with a 95 % bootstrap interval over cases, its deviation, and S.

    Where all cases succeed, or none does, no draw can differ, and the interval is that of a proportion.
    """
    luck: dict[int, Resampling] = {}
    for name, x in found.scores.items():
        there = x[np.isfinite(x)]
        if len(there):
            drawn = luck.setdefault(len(there), Resampling.of(range(len(there)), seed=seed))
            unit = _unit(name)
            bounded = unit == "fraction"  # magnitudes and entropies that are all alike have no draw of another kind
            interval = of_cases(there, drawn=drawn) if bounded else percentile(drawn.draws(_mean, [there]))
            yield Score(f"{found.name}: {name}", float(there.mean()), len(there), unit, _better(found), interval)
            yield Score(f"{found.name}: {name}, sd over cases", float(there.std()), len(there), unit)
    parts = [found.scores.get(p) for p in PARTS]
    if all(x is not None for x in parts):
        yield _overall(found, np.stack([x for x in parts if x is not None]), seed)


def _overall(found: Judged, parts: Floats, seed: int) -> Score:
    """S with its interval: every part is the mean of the cases that have it."""
    value = float(harmonic_mean(np.nanmean(parts, axis=1)))
    n = parts.shape[1]

    def statistic(*each: Floats, mean: Any) -> Floats:
        with np.errstate(invalid="ignore"):  # a draw may hold no case that has neighbours
            means = [mean(np.nan_to_num(x)) / mean(np.isfinite(x).astype(float)) for x in each]
        return harmonic_mean(np.stack(means, axis=-1))

    drawn = Resampling.of(range(n), seed=seed).draws(statistic, list(parts))
    return Score(f"{found.name}: S", value, n, "fraction", _better(found), percentile(drawn))


def against(found: Judged, control: Judged, name: str, *, seed: int) -> Score | None:
    """By how much is a score better than under another condition, case by case? None where no case has both.

    >>> said = {"edited": [1.0, 1.0], "no edit": [0.0, 1.0]}
    >>> a, b = (Judged("rome", arm, {"ES": np.array(x)}) for arm, x in said.items())
    >>> print(against(a, b, "ES", seed=0))
    rome: ES, above no edit: 0.5 [0, 1] fraction (n=2)
    """
    one, other = (x.scores.get(name, np.array([])) for x in (found, control))
    if len(one) != len(other) or not len(one):
        return None
    apart = (one - other)[np.isfinite(one - other)]
    if not len(apart):
        return None
    drawn = Resampling.of(range(len(apart)), seed=seed).draws(_mean, [apart])
    called = BEFORE if control.arm == BEFORE else control.arm
    value = float(apart.mean())
    unit = "probability" if name.endswith("P(old answer)") else "fraction"
    return Score(f"{found.name}: {name}, above {called}", value, len(apart), unit, interval=percentile(drawn))


def _unit(name: str) -> str:
    if name == "GE":
        return "bits"
    return "probability" if name.endswith(("M", "magnitude", "P(old answer)")) else "fraction"


def _mean(x: Floats, mean: Any) -> Floats:
    return np.asarray(mean(x))


def _better(found: Judged) -> Better:
    return "higher" if found.arm == "edited" else "neither"
