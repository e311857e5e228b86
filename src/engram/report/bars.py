"""Scores side by side: one value, seen as a figure for paper, as a chart to look into, and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..results import Score
from .canvas import INK, canvas, grid, legend, whisker
from .tables import Table, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LONGEST = 44  # letters of a group's name that are shown
_MARKERS = {"D": "diamond", "o": "circle", "s": "square"}


@dataclass(frozen=True, slots=True)
class Series:
    """Scores of one kind by group, bars of one colour; with a `mark` (D, o, s), points at the bars of series `at`."""

    name: str
    colour: str
    scores: Mapping[str, Score]
    mark: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Bars:
    """Of every group the scores of each series, with their intervals.

    `axis` says what is measured and in which unit, `scale` with what values are multiplied for it (100: percent),
    `names` what a group is called; `upright` bars stand (few groups with short names), others lie.
    """

    title: str
    caption: str
    axis: str
    groups: Sequence[str]
    series: Sequence[Series]
    scale: float = 1.0
    names: Mapping[str, str] | None = None
    upright: bool = False
    below: str = ""
    digits: int = 1
    signs: bool = False

    def called(self, group: str) -> str:
        """The name of a group."""
        return (self.names or {}).get(group, group)

    def figure(self) -> Figure:
        """For paper."""
        solid = [s for s in self.series if not s.mark]
        beside = max(1, len(solid))
        width = (0.8 if beside > 1 else 0.6) / beside
        if self.upright:
            figure = canvas(2.6, self.title, self.caption)
        else:
            each = (0.16 if len(self.groups) <= 10 else 0.09) * max(beside, 1.6) + 0.1
            left = 0.35 + 0.065 * max(len(_cut(self.called(g))) for g in self.groups)
            figure = canvas(max(0.9, each * len(self.groups)), self.title, self.caption, left=max(1.0, left))
        axes = figure.axes[0]
        for i, series in enumerate(self.series):
            own = next((k for k, s in enumerate(solid) if s.name == (series.at or series.name)), (beside - 1) / 2)
            shift = (own - (beside - 1) / 2) * width
            for at, group in enumerate(self.groups):
                if (score := series.scores.get(group)) is not None and np.isfinite(score.value):
                    self._draw(axes, at + shift, score, series, width * 0.9, i)
        self._frame(axes)
        if len(self.series) > 1:
            legend(axes, dict.fromkeys((s.name, s.mark, s.colour) for s in self.series))
        return figure

    def chart(self) -> dict[str, Any]:
        """To look into: a plotly figure in plain values, without colours of ground and ink, which the page gives."""
        data = [self._trace(series) for series in self.series]
        for i, trace in enumerate(data):  # of several series of one name, the legend has one
            trace["showlegend"] = trace["name"] not in [other["name"] for other in data[:i]]
            trace["legendgroup"] = trace["name"]
        long, value = ("xaxis", "yaxis") if self.upright else ("yaxis", "xaxis")
        names = [escape(self.called(g), quote=False) for g in self.groups]
        tall = 340 if self.upright else 110 + len(self.groups) * max(34, 16 * sum(not s.mark for s in self.series))
        around: dict[str, Any] = {"type": "category", "categoryorder": "array", "categoryarray": names}
        if self.upright:
            around["title"] = {"text": self.below}
        else:
            around |= {"autorange": "reversed", "automargin": True, "tickmode": "array", "tickvals": names,
                       "ticktext": [escape(_cut(self.called(g)), quote=False) for g in self.groups]}  # fmt: skip
        layout = {
            "barmode": "group", "bargap": 0.25, "scattermode": "group", "scattergap": 0.25, "height": tall,
            "title": {"text": self.title}, "showlegend": len(data) > 1,
            long: around, value: {"title": {"text": self.axis}, "zeroline": True},
        }  # fmt: skip
        return {"data": data, "layout": layout}

    def table(self, first: str, caption: str | None = None, *, n: str = "n") -> Table:
        """Of every group a row; `first` is what groups are, `n` what was counted (that of the first series)."""
        rows = []
        for group in self.groups:
            found = [s.scores.get(group) for s in self.series]
            count = next((f"{score.n:,}" for score in found if score is not None), "–")
            rows.append([self.called(group), *(self.written(score) for score in found), count])
        columns = (first, *(f"{s.name} #" for s in self.series), f"{n} #")
        return Table(caption or f"{self.title}: {self.axis}", columns, rows)

    def written(self, score: Score | None) -> str:
        """A score as the table has it: scaled, with its interval."""
        if score is None:
            return "–"
        return number(score, self.scale, self.digits, signs=self.signs)

    def _draw(self, axes: Axes, at: float, score: Score, series: Series, width: float, layer: int) -> None:
        value = score.value * self.scale
        interval = score.interval and (score.interval[0] * self.scale, score.interval[1] * self.scale)
        if series.mark:
            place = (at, value) if self.upright else (value, at)
            axes.plot(*place, series.mark, color=series.colour, markersize=5.5, markeredgecolor="white", zorder=6)
        elif self.upright:
            axes.bar(at, value, width=width, color=series.colour, zorder=2)
        else:
            axes.barh(at, value, height=width, color=series.colour, zorder=2)
        whisker(axes, at, interval, upright=self.upright)

    def _frame(self, axes: Axes) -> None:
        ends = [0.0]
        for score in (s.scores[g] for s in self.series for g in self.groups if g in s.scores):
            ends += [x * self.scale for x in (score.value, *(score.interval or ())) if np.isfinite(x)]
        room = 0.05 * (max(ends) - min(ends) or 1.0)
        limits = (min(ends) - room if min(ends) < 0 else 0.0, max(ends) + room if max(ends) > 0 else 0.0)
        names = [_cut(self.called(g)) for g in self.groups]
        if self.upright:
            step = 1 + (len(names) - 1) // 24
            axes.set_xticks(range(0, len(names), step), names[::step], fontsize=8)
            axes.set(xlim=(-0.6, len(names) - 0.4), ylim=limits, ylabel=self.axis, xlabel=self.below)
            axes.axhline(0, color=INK, linewidth=0.8)
        else:
            axes.set_yticks(range(len(names)), names, fontsize=8)
            axes.set(ylim=(len(names) - 0.4, -0.6), xlim=limits, xlabel=self.axis)
            axes.tick_params(axis="y", length=0)
            axes.axvline(0, color=INK, linewidth=0.8)
        grid(axes, "y" if self.upright else "x")

    def _trace(self, series: Series) -> dict[str, Any]:
        there = [g for g in self.groups if g in series.scores and np.isfinite(series.scores[g].value)]
        scores = [series.scores[g] for g in there]
        names, values = [escape(self.called(g), quote=False) for g in there], [s.value * self.scale for s in scores]
        upper = [(s.interval[1] - s.value) * self.scale if s.interval else 0.0 for s in scores]
        lower = [(s.value - s.interval[0]) * self.scale if s.interval else 0.0 for s in scores]
        long, value = ("x", "y") if self.upright else ("y", "x")
        trace: dict[str, Any] = {
            "type": "scatter" if series.mark else "bar", "name": series.name, long: names, value: values,
            "marker": {"color": series.colour}, "offsetgroup": series.at or series.name,
            "customdata": [[self.written(s), s.n] for s in scores],
            "hovertemplate": f"<b>%{{{long}}}</b><br>{series.name}: %{{customdata[0]}}"
            "<br>n = %{customdata[1]:,}<extra></extra>",
        }  # fmt: skip
        trace["orientation"] = "v" if self.upright else "h"
        if series.mark:
            trace |= {"mode": "markers", "marker": {"color": series.colour, "symbol": _MARKERS[series.mark], "size": 9}}
        if any(upper) or any(lower):
            trace[f"error_{value}"] = {
                "type": "data", "symmetric": False, "array": upper, "arrayminus": lower, "thickness": 1.2, "width": 3,
            }  # fmt: skip
        return trace


def number(score: Score, scale: float = 1.0, digits: int = 1, *, signs: bool = False) -> str:
    """A score times `scale`, with its interval where it has one.

    >>> number(Score("change rate", 0.25, 40, "fraction", interval=(0.2, 0.3)), 100)
    '25.0 [20.0, 30.0]'
    >>> number(Score("growth", 1.5, 40, "ratio"), 100, 0, signs=True)
    '+150'
    """

    def shown(x: float) -> str:
        return signed(x * scale, digits) if signs else signed(x * scale, digits).removeprefix("+")

    around = "" if score.interval is None else f" [{shown(score.interval[0])}, {shown(score.interval[1])}]"
    return shown(score.value) + around


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1].rstrip() + "…"
