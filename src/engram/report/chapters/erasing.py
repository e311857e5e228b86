"""Erasing: table 5 of Dai et al. (2022), for every relation, with ordinary text and the two controls beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...metrics.perplexity import growth, perplexity
from ...results import Report, Score
from ...store import Run
from ..bars import Bars, Series, number
from ..canvas import BLUE, GREEN, GREY, PURPLE
from ..page import Folded, Part, Section
from ..tables import Table
from .base import CALLED, COLOURS, Chapter, drawn, grouped, measured, names_of, rest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACES = {"own": "the erased relation", "other": "other relations", "text": "ordinary text"}
_SUMMED = {"own": "own relation", "other": "other relations", "text": "text"}
Rows = Sequence[Mapping[str, Any]]


def chapter(run: Run, report: Report) -> Chapter:
    """From the summary, and what was asked before and after every erasure."""
    figures: dict[str, Figure] = {}
    results = list(run.results())
    names = names_of(run)
    measure = next((r["text_measure"] for r in results), "perplexity")
    mean, each = growths(report), _each(results, names)
    parts: list[Part] = [
        f"The value slots of the {report.settings['neurons_erased']} neurons that most facts of a relation have become "
        f"{report.settings['to']}. Perplexity of facts is that of right answers, exp(mean −ln P), known or not; of "
        f"ordinary text it is the {measure}.",
        drawn(figures, "means", mean),
        mean.table("growth of perplexity (%)", n="facts or texts, over all erasures"),
        drawn(figures, "table-5", each),
        _table(results, names),
        _accuracy(report),
        Folded("The neurons that were erased", (_erased(results, names),)),
    ]
    asks = "Can a relation be erased by its most frequent neurons, and what does it cost?"
    sections = (Section("What is left after an erasure", parts),
                Section("Left out, and settings", tuple(rest(run, report))))  # fmt: skip
    return Chapter("erasing", "Erasing relations", asks, sections, figures)


def growths(report: Report) -> Bars:
    """By how much perplexity grew, mean over erased relations, for each arm."""
    series = []
    for arm in COLOURS:
        start = f"{arm}: growth of "
        known = {s.name.rpartition(", ")[2]: s for s in report.scores if s.name.startswith(start)}
        if found := {place: known[name] for place, name in _SUMMED.items() if name in known}:
            series.append(Series(CALLED[arm], COLOURS[arm], found))
    n = report["attribution: relations erased"].n
    asked = ", ".join(f"{series[0].scores[p].n:,} of {PLACES[p]}" for p in PLACES if series and p in series[0].scores)
    return Bars(
        "By how much perplexity grows",
        f"Geometric mean over {n} relations, each erased by itself, after table 5 of Dai et al. (2022). Facts or texts "
        f"asked, over all erasures: {asked}. Lines: 95 % intervals, facts and texts resampled.",
        "growth of perplexity (%)", list(PLACES), series, 100, PLACES, signs=True,
    )  # fmt: skip


def _each(results: Rows, names: dict[str, str]) -> Bars:
    kinds = (("attribution", "own", "itself", BLUE), ("attribution", "other", "other relations", GREEN),
             ("attribution", "text", "ordinary text", PURPLE),
             ("chance", "own", "itself, random neurons", GREY))  # fmt: skip
    series = []
    for arm, place, called, colour in kinds:
        found = {r["relation"]: _growth(here) for r in results if (here := _at(r, arm, place))}
        series.append(Series(called, colour, found))
    groups = sorted({g for s in series for g in s.scores}, key=lambda g: -_value(series[0].scores.get(g)))
    facts = len({(x["asked_relation"], x["number"]) for r in results for x in _at(r, "attribution", "own")})
    return Bars(
        "Perplexity after erasing each relation",
        "Table 5 of Dai et al. (2022): mean change of −ln P, in nats (0.69: perplexity doubled), of the erased "
        f"relation, of others and of text. {len(groups)} relations, {facts:,} facts of their own. Lines: 95 % "
        "intervals, facts and texts resampled.",
        "mean change of −ln P (nats)", groups, series, 1, names, digits=2, signs=True,
    )  # fmt: skip


def _table(results: Rows, names: dict[str, str]) -> Table:
    rows = []
    for r in results:
        cells = [names[r["relation"]]]
        for place in PLACES:
            here = _at(r, "attribution", place)
            cells += [_before_after(here), number(_factor(here), 100, 1, signs=True)] if here else ["–", "–"]
        chance = _at(r, "chance", "own")
        cells.append(number(_factor(chance), 100, 1, signs=True) if chance else "–")
        if any(c != "–" for c in cells[1:]):
            rows.append(cells)
    columns = ("erased", "itself #", "growth (%) #", "others #", "growth (%) #", "text #", "growth (%) #",
               "itself, random neurons (%) #")  # fmt: skip
    return Table("Table 5 of Dai et al. (2022): perplexity before → after, and its growth", columns, rows)


def _accuracy(report: Report) -> Table:
    known = {s.name: s for s in report.scores}
    rows = []
    for arm in COLOURS:
        for place in ("own", "other"):
            pair = [known.get(f"{arm}: accuracy {when}, {_SUMMED[place]}") for when in ("before", "after")]
            if pair[0] and pair[1]:
                rows.append([CALLED[arm], PLACES[place], *(number(s, 100) for s in pair if s), f"{pair[0].n:,}"])
    caption = "How often the right answer is the model's first word (%), mean over erased relations"
    return Table(caption, ("erased by", "asked", "before #", "after #", "facts, over all erasures #"), rows)


def _erased(results: Rows, names: dict[str, str]) -> Table:
    rows = [[names[r["relation"]], CALLED[arm], " ".join(own)] for r in results for arm, own in r["erased"].items()]
    return Table("In order of layer", ("relation", "chosen", "neurons"), rows)


def _at(result: Mapping[str, Any], arm: str, place: str) -> Rows:
    return grouped([row for row in result["rows"] if row["place"] == place], "arm").get(arm, [])


def _weights(rows: Rows) -> Any:
    return np.array([row["prompts"] for row in rows], float)


def _factor(rows: Rows) -> Score:
    w = _weights(rows)
    change = np.array([row["after"] - row["before"] for row in rows]) * w
    return measured("growth", "ratio − 1", [(r["asked_relation"], r["number"]) for r in rows], change, w, of=growth)


def _growth(rows: Rows) -> Score:
    """The same in nats, which a bar can show whatever it is."""
    factor = _factor(rows)
    ends = factor.interval and (float(np.log1p(factor.interval[0])), float(np.log1p(factor.interval[1])))
    return Score("change of −ln P", float(np.log1p(factor.value)), factor.n, "nats", interval=ends)


def _before_after(rows: Rows) -> str:
    w = _weights(rows)
    before, after = (float(perplexity(np.array([r[when] for r in rows]) * w, w)) for when in ("before", "after"))
    return f"{before:,.1f} → {after:,.1f}"


def _value(score: Score | None) -> float:
    return -np.inf if score is None else score.value
