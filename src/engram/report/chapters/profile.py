"""Profile: which words a model says less, and which more, without a number's neurons (Niu et al. 2024, figure 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...metrics.cooccurrence import Slope, log_odds
from ...metrics.profiles import Table as Moved
from ...metrics.profiles import WordChange, slopes, tables, word_changes
from ...results import Report
from ...store import Run
from .. import words
from ..bars import number
from ..page import Folded, Part, Section
from ..tables import Table, signed
from .base import Chapter, rest, still

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SURE = 0.05
_MODEL = "bert-base-cased"  # whose profile is published


def chapter(run: Run, report: Report) -> Chapter:
    """From the rows of every word."""
    figures: dict[str, Figure] = {}
    results = list(run.results())
    seed = report.settings["seed"]
    sections: list[Section] = []
    for i, moved in enumerate(tables(results)):
        changes = word_changes(moved, seed=seed)
        parts: list[Part] = [_told(moved, results, i == 0)]
        parts.append(still(figures, f"profile-{i}", _bars(run, moved, changes)))
        parts.append(Folded("Every word, with both tests", (_words(moved, changes),)))
        if (corpus := report.settings["corpus"]) is not None:
            parts += _cooccurring(figures, i, moved, changes, report, corpus)
        sections.append(Section(f"{moved.relation.replace('_', ' ')}: {moved.label} neurons", parts))
    sections.append(Section("Left out, and settings", tuple(rest(run, report))))
    asks = "Which words does the model say less, and which more, without the neurons of a number?"
    return Chapter("profile", "Profile of number neurons", asks, sections, figures)


def _told(moved: Moved, results: Sequence[Mapping[str, Any]], first: bool) -> str:
    said = next(r["found"][moved.label] for r in results if r["relation"] == moved.relation and r["rows"])
    names = ", ".join(_neuron(*one) for one in said)
    counted = any(own is not None for _, own, _ in said)
    text = f"Silent at the blank: {names}. Asked are {len(set(moved.numbers)):,} sentences whose right word is "
    text += f"{moved.label}" + (", none of which had a part in finding the neurons." if counted else ".")
    if first:
        text += (
            " The symmetric fold change is that of Niu et al.: (mean after − mean before) / the smaller of the two, so "
            "that −100 % is halved and +100 % doubled. Their unpaired t-test takes the two means for independent, "
            "though the same sentences are asked; the paired test flips signs of sentences."
        )
    return text


def _neuron(name: str, own: float | None, others: float | None) -> str:
    if own is None or others is None:
        return f"{name} (given)"
    return f"{name} (counts in {100 * own:.0f} % of the sentences of its number, {100 * others:.0f} % of the others)"


def _bars(run: Run, moved: Moved, changes: Sequence[WordChange]) -> Figure:
    about = run.manifest["model"]
    known = _published(moved) if _MODEL in str(about["name"]) else None
    caption = (
        f"{', '.join(moved.neurons)} silent at the blank; {len(set(moved.numbers)):,} sentences of {moved.relation}. "
        f"Model: {about['name']}. Lines: 95 % intervals, sentences resampled. Dots: as many random neurons of the same "
        f"layers, {len(moved.chance)} draws. *: paired test, false discovery rate of {100 * SURE:.0f} % over the words."
    )
    if known:
        caption += f" Diamonds: Niu et al. (2024), figure 3, {known['neurons']}, read from the figure to ±1 %."
    return words.profile(
        f"Without the {moved.label} neurons", caption, changes, known["values"] if known else {}
    )  # fmt: skip


def _published(moved: Moved) -> dict[str, Any] | None:
    """The published profile of this number, if determiners were asked."""
    if not {"these", "this"} <= set(moved.words):
        return None
    found: dict[str, Any] | None = words.published("figure_3")["profiles"].get(moved.label)
    return found


def _words(moved: Moved, changes: Sequence[WordChange]) -> Table:
    known = _published(moved)
    rows = []
    for c in changes:
        random = f"{signed(100 * min(c.chance))} to {signed(100 * max(c.chance))}" if c.chance else "–"
        rows.append([
            c.word, c.group, f"{c.before:.2e}", f"{c.after:.2e}", number(c.fold, 100, signs=True), random,
            number(c.log_ratio, digits=3, signs=True), f"{c.published:.2g}", f"{c.paired:.2g}", f"{c.q:.2g}",
            *([signed(known["values"][c.word], 0) + (" *" if c.word in known["significant"] else "")
               if c.word in known["values"] else "–"] if known else []),
        ])  # fmt: skip
    columns = (
        "word", "marked", "mean P before #", "mean P after #", "fold change (%) #", "random neurons (%) #",
        "log ratio (nats) #", "p, published t-test #", "p, paired #", "q, over words #",
        *(("published, BERT (%) #",) if known else ()),
    )  # fmt: skip
    return Table(f"{len(set(moved.numbers)):,} sentences; intervals 95 %, sentences resampled", columns, rows)


def _cooccurring(
    figures: dict[str, Figure], i: int, moved: Moved, changes: Sequence[WordChange], report: Report,
    corpus: Mapping[str, Any],
) -> Iterator[Part]:  # fmt: skip
    by, odds = report.settings["shift"], log_odds(corpus["of"], moved.words)
    found = slopes(moved, corpus["of"], by=by, seed=report.settings["seed"])
    if not odds:
        yield f"None of the words stands near a known noun in {corpus['corpus']}."
        return
    caption = (
        f"Each word's shift without {', '.join(moved.neurons)} ({len(set(moved.numbers)):,} sentences), and the "
        f"log-odds of a plural noun at most {corpus['within']} words {_side(corpus)} it, + ½, in {corpus['corpus']} "
        f"({corpus['words']:,} words; {corpus['nouns']:,} nouns of {corpus['lexicon']}). Line: least squares, all words"
        + ("; broken: neutral words." if found.get("neutral words") else ".")
    )
    figure = words.scatter(
        f"Co-occurrence and shift: {moved.label} neurons", caption, changes, odds, found, by, corpus["side"]
    )
    yield still(figures, f"co-occurrence-{i}", figure)
    yield _slopes(found, by)
    yield Folded("How often each word was counted", (_counts(moved, corpus),))


def _side(corpus: Mapping[str, Any]) -> str:
    return "behind" if corpus["side"] == "behind" else "before"


def _slopes(found: Mapping[str, Slope | None], by: str) -> Table:
    rows = []
    for name, s in found.items():
        if s is None:
            rows.append([name, "too few words with odds of their own", "", "", "", ""])
            continue
        rank = "–" if s.spearman is None else signed(s.spearman, 2) + _around(s.spearman_interval, 2)
        around = [_around(x).strip() or "–" for x in (s.over_words, s.over_prompts)]
        rows.append([name, signed(s.value, 3), *around, rank, f"{s.words:,} in {s.prompts:,}"])
    columns = (
        "words", "slope #", "95 %, words resampled #", "95 %, sentences resampled #", "rank correlation #",
        "words, in sentences #",
    )  # fmt: skip
    unit = "nats" if by == "log ratio" else "fold change"
    return Table(f"Shift ({unit}) per nat of log-odds of a plural noun", columns, rows)


def _around(interval: tuple[float, float] | None, digits: int = 3) -> str:
    return "" if interval is None else f" [{signed(interval[0], digits)}, {signed(interval[1], digits)}]"


def _counts(moved: Moved, corpus: Mapping[str, Any]) -> Table:
    odds = log_odds(corpus["of"], moved.words)
    rows = [
        [w, f"{corpus['of'][w][0]:,}", f"{corpus['of'][w][1]:,}", signed(odds[w], 2) if w in odds else "–"]
        for w in moved.words
        if w in corpus["of"]
    ]
    columns = ("word", "with a singular noun #", "with a plural noun #", "log-odds of plural, nats #")
    return Table(f"{corpus['corpus']}, checksum {corpus['corpus_checksum']}", columns, rows)
