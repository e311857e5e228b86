"""The sceptic's battery on one page: what can be believed of a model's neurons, traces and edits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..results import Report
from ..store import Run
from .audited import STATEMENTS
from .book import report_runs
from .made import made
from .page import Part, Section
from .statements import Statement, table, together
from .tables import Table, flat

AUDIT = "audit.json"  # what a folder of runs was made by

_READ = (
    "A statement is held where its number lies where it should with its whole 95 % interval, not held where the number "
    "itself does not lie there, and open otherwise. Bounds are conventions, the same for every model; a verdict is of "
    "this model and these facts, and many of them do not add up to a score. Intervals: facts, cases or pairs resampled "
    "as wholes. Tests are paired and two-sided; q is the false discovery rate over all tests of this table."
)


@dataclass(frozen=True)
class Audited:
    """The runs of an audit that are done, by name, with their summaries, and what the audit says of itself."""

    said: Mapping[str, Any]
    runs: Mapping[str, Run]

    @classmethod
    def at(cls, folder: str | Path) -> Audited:
        """The runs in this folder. Raises BadData where there is no audit, or no run of it that is done."""
        return cls(*made(folder, AUDIT, "audit"))

    def statements(self) -> list[Statement]:
        """All that can be said from the runs that are done, in order."""
        return together(self._found())

    def _found(self) -> Iterator[Statement]:
        for name, told in STATEMENTS.items():
            run = self.runs.get(name)
            report: Report | None = run.summary() if run is not None else None
            if run is not None and report is not None:
                yield from told(run, report)


def statements_of(folder: str | Path) -> list[Statement]:
    """What the audit in this folder says so far. Raises BadData."""
    return Audited.at(folder).statements()


def report_audit(folder: str | Path, out: str | Path | None = None) -> Path:
    """The page of an audit: its statements, and a chapter for each run; in the folder's `report`, or another.

    Where the page is. Raises BadData.
    """
    found = Audited.at(folder)
    told = found.statements()
    before = [Section("What holds, and what does not", [_READ, table(told)]),
              Section("What was run", list(_made(found)))]  # fmt: skip
    said = {"audit": found.said, "statements": [s.plain() for s in told]}
    runs = [run for name, run in found.runs.items() if name not in ("attribution", "activation")]
    return report_runs(
        runs or list(found.runs.values()), out or Path(folder) / "report", before=before, said=said,
        title=f"Audit of {found.said['settings']['model']}",
    )  # fmt: skip


def _made(found: Audited) -> Iterator[Part]:
    steps = [
        [step["name"], step["finds"], f"{len(run.folder.sizes):,}", f"{sum(run.folder.sizes):,}",
         run.manifest["data"]["name"], run.manifest["id"][:12]]
        for step in found.said["steps"]
        if (run := found.runs.get(step["name"])) is not None
    ]  # fmt: skip
    columns = ("run", "what", "shards #", "facts, cases or pairs #", "data", "id")
    yield Table("Runs, each in a folder of its name", columns, steps)
    missing = [s["name"] for s in found.said["steps"] if s["name"] not in found.runs]
    if missing:
        yield f"Not done yet: {', '.join(missing)}. Audit again, and it goes on."
    place = found.said["place"]
    yield (
        f"Edits that need a place were made in layer {place['layer']}, token {place['token']}: the largest mean effect "
        f"of restoring an FFN over {place['facts']} facts, in {100 * place['sure']:.0f} % of bootstrap samples. Where "
        "traces point need not be where edits succeed."
    )
    settings = {k: ", ".join(v) if isinstance(v, list) else v for k, v in found.said["settings"].items()}
    yield Table("Settings", ("setting", "value"), list(flat(settings)))
