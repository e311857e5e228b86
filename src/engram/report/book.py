"""Reports of runs: their chapters on one page, and every figure by itself, from the runs' folders alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..store import Run
from .canvas import png, standalone, svg
from .chapters import Chapter, chapter
from .folder import write
from .page import Page, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "report"
PAGE = "report.html"


def report_run(run: Run, folder: str | Path | None = None, *, title: str | None = None) -> Path:
    """The report of one run, in its folder's `report` or in another; where the page is.

    A page that needs no network, and each figure as SVG and PNG. Written whole, or not at all. Raises BadData for a
    run that is not done, is damaged, or cannot be written to.

    >>> import tempfile
    >>> import engram as eg
    >>> few = eg.experiments.Attributions(eg.Activation(), limit=1)
    >>> run = eg.run(few, eg.data.read("shipped").only(["capital"]), out=tempfile.mkdtemp())
    >>> report_run(run).relative_to(run.path).as_posix()
    'report/report.html'
    """
    told = chapter(run)
    head = f"{told.title}: {title or run.manifest['data']['name']}"
    page = Page(head, " ".join(filter(None, [told.asks, under([run])])), told.sections)
    return put(Path(folder) if folder is not None else run.path / "report", page, told.figures, [run])


def report_runs(
    runs: Sequence[Run], folder: str | Path, *, title: str, before: Sequence[Section] = (),
    figures: Mapping[str, Figure] | None = None, said: Mapping[str, Any] | None = None,
) -> Path:  # fmt: skip
    """One page of several runs, behind other sections if there are any; figures are named after run and picture.

    Raises BadData, as `report_run`.

    >>> import tempfile
    >>> import engram as eg
    >>> facts, few = eg.data.read("shipped"), eg.experiments.Attributions(eg.Activation(), limit=1)
    >>> runs = [eg.run(few, facts.only([name]), out=tempfile.mkdtemp()) for name in ("capital", "author")]
    >>> page = report_runs(runs, tempfile.mkdtemp(), title="Two relations")
    >>> "Two relations" in page.read_text(encoding="utf-8")
    True
    """
    told = [chapter(run) for run in runs]
    sections = [*before, *(_section(c) for c in told)]
    named = _named(runs)
    drawn = {f"{name}-{k}": f for name, c in zip(named, told, strict=True) for k, f in c.figures.items()}
    return put(Path(folder), Page(title, under(runs), sections), {**(figures or {}), **drawn}, runs, said)


def put(
    folder: Path, page: Page, figures: Mapping[str, Figure], runs: Sequence[Run], said: Mapping[str, Any] | None = None
) -> Path:
    """Page, figures, and what the runs say as plain values. Raises BadData."""
    files: dict[str, str | bytes] = {PAGE: page.html()}
    for name, figure in figures.items():
        files[f"{name}.svg"] = standalone(svg(figure))
        files[f"{name}.png"] = png(figure)
    plain = [
        {"run": run.manifest["id"], "experiment": run.manifest["experiment"], "path": str(run.path),
         "summary": (found := run.summary()) and found.to_dict()}
        for run in runs
    ]  # fmt: skip
    write(folder, files, {"kind": KIND, **(said or {}), "runs": plain})
    return folder / PAGE


def under(runs: Sequence[Run]) -> str:
    """Which models and which data, in one line."""
    models = dict.fromkeys(run.manifest["model"]["name"] for run in runs)
    data = dict.fromkeys(run.manifest["data"]["name"] for run in runs)
    return f"Model: {', '.join(models)}. Facts: {', '.join(data)}. Made by engram {runs[0].manifest['engram']}."


def _section(told: Chapter) -> Section:
    return Section(told.title, [*filter(None, [told.asks]), *told.sections])


def _named(runs: Sequence[Run]) -> list[str]:
    """The names of their folders, with a number where two are the same."""
    names = [run.path.resolve().name for run in runs]
    return [f"{name}-{names[:i].count(name) + 1}" if names.count(name) > 1 else name for i, name in enumerate(names)]
