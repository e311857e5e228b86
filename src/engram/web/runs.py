"""Which runs lie in a folder, how far are they, and what do they say? Read from their folders: no model, no torch.

A run is asked for by its name, and a name is only looked up among those that were found in the folder: no path is ever
made of a request.
"""

from __future__ import annotations

import csv
import io
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from ..errors import BadData, EngramError, UnknownName
from ..report.tables import flat
from ..results import Score
from ..store import Run, open_run
from ..store.folder import MANIFEST
from .told import MEDIA, Told, finite

LISTED = 500  # runs in a list, and what was left out of one
DEEP = 2  # folders below that of the runs: a recipe's runs lie in one of their own

Name = Annotated[str, Query(min_length=1, max_length=300)]


def router(runs: Path) -> APIRouter:
    """The routes below /api/runs. An EngramError goes out as it is: the app says its message.

    >>> [route.path for route in router(Path("runs")).routes][:2]
    ['/api/runs', '/api/runs/one']
    """
    routes = APIRouter(prefix="/api/runs")

    @routes.get("")
    def listed() -> dict[str, Any]:
        """All runs of the folder, newest first, and how far they are."""
        return listing(runs)

    @routes.get("/one")
    def one(run: Name) -> dict[str, Any]:
        """One run: how far it is, with which settings, and its scores once it is done."""
        return about(run, found(runs, run))

    @routes.get("/skipped")
    def skipped(run: Name) -> dict[str, Any]:
        """What could not be asked, with reasons."""
        return left_out(found(runs, run))

    @routes.get("/beside")
    def both(run: Name, other: Name) -> dict[str, Any]:
        """The scores of two runs side by side."""
        return beside(found(runs, run), found(runs, other))

    @routes.get("/scores.csv")
    def scores(run: Name, other: Annotated[str | None, Query(max_length=300)] = None) -> Response:
        """The scores of one run, or of two, as CSV."""
        names = [run, *([other] if other else [])]
        text = table({name: found(runs, name) for name in names})
        return _file(text.encode(), "text/csv; charset=utf-8", f"{'-'.join(names)}.csv")

    _chapters(routes, runs)
    return routes


def _chapters(routes: APIRouter, runs: Path) -> None:
    told = Told()

    @routes.get("/chapter")
    def chapter(run: Name) -> dict[str, Any]:
        """What a run that is done found, told with its figures."""
        return told.chapter(found(runs, run))

    @routes.get("/figure")
    def figure(run: Name, name: Name, kind: Name = "svg") -> Response:
        """A figure of the run as a file."""
        content = told.figure(found(runs, run), name, kind)
        return _file(content, MEDIA[kind], f"{run}-{name}.{kind}")


def names(runs: Path) -> dict[str, Path]:
    """Every run of this folder by its name: where it lies below it. Nothing that a link leads out of it to.

    >>> names(Path("no such folder"))
    {}
    """
    home = runs.resolve()
    if (home / MANIFEST).is_file():
        return {home.name: home}
    inner = [p.parent for deep in range(1, DEEP + 1) for p in home.glob(f"{'*/' * deep}{MANIFEST}")]
    return {p.relative_to(home).as_posix(): p for p in sorted(inner) if p.resolve().is_relative_to(home)}


def found(runs: Path, name: str) -> Run:
    """The run of this name. Raises UnknownName, and BadData where its manifest cannot be read."""
    known = names(runs)
    if name not in known:
        raise UnknownName("run", name, known, f"Runs are looked for in {runs}.")
    return open_run(known[name])


def listing(runs: Path) -> dict[str, Any]:
    """The runs of a folder in a row each, the latest first; those that cannot be read with the reason.

    >>> listing(Path("no such folder"))["runs"]
    []
    """
    known = names(runs)
    latest = sorted(known, key=lambda name: (-_touched(known[name]), name))
    rows, unreadable = [], []
    for name in latest[:LISTED]:
        try:
            rows.append(_row(name, open_run(known[name])))
        except EngramError as error:
            unreadable.append({"name": name, "why": str(error)})
    return {"folder": str(runs), "runs": rows, "unreadable": unreadable, "left_off": max(0, len(known) - LISTED)}


def about(name: str, run: Run) -> dict[str, Any]:
    """A run in plain values: its row, settings, what it was made with, scores, and what was given up."""
    said = run.manifest
    made = {key: said[key] for key in ("id", "model", "data", "engram", "versions")}
    report = run.summary() if run.complete else None
    return {
        **_row(name, run),
        "settings": list(flat(said["settings"])),
        "made": list(flat(made)),
        "scores": [_score(s) for s in report.scores] if report else [],
        "notes": list(report.notes) if report else [],
        "lost": [{"shard": n, "why": str(why.get("reason", "unknown"))} for n, why in run.quarantined.items()],
        "python": _python(run.path),
    }


