"""Criteria: table 1 of Niu et al. (2024), with what the model said before the edit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import exp
from typing import TYPE_CHECKING, Any

from ...metrics.criteria import KNOWN, PASSED, STRINGS, Criterion, called
from ...metrics.judged import BEFORE
from ...results import Report, Score
from ...store import Run
from ..anchors import anchors
from ..bars import Bars, Series, number
from ..canvas import VERMILLION
from ..page import Folded, Items, Part, Section
from ..tables import Table
from .base import LISTED, Chapter, Row, chosen, drawn, names_of, rest
from .editing import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW = 10  # cases that must be answered before the edit for a criterion to say something of the edit
MEANS: Mapping[Criterion, str] = {
    "symmetry": "The fact the other way round: once Ireland's capital is Rome, Rome is the capital of Ireland.",
    "synonymy": "The fact in another word: whose field is physics is a physicist.",
}
_RESAMPLED = "Lines: 95 % intervals, cases resampled."


def chapter(run: Run, report: Report) -> Chapter:
    """From the summary, and from what every string was given."""
    figures: dict[str, Figure] = {}
    known = {s.name: s for s in report.scores}
    there = [c for c in STRINGS if any(s.startswith(f"{c}, {BEFORE}: ") for s in known)]
    sections = [Section("Can the model be asked this at all?", list(_before(known, there, run)))]
    sections += [Section(c.capitalize(), list(_criterion(run, report, known, c, figures))) for c in there]
    sections += [
        Section("Every case", [_cases(run)]),
        Section("Left out, and settings", tuple(rest(run, report))),
    ]
    asks = "Does an edit reach the fact the other way round, and in another word, more than what is said before it?"
    return Chapter("criteria", "Symmetry and synonymy", asks, sections, figures)


def told(known: Mapping[str, Score], criterion: Criterion) -> tuple[str, str]:
    """Can this criterion be judged on this model? In words, and as a verdict (yes, no)."""
    score = known.get(f"{criterion}: {KNOWN}")
    if score is None:
        return f"{criterion}: the question from the true answer could not be asked of this model", "no"
    count = round(score.value * score.n)
    said = f"{criterion}: before any edit the model answers {count} of {score.n:,} ({number(score, 100)} %) first"
    if count >= FEW:
        return f"{said}: of these the criterion can be judged", "yes"
    return f"{said}: fewer than {FEW}, so that what an edit does to the answer cannot be judged on this model", "no"


def _before(known: Mapping[str, Score], there: Sequence[Criterion], run: Run) -> Iterator[Part]:
    yield (
        "An edit can only be blamed for not reaching a sentence that the model is able to answer. Here the model, as "
        "it is, is asked for what is true: of symmetry, from the true answer for the subject; of synonymy, for the "
        "word of the same meaning. The published study has no such control."
    )
    verdicts = [told(known, c) for c in there]
    yield Items([words for words, _ in verdicts], [kind for _, kind in verdicts])
    rows = []
    for criterion in there:
        for name, group in _groups(known, criterion, run):
            if (score := known.get(f"{group}: {KNOWN}")) is not None:
                count = round(score.value * score.n)
                rows.append([criterion, name, f"{count:,}", number(score, 100), f"{score.n:,}"])
    columns = ("criterion", "relation", "answered first #", "of all (%) #", "cases #")
    yield Table("What the model answers before any edit", columns, rows)


def _groups(known: Mapping[str, Score], criterion: Criterion, run: Run) -> Iterator[tuple[str, str]]:
    """What is pooled in words, and how its scores begin: all relations, then each."""
    own = [(name, f"{criterion} of {r}") for r, name in names_of(run).items()]
    yield "all", criterion
    yield from ((name, group) for name, group in own if any(s.startswith(f"{group}, ") for s in known))


def _criterion(
    run: Run, report: Report, known: Mapping[str, Score], criterion: Criterion, figures: dict[str, Figure]
) -> Iterator[Part]:
    passes, instead = PASSED[criterion]
    yield (
        f"{MEANS[criterion]} By the paper a case passes where “{passes}” is more probable than “{instead}”; by its "
        "code, as far as the tokens of the former are the model's first choice. Reliability is the same of the "
        "sentence that was edited. “No edit” is what these measures give before anything was done. Cases answered "
        "before were chosen by that answer, so that random neurons are what an edit of them is to be compared with."
    )
    measures = report.settings["measures"]
    for i, editor in enumerate(by["called"] for by in report.settings["by"]):
        bars = _bars(run, report, known, criterion, editor, measures[0])
        yield drawn(figures, f"{criterion}-{i}", bars)
    yield _rates(report, known, criterion)
    yield _above(report, known, criterion)
    if "code" in measures:
        yield _strings(report, known, criterion)
    yield from _published(known, criterion, report)


def _conditions(report: Report) -> Iterator[tuple[str, str]]:
    """Editor and arm of every condition."""
    yield "", BEFORE
    for by in report.settings["by"]:
        for arm in ("edited", *report.settings["controls"]):
            yield by["called"], arm


def _bars(
    run: Run, report: Report, known: Mapping[str, Score], criterion: Criterion, editor: str, measure: str
) -> Bars:
    groups = dict(_groups(known, criterion, run))
    if len(groups) == 2:  # one relation: the same twice
        groups.pop("all")
    names = {f"{_short_of(name)} (n = {_count(known, group)})": group for name, group in groups.items()}
    series = []
    for who, arm in _conditions(report):
        if who in ("", editor):
            each = {name: f"{group}, {called(who, arm)}: passed, {measure}" for name, group in names.items()}
            if scores := chosen(report, each):
                series.append(Series(editor if arm == "edited" else arm, COLOURS.get(arm, VERMILLION), scores))
    what = {
        "paper": "in which what follows from the edit is more probable than what was true (half, were it chance)",
        "code": "counted by the tokens of what follows from the edit that come first",
    }[measure]
    caption = f"Cases {what}. {_RESAMPLED}"
    return Bars(f"{criterion.capitalize()} under {editor}", caption, "cases that pass (%)", list(names), series, 100)


def _short_of(name: str, most: int = 32) -> str:
    return name if len(name) <= most else name[: most - 1].rstrip(" ,") + "…"


def _count(known: Mapping[str, Score], group: str) -> str:
    return f"{max(s.n for name, s in known.items() if name.startswith(f'{group}, {BEFORE}: ')):,}"


def _rates(report: Report, known: Mapping[str, Score], criterion: Criterion) -> Table:
    measures = report.settings["measures"]
    rows = []
    for who in (called(*each) for each in _conditions(report)):
        scores = [known.get(f"{criterion}, {who}: {name}") for name in _columns(measures)]
        if any(scores):
            rows.append([who, *(_with_n(s) for s in scores)])
    columns = ("condition", *(f"{_short(name)} #" for name in _columns(measures)))
    return Table(f"{criterion.capitalize()}: all relations (%; below, the number of cases)", columns, rows)


def _columns(measures: Sequence[str]) -> list[str]:
    return [
        f"{kind}, {measure}{known}" for measure in measures for kind, known in
        (("reliability", ""), ("passed", ""), ("passed", f", {KNOWN}"))
    ]  # fmt: skip


def _short(name: str) -> str:
    kind, measure, *known = name.split(", ")
    return f"{kind}, by the {measure}{', of those answered before' if known else ''}"


def _with_n(score: Score | None, *, signs: bool = False) -> str:
    return "–" if score is None else f"{number(score, 100, signs=signs)}\nn = {score.n:,}"


def _above(report: Report, known: Mapping[str, Score], criterion: Criterion) -> Table:
    measures, rows = report.settings["measures"], []
    for by in report.settings["by"]:
        for control in (BEFORE, *report.settings["controls"]):
            found = []
            for name in _columns(measures):
                plain = name.removesuffix(f", {KNOWN}")
                more = f", {KNOWN}" if plain != name else ""
                found.append(known.get(f"{criterion}, {by['called']}: {plain}, above {control}{more}"))
            if any(found):
                rows.append([by["called"], control, *(_with_n(s, signs=True) for s in found)])
    columns = ("editor", "compared with", *(f"{_short(name)} #" for name in _columns(measures)))
    return Table("Differences, case by case (points)", columns, rows)


def _strings(report: Report, known: Mapping[str, Score], criterion: Criterion) -> Table:
    rows = []
    shown = [called(*each) for each in _conditions(report) if each[1] in (BEFORE, "edited")]
    for string, (after, before) in STRINGS[criterion].items():
        scores = [known.get(f"{criterion}, {who}: code: {string}") for who in shown]
        place = f"{after}" + (f"; before: {before}" if before is not None else "")
        rows.append([string, place, *(_with_n(s) for s in scores)])
    title = "Tokens of each string that come first (%), as the published code counts, and its place in that code's list"
    return Table(title, ("string", "place", *(f"{who} #" for who in shown)), rows)


def _published(known: Mapping[str, Score], criterion: Criterion, report: Report) -> Iterator[Part]:
    table = anchors("niu2024", "table_1")
    rows = [
        [f"published, {row['model']}", f"{row['relation']} (n = {row['n']:,})", f"{row['reliability']:.2f}",
         f"{row['passed']:.2f}", "–"]
        for row in table["rows"] if row["criterion"] == criterion
    ]  # fmt: skip
    for by in report.settings["by"]:
        each = [known.get(f"{criterion}, {by['called']}: {kind}") for kind in ("reliability, paper", "passed, paper")]
        before = known.get(f"{criterion}, {BEFORE}: passed, paper")
        if all(each):
            rows.append(
                [f"here, {by['called']}", "all", *("–" if s is None else number(s, 100) for s in (*each, before))]
            )
    columns = ("which", "relation", "reliability #", f"{criterion} #", "before the edit #")
    yield Table(f"Beside table 1 of Niu et al. (2024) (%): {table['says']}", columns, rows)


def _cases(run: Run) -> Folded:
    names = names_of(run)
    said: dict[tuple[Any, ...], dict[tuple[str, str], Row]] = {}
    for row in (row for r in run.results() for row in r["rows"]):
        if row["arm"] in (BEFORE, "edited") and row["string"] in PASSED[row["criterion"]]:
            case = row["relation"], row["number"], row["criterion"]
            said.setdefault(case, {})[row["editor"], row["string"]] = row
    rows = [line for own in list(said.values())[:LISTED] for line in _case(own, names)]
    columns = ("fact", "new answer", "editor", "asked", "P of … #", "and of … #", "before (%) #", "after (%) #")
    title = "P of what follows from the edit, and of what was true, as geometric means over tokens"
    return Folded(f"Every case: {len(said):,}", (Table(title, columns, rows),))


def _case(own: Mapping[tuple[str, str], Row], names: Mapping[str, str]) -> Iterator[list[str]]:
    """Of one case a line for each editor."""
    for editor in dict.fromkeys(editor for editor, _ in own if editor):
        found = [own.get((who, s)) for s in PASSED[next(iter(own.values()))["criterion"]] for who in ("", editor)]
        before, after, before_other, after_other = found
        if before is None or after is None or before_other is None or after_other is None:
            continue
        yield [
            f"⟨{after['subject']}, {names[after['relation']]}, {after['answer']}⟩", after["new_answer"], editor,
            after["prompt"], after["said"], after_other["said"],
            *(f"{100 * exp(-x['nll']):.2f} : {100 * exp(-y['nll']):.2f}"
              for x, y in ((before, before_other), (after, after_other))),
        ]  # fmt: skip
