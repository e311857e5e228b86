"""Words that move: bars in the order of the paper, and points on what the words occur with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics.cooccurrence import Slope
from ..metrics.profiles import GROUPS, WordChange
from .canvas import BLUE, GREEN, GREY, INK, VERMILLION, canvas, grid, legend, whisker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"plural": BLUE, "singular": VERMILLION, "neutral": GREEN}
_BELOW = 0.3  # inches for words that stand upright
_NAMES = 0.2  # inches for the names of panels
_LETTER, _LINE = 0.062, 0.13  # inches a small letter is wide, and a line high

Point = tuple[float, float]
Box = tuple[float, float, float, float]


@cache
def published(figure: str) -> dict[str, Any]:
    """What Niu et al. (2024) show in a figure, as read from it.

    >>> published("figure_3")["profiles"]["plural"]["values"]["those"]
    -134
    """
    text = resources.files("engram").joinpath("report/published/niu2024.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)[figure]
    return found


def profile(title: str, caption: str, changes: Sequence[WordChange], beside: Mapping[str, float]) -> Figure:
    """How far each word moves, a panel for each way of being marked; `beside` are published values in percent."""
    groups = [g for g in GROUPS if any(c.group == g for c in changes)]
    own = [[c for c in changes if c.group == g] for g in groups]
    figure = canvas(2.9 + _BELOW, title, caption, width_ratios=[len(part) + 0.6 for part in own], left=0.75)
    tall = figure.get_figheight()
    for axes, group, part in zip(figure.axes, groups, own, strict=True):
        box = axes.get_position()
        axes.set_position((box.x0, box.y0 + _BELOW / tall, box.width, box.height - _BELOW / tall))
        for x, change in enumerate(part):
            _bar(axes, x, change, COLOURS[group], beside.get(change.word))
        names = [f"{c.word} *" if c.significant else c.word for c in part]
        axes.set_xticks(range(len(part)), names, rotation=90, fontsize=8.5)
        axes.set(xlim=(-0.7, len(part) - 0.3))
        axes.set_title(f"{group} words", fontsize=8.5, color=COLOURS[group], loc="left", pad=4)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.tick_params(axis="x", length=0)
        grid(axes, "y")
    figure.axes[0].set_ylabel("symmetric fold change (%)")
    marks = [("random neurons, each draw", "o", GREY)] if any(c.chance for c in changes) else []
    if beside:
        marks.append(("published", "D", INK))
    if marks:
        last = figure.axes[-1]
        legend(last, marks)
        shown = last.get_legend()
        if shown is not None:  # above the names of the panels
            shown.set_bbox_to_anchor((1.0, 1.0 + _NAMES / (last.get_position().height * tall)), last.transAxes)
    return figure


def _bar(axes: Axes, x: int, change: WordChange, colour: str, published: float | None) -> None:
    score = change.fold
    axes.bar(x, 100 * score.value, width=0.68, color=colour, zorder=2)
    interval = score.interval
    whisker(axes, x, interval and (100 * interval[0], 100 * interval[1]), upright=True)
    if change.chance:
        places = [x + 0.34] * len(change.chance)
        axes.plot(places, [100 * v for v in change.chance], "o", color=GREY, markersize=2.8, zorder=6)
    if published is not None:
        axes.plot(x, published, "D", color=INK, markersize=4, markeredgecolor="white", zorder=7)


def scatter(
    title: str, caption: str, changes: Sequence[WordChange], odds: Mapping[str, float],
    slopes: Mapping[str, Slope | None], by: str, side: str = "behind",
) -> Figure:  # fmt: skip
    """The shift of each word on its log-odds of a plural noun, with the lines through all and through neutral words."""
    known = [c for c in changes if c.word in odds]
    figure = canvas(3.7, title, caption, left=0.8)
    axes = figure.axes[0]
    points = [(odds[c.word], _shift(c, by)) for c in known]
    x, y = (np.array(part) for part in zip(*points, strict=True))
    for change, at in zip(known, points, strict=True):
        axes.plot(*at, "o", color=COLOURS[change.group], markersize=5.5, markeredgecolor="white", zorder=5)
    room = 0.12 * max(float(np.ptp(x)), 1.0)
    left, right = float(x.min()) - room, float(x.max()) + 1.6 * room
    high = 0.1 * (float(np.ptp(y)) or 1.0)
    axes.set(xlim=(left, right), ylim=(float(y.min()) - high, float(y.max()) + high))
    lines = [((left, 0.0), (right, 0.0)), ((0.0, axes.get_ylim()[0]), (0.0, axes.get_ylim()[1]))]
    for (name, slope), style in zip(slopes.items(), ("-", "--"), strict=False):
        if slope is not None:
            ends = np.array([left, right]) if name == "all words" else _span(known, odds)
            colour = INK if name == "all words" else COLOURS["neutral"]
            heights = slope.intercept + slope.value * ends
            axes.plot(ends, heights, style, color=colour, linewidth=1.2, alpha=0.75)
            lines.append(((float(ends[0]), float(heights[0])), (float(ends[1]), float(heights[1]))))
    axes.axhline(0, color=INK, linewidth=0.6, alpha=0.5)
    axes.axvline(0, color=INK, linewidth=0.6, alpha=0.5)
    _name(axes, [c.word for c in known], points, [COLOURS[c.group] for c in known], lines)
    unit = "mean log ratio (nats)" if by == "log ratio" else "symmetric fold change"
    where = "behind" if side == "behind" else "before"
    axes.set(xlabel=f"ln odds that the noun {where} the word is plural, in the corpus", ylabel=f"shift, {unit}")
    grid(axes, "both")
    legend(axes, [(f"{g} words", "o", COLOURS[g]) for g in GROUPS if any(c.group == g for c in known)])
    return figure


def _shift(change: WordChange, by: str) -> float:
    return change.log_ratio.value if by == "log ratio" else change.fold.value


def _span(known: Sequence[WordChange], odds: Mapping[str, float]) -> np.ndarray[Any, Any]:
    """From the least to the largest odds of a neutral word."""
    own = [odds[c.word] for c in known if c.group == "neutral"]
    return np.array([min(own), max(own)])


def _name(
    axes: Axes, words: Sequence[str], points: Sequence[Point], colours: Sequence[str],
    lines: Sequence[tuple[Point, Point]],
) -> None:  # fmt: skip
    """Each word beside its point, where there is most room: not over a point, another word, or a line."""
    figure = axes.figure
    box = axes.get_position()
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    width, height = box.width * figure.get_figwidth(), box.height * figure.get_figheight()  # type: ignore[union-attr]

    def placed(x: float, y: float) -> Point:
        return (x - x0) / (x1 - x0) * width, (y - y0) / (y1 - y0) * height

    inches = [placed(*point) for point in points]
    taken: list[Box] = [(x - 0.05, y - 0.05, x + 0.05, y + 0.05) for x, y in inches]
    for (a, b), (c, d) in lines:
        along = [placed(a + (c - a) * t, b + (d - b) * t) for t in np.linspace(0, 1, 120)]
        taken += [(x - 0.02, y - 0.02, x + 0.02, y + 0.02) for x, y in along]
    for word, (x, y), colour in zip(words, inches, colours, strict=True):
        size = _LETTER * len(word)
        tries = [(x + 0.08, y - _LINE / 2), (x - 0.08 - size, y - _LINE / 2), (x - size / 2, y + 0.07),
                 (x - size / 2, y - 0.07 - _LINE), (x + 0.06, y + 0.06), (x + 0.06, y - 0.06 - _LINE),
                 (x - 0.06 - size, y + 0.06), (x - 0.06 - size, y - 0.06 - _LINE)]  # fmt: skip
        boxes = [(a, b, a + size, b + _LINE) for a, b in tries]
        inside = [b for b in boxes if b[0] > 0 and b[1] > 0 and b[2] < width and b[3] < height] or boxes
        best = min(inside, key=lambda b: sum(_over(b, other) for other in taken))
        taken.append(best)
        place = ((best[0] / width), (best[1] + _LINE / 2) / height)
        axes.annotate(word, place, xycoords="axes fraction", fontsize=7.5, color=colour, va="center", zorder=6)


def _over(a: Box, b: Box) -> float:
    """By what area do two boxes overlap?"""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
