"""Neurons: table 2 and figure 3 of Dai et al. (2022), and how many neurons a fact has."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ...neurons import Neuron
from ...results import Report, Score
from ...store import Run
from .. import pictures
from ..bars import Bars, Series, number
from ..page import Folded, Part, Section
from ..tables import Table
from .base import CALLED, COLOURS, LISTED, Chapter, chosen, drawn, grouped, measured, names_of, rest, still

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TWO = ("neurons per fact", "shared within", "shared within, mean over relations", "shared across")
_NAMES = {
    "neurons per fact": "neurons per fact", "shared within": "shared by two facts of a relation",
    "shared within, mean over relations": "the same, mean over relations",
    "shared across": "shared by facts of two relations",
}  # fmt: skip
_ARMS = ("attribution", "activation")
_MOST = 12  # neurons of a fact that have a bar of their own


def chapter(run: Run, report: Report) -> Chapter:
    """From the summary, and the sets of every fact."""
    figures: dict[str, Figure] = {}
    results = list(run.results())
    names = names_of(run)
    facts = report["attribution: neurons per fact"].n
    parts: list[Part] = [
        f"{facts:,} facts. A neuron is one input of the second linear map of a layer's FFN; a fact's refined neurons "
        "are those that score high in most of its prompts. Beside them stand those that activation alone names, chosen "
        "in the same way.",
        drawn(figures, "table-2", table_two(report)),
        table_two(report).table("on average"),
    ]
    where = layers(report)
    if where.groups:
        parts.append(drawn(figures, "figure-3", where))
    parts.append(drawn(figures, "sizes", _sizes(results)))
    carried = {r["relation"]: _sets(r, "attribution") for r in results if r["rows"]}
    if any(own for sets in carried.values() for own in sets):
        parts.append(still(figures, "carriers", pictures.carriers(carried, names)))
    parts += [_relations(results, names), _facts(results, names)]
    sections = (Section("How many, where, and how many are shared", parts),
                Section("Left out, and settings", tuple(rest(run, report))))  # fmt: skip
    return Chapter("neurons", "Knowledge neurons", "Which neurons carry each fact?", sections, figures)


def table_two(report: Report) -> Bars:
    """Neurons per fact, and intersections."""
    facts = report["attribution: neurons per fact"].n
    series = [Series(CALLED[a], COLOURS[a], chosen(report, {k: f"{a}: {k}" for k in TWO})) for a in _ARMS]
    return Bars(
        "Neurons of a fact, and those that two facts share",
        f"Table 2 of Dai et al. (2022). {facts:,} facts; all pairs of them are compared. Lines: 95 % intervals, facts "
        "resampled.",
        "neurons", [k for k in TWO if k in series[0].scores], series, names=_NAMES, digits=2,
    )  # fmt: skip


def layers(report: Report) -> Bars:
    """The share of (fact, neuron) pairs in every layer."""
    series = []
    for arm in _ARMS:
        own = {s.name.rpartition(" ")[2]: s for s in report.scores if s.name.startswith(f"{arm}: layer ")}
        series.append(Series(CALLED[arm], COLOURS[arm], own))
    groups = sorted({g for s in series for g in s.scores}, key=int)
    pairs = next((s.n for s in series[0].scores.values()), 0)
    return Bars(
        "Where the neurons lie",
        f"Figure 3 of Dai et al. (2022): share of all (fact, neuron) pairs that lie in each layer. {pairs:,} pairs by "
        "attribution. Lines: 95 % intervals, facts resampled.",
        "share of pairs (%)", groups, series, 100, upright=True, below="layer (0 reads the input)",
    )  # fmt: skip


def _sizes(results: list[dict[str, Any]]) -> Bars:
    groups = [str(k) for k in range(_MOST)] + [f"{_MOST}+"]
    series, n = [], 0
    for arm in _ARMS:
        sizes = [min(len(row["neurons"]), _MOST) for r in results for row in r["rows"] if row["arm"] == arm]
        n = len(sizes)
        share = {g: measured(g, "fraction", range(n), np.equal(sizes, k).astype(float)) for k, g in enumerate(groups)}
        series.append(Series(CALLED[arm], COLOURS[arm], share))
    last = max(k for k, g in enumerate(groups) if any(s.scores[g].value for s in series))
    return Bars(
        "How many neurons a fact has",
        f"Share of {n:,} facts that have so many neurons. Lines: 95 % intervals, facts resampled.",
        "facts (%)", groups[: last + 1], series, 100, upright=True, below="neurons",
    )  # fmt: skip


def _relations(results: list[dict[str, Any]], names: dict[str, str]) -> Table:
    rows = []
    for r in results:
        arms = grouped(r["rows"], "arm")
        if arms:
            n = len(arms["attribution"])
            found = [(r["shares"][a]["share"], _mean([len(x["neurons"]) for x in arms[a]], n)) for a in _ARMS]
            known = "–" if r["known"] is None else f"{r['known']}"
            counts = (f"{r['drawn']}", f"{r['askable']}", known)
            rows.append([names[r["relation"]], *counts, *(x for pair in found for x in pair)])
    columns = ("relation", "drawn #", "askable #", "known #", "share #", "neurons #", "share, baseline #",
               "neurons, baseline #")  # fmt: skip
    caption = "Each relation: facts, the share of prompts that must agree on a neuron, and neurons per fact"
    return Table(caption, columns, rows)


def _mean(sizes: list[int], n: int) -> str:
    return number(Score("", float(np.mean(sizes)), n, "neurons"), digits=2)


def _facts(results: list[dict[str, Any]], names: dict[str, str]) -> Folded:
    rows = [
        [names[row["relation"]], row["subject"], row["answer"], " ".join(row["neurons"]) or "none"]
        for r in results for row in r["rows"] if row["arm"] == "attribution"
    ]  # fmt: skip
    often = Counter(x for row in rows for x in row[3].split() if x != "none").most_common(20)
    common = Table("The neurons of most facts", ("neuron", "facts #"), [[x, f"{n:,}"] for x, n in often])
    table = Table("Refined neurons. L3.17 is neuron 17 of layer 3", ("relation", "subject", "answer", "neurons"),
                  rows[:LISTED])  # fmt: skip
    line = f"All {len(rows):,} facts" if len(rows) <= LISTED else f"The first {LISTED} of {len(rows):,} facts"
    return Folded(f"{line} and their neurons", (common, table))


def _sets(result: dict[str, Any], arm: str) -> list[list[Neuron]]:
    return [[Neuron.parse(n) for n in row["neurons"]] for row in result["rows"] if row["arm"] == arm]
