"""Every two of several things compared: a triangle of numbers from −1 to 1, for paper and to look into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..results import Score
from .bars import number
from .canvas import INK, WIDTH, canvas
from .tables import signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHADES = "RdBu"  # red below 0, blue above: told apart by all common kinds of colour vision
_SCALE = ((0.0, "#b2182b"), (0.25, "#f4a582"), (0.5, "#f7f7f7"), (0.75, "#92c5de"), (1.0, "#2166ac"))
_DARK, _LIGHT = "#101418", "#ffffff"  # words on a cell, which has the same ground on every page
_ROW = 0.36  # inches


@dataclass(frozen=True, slots=True)
class Matrix:
    """Correlations by pair (below the diagonal), with the score's n and interval when one looks closer.

    >>> matrix = Matrix("t", "c", ("a", "b"), {("a", "b"): Score("a ~ b", 0.5, 3, "rank correlation")})
    >>> matrix.chart()["data"][0]["z"]
    [[0.5]]
    """

    title: str
    caption: str
    names: Sequence[str]
    scores: Mapping[tuple[str, str], Score]

    def at(self, a: str, b: str) -> Score | None:
        """Of two names in either order."""
        return self.scores.get((a, b)) or self.scores.get((b, a))

    def figure(self) -> Figure:
        """For paper."""
        n = len(self.names)
        left = 0.35 + 0.065 * max(map(len, self.names[1:]))
        width = min(WIDTH - left - 0.3, 0.62 * (n - 1))
        below = max(0.0, 0.066 * max(map(len, self.names[:-1])) - 0.3)  # of names that stand, beside a canvas's own
        figure = canvas(_ROW * (n - 1) + below, self.title, self.caption, left=left, right=WIDTH - left - width)
        axes = figure.axes[0]
        box, tall = axes.get_position(), figure.get_figheight()
        axes.set_position((box.x0, box.y0 + below / tall, box.width, _ROW * (n - 1) / tall))
        mesh = axes.pcolormesh(
            np.array(self._values(), float), cmap=_SHADES, vmin=-1, vmax=1, edgecolors="white", linewidth=1.2
        )
        mesh.set_gid("correlations")
        for row, line in enumerate(self._values()):
            for column, value in enumerate(line):
                if value is not None:
                    ink = _LIGHT if abs(value) > 0.62 else _DARK
                    axes.text(
                        column + 0.5, row + 0.5, signed(value, 2), ha="center", va="center", fontsize=8, color=ink
                    )
        axes.set_xticks(np.arange(n - 1) + 0.5, self.names[:-1], fontsize=8, rotation=90)
        axes.set_yticks(np.arange(n - 1) + 0.5, self.names[1:], fontsize=8)
        axes.set_ylim(n - 1, 0)
        axes.tick_params(length=0, colors=INK)
        axes.spines[:].set_visible(False)
        return figure

    def chart(self) -> dict[str, Any]:
        """To look into: a plotly figure in plain values."""
        names = [escape(name, quote=False) for name in self.names]
        values = self._values()
        texts = [[self._said(a, b) for b in self.names[:-1]] for a in self.names[1:]]
        data = {
            "type": "heatmap", "x": names[:-1], "y": names[1:], "z": values, "zmin": -1, "zmax": 1,
            "colorscale": [list(stop) for stop in _SCALE], "xgap": 1, "ygap": 1, "hoverongaps": False,
            "customdata": texts, "hovertemplate": "%{customdata}<extra></extra>",
            "colorbar": {"thickness": 12, "outlinewidth": 0},
        }  # fmt: skip
        bare = {"showgrid": False, "zeroline": False, "ticks": "", "automargin": True, "type": "category"}
        layout = {
            "title": {"text": escape(self.title, quote=False)}, "height": 190 + 30 * len(names),
            "xaxis": bare, "yaxis": {**bare, "autorange": "reversed"},
        }  # fmt: skip
        return {"data": [data], "layout": layout}

    def _values(self) -> list[list[float | None]]:
        """Of each name but the first, with each but the last that comes before it."""
        found: list[list[float | None]] = []
        for row, a in enumerate(self.names[1:], 1):
            line = [self.at(a, b) if column < row else None for column, b in enumerate(self.names[:-1])]
            found.append([None if score is None else float(score.value) for score in line])
        return found

    def _said(self, a: str, b: str) -> str:
        if (score := self.at(a, b)) is None:
            return ""
        return escape(f"{a} ~ {b}: {number(score, digits=2, signs=True)} (n = {score.n:,})", quote=False)
