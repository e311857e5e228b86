"""Error against evaluations, one figure a model: told apart by shape and filling as well as by colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engram.report.canvas import BLUE, GREEN, GREY, INK, VERMILLION, canvas, grid
from study.plan import Kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

Figures = dict[str, Any]
LOOKS: Mapping[Kind, tuple[str, str, str, str]] = {  # marker, edge, filling, what it is
    "published": ("s", INK, "white", "published rules"),
    "compressed": ("^", VERMILLION, "white", "published, compressed"),
    "fixed": ("o", GREY, GREY, "other fixed rules"),
    "adaptive": ("D", BLUE, BLUE, "adaptive, by tolerance"),
    "bfloat16": ("X", GREEN, GREEN, "adaptive 0.01, bfloat16"),
}
CAPTION = (
    "Marks: the median prompt; lines go up to the worst, with a tick at 95 % of the prompts. The error is the largest "
    "difference of a score, as a part of the prompt's largest score. Evaluations: gradients taken per layer and "
    "prompt, both ends among them. Both axes are logarithmic; marks at the same place are moved apart a little."
)
WAYS = ((1, 0), (-1, 0), (0, -1.3), (1, -1), (-1, -1), (1, 1), (-1, 1), (0, 1.3))
ROUND = [(r * x, r * y) for r in (1.0, 1.7, 2.5) for x, y in WAYS]  # where a name may stand, the best place first


def errors(name: str, found: Figures) -> Figure:
    """On the left the error from the integral; on the right that of compressed grids from the sums they stand for."""
    figure = canvas(
        4.3, f"Error of the {name} model's scores, by evaluations of the gradient",
        f"{CAPTION} {found['facts']} known facts, {found['prompts']} prompts.",
        width_ratios=[3.4, 1.0], left=0.75,
    )  # fmt: skip
    left, right = figure.axes
    sums = [{**s, "kind": "compressed"} for s in found["sums"]]
    for axes, settings, title in (
        (left, found["settings"], "from the integral"), (right, sums, "from their sum"),
    ):  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel="evaluations per layer")
        axes.text(0.02, 1.015, title, transform=axes.transAxes, va="bottom", weight="bold")
        grid(axes, "both")
        _points(axes, settings)
    _axis(left, [s["evaluations"] for s in found["settings"]], 0.65, 1.35)
    _axis(right, [s["evaluations"] for s in sums] or [6.0], 0.75, 1.45)
    left.set_ylabel("error of a prompt's scores")
    low, high = left.get_ylim()
    left.set_ylim(low / 1.5, high * 1.5)
    for axes, settings in ((left, found["settings"]), (right, sums)):
        _names(axes, settings)
    _legend(figure, {s["kind"] for s in found["settings"]})
    return figure


def _points(axes: Axes, settings: Sequence[Figures]) -> None:
    for s, x in zip(settings, _beside(settings), strict=True):
        marker, edge, filling, _ = LOOKS[s["kind"]]
        error = s["error"]
        axes.plot([x, x], [error["median"], error["worst"]], color=edge, linewidth=0.8, alpha=0.7, zorder=2)
        axes.plot([x], [error["p95"]], marker="_", markersize=4, color=edge, alpha=0.7, zorder=2)
        axes.plot(
            [x], [error["median"]], marker=marker, markersize=5.5, color=edge, markerfacecolor=filling,
            markeredgewidth=1.1, linestyle="none", zorder=4,
        )  # fmt: skip


def _beside(settings: Sequence[Figures]) -> list[float]:
    """Where each mark stands: at its evaluations, or a bit to the right of a mark or a line that it would cover."""
    placed: dict[int, tuple[float, float, float]] = {}
    for i in sorted(range(len(settings)), key=lambda i: settings[i]["evaluations"]):
        error, x = settings[i]["error"], settings[i]["evaluations"]
        middle, top = error["median"], error["worst"]
        while any(
            (x < 1.035 * at and m / 1.7 < middle < m * 1.7) or (x < 1.012 * at and middle < t and m < top)
            for at, m, t in placed.values()
        ):
            x *= 1.005
        placed[i] = x, middle, top
    return [placed[i][0] for i in range(len(settings))]


def _axis(axes: Axes, evaluations: Sequence[float], before: float, behind: float) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = min(evaluations) * before, max(evaluations) * behind
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator([x for x in (3, 4, 5, 6, 8, 10, 14, 20, 30, 50, 100) if low < x < high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _names(axes: Axes, settings: Sequence[Figures]) -> None:
    """A name at every mark, where it covers no mark, no other name and, if possible, no line."""
    from matplotlib.transforms import Bbox

    frame, scale = axes.get_window_extent(), axes.figure.dpi / 72  # pixels in a point
    half, lines, taken, marks = 4 * scale, [], [], []
    for s, x in zip(settings, _beside(settings), strict=True):
        (a, b), (_, top) = (axes.transData.transform((x, s["error"][k])) for k in ("median", "worst"))
        taken.append(Bbox([[a - half, b - half], [a + half, b + half]]))
        lines.append(Bbox([[a - 1, b], [a + 1, top]]))
        marks.append((a, b))
    for s, (a, b) in sorted(zip(settings, marks, strict=True), key=lambda pair: pair[1]):
        text = axes.annotate(_name(s), (a, b), xycoords="figure pixels", fontsize=7.5)
        size = text.get_window_extent()
        text.remove()
        boxes = [box for x, y in ROUND if _inside(box := _box(a, b, x, y, size, scale), frame)]
        costs = [i + 99 * box.count_overlaps(taken) + 9 * box.count_overlaps(lines) for i, box in enumerate(boxes)]
        box = boxes[costs.index(min(costs))]
        taken.append(box)
        offset = ((box.x0 + box.x1) / 2 - a) / scale, ((box.y0 + box.y1) / 2 - b) / scale
        axes.annotate(
            _name(s), tuple(axes.transData.inverted().transform((a, b))), xytext=offset, textcoords="offset points",
            fontsize=7.5, ha="center", va="center", zorder=6,
        )  # fmt: skip


def _name(s: Figures) -> str:
    """What the legend says is not said again."""
    short = {"adaptive": s["name"].removeprefix("adaptive "), "compressed": s["name"].partition(",")[0], "bfloat16": ""}
    return str(short.get(s["kind"], s["name"]))


def _box(a: float, b: float, x: float, y: float, size: Bbox, scale: float) -> Bbox:
    """Where a text of this size stands, in the direction (x, y) from a mark at (a, b)."""
    from matplotlib.transforms import Bbox

    away = 6 * scale
    centre = a + x * away + (0.5 * size.width if x > 0 else -0.5 * size.width if x < 0 else 0), b + y * away * 1.6
    return Bbox.from_bounds(centre[0] - size.width / 2, centre[1] - size.height / 2, size.width, size.height)


def _inside(box: Bbox, frame: Bbox) -> bool:
    return bool(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1)


def _legend(figure: Figure, kinds: set[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker=m, color=edge, markerfacecolor=filling, linestyle="none", markersize=5, label=what)
        for kind, (m, edge, filling, what) in LOOKS.items()
        if kind in kinds
    ]
    figure.axes[0].legend(
        handles=handles, loc="best", frameon=False, fontsize=8, labelcolor=INK, borderpad=0.2, handletextpad=0.4,
    )  # fmt: skip
