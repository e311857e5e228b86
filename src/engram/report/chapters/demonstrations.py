"""Demonstrations: the same sentences alone, and behind other facts in the same words (Wen & Bai)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...metrics import RelationChanges, by_relation
from ...metrics.tried import BY_RELATION, Tried, behind
from ...results import Report, Score
from ...store import Run
from ..bars import Bars, Series, number
from ..canvas import BLUE, ORANGE
from ..curves import Line, curves
from ..page import Folded, Part, Section
from ..tables import Table
from .base import Chapter, drawn, names_of, rest, still

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PUBLISHED = (("GPT-2", "0.1050"), ("BERT-base-uncased", "0.1411"))  # P(answer) behind four, mean over 21 relations


def chapter(run: Run, report: Report) -> Chapter:
    """From the rows of every sentence."""
    figures: dict[str, Figure] = {}
    counts = report.settings["counts"]
    tried = Tried.of(run.results(), behind(counts), seed=report.settings["seed"])
    names = names_of(run)
    found = by_relation(tried.pairs(tried.conditions[-1]), change="absolute", seed=report.settings["seed"])
    parts: list[Part] = [
        _asked(report), still(figures, "demonstrations", _curve(tried, counts, run, report)), _each(tried, report),
        "Behind four demonstrations, each relation counted once, Wen & Bai find a mean P(answer) of "
        f"{' and of '.join(f'{p} ({who})' for who, p in PUBLISHED)}.",
        drawn(figures, "relations", _relations(found, names, counts[-1], report)),
        Folded(f"All {len(found.rows)} relations", (_table(found, names),)),
    ]  # fmt: skip
    sections = (Section("What demonstrations do", parts),
                Section("Left out, and settings", tuple(rest(run, report))))  # fmt: skip
    asks = "What becomes of the answer when other facts, in the same words, stand before the sentence?"
    return Chapter("demonstrations", "Demonstrations", asks, sections, figures)


def _asked(report: Report) -> str:
    counts = report.settings["counts"]
    said = ", ".join(map(str, counts[1:-1])) + (" and " if len(counts) > 2 else "") + str(counts[-1])
    return (
        f"{report['facts'].n:,} facts in {report['sentences'].n:,} sentences, each asked alone and behind {said} other "
        "facts of its relation in the same template, whose answers differ from its own and from each other. The same "
        "sentences throughout: one that is too long with all its demonstrations is left out. Means are over facts, "
        "intervals draw facts anew (95 %), p-values are of paired tests over facts (sign flips)."
    )


def _curve(tried: Tried, counts: Sequence[int], run: Run, report: Report) -> Figure:
    lines = [
        Line(name, colour, counts, found.mean, found.low, found.high)
        for name, colour, found in (("P(answer)", BLUE, tried.probability()), ("accuracy", ORANGE, tried.accuracy()))
    ]
    name = str(run.manifest["model"]["name"])
    alone = ", which was trained on sentences that stand alone" if name.startswith("engram:") else ""
    caption = (
        "Mean over facts of P(answer), and share of sentences whose answer the model says first. "
        f"n = {report['facts'].n:,} facts in {report['sentences'].n:,} sentences. Model: {name}{alone}."
    )
    return curves(lines, "The answer behind demonstrations", caption, x="demonstrations before the sentence",
                  y="probability, fraction", ticks=counts)  # fmt: skip


def _each(tried: Tried, report: Report) -> Table:
    known = {s.name: s for s in report.scores}
    names = ("P(answer)", "accuracy", "change", "change" + BY_RELATION, "relative change", "log-probability", "p-value")
    rows = []
    for condition in tried.conditions:
        found = [known.get(f"{condition}: {name}") for name in names]
        cells = [_number(s, *how) for s, how in zip(found, _HOW, strict=True)]
        rows.append([condition, *cells, f"{tried.n:,}"])
    columns = ("asked", "P(answer) #", "accuracy (%) #", "change (points) #", "mean over relations (points) #",
               "relative (%) #", "log-probability (nats) #", "p #", "facts #")  # fmt: skip
    return Table("Behind each number of demonstrations; changes are against the sentence alone", columns, rows)


_HOW = ((1.0, 3, False), (100.0, 1, False), (100.0, 1, True), (100.0, 1, True), (100.0, 1, True), (1.0, 2, True),
        (1.0, 4, False))  # fmt: skip


def _number(score: Score | None, scale: float, digits: int, signs: bool) -> str:
    return "–" if score is None else number(score, scale, digits, signs=signs)


def _relations(found: RelationChanges, names: dict[str, str], count: int, report: Report) -> Bars:
    own = {r.relation: r.change for r in found.rows}
    return Bars(
        f"P(answer) behind {count} demonstrations less P(answer) alone, relation by relation",
        f"Mean over the sentences of a relation; {report['facts'].n:,} facts of {len(own)} relations. Lines: 95 % "
        "intervals, facts resampled.",
        "change of P(answer) (percentage points)", sorted(own, key=lambda r: own[r].value),
        (Series("change", BLUE, own),), 100, names, signs=True,
    )  # fmt: skip


def _table(found: RelationChanges, names: dict[str, str]) -> Table:
    rows = [
        [names.get(r.relation, r.relation), number(r.change, 100, 1, signs=True), f"{r.facts:,}", f"{r.p:.4f}",
         f"{r.q:.4f}"]
        for r in sorted(found.rows, key=lambda r: r.change.value)
    ]  # fmt: skip
    rows.append(["mean over relations", number(found.mean, 100, 1, signs=True), "", "", ""])
    columns = ("relation", "change (points) #", "facts #", "p #", "q #")
    return Table("p: paired sign flips over facts; q: Benjamini-Hochberg over relations", columns, rows)
