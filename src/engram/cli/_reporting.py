"""The report of a run that is done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..store import Run


def write(run: Run, title: str) -> Path:
    """Into the run's own folder: a page, and its figures; where the page is. Raises BadData."""
    from ..report import report_run

    return report_run(run, title=title)
