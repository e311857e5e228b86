"""Editing: table 4 of Meng et al. (2022), table 3 of Wen & Bai, beside what edits are to be compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
CALLED = {"ES": "edited sentence (ES)", "PS": "paraphrases (PS)", "NS": "neighbours (NS)", "S": "harmonic mean (S)"}
KEPT = {
    "rewrite": "edited sentence", "paraphrase": "paraphrases", "neighbour": "neighbours",
}  # fmt: skip
COLOURS = {
    BEFORE: GREY, "edited": BLUE, "random neurons": ORANGE, "random layer": PURPLE, "toward the truth": GREEN
}  # fmt: skip
OF_SCORES = {"ES": BLUE, "PS": GREEN, "NS": ORANGE, "S": PURPLE}
GROUPS = {
    "rewrite": "edited sentence", "paraphrase": "paraphrases", "neighbour": "neighbours",
    "attribute": "others with the new answer", "reverse": "reverse, from the new answer",
    "reverse of the old": "reverse, from the old answer", "synonym": "synonym", "onward": "one step further",
}  # fmt: skip
TABLES = {
    "exact": "First choice of the model (% of sentences)",
    "spoken": "Said freely, without being given any token of the answer (% of sentences)",
}
_RESAMPLED = "Lines: 95 % intervals, cases resampled."
_SUCCESS = "Success: the right answer is more probable than the other."


@dataclass(frozen=True, slots=True)
class Editor:
    """One of a run's editors: its `name` in the scores, a short one for pictures, and whether it erases."""

    name: str
    short: str
    erases: bool

    @classmethod
    def all(cls, report: Report) -> list[Editor]:
        """Short is the first word, where no other editor has it: the rest are settings, which stand below."""
        by = report.settings["by"]
        first = Counter(b["called"].partition(" ")[0] for b in by)
        names = [b["called"] for b in by]
        short = [w if first[w := n.partition(" ")[0]] == 1 and "=" in n else n for n in names]
        return [cls(n, s, b.get("kind") == "erasure") for n, s, b in zip(names, short, by, strict=True)]


