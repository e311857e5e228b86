"""Determiners: table 4, and figures 2 and 5, of Niu et al. (2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...metrics.incidence import NUMBERS, Incidence, number_neurons, set_of, shares_of
from ...results import Report, Score
from ...store import Run
from ..anchors import anchors
from ..bars import Bars, Series, number
from ..canvas import BLUE, ORANGE, VERMILLION
from ..page import Folded, Part, Section
from ..tables import Table
from .base import LISTED, Chapter, Row, drawn, rest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"this": BLUE, "that": "#56b4e9", "these": VERMILLION, "those": ORANGE}  # blue: singular, red: plural
TABLED, PICTURED = 20, 8  # neurons


def chapter(run: Run, report: Report) -> Chapter:
    """From the summary, and the neurons of every pair."""
    figures: dict[str, Figure] = {}
    rows = [row for result in run.results() for row in result["rows"]]
    found = shares_of(rows, seed=report.settings["seed"])
    paper = anchors("niu2024", "determiners")
    parts: list[Part] = [_asked(run, report, rows), _said(found)]
    if found:
        parts.append(drawn(figures, "determiners", _bars(found, len(rows))))
        parts.append(_table(found))
    where: list[Part] = []
    if (bars := _layers(report)).groups:
        where.append(drawn(figures, "layers", bars))
    where.append(_per_pair(report, paper))
    sections = [
        Section("Which neurons go with which determiners", parts),
        Section("Where they lie", where),
        Section("As published", _published(paper)),
        Section("Every pair", [_pairs(rows)]),
        Section("Left out, and settings", tuple(rest(run, report))),
    ]
    asks = "Are there neurons for the number of determiners, whatever the noun?"
    return Chapter("determiners", "Determiners and their number", asks, sections, figures)


def _asked(run: Run, report: Report, rows: Sequence[Row]) -> str:
    settings = report.settings
    first = next(run.results())
    what = (
        "which determiner stands before the noun"
        if settings["asked"] == "determiner"
        else "which noun, of one number, stands behind the determiner"
    )
    nouns = len({row["noun"] for row in rows})
    sentences = "all" if settings["templates"] is None else "drawn by seed"
    return (
        f"{len(rows):,} pairs of a determiner and a noun ({nouns:,} nouns) in the data, each put into "
        f"{first['templates']:,} sentences of the paradigm {rows[0]['relation']} ({sentences}). Asked is {what}. A "
        "pair's neurons are those high in most of its sentences. Counted is in which part of a determiner's pairs a "
        "neuron is among them."
    )


def _said(found: Sequence[Incidence]) -> str:
    said = []
    for kind, neuron in number_neurons(found).items():
        own = next((i for i in found if i.neuron == neuron), None)
        if own is None:
            said.append(f"No neuron stands for the {kind} alone.")
        else:
            shares = " and ".join(f"{100 * own.shares[d].value:.0f} % of {d}" for d in NUMBERS[kind] if d in own.shares)
            said.append(f"{neuron} stands for the {kind}: it is in {shares}.")
    return (
        f"{' '.join(said)} A neuron stands for a number if it is in a quarter or more of the pairs of both determiners "
        "of that number, and in at most 2 % of the pairs of each other one; of several, the one most often there. "
        "It is chosen by the pairs it is counted in: in others its shares would be somewhat less far apart."
    )


def _bars(found: Sequence[Incidence], pairs: int) -> Bars:
    shown = found[:PICTURED]
    names = list(shown[0].shares)
    series = [Series(d, COLOURS[d], {str(i.neuron): _seen(i.shares[d]) for i in shown}) for d in names]
    return Bars(
        "Neurons and the determiners they go with",
        f"Share of each determiner's pairs that have the neuron; the {len(shown)} neurons that are in most, on "
        f"the mean over determiners. {pairs:,} pairs. Lines: 95 % intervals, pairs resampled (where no pair has the "
        "neuron: in the table).",
        "pairs of the determiner (%)", [str(i.neuron) for i in shown], series, 100,
    )  # fmt: skip


def _seen(score: Score) -> Score:
    """Without a line where there is no bar."""
    return score if score.value else replace(score, interval=None)


def _table(found: Sequence[Incidence]) -> Table:
    names = list(found[0].shares)
    counts = {d: found[0].shares[d].n for d in names}
    rows = [[str(i.neuron), *(number(i.shares[d], 100, 0) for d in names)] for i in found[:TABLED]]
    columns = ("neuron", *(f"{d} (n = {counts[d]:,}) #" for d in names))
    return Table("Pairs of each determiner that have the neuron (%), with 95 % intervals over pairs", columns, rows)


def _layers(report: Report) -> Bars:
    own = {s.name.rpartition(" ")[2]: s for s in report.scores if s.name.startswith("layer ")}
    n = next((s.n for s in own.values()), 0)
    return Bars(
        "Where the neurons lie",
        f"Share of all (pair, neuron) incidences that lie in each layer. {n:,} incidences. Lines: 95 % intervals, "
        "pairs resampled.",
        "share of incidences (%)", sorted(own, key=int), [Series("neurons of pairs", BLUE, own)], 100, upright=True,
        below="layer (0 reads the input)",
    )  # fmt: skip


def _per_pair(report: Report, paper: Mapping[str, Any]) -> Table:
    known = {s.name: s for s in report.scores}
    rows = [
        ["neurons per pair", number(known["neurons per pair"], digits=2), f"{paper['neurons per pair']:.2f}"],
        ["searches that ended with 2 to 5 neurons (%)", number(known["searches that ended within"], 100), "–"],
        ["a neuron at random, in a pair (%)", number(known["of one pair: by chance"], 100, 2), "–"],
    ]
    n = known["pairs"].n
    return Table(f"Of {n:,} pairs; published: BERT-base, 283 pairs", ("what", "here #", "published #"), rows)


def _published(paper: Mapping[str, Any]) -> list[Part]:
    """As they stand in the paper, which is of another model and other data."""
    groups = tuple(paper["groups"])
    tables: list[Part] = [
        f"{paper['model']}, {paper['data']}: {paper['pairs']} pairs, {paper['nouns']} nouns, {paper['sentences']:,} "
        f"sentences for each. The neurons of another model have other numbers; the pattern is what compares. "
        f"{paper['warning']}"
    ]
    for place in ("table 4", "figure 2b"):
        rows = [[neuron, *(f"{100 * x:.0f}" for x in shares)] for neuron, shares in paper[place].items()]
        tables.append(Table(f"{place.capitalize()}: pairs (%)", ("neuron", *(f"{g} #" for g in groups)), rows))
    counts = paper["incidences by layer"]
    total = sum(counts.values())
    rows = [[layer, f"{n}", f"{100 * n / total:.1f}"] for layer, n in counts.items() if n]
    tables.append(Table(f"Figure 5b: {total} incidences", ("layer", "incidences #", "share (%) #"), rows))
    return tables


def _pairs(rows: Sequence[Row]) -> Folded:
    told = [
        [row["determiner"], row["noun"], f"{row['prompts']}", row["share"], str(set_of(row)).strip("{}") or "none"]
        for row in rows[:LISTED]
    ]
    line = f"All {len(rows):,} pairs" if len(rows) <= LISTED else f"The first {LISTED} of {len(rows):,} pairs"
    sizes = np.mean([len(row["neurons"]) for row in rows])
    columns = ("determiner", "noun", "sentences #", "share #", "neurons")
    caption = f"The share at which the search settled, and the neurons there ({sizes:.1f} on average)"
    return Folded(f"{line} and their neurons", (Table(caption, columns, told),))
