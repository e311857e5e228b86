"""What every chapter is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from ...metrics import Resampling, percentile
from ...metrics.changes import average
from ...results import Floats, Report, Score
from ...store import Run
from ..bars import Bars
from ..canvas import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, svg
from ..page import Folded, Items, Part, Picture, Section
from ..tables import Table, flat

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"attribution": BLUE, "activation": ORANGE, "chance": GREY}
CALLED = {"attribution": "refined neurons", "activation": "by activation (baseline)", "chance": "random, same layers"}
MORE = (GREEN, PURPLE, VERMILLION)
LISTED = 500  # rows of a folded table; a page with many more would not open

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Chapter:
    """One run, told: a title, a sentence on what was asked, sections, and its figures by the names of their files."""

    experiment: str
    title: str
    asks: str
    sections: Sequence[Section]
    figures: Mapping[str, Figure]


def drawn(figures: dict[str, Figure], name: str, bars: Bars) -> Picture:
    """Bars as a picture of a page; `figures` learns the figure."""
    figures[name] = figure = bars.figure()
    return Picture(svg(figure), bars.chart(), bars.caption)


def still(figures: dict[str, Figure], name: str, figure: Figure) -> Picture:
    """A figure without a chart."""
    figures[name] = figure
    return Picture(svg(figure))


def names_of(run: Run) -> dict[str, str]:
    """What each relation is called: its name, with its id where two have the same."""
    relations = run.manifest["about"]["relations"]
    often = Counter(r["name"] for r in relations)
    return {
        r["id"]: r["name"] if r["name"] and often[r["name"]] == 1 else f"{r['name']} ({r['id']})" for r in relations
    }


def grouped(rows: Sequence[Row], key: str) -> dict[Any, list[Row]]:
    """The rows of each value of a column, in order of first appearance."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def measured(
    name: str, unit: str, facts: Sequence[Hashable], *values: ArrayLike, of: Callable[..., Floats] = average,
    n: int | None = None,
) -> Score:  # fmt: skip
    """A statistic of the values, with a 95 % interval over facts; n counts the facts, unless given."""
    interval = percentile(Resampling.of(facts).draws(of, values))
    return Score(name, float(of(*values)), len(set(facts)) if n is None else n, unit, interval=interval)


def chosen(report: Report, names: Mapping[str, str]) -> dict[str, Score]:
    """By its key, the score of each name that the report has."""
    known = {s.name: s for s in report.scores}
    return {key: known[name] for key, name in names.items() if name in known}


def rest(run: Run, report: Report) -> Iterator[Part]:
    """What was left out, with which settings, and of what the run was made."""
    if report.notes:
        yield Folded(f"Notes: {len(report.notes)}", (Items(report.notes),))
    skipped = [(_fact(s.get("fact")), s["reason"]) for s in run.skipped()]
    if skipped:
        why = Counter(reason.partition(":")[0] for _, reason in skipped)
        line = f"Left out: {len(skipped):,} ({', '.join(f'{n:,} {reason}' for reason, n in why.most_common())})"
        yield Folded(line, (Table("Not asked", ("what", "reason"), skipped[:LISTED]),))
    yield Folded("Settings", (Table("Settings of the experiment", ("setting", "value"), list(flat(report.settings))),))
    yield Folded("Made with", (Table(str(run.path), ("what", "which"), made_with(run)),))


def made_with(run: Run) -> list[tuple[str, str]]:
    """Model, data and versions."""
    said = run.manifest
    parts = {key: said[key] for key in ("id", "experiment", "model", "data", "engram", "versions")}
    about = {key: value for key, value in said["about"].items() if key not in ("relations", "shards")}
    return [(k, v if len(v) <= 100 else v[:99] + "…") for k, v in flat({**parts, **about})]


def _fact(fact: Any) -> str:
    return ", ".join(map(str, fact)) if isinstance(fact, list) else str(fact or "–")
