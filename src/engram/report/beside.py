"""What was found beside what was published: the same tables and figures, and why they cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadData
from ..results import Score
from ..store import Run
from .bars import Bars, Series, number
from .book import report_runs
from .canvas import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILLION
from .chapters.base import drawn
from .knowledge import closing
from .made import made
from .page import Items, Part, Picture, Section
from .remarks import kind_of, remarks
from .tables import Table, flat, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECIPE = "recipe.json"  # what a folder of runs was made by
_COLOURS = {"refined neurons": BLUE, "activation baseline": ORANGE, "random neurons": GREY, "no edit": GREY}
MORE = (BLUE, ORANGE, GREEN, PURPLE, INK)


@dataclass(frozen=True)
class Found:
    """The runs of a recipe that are done, by name, and what the recipe says of itself."""

    recipe: Mapping[str, Any]
    runs: Mapping[str, Run]

    @classmethod
    def at(cls, folder: str | Path) -> Found:
        """The runs in this folder. Raises BadData where there is no recipe, or no run of it that is done."""
        recipe, runs = made(folder, RECIPE, "reproduce")
        try:
            published(recipe["recipe"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadData(Path(folder) / RECIPE, None, f"cannot be read ({error})") from None
        return cls(recipe, runs)

    def score(self, row: Mapping[str, Any]) -> Score | None:
        """Ours, of a published number; None where it was not measured, or is of the other kind of model."""
        if row.get("kind") not in (None, kind_of(next(iter(self.runs.values())))):
            return None
        run = self.runs.get(row["run"])
        report = run.summary() if run is not None else None
        return None if report is None else {s.name: s for s in report.scores}.get(row["score"])


@cache
def published(name: str) -> dict[str, Any]:
    """The numbers of a paper, each with its place there. Raises ValueError where there are none.

    >>> published("dai2022")["tables"][0]["rows"][0]["place"], published("dai2022")["tables"][0]["rows"][0]["value"]
    ('table 2, neurons per fact', 4.13)
    """
    file = resources.files(__package__) / "published" / f"{name}.json"
    if not name.isalnum() or not file.is_file():
        raise ValueError(f"nothing published is known of {name!r}")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def report_recipe(folder: str | Path, out: str | Path | None = None) -> Path:
    """The report of all runs of a recipe that are done, its tables and figures beside the published ones.

    In the folder's `report`, or another; where the page is. Raises BadData.
    """
    found = Found.at(folder)
    paper = published(found.recipe["recipe"])
    figures: dict[str, Figure] = {}
    sections = [
        Section("Beside the published numbers", list(_beside(found, paper, figures))),
        *closing(found.recipe["recipe"], found.runs),
        Section("What was run", list(_made(found))),
    ]
    said = {"recipe": found.recipe, "beside": list(_plain(found, paper))}
    title = f"{paper.get('authors') or paper['paper'].split(',')[0] + ' et al.'} ({_year(paper)}), reproduced"
    runs = list(found.runs.values())
    return report_runs(runs, out or Path(folder) / "report", title=title, before=sections, figures=figures, said=said)


def _beside(found: Found, paper: Mapping[str, Any], figures: dict[str, Figure]) -> Iterator[Part]:
    yield f"The paper: {paper['paper']}."
    yield Items(list(remarks(found.recipe, found.runs, paper)))
    for i, table in enumerate(paper.get("tables", ()), 1):
        yield Section(table["place"], list(_table(found, table, figures, i)))


def _table(found: Found, table: Mapping[str, Any], figures: dict[str, Figure], i: int) -> Iterator[Part]:
    rows = [(row, found.score(row)) for row in table["rows"]]
    if not any(score for _, score in rows):
        yield "Not measured here."
    else:
        ours = kind_of(next(iter(found.runs.values())))
        seen = [(row, score) for row, score in rows if row.get("kind") in (None, ours)]
        yield _picture(seen, table, figures, f"beside-{i}")
    scale, digits, signs = table["scale"], table["digits"], table["signs"]
    shown = [
        [row["place"], row["what"], row["neurons"], _as(row["value"], table),
         number(score, scale, digits, signs=signs) if score else "–", f"{score.n:,}" if score else "–"]
        for row, score in rows
    ]  # fmt: skip
    part = " (%)" if scale == 100 else ""
    columns = (
        "place in the paper",
        "what",
        table.get("by", "neurons"),
        f"published{part} #",
        f"here{part} #",
        f"n: {table['counts']} #",
    )
    yield Table(f"{table['title']}. In brackets: 95 % intervals, facts, cases or sentences resampled", columns, shown)
    if "printed" in table:
        printed = table["printed"]
        words = (0, *printed.get("words", ()))
        names = tuple(c if i in words else f"{c} #" for i, c in enumerate(printed["columns"]))
        yield Table(printed.get("title", "The table as printed"), names, printed["rows"])


def _picture(
    rows: Sequence[tuple[Mapping[str, Any], Score | None]], table: Mapping[str, Any], figures: dict[str, Figure],
    name: str,
) -> Picture:  # fmt: skip
    here, there = [], []
    whose = dict.fromkeys(row["neurons"] for row, _ in rows)
    others = iter(MORE)
    for who in (*(w for w in _COLOURS if w in whose), *(w for w in whose if w not in _COLOURS)):
        colour = _COLOURS.get(who) or next(others, GREY)
        own = [(row, score) for row, score in rows if row["neurons"] == who]
        if any(score for _, score in own):  # what was not measured stands in the table alone
            here.append(Series(who, colour, {row["what"]: score for row, score in own if score}))
            paper = {row["what"]: Score(row["place"], row["value"], 0, table["unit"]) for row, _ in own}
            there.append(Series("published", VERMILLION, paper, "D", who))
    n = sorted({score.n for _, score in rows if score})
    counted = f"{n[0]:,}" if len(n) == 1 else f"{n[0]:,} to {n[-1]:,}"
    bars = Bars(
        f"{table['title']}: here and published",
        f"{table['place']}. Bars: measured here (n = {counted} {table['counts']}); lines: 95 % intervals, facts "
        "resampled. Diamonds: published.",
        table["unit"], list(dict.fromkeys(row["what"] for row, _ in rows)), [*here, *there], table["scale"],
        digits=table["digits"], signs=table["signs"],
    )  # fmt: skip
    return drawn(figures, name, bars)


def _made(found: Found) -> Iterator[Part]:
    steps = [
        [
            step["name"],
            step["finds"],
            f"{len(run.folder.sizes):,}",
            f"{sum(run.folder.sizes):,}",
            run.manifest["id"][:12],
        ]
        for step in found.recipe["steps"]
        if (run := found.runs.get(step["name"])) is not None
    ]
    yield Table("Runs, each in a folder of its name", ("run", "what", "shards #", "facts #", "id"), steps)
    missing = [s["name"] for s in found.recipe["steps"] if s["name"] not in found.runs]
    if missing:
        yield f"Not done yet: {', '.join(missing)}. Reproduce again, and it goes on."
    settings = {k: ", ".join(map(str, v)) if isinstance(v, list) else v for k, v in found.recipe["settings"].items()}
    yield Table("Settings", ("setting", "value"), list(flat(settings)))


def _plain(found: Found, paper: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for table in paper.get("tables", ()):
        for row in table["rows"]:
            ours = found.score(row)
            here = ours and {"value": ours.value, "n": ours.n, "interval": ours.interval}
            yield {**row, "here": here}


def _as(value: float, table: Mapping[str, Any]) -> str:
    text = signed(value * table["scale"], table["digits"])
    return text if table["signs"] else text.removeprefix("+")


def _year(paper: Mapping[str, Any]) -> str:
    return str(paper["paper"]).partition("(")[2].partition(")")[0]
