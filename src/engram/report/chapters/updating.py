"""Updating: table 6 of Dai et al. (2022), with paraphrases beside the prompt on which a fact was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...results import Report
from ...store import Run
from ..bars import Bars, Series
from ..page import Folded, Part, Section
from ..tables import Table
from .base import CALLED, COLOURS, LISTED, Chapter, chosen, drawn, names_of, rest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATES = {
    "change rate": "changed", "success rate": "says the new answer", "success@5": "new answer among five",
    "change rate, paraphrases": "changed, paraphrases", "success rate, paraphrases": "new answer, paraphrases",
    "success@5, paraphrases": "among five, paraphrases",
}  # fmt: skip
COSTS = {"ΔPPL intra": "other facts of the relation", "ΔPPL inter": "facts of other relations"}
SHIFTS = {
    "Δ log P(old)": "old answer", "Δ log P(new)": "new answer", "Δ log P(old), paraphrases": "old answer, paraphrases",
    "Δ log P(new), paraphrases": "new answer, paraphrases",
}  # fmt: skip
_RESAMPLED = "Lines: 95 % intervals, edits resampled."


def chapter(run: Run, report: Report) -> Chapter:
    """From the summary, and what the model said after every edit."""
    figures: dict[str, Figure] = {}
    six, costs, shifts = rates(report), perplexities(report), _shifts(report)
    how = report.settings
    rule = f"v − {how['remove']:g}·e(old) + {how['add']:g}·e(new)" + (", each scaled to |v|" if how["scaled"] else "")
    parts: list[Part] = [
        f"A fact that the model knows is to have another answer of its relation: the value slot v of each of its "
        f"neurons becomes {rule}. Every edit is undone before the next. The paper asks only the very prompt on which a "
        "fact was chosen; here its paraphrases are asked as well.",
        drawn(figures, "table-6", six),
        six.table("of the prompts (%)", n="prompts"),
        drawn(figures, "perplexity", costs),
        costs.table("change of perplexity", n="edits"),
        drawn(figures, "shifts", shifts),
        _edits(run),
    ]
    asks = "Can a fact be given another answer through its neurons, and what does it cost?"
    sections = (Section("Facts with a new answer", parts),
                Section("Left out, and settings", tuple(rest(run, report))))  # fmt: skip
    return Chapter("updating", "Updating facts", asks, sections, figures)


def rates(report: Report) -> Bars:
    """Change and success, for each arm."""
    return Bars(
        "Does the answer change, and into the wanted one?",
        f"Table 6 of Dai et al. (2022), and paraphrases that had no part in choosing the fact. {_edited(report)}. "
        f"Changed: of the prompts that were answered rightly, those that no longer are. {_RESAMPLED}",
        "prompts (%)", list(RATES), _series(report, RATES), 100, RATES,
    )  # fmt: skip


def perplexities(report: Report) -> Bars:
    """What edits cost other facts, for each arm."""
    return Bars(
        "What an edit costs others",
        "Table 6 of Dai et al. (2022): perplexity of right answers, exp(mean −ln P), after the edit minus before. "
        f"{_edited(report)}. {_RESAMPLED}",
        "change of perplexity", list(COSTS), _series(report, COSTS), 1, COSTS, digits=2, signs=True,
    )  # fmt: skip


def _shifts(report: Report) -> Bars:
    return Bars(
        "How far the answers move", f"Mean change of ln P. {_edited(report)}. {_RESAMPLED}", "change of ln P (nats)",
        list(SHIFTS), _series(report, SHIFTS), 1, SHIFTS, digits=2, signs=True,
    )  # fmt: skip


def _edited(report: Report) -> str:
    return "Edits: " + ", ".join(f"{report[f'{a}: edits'].n:,} ({called})" for a, called in CALLED.items())


def _series(report: Report, names: Mapping[str, str]) -> list[Series]:
    found = {arm: chosen(report, {k: f"{arm}: {k}" for k in names}) for arm in COLOURS}
    return [Series(CALLED[arm], COLOURS[arm], scores) for arm, scores in found.items() if scores]


def _edits(run: Run) -> Folded:
    names = names_of(run)
    of: dict[tuple[str, int], dict[str, Any]] = {}
    for row in (row for r in run.results() for row in r["rows"] if row["place"] == "asked"):
        of.setdefault((row["relation"], row["number"]), {})[row["arm"]] = row
    rows = [_edit(arms, names) for arms in list(of.values())[:LISTED]]
    columns = ("fact", "new answer", "neurons", *(f"first word, {CALLED[arm]}" for arm in COLOURS))
    return Folded(f"Every edit: {len(of):,}", (Table("The model's first word after the edit", columns, rows),))


def _edit(arms: Mapping[str, Any], names: Mapping[str, str]) -> Sequence[str]:
    row = next(iter(arms.values()))
    own = " ".join(arms["attribution"]["neurons"]) if "attribution" in arms else "–"
    says = [arms[arm]["top_after"][0] if arm in arms else "–" for arm in COLOURS]
    return [f"⟨{row['subject']}, {names[row['relation']]}, {row['answer']}⟩", row["new_answer"], own, *says]
