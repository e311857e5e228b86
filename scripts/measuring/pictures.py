"""Seconds per prompt as they grow with length, batch and depth: one panel for a masked, one for a causal shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engram.report.canvas import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILLION, canvas, grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Found = dict[str, Any]
X = Callable[[Found], int]
ENGINE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE)
PEER = (GREY, INK)
MARKS = "osD^vP"


def growth(panels: Mapping[str, Sequence[Found]], x: X, axis: str, title: str) -> Figure:
    """One line a side; points are medians, upright lines go from the fastest to the slowest run."""
    runs = sorted({len(s["seconds"]) for found in panels.values() for f in found for s in f["sides"]})
    figure = canvas(
        2.9, title,
        "Points: medians; upright lines: fastest to slowest run. All sides of a point were measured in turn, in one "
        f"process, {_listed(runs)} times. Both axes are logarithmic. Dashed: bfloat16. Random weights.",
        width_ratios=[1.0] * len(panels), left=0.75,
    )  # fmt: skip
    style = _styles([s for found in panels.values() for f in found for s in f["sides"]])
    for axes, (name, found) in zip(figure.axes, panels.items(), strict=True):
        _panel(axes, sorted(found, key=x), x, style)
        axes.text(0.02, 0.975, name, transform=axes.transAxes, va="top", fontsize=9, color=INK)
        axes.set_xlabel(axis)
    low, high = figure.axes[0].get_ylim()
    figure.axes[0].set_ylim(low, high * (high / low) ** 0.1)  # room for the names
    figure.axes[0].set_ylabel("seconds per prompt")
    _legend(figure, style)
    return figure


def _panel(axes: Axes, found: Sequence[Found], x: X, style: dict[str, dict[str, Any]]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    for name, look in style.items():
        points = [(x(f), s) for f in found for s in f["sides"] if s["name"] == name]
        axes.plot([i for i, _ in points], [s["median"] for _, s in points], markersize=3.6, linewidth=1.2, **look)
        for i, s in points:
            axes.plot([i, i], [min(s["seconds"]), max(s["seconds"])], color=look["color"], linewidth=0.9)
    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_major_locator(FixedLocator(sorted({x(f) for f in found})))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    grid(axes, "y")


def _styles(sides: Sequence[Found]) -> dict[str, dict[str, Any]]:
    """Peers in greys, the engine in colours; the same settings in other numbers have the colour, and a dashed line."""
    looks: dict[str, dict[str, Any]] = {}
    colours: dict[str, str] = {}
    for s in sides:
        if s["name"] in looks:
            continue
        base = ("" if s["engine"] else s["name"]) + s["what"].rpartition(",")[0]
        if base not in colours:
            own, taken = (ENGINE, "engine") if s["engine"] else (PEER, "peer")
            colours[base] = own[sum(look["kind"] == taken for look in looks.values() if not look["twin"]) % len(own)]
            twin = False
        else:
            twin = True
        looks[s["name"]] = {
            "kind": "engine" if s["engine"] else "peer", "twin": twin, "color": colours[base],
            "linestyle": "--" if twin else "-", "marker": MARKS[list(colours).index(base) % len(MARKS)],
        }  # fmt: skip
    return {n: {k: v for k, v in look.items() if k not in ("kind", "twin")} for n, look in looks.items()}


def _legend(figure: Figure, style: dict[str, dict[str, Any]]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=name, markersize=4, linewidth=1.2, **look) for name, look in style.items()]
    rows = 2 if len(handles) <= 8 else 3
    figure.legend(
        handles=handles, loc="upper right", bbox_to_anchor=(0.985, 0.975), ncols=-(-len(handles) // rows),
        frameon=False, fontsize=8, labelcolor=INK, handlelength=2.0, columnspacing=1.4, borderaxespad=0,
    )  # fmt: skip


def _listed(numbers: Sequence[int]) -> str:
    return " or ".join(map(str, numbers))
