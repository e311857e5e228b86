"""Edits one after the other: what is left of the earlier ones, of the neighbours, and of ordinary text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...metrics.judged import PARTS
from ...results import Report, Score
from ...store import Run
from ..bars import number
from ..canvas import BLUE, GREEN, ORANGE, canvas, grid
from ..page import Items, Part, Section
from ..tables import Table
from .base import Chapter, rest, still
from .editing import Editor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CALLED = {"ES": "edited sentences (ES)", "PS": "paraphrases (PS)", "NS": "neighbours (NS)"}
COLOURS = {"ES": BLUE, "PS": GREEN, "NS": ORANGE}
Check = Mapping[str, Any]


def chapter(run: Run, report: Report) -> Chapter:
    """From the summary, and what every check said."""
    figures: dict[str, Figure] = {}
    known = {s.name: s for s in report.scores}
    checks: dict[str, list[Check]] = {}
    for found in run.results():
        kind = found["text_measure"]
        for check in found["checked"]:
            checks.setdefault(check["editor"], []).append(check)
    parts: list[Part] = [_ASKED]
    short = {e.name: e.short for e in Editor.all(report)}
    for i, (editor, own) in enumerate(checks.items()):
        if alarms := [f"{short[editor]}: alarm after {c['edits']} edits: {c['alarm']}." for c in own if c["alarm"]]:
            parts.append(Items(alarms))
        parts.append(still(figures, f"in-turn-{i}", _curves(editor, short[editor], own, known)))
        parts.append(_table(editor, short[editor], own, known, kind))
    sections = [
        Section("How many edits does the model bear?", parts),
        Section("Left out, and settings", tuple(rest(run, report))),
    ]
    return Chapter("in_turn", "Edits in turn", "What is left after many edits, one after the other?", sections, figures)


_ASKED = (
    "Each edit is planned on the weights that the last one left. After some edits all cases edited so far are judged "
    "anew: does the edited sentence still say the new answer, do the paraphrases, do the neighbours keep theirs? "
    "Ordinary text is read as well; where it surprises the model far more than before, an alarm is given. Without any "
    "edit, each score is the line at 0 edits, of all cases."
)


def _curves(editor: str, short: str, checks: Sequence[Check], known: Mapping[str, Score]) -> Figure:
    caption = "All cases edited so far. Lines: 95 % intervals, cases resampled. At 0: all cases, no edit."
    figure = canvas(2.6, f"{short}: edits in turn", caption, right=1.75)
    axes = figure.axes[0]
    ends: list[tuple[float, str]] = []
    for i, part in enumerate(PARTS):
        found = [known.get(f"no edit: {part}"), *(known.get(f"{editor}, after {c['edits']}: {part}") for c in checks)]
        there = [(at, s) for at, s in enumerate(found) if s is not None]
        if not there:
            continue
        y = np.array([100 * s.value for _, s in there])
        x = [at + 0.05 * (i - 1) for at, _ in there]  # beside each other, for intervals overlap
        around = np.array([s.interval or (s.value, s.value) for _, s in there]).T * 100
        length = np.abs(around - y)
        axes.errorbar(x, y, yerr=length, color=COLOURS[part], marker="o", markersize=4, linewidth=1.6, elinewidth=1.0,
                      capsize=2)  # fmt: skip
        ends.append((float(y[-1]), part))
    for height, part in _apart(ends):
        axes.annotate(CALLED[part], (1.01, height), xycoords=("axes fraction", "data"), color=COLOURS[part], fontsize=8,
                      va="center", annotation_clip=False)  # fmt: skip
    names = [f"{c['edits']} (alarm)" if c["alarm"] else str(c["edits"]) for c in checks]
    axes.set_xticks(range(len(names) + 1), ["0", *names])
    axes.set(ylim=(-3, 103), xlabel="edits so far", ylabel="sentences that succeed (%)")
    grid(axes, "y")
    return figure


def _apart(ends: Sequence[tuple[float, str]], least: float = 8.0) -> list[tuple[float, str]]:
    """Names beside the ends of their lines, not over each other."""
    placed: list[tuple[float, str]] = []
    for height, part in sorted(ends):
        low = placed[-1][0] + least if placed else -np.inf
        placed.append((max(height, low), part))
    over = max((h for h, _ in placed), default=0) - 100
    return [(h - max(over, 0), part) for h, part in placed]


def _table(editor: str, short: str, checks: Sequence[Check], known: Mapping[str, Score], kind: str) -> Table:
    rows = []
    for c in checks:
        name = f"{editor}, after {c['edits']}"
        shown = [known.get(f"{name}: {s}") for s in ("S", *PARTS)]
        growth = "–" if c["perplexity"] is None else f"{c['perplexity']:.3f}"
        cells = ["–" if s is None else number(s, 100) for s in shown]
        rows.append([str(c["edits"]), *cells, growth, f"{100 * c['norm']:.2f}"])
    columns = ("edits #", "S (%) #", *(f"{p} (%) #" for p in PARTS), f"{kind}, ratio #", "largest change (% of norm) #")
    return Table(f"{short}: all cases edited so far; {kind} of ordinary text over what it was", columns, rows)