def left_out(run: Run) -> dict[str, Any]:
    """What could not be asked: how many for each reason, and the first of them. Reads all shards that are done."""
    all_of_them = run.skipped()
    why = Counter(str(s["reason"]).partition(":")[0] for s in all_of_them)
    first = [{"what": _fact(s.get("fact")), "reason": str(s["reason"])} for s in all_of_them[:LISTED]]
    return {"n": len(all_of_them), "reasons": why.most_common(), "first": first}


def beside(one: Run, other: Run) -> dict[str, Any]:
    """Scores of the same name and unit in a row, those that only one run has at the end.

    `apart`: do the two intervals have nothing in common? None where one has no interval. Raises BadData for a run
    without a summary.
    """
    here, there = _by_name(one), _by_name(other)
    shared = [k for k in here if k in there]
    rows = [_pair(k, here[k], there[k]) for k in shared]
    rows += [_pair(k, s, None) for k, s in here.items() if k not in there]
    rows += [_pair(k, None, s) for k, s in there.items() if k not in here]
    return {
        "rows": rows, "shared": len(shared), "differences": list(one.folder.key.differences(other.folder.key)),
        "python": _python(one.path, other.path),
    }  # fmt: skip


def table(runs: Mapping[str, Run]) -> str:
    """The scores of runs as CSV, a row for each. Raises BadData for a run without a summary.

    >>> table({})[:21]
    'run,experiment,model,'
    """
    out = io.StringIO()
    write = csv.writer(out)
    write.writerow(("run", "experiment", "model", "data", "score", "value", "low", "high", "level", "unit", "n"))
    for name, run in runs.items():
        said = run.manifest
        whose = [name, said["experiment"], said["model"]["name"], said["data"]["name"]]
        for s in _by_name(run).values():
            low, high = s.interval or ("", "")
            write.writerow([*whose, s.name, s.value, low, high, s.level if s.interval else "", s.unit, s.n])
    return out.getvalue()


def _row(name: str, run: Run) -> dict[str, Any]:
    said, shards = run.manifest, len(run.folder.sizes)
    done, given_up = len(run.folder.done()), len(run.quarantined)
    return {
        "name": name, "experiment": said["experiment"], "model": str(said["model"].get("name", "")),
        "data": str(said["data"].get("name", "")), "facts": sum(run.folder.sizes), "shards": shards, "done": done,
        "given_up": given_up, "complete": done == shards, "idle": max(0, round(time.time() - _touched(run.path))),
    }  # fmt: skip


def _touched(path: Path) -> float:
    """When somebody last worked here: those who are at a shard touch its lease. Seconds since 1970, 0 if unknown."""
    last = 0.0
    for part in (MANIFEST, "shards", "leases"):
        place = path / part
        for p in (place, *(place.glob("part-*.json") if part == "leases" else ())):
            try:
                last = max(last, p.stat().st_mtime)
            except OSError:  # it was given back while we looked
                continue
    return last


def _by_name(run: Run) -> dict[tuple[str, str], Score]:
    report = run.summary()
    if report is None:
        raise BadData(run.path, None, "has no scores yet: it is not done, or nothing of it could be asked")
    return {(s.name, s.unit): s for s in report.scores}


def _pair(name: tuple[str, str], one: Score | None, other: Score | None) -> dict[str, Any]:
    apart = None
    if one and other and one.interval and other.interval:
        apart = one.interval[1] < other.interval[0] or other.interval[1] < one.interval[0]
    here, there = one and _score(one), other and _score(other)
    return {"name": name[0], "unit": name[1], "one": here, "other": there, "apart": apart}


def _score(s: Score) -> dict[str, Any]:
    plain: dict[str, Any] = finite({
        "name": s.name, "value": s.value, "n": s.n, "unit": s.unit, "better": s.better, "interval": s.interval,
        "level": s.level,
    })  # fmt: skip
    return plain


def _fact(fact: Any) -> str:
    return ", ".join(map(str, fact)) if isinstance(fact, list) else str(fact or "–")


def _python(*paths: Path) -> str:
    return "\n".join(_lines(*paths)) + "\n"


def _lines(*paths: Path) -> Iterator[str]:
    yield "import engram as eg"
    yield ""
    if len(paths) == 1:
        yield f"run = eg.open_run({str(paths[0])!r})"
        yield "report = run.summary()"
        yield 'print(run.complete, report, sep="\\n")'
        return
    yield f"one, other = eg.open_run({str(paths[0])!r}), eg.open_run({str(paths[1])!r})"
    yield "there = {s.name: s for s in other.summary().scores}"
    yield "rows = [(score, there.get(score.name)) for score in one.summary().scores]"
    yield 'print(*rows, sep="\\n")'


def _file(content: bytes, media: str, name: str) -> Response:
    safe = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII)[-100:]
    return Response(content, media_type=media, headers={"Content-Disposition": f'attachment; filename="{safe}"'})
