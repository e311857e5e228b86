"""Trigger prompts: table 3 of Dai et al. (2022), the texts that activate a fact's neurons most, and least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...results import Report, Score
from ...store import Run
from ..bars import Bars, Series
from ..canvas import BLUE, GREY
from ..page import Folded, Part, Section
from ..tables import Table, signed
from .base import CALLED, COLOURS, LISTED, Chapter, chosen, drawn, grouped, measured, names_of, rest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDS = {"top": "the texts that activate them most", "bottom": "the texts that activate them least",
        "top − bottom": "the difference"}  # fmt: skip
_SHOWN = 6  # facts, one of a relation each, whose texts are seen at once


def chapter(run: Run, report: Report) -> Chapter:
    """From the texts of both lists."""
    figures: dict[str, Figure] = {}
    names = names_of(run)
    rows = [row for r in run.results() for row in r["rows"] if row["arm"] == "attribution"]
    facts = list(_facts(rows).values())
    ends = both_ends(report)
    parts: list[Part] = [
        "Texts that state a fact, its answer hidden, are ranked by the activation of the fact's neurons at that place. "
        "Whether the upper ones say the fact more plainly than the lower ones is for a reader to judge.",
        _texts([f for f in facts if len({r["end"] for r in f}) == 2 or len(facts) < _SHOWN], names, _SHOWN),
    ]
    if ends.groups:
        parts += [drawn(figures, "table-3", ends), ends.table("texts", n="facts")]
    if rows:
        parts.append(drawn(figures, "relations", _relations(rows, names)))
        several = facts[:LISTED]
        parts.append(Folded(f"All {len(facts):,} facts" if len(several) == len(facts) else f"{LISTED} of the "
                            f"{len(facts):,} facts", (_every(several, names),)))  # fmt: skip
    sections = (Section("The texts", parts), Section("Left out, and settings", tuple(rest(run, report))))
    asks = "Which texts that state a fact activate its neurons most, and which least?"
    return Chapter("trigger_prompts", "Trigger prompts", asks, sections, figures)


def both_ends(report: Report) -> Bars:
    """The mean score of the upper and the lower texts, for each arm."""
    found = {arm: chosen(report, {k: f"{arm}: {k}" for k in ENDS}) for arm in COLOURS}
    series = [Series(CALLED[arm], COLOURS[arm], scores) for arm, scores in found.items() if scores]
    groups = [k for k in ENDS if any(k in s.scores for s in series)]
    n = max((s.n for s in found["attribution"].values()), default=0)
    return Bars(
        "The texts at both ends",
        f"After table 3 of Dai et al. (2022): {report.settings['score']} activation of a fact's neurons, mean over the "
        f"{report.settings['k']} upper and the {report.settings['k']} lower texts of a fact, then over relations. "
        f"{n:,} facts with texts at both ends. Lines: 95 % intervals, facts resampled within relations.",
        "activation", groups, series, names=ENDS, digits=3, signs=True,
    )  # fmt: skip


def _facts(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], list[Mapping[str, Any]]]:
    found: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["relation"], row["number"]), []).append(row)
    return found


def _texts(facts: Sequence[Sequence[Mapping[str, Any]]], names: Mapping[str, str], n: int) -> Table:
    """One fact of each of `n` relations, as the paper's table: those with the widest difference come first."""
    first: dict[str, Sequence[Mapping[str, Any]]] = {}
    for of in sorted(facts, key=lambda of: min(r["score"] for r in of) - max(r["score"] for r in of)):
        first.setdefault(of[0]["relation"], of)
    return _rows(
        list(first.values())[:n], names, f"The facts of {min(n, len(first))} relations whose texts differ most"
    )


def _every(facts: Sequence[Sequence[Mapping[str, Any]]], names: Mapping[str, str]) -> Table:
    return _rows(facts, names, "Every fact, its upper and its lower texts")


def _rows(facts: Sequence[Sequence[Mapping[str, Any]]], names: Mapping[str, str], caption: str) -> Table:
    rows = []
    for of in facts:
        ends = grouped(of, "end")
        for end in ("top", "bottom"):
            for i, row in enumerate(sorted(ends.get(end, ()), key=lambda r: r["score"], reverse=True)):
                who = f"⟨{row['subject']}, {names[row['relation']]}, {row['answer']}⟩\n{' '.join(row['neurons'])}"
                fact = who if end == "top" and not i else ""
                rows.append([fact, end, signed(row["score"], 3), row["text"]])
    return Table(caption, ("fact and its neurons", "end", "activation #", "text"), rows)


def _relations(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Bars:
    scores: dict[str, dict[str, Score]] = {"top": {}, "bottom": {}}
    for relation, of in grouped(rows, "relation").items():
        for end, said in grouped(of, "end").items():
            facts = [row["number"] for row in said]
            scores[end][relation] = measured(end, "activation", facts, [row["score"] for row in said])
    facts_n = len(_facts(rows))
    return Bars(
        "Upper and lower texts, by relation",
        f"Activation of the refined neurons of {facts_n:,} facts, mean over texts. Lines: 95 % intervals, facts "
        "resampled.",
        "activation", sorted(scores["top"], key=lambda r: -scores["top"][r].value),
        (Series("top", BLUE, scores["top"]), Series("bottom", GREY, scores["bottom"])), names=names, digits=3,
        signs=True,
    )  # fmt: skip
