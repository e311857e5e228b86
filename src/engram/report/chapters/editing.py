"""Editing: table 4 of Meng et al. (2022), table 3 of Wen & Bai, beside what edits are to be compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...metrics.judged import BEFORE, PARTS
from ...results import Report, Score
from ...store import Run
from ..bars import Bars, Series, number
from ..canvas import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from ..page import Folded, Part, Section
from ..tables import Table, signed
from .base import LISTED, Chapter, Row, chosen, drawn, names_of, rest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORES = ("S", "ES", "EM", "PS", "PM", "NS", "NM")
CALLED = {"ES": "edited sentence (ES)", "PS": "paraphrases (PS)", "NS": "neighbours (NS)", "S": "S"}
COLOURS = {
    BEFORE: GREY, "edited": BLUE, "random neurons": ORANGE, "random layer": PURPLE, "toward the truth": GREEN
}  # fmt: skip
GROUPS = {
    "rewrite": "edited sentence", "paraphrase": "paraphrases", "neighbour": "neighbours",
    "attribute": "others with the new answer", "reverse": "reverse, from the new answer",
    "reverse of the old": "reverse, from the old answer", "synonym": "synonym", "onward": "one step further",
}  # fmt: skip
_RESAMPLED = "Lines: 95 % intervals, cases resampled."


def chapter(run: Run, report: Report) -> Chapter:
    """From the summary, and from how every edit was planned."""
    figures: dict[str, Figure] = {}
    editors = [by["called"] for by in report.settings["by"]]
    parts: list[Part] = [_asked(report), _scores(report, editors)]
    for i, editor in enumerate(editors):
        parts.append(drawn(figures, f"scores-{i}", _bars(report, editor)))
    parts += [_above(report, editors)]
    sections = [
        Section("Do edits do what they should, and nothing else?", parts),
        Section("Said in whole, and other ways round", [_MORE, _more(report, editors)]),
        Section("Every edit", [_edits(run)]),
        Section("Left out, and settings", tuple(rest(run, report))),
    ]
    asks = "Does an edit change the fact in other words too, leave its neighbours alone, and more so than chance?"
    return Chapter("editing", "Editing", asks, sections, figures)


_MORE = (
    "A score above says only which of two answers is more probable. Here is how often the right one (the new answer; "
    "for neighbours the old one) is the model's first choice, every token given those before. The reverse asks for the "
    "subject: from the new answer, where the edit should be heard, and from the old one; where the model as it is "
    "does not answer the latter, the reverse says nothing."
)


def _asked(report: Report) -> str:
    return (
        f"{report['cases'].n:,} cases, each edited by itself and judged on the sentence that was edited, on its "
        "paraphrases, and on neighbours: sentences about others with the same true answer, which should stay. A "
        "sentence succeeds (ES, PS, NS) where the right answer is more probable than the other one, each by its mean "
        "log-probability per token; EM, PM and NM are the differences of the two (geometric means over tokens). S is "
        "the harmonic mean of ES, PS and NS. In brackets: 95 % intervals over cases; sd: over cases."
    )


def _conditions(report: Report, editors: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each condition's name in the scores, and its arm."""
    yield BEFORE, BEFORE
    for editor in editors:
        yield editor, "edited"
        for arm in report.settings["controls"]:
            yield f"{editor}, {arm}", arm


def _scores(report: Report, editors: Sequence[str]) -> Table:
    known = {s.name: s for s in report.scores}
    rows = []
    for name, _ in _conditions(report, editors):
        found = [known.get(f"{name}: {score}") for score in SCORES]
        if any(found):
            rows.append([name, *(_with_deviation(known, name, s) for s in SCORES), _n(found)])
    return Table("Scores (%)", ("condition", *(f"{s} #" for s in SCORES), "cases #"), rows)


def _with_deviation(known: Mapping[str, Score], name: str, score: str) -> str:
    found, sd = known.get(f"{name}: {score}"), known.get(f"{name}: {score}, sd over cases")
    if found is None:
        return "–"
    shown = number(found, 100, signs=score.endswith("M"))
    return shown + (f"\nsd {100 * sd.value:.1f}" if sd is not None else "")


def _n(found: Sequence[Score | None]) -> str:
    return f"{max(s.n for s in found if s is not None):,}"


def _bars(report: Report, editor: str) -> Bars:
    arms = {BEFORE: BEFORE, "edited": editor, **{a: f"{editor}, {a}" for a in report.settings["controls"]}}
    series = [
        Series(editor if arm == "edited" else arm, COLOURS.get(arm, VERMILLION), scores)
        for arm, name in arms.items()
        if (scores := chosen(report, {part: f"{name}: {part}" for part in (*PARTS, "S")}))
    ]
    caption = f"{report['cases'].n:,} cases. Success: the right answer is more probable than the other. {_RESAMPLED}"
    groups = [g for g in CALLED if any(g in s.scores for s in series)]
    return Bars(f"What {editor} does", caption, "sentences that succeed (%)", groups, series, 100, CALLED, upright=True)


def _above(report: Report, editors: Sequence[str]) -> Table:
    """How far each editor is from what it is compared with."""
    known = {s.name: s for s in report.scores}
    rows = []
    for editor in editors:
        for control in (BEFORE, *report.settings["controls"]):
            found = [known.get(f"{editor}: {part}, above {control}") for part in PARTS]
            if any(found):
                shown = ["–" if s is None else number(s, 100, signs=True) for s in found]
                rows.append([editor, control, *shown, _n(found)])
    columns = ("editor", "compared with", *(f"{p} #" for p in PARTS), "cases #")
    return Table("Differences, case by case (points)", columns, rows)


def _more(report: Report, editors: Sequence[str]) -> Table:
    known = {s.name: s for s in report.scores}
    columns, rows = ["sentences"], []
    shown = [(name, arm) for name, arm in _conditions(report, editors) if arm in (BEFORE, "edited")]
    for group, called in GROUPS.items():
        found = [known.get(f"{name}: {group}: exact") for name, _ in shown]
        if any(found):
            rows.append([called, *("–" if s is None else number(s, 100) for s in found), _n(found)])
    columns += [f"{name} #" for name, _ in shown]
    return Table("First choice of the model (% of sentences)", (*columns, "cases #"), rows)


def _edits(run: Run) -> Folded:
    names = names_of(run)
    plans = {(e["number"], e["editor"]): e for r in run.results() for e in r["edits"]}
    said: dict[tuple[int, str], Row] = {}
    for row in (row for r in run.results() for row in r["rows"]):
        if row["group"] == "rewrite" and row["arm"] == "edited":
            said[row["number"], row["editor"]] = row
    rows = [_edit(row, plans.get(key, {}), names) for key, row in list(said.items())[:LISTED]]
    columns = ("fact", "new answer", "editor", "where", "−ln P(new) #", "−ln P(old) #", "size of the change (%) #")
    title = "−ln P is the mean per token, after the edit; the size is relative to the norm of the layer's weight"
    return Folded(f"Every edit: {len(said):,}", (Table(title, columns, rows),))


def _edit(row: Row, plan: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    where = plan.get("neurons") or ", ".join(f"layer {n}" for n in plan.get("layers", ())) or "–"
    size = plan.get("norm")
    return [
        f"⟨{row['subject']}, {names[row['relation']]}, {row['answer']}⟩", row["new_answer"], row["editor"], where,
        f"{row['nll_new'][0]:.3f}", f"{row['nll_old'][0]:.3f}",
        signed(100 * size, 2).removeprefix("+") if isinstance(size, float) else "–",
    ]  # fmt: skip
