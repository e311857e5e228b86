"""Numbers as lines over what they depend on, each with its band: how much of it, and what becomes of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..errors import BadSetting
from ..results import Floats
from .canvas import INK, canvas, grid, legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SURE = "Bands: 95 % intervals, facts resampled (bootstrap)."
UNSURE = "No intervals: one fact says nothing of others."


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Numbers `y` [point] at `x`, and the ends of their 95 % intervals, NaN where there are none.

    Raises BadSetting where they are not of one length.

    >>> Line("input", "#0072b2", (0, 1), np.array([0.5, 0.1]), np.array([0.4, 0.0]), np.array([0.6, 0.2])).name
    'input'
    """

    name: str
    colour: str
    x: Sequence[float]
    y: Floats
    low: Floats
    high: Floats
    dashes: Literal["-", "--", ":"] = "-"

    def __post_init__(self) -> None:
        if len({len(self.x), *(np.size(v) for v in (self.y, self.low, self.high))}) > 1:
            raise BadSetting(f"a line has one number, low and high at every point; {self.name!r} has not")


def curves(lines: Sequence[Line], title: str, caption: str, *, x: str, y: str, ticks: Sequence[float] = ()) -> Figure:
    """All lines in one panel; `x` and `y` say what is along the axes, in which unit. Raises BadSetting without lines.

    >>> line = Line("input", "#0072b2", (0, 1), np.array([0.5, 0.1]), np.array([0.4, 0.0]), np.array([0.6, 0.2]))
    >>> curves([line], "Noise", "One model.", x="size (σ)", y="P(answer)").get_label()
    'Noise'
    """
    if not lines:
        raise BadSetting("no line was given: there is nothing to draw")
    banded = any(np.isfinite(line.low).any() for line in lines)
    figure = canvas(2.6, title, f"{caption} {SURE if banded else UNSURE}", left=0.85)
    axes = figure.axes[0]
    axes.axhline(0, color=INK, linewidth=0.8)
    for line in lines:
        band = axes.fill_between(line.x, line.low, line.high, color=line.colour, alpha=0.18, linewidth=0)
        band.set_gid(f"band of {line.name}")
        axes.plot(line.x, line.y, color=line.colour, linestyle=line.dashes, linewidth=1.6, marker="o", markersize=3.5,
                  label=line.name)  # fmt: skip
    axes.set(xlabel=x, ylabel=y)
    if len(ticks):
        axes.set_xticks(list(ticks), [f"{t:g}" for t in ticks])
    grid(axes, "y")
    if len(lines) > 1:
        legend(axes, [(line.name, "o", line.colour) for line in lines])
    for t in figure.texts:
        t.set_parse_math(False)
    return figure
