"""Differing: which facts two models know differently, fact by fact, relation by relation and on the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...metrics.differing import (
    GAINED,
    KEPT,
    LOST,
    NEITHER,
    STATES,
    Changed,
    RelationDiffers,
    by_relation,
    changed,
)
from ...results import Report
from ...store import Run
from ..bars import Bars, Series, number
from ..canvas import BLUE, GREEN, GREY, INK, VERMILLION, canvas, grid, legend
from ..page import Folded, Items, Part, Section
from ..tables import Table, signed
from .base import LISTED, Chapter, drawn, names_of, rest, still

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKS = {NEITHER: (GREY, "o"), KEPT: (BLUE, "o"), GAINED: (GREEN, "^"), LOST: (VERMILLION, "v")}
_SHARES = ("known to the first model", "known to the second model", *STATES)


def chapter(run: Run, report: Report) -> Chapter:
    """From the rows of every fact."""
    results = list(run.results())
    facts = changed(row for r in results for row in r["rows"])
    relations = by_relation(facts, seed=report.settings["seed"])
    names = names_of(run)
    figures: dict[str, Figure] = {}
    called = (results[0]["first"], results[0]["second"])
    parts: list[Part] = [
        f"First model: {called[0]}. Second model: {called[1]}. Both were asked the same "
        f"{report['prompts'].value:,.0f} prompts of {len(facts):,} facts. A fact is known that comes first in at least "
        "half of its prompts.",
        _whole(report), still(figures, "facts", _cloud(facts)), _texts(report),
    ]  # fmt: skip
    sections = [
        Section("Which facts do they know differently?", [p for p in parts if p != ""]),
        Section("Relation by relation", [drawn(figures, "relations", _bars(relations, names)),
                                         _relations(relations, names)]),
        Section("Fact by fact", _listed(facts, names)),
        Section("Left out, and settings", (Items(report.notes), *rest(run, report))),
    ]  # fmt: skip
    asks = "Which facts do two models know differently?"
    return Chapter("differing", "Two models compared", asks, sections, figures)


def _whole(report: Report) -> Table:
    """On the whole, with both tests."""
    change, known = report["change of log P(answer)"], report["change of what is known"]
    n = f"{change.n:,}"
    p, exact = report["change of log P(answer): p"], report["change of what is known: p"]
    rows = [[name[0].upper() + name[1:], number(report[name], 100), "%", "", n] for name in _SHARES]
    rows.insert(2, ["Change of what is known", number(known, 100, signs=True), "points",
                    f"McNemar, exact, {exact.n} facts that one knows: p = {probability(exact.value)}", n])  # fmt: skip
    rows += [
        [name, number(report[key], 1, 3, signs=True), "nats", "", n]
        for name, key in (("log P(answer), first model", "log P(answer), first model"),
                          ("log P(answer), second model", "log P(answer), second model"))
    ]  # fmt: skip
    rows.append(["Change of log P(answer)", number(change, 1, 3, signs=True), "nats",
                 f"paired, signs flipped: p = {probability(p.value)}", n])  # fmt: skip
    columns = ("what", "mean over facts #", "unit", "test", "facts #")
    return Table("On the whole. In brackets: 95 % intervals, facts resampled", columns, rows)


def _texts(report: Report) -> str:
    read = [s for s in report.scores if "perplexity" in s.name]
    if not read:
        return "Ordinary text was not compared."
    shown = "; ".join(f"{s.name.replace(': ', ', ')} {number(s, 1, 3)}" for s in read)
    return f"Ordinary text, {read[0].n} sentences: {shown}. Intervals: 95 %, sentences resampled."


def _cloud(facts: Sequence[Changed]) -> Figure:
    """Every fact by the log-probability of its answer, of the first model and of the second."""
    groups = {state: [f for f in facts if f.state == state] for state in _MARKS}
    tally = ", ".join(f"{len(groups[s]):,} {s}" for s in STATES)
    figure = canvas(
        4.0, "log P(answer), fact by fact",
        f"{len(facts):,} facts, each the mean over its prompts: {tally}. On the line nothing has changed; below it, "
        "the second model finds the answer less likely.", left=2.0, right=2.0,
    )  # fmt: skip
    axes = figure.axes[0]
    both = np.array([f.logprob for f in facts])
    ends = [float(both.min()) - 0.3, max(float(both.max()), 0.0) + 0.3]
    axes.plot(ends, ends, color=INK, linewidth=0.8, alpha=0.6)
    for state, (colour, mark) in _MARKS.items():
        x = np.array([f.logprob for f in groups[state]]).reshape(-1, 2)
        axes.plot(x[:, 0], x[:, 1], mark, color=colour, markersize=3.5, alpha=0.75, markeredgewidth=0)
    axes.set(xlim=ends, ylim=ends, xlabel="first model (nats)", ylabel="second model (nats)")
    axes.set_aspect("equal")
    grid(axes, "both")
    legend(axes, [(state, mark, colour) for state, (colour, mark) in _MARKS.items() if groups[state]])
    return figure


def _bars(relations: Sequence[RelationDiffers], names: Mapping[str, str]) -> Bars:
    own = {r.relation: r.change for r in relations}
    facts = sum(r.change.n for r in relations)
    return Bars(
        "Change of log P(answer), relation by relation",
        f"Second model minus first, mean over the {facts:,} facts of {len(own)} relations. Lines: 95 % intervals, "
        "facts resampled.",
        "change of log P(answer) (nats)", sorted(own, key=lambda r: own[r].value),
        (Series("change", BLUE, own),), 1, names, digits=3, signs=True,
    )  # fmt: skip


def _relations(relations: Sequence[RelationDiffers], names: Mapping[str, str]) -> Table:
    rows = [
        [names.get(r.relation, r.relation), number(r.change, 1, 3, signs=True), probability(r.p), probability(r.q),
         *(str(r.counts[s]) for s in STATES), probability(r.q_known), f"{r.change.n:,}"]
        for r in sorted(relations, key=lambda r: r.change.value)
    ]  # fmt: skip
    columns = ("relation", "change of log P (nats) #", "p #", "q #", *(f"{s} #" for s in STATES), "q of these #",
               "facts #")  # fmt: skip
    return Table(
        "Tests are paired, over facts; q: false discovery rate over all relations (Benjamini & Hochberg)", columns, rows
    )


def _listed(facts: Sequence[Changed], names: Mapping[str, str]) -> list[Part]:
    moved = [f for f in facts if f.change]
    if not moved:
        return ["No fact has changed."]
    parts: list[Part] = [_table("The largest changes of log P(answer)", moved[:20], names)]
    for state in (LOST, GAINED):
        if own := [f for f in facts if f.state == state]:
            title = f"{state.capitalize()}: {len(own):,}"
            shown = title if len(own) <= LISTED else f"{title}, the first {LISTED}"
            parts.append(Folded(shown, (_table(shown, own[:LISTED], names),)))
    return parts


def _table(title: str, facts: Sequence[Changed], names: Mapping[str, str]) -> Table:
    rows = [
        [f"⟨{f.subject}, {names.get(f.relation, f.relation)}, {f.answer}⟩", signed(f.change, 2),
         *(signed(x, 2) for x in f.logprob), *(f"{x:g}" for x in f.ranks), *(x or "–" for x in f.says), f.state,
         str(f.prompts)]
        for f in facts
    ]  # fmt: skip
    columns = ("fact", "change (nats) #", "log P, first #", "second #", "rank, first #", "second #", "first says",
               "second says", "state", "prompts #")  # fmt: skip
    return Table(f"{title}. log P: mean over prompts; ranks: median; what is said: in the first prompt", columns, rows)


def probability(p: float) -> str:
    """A p-value as it is written.

    >>> probability(0.25), probability(0.0312), probability(0.00001)
    ('.25', '.031', '< .001')
    """
    if p < 0.001:
        return "< .001"
    return f"{p:.2g}".removeprefix("0") if p < 1 else "1"
