"""Activation by type of prompt: table 4 of Dai et al. (2022), for every arm and every relation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...results import Report, Score
from ...store import Run
from ..bars import Bars, Series
from ..canvas import BLUE, GREEN, GREY
from ..page import Folded, Part, Section
from .base import CALLED, COLOURS, Chapter, chosen, drawn, grouped, measured, names_of, rest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TYPES = {
    "T1": "T1: subject and answer, answer hidden", "T2": "T2: subject, another word hidden",
    "T3": "T3: other texts, a word hidden",
}  # fmt: skip
_COLOURS = {"T1": BLUE, "T2": GREEN, "T3": GREY}
_LESS = {"T1 − T2": "T1 − T2", "T1 − T3": "T1 − T3"}


def chapter(run: Run, report: Report) -> Chapter:
    """From the mean activation of every neuron of every fact."""
    figures: dict[str, Figure] = {}
    table = table_four(report)
    rows = [row for r in run.results() for row in r["rows"]]
    relations = _relations(run, rows)
    slot = "a capitalised name" if report.settings["slot"] == "entity" else "a random word"
    parts: list[Part] = [
        "Texts that state a fact, texts that mention its subject alone, and other texts: in each, something is hidden, "
        f"and the fact's neurons are read at that place. In T1 the answer is hidden, in T2 and T3 {slot}"
        + ("." if report.settings["slot"] == "entity" else ", so that T1 differs from them in what is hidden, too."),
        drawn(figures, "table-4", table),
        table.table("type of text", n="facts"),
        _differences(report).table("difference", "Paired differences, of the same neurons", n="facts"),
        drawn(figures, "relations", relations),
        Folded("Each relation", (relations.table("relation", n="facts"),)),
    ]
    asks = "Do texts that state a fact activate its neurons more than other texts do?"
    sections = (Section("Activation by type of text", parts),
                Section("Left out, and settings", tuple(rest(run, report))))  # fmt: skip
    return Chapter("activation_by_prompt", "Activation by type of prompt", asks, sections, figures)


def table_four(report: Report) -> Bars:
    """The mean activation in texts of every type, for each arm."""
    facts = report["attribution: facts"].n
    return Bars(
        "Mean activation of a fact's neurons",
        f"Table 4 of Dai et al. (2022): mean over the texts, then over the neurons of a relation's facts, then over "
        f"relations. {facts:,} facts. Lines: 95 % intervals, facts resampled within relations.",
        "activation", list(TYPES), _series(report, {k: k for k in TYPES}), names=TYPES, digits=3, signs=True,
    )  # fmt: skip


def _differences(report: Report) -> Bars:
    return Bars("Differences", "", "activation", list(_LESS), _series(report, _LESS), digits=3, signs=True)


def _series(report: Report, names: dict[str, str]) -> list[Series]:
    found = [(arm, chosen(report, {k: f"{arm}: {name}" for k, name in names.items()})) for arm in COLOURS]
    return [Series(CALLED[arm], COLOURS[arm], scores) for arm, scores in found if scores]


def _relations(run: Run, rows: list[dict[str, object]]) -> Bars:
    own = [row for row in rows if row["arm"] == "attribution"]
    facts = len({(row["relation"], row["number"]) for row in own})
    scores: dict[str, dict[str, Score]] = {kind: {} for kind in TYPES}
    for relation, of in grouped(own, "relation").items():
        for kind, said in grouped(of, "type").items():
            values = [row["activation"] for row in said]
            scores[kind][relation] = measured(kind, "activation", [row["number"] for row in said], values)
    return Bars(
        "The refined neurons in texts of each type, by relation",
        f"Mean activation over the (fact, neuron) pairs of a relation. {facts:,} facts. Lines: 95 % intervals, facts "
        "resampled.",
        "activation", sorted(scores["T1"], key=lambda r: -scores["T1"][r].value),
        [Series(kind, _COLOURS[kind], of) for kind, of in scores.items()], names=names_of(run), digits=3, signs=True,
    )  # fmt: skip