def chapter(run: Run, report: Report) -> Chapter:
    """From the summary, and from how every edit was planned."""
    figures: dict[str, Figure] = {}
    named = Editor.all(report)
    known = {score.name.partition(":")[0] for score in report.scores}
    every, refused = [e for e in named if e.name in known], [e.name for e in named if e.name not in known]
    rewriting, erasing = [e for e in every if not e.erases], [e for e in every if e.erases]
    parts: list[Part] = [_asked(report)]
    if refused:
        parts.append(f"Refused every case, for the reasons given below: {', '.join(refused)}.")
    if rewriting:
        parts += [drawn(figures, "editors", _beside(report, rewriting)), _scores(report, rewriting, controls=False)]
        parts += [drawn(figures, f"scores-{i}", _bars(report, e)) for i, e in enumerate(rewriting)]
        parts.append(Folded("Controls in numbers", (_scores(report, rewriting), _above(report, rewriting))))
    sections = [Section("Do edits do what they should, and nothing else?", parts)] if rewriting or refused else []
    if erasing:
        sections.append(Section("What is left of an erased answer?", list(_erased(report, erasing, figures))))
    sections += [
        Section("Said in whole, and other ways round", [_MORE, *_more(report, every)]),
        Section("Every edit", [_edits(run, every)]),
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
_ERASED = (
    "An erased fact gets no new answer, so ES, PS and S do not ask for what was wanted. Here is how often the old "
    "answer still is the model's first choice: in the sentence whose neurons were erased and in its paraphrases, where "
    "it should not be, and in sentences about neighbours, where it should."
)


def _asked(report: Report) -> str:
    return (
        f"{report['cases'].n:,} cases, each edited by itself and judged on the sentence that was edited, on its "
        "paraphrases, and on neighbours: sentences about others with the same true answer, which should stay. A "
        "sentence succeeds (ES, PS, NS) where the right answer is more probable than the other one, each by its mean "
        "log-probability per token; EM, PM and NM are the differences of the two (geometric means over tokens). S is "
        "the harmonic mean of ES, PS and NS. In brackets: 95 % intervals over cases; sd: over cases."
    )


def _conditions(report: Report, editors: Sequence[Editor], *, controls: bool = True) -> Iterator[tuple[str, str]]:
    """Each condition's name in the scores, and in tables."""
    yield BEFORE, BEFORE
    for e in editors:
        yield e.name, e.name
        for arm in report.settings["controls"] if controls else ():
            yield f"{e.name}, {arm}", f"{e.short}, {arm}"


def _scores(report: Report, editors: Sequence[Editor], *, controls: bool = True) -> Table:
    known = {s.name: s for s in report.scores}
    rows = []
    for name, called in _conditions(report, editors, controls=controls):
        found = [known.get(f"{name}: {score}") for score in SCORES]
        if any(found):
            rows.append([called, *(_with_deviation(known, name, s) for s in SCORES), _n(found)])
    title = "Scores beside their controls (%)" if controls else "Scores (%)"
    return Table(title, ("condition", *(f"{s} #" for s in SCORES), "cases #"), rows)


def _with_deviation(known: Mapping[str, Score], name: str, score: str) -> str:
    found, sd = known.get(f"{name}: {score}"), known.get(f"{name}: {score}, sd over cases")
    if found is None:
        return "–"
    shown = number(found, 100, signs=score.endswith("M"))
    return shown + (f"\nsd {100 * sd.value:.1f}" if sd is not None else "")


def _n(found: Sequence[Score | None]) -> str:
    return f"{max(s.n for s in found if s is not None):,}"


def _beside(report: Report, editors: Sequence[Editor]) -> Bars:
    """The editors, without their controls."""
    names = {BEFORE: BEFORE, **{e.name: e.short for e in editors}}
    series = [
        Series(score, colour, chosen(report, {name: f"{name}: {score}" for name in names}))
        for score, colour in OF_SCORES.items()
    ]
    caption = (
        f"{report['cases'].n:,} cases. {_SUCCESS} ES: edited sentence, PS: paraphrases, NS: neighbours, S: the "
        f"harmonic mean of the three. {_RESAMPLED}"
    )
    return Bars("What editors do", caption, "sentences that succeed (%)", list(names), series, 100, names)


def _arms(report: Report, editor: Editor) -> dict[str, str]:
    """What is drawn beside each other, each with its name in the scores."""
    return {BEFORE: BEFORE, "edited": editor.name, **{a: f"{editor.name}, {a}" for a in report.settings["controls"]}}


def _bars(report: Report, editor: Editor) -> Bars:
    series = [
        Series(arm, COLOURS.get(arm, VERMILLION), scores)
        for arm, name in _arms(report, editor).items()
        if (scores := chosen(report, {part: f"{name}: {part}" for part in (*PARTS, "S")}))
    ]
    caption = f"{report['cases'].n:,} cases. {_SUCCESS} {_RESAMPLED}"
    groups = [g for g in CALLED if any(g in s.scores for s in series)]
    title = f"What {editor.short} does, beside changes that should do nothing"
    return Bars(title, caption, "sentences that succeed (%)", groups, series, 100, CALLED, upright=True)


def _erased(report: Report, editors: Sequence[Editor], figures: dict[str, Figure]) -> Iterator[Part]:
    """How often the old answer is still said, and how likely it is."""
    yield _ERASED
    caption = f"{report['cases'].n:,} cases. {_RESAMPLED}"
    for i, e in enumerate(editors):
        series = [
            Series(arm, COLOURS.get(arm, VERMILLION), scores)
            for arm, name in _arms(report, e).items()
            if (scores := chosen(report, {g: f"{name}: {g}: says the old answer" for g in KEPT}))
        ]
        title = f"The old answer after {e.short}"
        axis = "old answer is the first choice (%)"
        bars = Bars(title, caption, axis, list(KEPT), series, 100, KEPT, upright=True)
        yield drawn(figures, f"erased-{i}", bars)
    known = {s.name: s for s in report.scores}
    rows = []
    for name, called in _conditions(report, editors):
        said = [known.get(f"{name}: {g}: {what}") for what in ("says the old answer", "P(old answer)") for g in KEPT]
        if any(said):
            rows.append([called, *("–" if s is None else number(s, 100) for s in said), _n(said)])
    heads = [f"{what}, {g} #" for what in ("said", "P") for g in KEPT.values()]
    yield Table(
        "The old answer: first choice of the model, and its P per token (%)", ("condition", *heads, "cases #"), rows
    )


def _above(report: Report, editors: Sequence[Editor]) -> Table:
    """How far each editor is from what it is compared with."""
    known = {s.name: s for s in report.scores}
    rows = []
    for e in editors:
        for control in (BEFORE, *report.settings["controls"]):
            found = [known.get(f"{e.name}: {part}, above {control}") for part in PARTS]
            if any(found):
                shown = ["–" if s is None else number(s, 100, signs=True) for s in found]
                rows.append([e.short, control, *shown, _n(found)])
    columns = ("editor", "compared with", *(f"{p} #" for p in PARTS), "cases #")
    return Table("Differences, case by case (points)", columns, rows)


def _more(report: Report, editors: Sequence[Editor]) -> Iterator[Table]:
    """Whole answers by group of sentences: first by scoring, then as said freely, and the entropy of texts."""
    known = {s.name: s for s in report.scores}
    shown = {BEFORE: BEFORE, **{e.name: e.short for e in editors}}
    for what, title in TABLES.items():
        rows = []
        for group, called in GROUPS.items():
            found = [known.get(f"{name}: {group}: {what}") for name in shown]
            if any(found):
                rows.append([called, *("–" if s is None else number(s, 100) for s in found), _n(found)])
        if rows:
            yield Table(title, ("sentences", *(f"{called} #" for called in shown.values()), "cases #"), rows)
    entropy = [known.get(f"{name}: GE") for name in shown]
    if any(entropy):
        cells = ["–" if s is None else number(s, 1, 2) for s in entropy]
        columns = ("", *(f"{called} #" for called in shown.values()), "cases #")
        yield Table("What the model writes about the subject", columns, [["entropy (GE, bits)", *cells, _n(entropy)]])


def _edits(run: Run, editors: Sequence[Editor]) -> Folded:
    names, short = names_of(run), {e.name: e.short for e in editors}
    plans = {(e["number"], e["editor"]): e for r in run.results() for e in r["edits"]}
    said: dict[tuple[int, str], Row] = {}
    for row in (row for r in run.results() for row in r["rows"]):
        if row["group"] == "rewrite" and row["arm"] == "edited":
            said[row["number"], row["editor"]] = row
    rows = [_edit(row, short, plans.get(key, {}), names) for key, row in list(said.items())[:LISTED]]
    columns = ("fact", "new answer", "editor", "where", "−ln P(new) #", "−ln P(old) #", "size of the change (%) #")
    title = "−ln P is the mean per token, after the edit; the size is relative to the norm of the layer's weight"
    return Folded(f"Every edit: {len(said):,}", (Table(title, columns, rows),))


def _edit(row: Row, short: Mapping[str, str], plan: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    where = plan.get("neurons") or ", ".join(f"layer {n}" for n in plan.get("layers", ())) or "–"
    sizes = [*plan.get("sizes", {}).values()] or [plan.get("size")]
    size = max(x for x in sizes) if all(isinstance(x, float) for x in sizes) else None
    return [
        f"⟨{row['subject']}, {names[row['relation']]}, {row['answer']}⟩", row["new_answer"],
        short.get(row["editor"], row["editor"]), where, f"{row['nll_new'][0]:.3f}", f"{row['nll_old'][0]:.3f}",
        "–" if size is None else signed(100 * size, 2).removeprefix("+"),
    ]  # fmt: skip
