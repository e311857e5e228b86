"""Punctuation: Wen & Bai (2022), section 5.5, and what their counts do not say: are the neurons needed?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...metrics.punctuated import OTHERS, OWN, RANDOM, Counted, Effect, counted, crossed, held_out, universal
from ...results import Report
from ...store import Run
from ..bars import Bars, Series, number
from ..canvas import BLUE, GREY, ORANGE
from ..page import Folded, Part, Section
from ..tables import Table
from .base import Chapter, drawn, rest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {OWN: BLUE, RANDOM: GREY, OTHERS: ORANGE}
_LISTED = 12


def chapter(run: Run, report: Report) -> Chapter:
    """From the rows of every sentence."""
    results = list(run.results())
    said, figures = report.settings, dict[str, "Figure"]()
    marks, effects = counted(results), held_out(results, seed=said["seed"])
    asks = "Are there neurons for marks of punctuation, and is each mark's own needed for it?"
    found: list[Part] = [
        f"{report['sentences'].n:,} sentences were asked for their mark. A neuron counts in a sentence where its "
        f"score is above {100 * said['threshold']:g} % of the largest there, and is the mark's at a share of "
        f"the sentences if it counts in {'more than' if said['more_than'] else 'at least'} that share.",
        _counts(marks, said), _whose(marks, said),
        Folded("The neurons of each mark, and in how many of its sentences they count", (_neurons(marks, said),)),
    ]  # fmt: skip
    tried: list[Part] = ["No mark has a sentence to try its neurons in."]
    if effects:
        tried = [
            "Neurons are found in half of a mark's sentences and fall silent, where the mark is asked, in the other "
            "half: its own, as many random ones of the same layers, and those of each other mark.",
            drawn(figures, "held-out", _held_out(results, effects, run, said)),
            _effects(effects), _crossed(results, said),
        ]  # fmt: skip
    sections = (Section("Neurons that marks share", found), Section("Are they needed?", tried),
                Section("Left out, and settings", tuple(rest(run, report))))  # fmt: skip
    return Chapter("punctuation", "Neurons of punctuation", asks, sections, figures)


def _counts(marks: Mapping[str, Counted], said: Mapping[str, Any]) -> Table:
    shares, strict = said["shares"], said["more_than"]
    rows = [[mark, *(str(len(own.at(s, strict=strict))) for s in shares), f"{own.n:,}"] for mark, own in marks.items()]
    for what, least in (("in two marks or more", 2), ("in every mark", len(marks))):
        both = [universal(marks, s, strict=strict).values() for s in shares]
        rows.append([what, *(str(sum(len(w) >= least for w in found)) for found in both), ""])
    columns = ("neurons", *(f"{100 * s:g} % #" for s in shares), "sentences #")
    return Table("How many neurons count in at least this share of a mark's sentences", columns, rows)


def _whose(marks: Mapping[str, Counted], said: Mapping[str, Any]) -> Part:
    """The neurons of several marks, with their shares in all of them."""
    least = min(said["shares"])
    common = universal(marks, least, strict=said["more_than"])
    if not common:
        return f"No neuron belongs to two marks at {100 * least:g} %: here none is “universal”."
    rows = [
        [str(neuron), " ".join(whose), *(_percent(own, neuron) for own in marks.values())]
        for neuron, whose in list(common.items())[:_LISTED]
    ]
    columns = ("neuron", "marks", *(f"{mark} (%) #" for mark in marks))
    return Table(f"Neurons of several marks at {100 * least:g} %, and in what part of each mark's sentences they count",
                 columns, rows)  # fmt: skip


def _neurons(marks: Mapping[str, Counted], said: Mapping[str, Any]) -> Table:
    rows = []
    for mark, own in marks.items():
        for neuron, votes in list(own.at(min(said["shares"]), strict=said["more_than"]).items())[:_LISTED]:
            rows.append([mark, str(neuron), f"{votes:,} of {own.n:,}", f"{100 * votes / own.n:.1f}"])
    columns = ("mark", "neuron", "sentences #", "share (%) #")
    return Table(f"At a share of {100 * min(said['shares']):g} %, the commonest {_LISTED} of a mark", columns, rows)


def _held_out(
    results: Sequence[Mapping[str, Any]], effects: Sequence[Effect], run: Run, said: Mapping[str, Any]
) -> Bars:
    series = [
        Series(whose, colour, {e.mark: e.change for e in effects if e.whose == whose})
        for whose, colour in _COLOURS.items()
    ]
    marks = [r["mark"] for r in results if any(e.mark == r["mark"] for e in effects)]
    words = {r["mark"]: r["relation"].replace("_", " ") for r in results}
    names = {r["mark"]: f"{words[r['mark']]} ({len(r['neurons']) or 'no'} neurons)" for r in results}
    sizes = sorted({e.change.n for e in effects})
    n = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    return Bars(
        "P(mark) in held-out sentences, with neurons silent",
        f"Neurons that count in {100 * said['tried']:g} % of the other half of a mark's sentences. {n} sentences for "
        f"each mark. Model: {run.manifest['model']['name']}. Lines: 95 % intervals, sentences resampled.",
        "change of P(mark) (points)", marks, series, 100, names, signs=True, digits=2,
    )  # fmt: skip


def _effects(effects: Sequence[Effect]) -> Table:
    rows = [
        [e.mark, e.whose, f"{e.before.value:.3f}", number(e.change, 100, 2, signs=True),
         number(e.part, 100, 2, signs=True), _small(e.q), _small(e.q_above), f"{e.change.n:,}"]
        for e in effects
    ]  # fmt: skip
    columns = ("mark", "without", "P(mark) before #", "change (points) #", "of the mean before (%) #", "q #",
               "q, own against random #", "sentences #")  # fmt: skip
    caption = (
        "In brackets: 95 % intervals, sentences resampled. q: paired tests (sign flips over sentences), "
        "Benjamini-Hochberg over all of this table"
    )
    return Table(caption, columns, rows)


def _crossed(results: Sequence[Mapping[str, Any]], said: Mapping[str, Any]) -> Folded:
    found = crossed(results, seed=said["seed"])
    marks = list(dict.fromkeys(asked for _, asked in found))
    rows = [[r["mark"], " ".join(r["neurons"]), *_cells(found, r["mark"], marks)] for r in results if r["neurons"]]
    columns = ("neurons of", "which", *(f"P({mark}) (points) #" for mark in marks))
    table = Table("Change of the probability of each mark, without the neurons of one", columns, rows)
    return Folded("Each mark's neurons, and every mark", (table,))


def _cells(found: Mapping[tuple[str, str], Any], mark: str, marks: Sequence[str]) -> Iterator[str]:
    for asked in marks:
        score = found.get((mark, asked))
        yield number(score, 100, 2, signs=True) if score is not None else "–"


def _percent(own: Counted, neuron: Any) -> str:
    return f"{100 * own.votes.get(neuron, 0) / own.n:.0f}"


def _small(q: float) -> str:
    if q != q:
        return "–"
    return f"{q:.3f}" if q >= 0.001 else "< 0.001"
