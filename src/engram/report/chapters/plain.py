"""The chapter of an experiment that has none of its own: its scores."""

from __future__ import annotations

from ...results import Report
from ...store import Run
from ..bars import number
from ..page import Part, Section
from ..tables import Table
from .base import Chapter, rest


def plain(run: Run, report: Report) -> Chapter:
    """Every score of the summary, as it is; where there is none, why."""
    rows = [[s.name, number(s, digits=4), s.unit, f"{s.n:,}"] for s in report.scores]
    said: Part = Table("Summary", ("score", "value #", "unit", "n #"), rows) if rows else "; ".join(report.notes)
    sections = (Section("What was found", (said,)), Section("Left out, and settings", tuple(rest(run, report))))
    name = run.manifest["experiment"]
    return Chapter(name, name.replace("_", " ").capitalize(), "", sections, {})
