"""Minimal pairs: is the right word still the likelier one without a number's neurons (Niu et al. 2024, figure 6)?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...metrics.choices import BEFORE, CHANCE, Choices, Effect, accuracy, choices, effects, margin, together
from ...results import Report, Score
from ...store import Run
from ..bars import Bars, Series, number
from ..canvas import BLUE, GREEN, GREY, VERMILLION
from ..page import Folded, Part, Section
from ..tables import Table, signed
from ..words import published
from .base import Chapter, drawn, rest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = {BEFORE: GREEN, "matching": BLUE, "both": VERMILLION, CHANCE["both"]: GREY}
CALLED = {
    BEFORE: "as it is", "matching": "its number silent", "other": "the other number silent", "both": "both silent",
    CHANCE["matching"]: "random, as its number", CHANCE["both"]: "random, as both",
}  # fmt: skip


def chapter(run: Run, report: Report) -> Chapter:
    """From the rows of every label and condition."""
    figures: dict[str, Figure] = {}
    results = list(run.results())
    found = choices(results)
    every = [*found, together(found)] if len(found) > 1 else found
    seed = report.settings["seed"]
    known = effects(every, seed=seed)
    right, apart = _accuracies(run, every, seed), _margins(run, every, seed)
    parts: list[Part] = [
        _told(report),
        drawn(figures, "accuracy", right),
        _table(known),
        "An accuracy of 100 % can hide a change. The margin, ln P(right) − ln P(wrong), cannot.",
        drawn(figures, "margin", apart),
        _moved(known),
    ]
    if table := _beside(every, seed):
        parts.append(table)
    parts.append(Folded("The neurons of each label", (_neurons(results),)))
    sections = (Section("Minimal pairs without their neurons", parts),
                Section("Left out, and settings", tuple(rest(run, report))))  # fmt: skip
    asks = "Is the right word of minimal pairs still the likelier one without the neurons of its number?"
    return Chapter("minimal_pairs", "Minimal pairs", asks, sections, figures)


def _told(report: Report) -> str:
    how = "that were given fall silent at the blank of all pairs."
    if report.settings["neurons"] is None:
        how = (
            "are found on half of the pairs and fall silent in the other half, at the blank; no deciding word is in "
            "both halves."
        )
    return (
        "Of two words of which one agrees with the rest of the sentence, the right one is to have the higher "
        f"probability. The neurons of each number {how} The paper does not say whether it silences the neurons of the "
        "right word's number, or those of both."
    )


def _series(every: Sequence[Choices], of: Mapping[tuple[str, str], Score]) -> list[Series]:
    return [
        Series(CALLED[c], colour, {one.name: of[one.name, c] for one in every if (one.name, c) in of})
        for c, colour in SHOWN.items()
        if any(c in one.right for one in every)
    ]


def _accuracies(run: Run, every: Sequence[Choices], seed: int) -> Bars:
    of = {(one.name, c): accuracy(one, c, seed=seed) for one in every for c in one.right}
    return Bars(
        "How often is the right word the likelier one?", f"Accuracy. {_about(run, every)}", "pairs (%)",
        [one.name for one in every], _series(every, of), 100, _names(every),
    )  # fmt: skip


def _margins(run: Run, every: Sequence[Choices], seed: int) -> Bars:
    of = {(one.name, c): margin(one, c, seed=seed) for one in every for c in one.margin}
    return Bars(
        "By how much is the right word the likelier one?",
        f"Mean of ln P(right) − ln P(wrong). {_about(run, every)}", "margin (nats)",
        [one.name for one in every], _series(every, of), 1, _names(every), digits=2, signs=True,
    )  # fmt: skip


def _about(run: Run, every: Sequence[Choices]) -> str:
    n = len({p for one in every for p in one.pairs})
    return f"{n:,} pairs. Model: {run.manifest['model']['name']}. Lines: 95 % intervals, pairs resampled."


def _names(every: Sequence[Choices]) -> dict[str, str]:
    return {one.name: one.name.replace("_", " ") for one in every}


def _table(known: Sequence[Effect]) -> Table:
    rows = [
        [_name(e), CALLED[e.condition], number(e.accuracy, 100), number(e.change, 100, signs=True), f"{e.p:.2g}",
         f"{e.q:.2g}", "–" if e.beyond is None else number(e.beyond, 100, signs=True),
         "–" if e.beyond_q is None else f"{e.beyond_q:.2g}", f"{e.accuracy.n:,}"]
        for e in known
    ]  # fmt: skip
    columns = (
        "pairs", "silent", "right (%) #", "change (points) #", "p, McNemar #", "q #", "beyond random (points) #",
        "q, beyond random #", "pairs #",
    )  # fmt: skip
    return Table("Accuracy: q is the false discovery rate over all rows", columns, rows)


def _moved(known: Sequence[Effect]) -> Table:
    rows = [
        [_name(e), CALLED[e.condition], number(e.margin, digits=2, signs=True), f"{e.margin_p:.2g}",
         f"{e.margin_q:.2g}", f"{e.margin.n:,}"]
        for e in known
    ]  # fmt: skip
    columns = ("pairs", "silent", "change of margin (nats) #", "p, paired #", "q #", "pairs #")
    return Table("Margin: signs of pairs flipped; q is the false discovery rate over all rows", columns, rows)


def _beside(every: Sequence[Choices], seed: int) -> Table | None:
    """What the paper has, where its paradigms were asked."""
    paper = published("figure_6b")["values"]
    rows = [
        [one.name.replace("_", " "), *(f"{x:.1f}" for x in paper[one.name]),
         signed(paper[one.name][1] - paper[one.name][0]),
         *(number(accuracy(one, c, seed=seed), 100) for c in (BEFORE, "matching", "both"))]
        for one in every
        if one.name in paper
    ]  # fmt: skip
    columns = (
        "paradigm", "BERT before (%) #", "BERT after (%) #", "change (points) #", "here, as it is (%) #",
        "its number silent (%) #", "both silent (%) #",
    )  # fmt: skip
    return Table("Niu et al. (2024), figure 6b, with BERT-base-cased; and here", columns, rows) if rows else None


def _neurons(results: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        [r["relation"].replace("_", " "), label, name, _percent(own), _percent(others)]
        for r in results for label, said in r["found"].items() for name, own, others in said
    ]  # fmt: skip
    columns = ("pairs", "label", "neuron", "counts in its sentences (%) #", "in those of another (%) #")
    return Table("Neurons, and in which share of the sentences that found them they count", columns, rows)


def _percent(share: float | None) -> str:
    return "given" if share is None else f"{100 * share:.0f}"


def _name(e: Effect) -> str:
    return e.name.replace("_", " ")
