"""`engram report`: a page and figures from the folders of runs, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from ..errors import BadSetting
from . import _show

if TYPE_CHECKING:
    from ..store import Run


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    runs: Annotated[
        list[Path], Argument(help="Folders of runs, or one that `engram reproduce` or `engram audit` made.")
    ],
    out: Annotated[
        Path | None, Option("--out", "-o", help="Folder of the report. [that of the one run, and in it `report`]")
    ] = None,
    force: Annotated[bool, Option("--force", help="Write among the files of a folder that is no report's.")] = False,
) -> None:
    """A page with tables, charts and figures of what runs found.

    Reads nothing but their folders. The page is one file and needs no network; every figure lies beside it as SVG and
    PNG. Several runs come on one page.

    \b
    engram report runs/first
    engram report runs/neurons runs/suppression --out both
    engram report runs/dai
    """
    from ..report import free, report_run, report_runs
    from ..report.audit import AUDIT, report_audit
    from ..report.beside import RECIPE, report_recipe
    from ..report.book import KIND

    if len(runs) > 1 and out is None:
        raise BadSetting(f"the report of {len(runs)} runs goes to a folder of its own: name one with --out")
    if out is not None:
        free(out, KIND, force=force)
    if len(runs) == 1 and (runs[0] / RECIPE).is_file():
        page = report_recipe(runs[0], out)
    elif len(runs) == 1 and (runs[0] / AUDIT).is_file():
        page = report_audit(runs[0], out)
    elif len(found := opened(runs)) == 1:
        page = report_run(found[0], out)
    else:
        page = report_runs(found, out or runs[0] / "report", title=f"{len(found)} runs")
    _show.line(f"written: {page}")


def opened(folders: list[Path]) -> list[Run]:
    """The runs that lie there, those of a folder of runs in order of their names. Raises BadSetting, BadData."""
    from ..store import open_run
    from ..store.folder import MANIFEST

    paths: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise BadSetting(f"{folder} is no folder: name that of a run, or of several")
        inner = sorted(p.parent for p in folder.glob(f"*/{MANIFEST}"))
        if not (folder / MANIFEST).exists() and not inner:
            raise BadSetting(f"{folder} is no run, and holds none: a run has a {MANIFEST}")
        paths += [folder] if (folder / MANIFEST).exists() else inner
    return [open_run(path) for path in dict.fromkeys(paths)]
