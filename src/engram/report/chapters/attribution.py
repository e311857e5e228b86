"""Attribution: how many prompts were scored, how they are answered, and how whole the scores are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...results import Report, Score
from ...store import Record, Run
from ..bars import Bars, Series, number
from ..canvas import BLUE, GREEN
from ..page import Folded, Part, Section
from ..tables import Table
from .base import Chapter, drawn, measured, names_of, rest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOWEST, _HIGHEST = -7, 1  # powers of ten


def chapter(run: Run, report: Report) -> Chapter:
    """From the records of every prompt."""
    figures: dict[str, Figure] = {}
    said: dict[str, list[tuple[int, float, bool]]] = {}  # relation → (fact, P, right) of every prompt
    gaps: list[tuple[int, float]] = []
    points: list[tuple[int, float]] = []
    for result in run.results():
        for r in result["records"]:
            relation = r.prompt.fact.relation if r.prompt.fact is not None else ""
            said.setdefault(relation, []).append((r.number, math.exp(r.logprob), r.rank == 1))
            if math.isfinite(gap := _missed(r)):
                gaps.append((r.number, gap))
            if np.isfinite(r.points).all() and len(r.points):
                points.append((r.number, float(np.sum(r.points))))
    answers = _answers(run, said)
    parts: list[Part] = [_counts(report, points), drawn(figures, "answers", answers)]
    parts.append(Folded("Each relation", (answers.table("relation", n="facts"),)))
    if gaps:
        parts += [
            "The scores of a layer must add up to what P(answer) loses when the layer falls silent; the gap is by how "
            "much they miss it, as part of the largest loss of the prompt's layers.",
            drawn(figures, "gaps", _gaps(gaps)),
        ]
    method = report.settings["locator"]["name"].replace("_", " ")
    sections = (Section("How the prompts are answered, and how whole the scores are", parts),
                Section("Left out, and settings", tuple(rest(run, report))))  # fmt: skip
    return Chapter("attribution", f"Attribution by {method}", "The score of every neuron in every prompt.", sections,
                   figures)  # fmt: skip


def _counts(report: Report, points: Sequence[tuple[int, float]]) -> Table:
    rows = [[s.name, _shown(s.value), s.unit, f"{s.n:,}"] for s in report.scores]
    if points:
        mean = measured("gradients per prompt", "points of the path", *zip(*points, strict=True))
        rows.append([mean.name, number(mean), mean.unit, f"{len(points):,}"])
    return Table("On the whole", ("what", "value #", "unit", "n #"), rows)


def _shown(x: float) -> str:
    return f"{x:,.0f}" if float(x).is_integer() else f"{x:.3g}"


def _answers(run: Run, said: dict[str, list[tuple[int, float, bool]]]) -> Bars:
    sure: dict[str, Score] = {}
    right: dict[str, Score] = {}
    for relation, own in said.items():
        facts, p, first = zip(*own, strict=True)
        sure[relation] = measured("P(answer)", "probability", facts, p)
        right[relation] = measured("accuracy", "fraction", facts, np.array(first, float))
    prompts, facts_n = sum(map(len, said.values())), len({fact for own in said.values() for fact, *_ in own})
    return Bars(
        "How prompts are answered, by relation",
        f"Mean P(answer), and the share of prompts whose first word is right. {prompts:,} prompts of {facts_n:,} facts "
        f"in {len(said)} relations. Lines: 95 % intervals, facts resampled.",
        "%", sorted(said, key=lambda r: -right[r].value),
        (Series("answered first", BLUE, right), Series("P(answer)", GREEN, sure)), 100, names_of(run),
    )  # fmt: skip


def _gaps(gaps: Sequence[tuple[int, float]]) -> Bars:
    size = [min(max(math.floor(math.log10(g)) if g > 0 else _LOWEST, _LOWEST), _HIGHEST) for _, g in gaps]
    facts = [fact for fact, _ in gaps]
    bins = range(min(size), max(size) + 1)
    share = {str(b): measured(f"10^{b}", "fraction", facts, [float(s == b) for s in size], n=len(gaps)) for b in bins}
    names = {str(b): ("< " if b == _LOWEST else "") + f"10{_power(b)}…" + f"10{_power(b + 1)}" for b in bins}
    names[str(_LOWEST)] = f"< 10{_power(_LOWEST + 1)}"
    return Bars(
        "How far the scores are from their sum",
        f"The largest gap of a prompt's layers, as part of the largest change of one: share of {len(gaps):,} prompts. "
        "Lines: 95 % intervals, facts resampled.",
        "prompts (%)", [str(b) for b in bins], (Series("share", BLUE, share),), 100, names, upright=True, below="gap",
    )  # fmt: skip


def _power(n: int) -> str:
    return str(n).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _missed(r: Record) -> float:
    change = float(np.abs(r.change).max())
    return float(np.abs(r.gap).max()) / change if change > 0 else math.nan
