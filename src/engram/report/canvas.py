"""Figures without pyplot's global state, and how they become SVG text that reads well on light and dark ground."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from ..errors import BadSetting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito (2008): told apart by all common kinds of colour vision, and legible on white and on near-black
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#8c8c8c"
INK = "#12171d"  # becomes currentColor: black on paper, light on a dark page
FONTS = "'DejaVu Sans', Verdana, sans-serif"  # the first is the one that everything is measured with
WIDTH = 8.0  # inches
_LINE, _SIZE = 0.155, 8.5  # of a caption: height in inches, size in points
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9.0, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False,
    "xtick.major.width": 0.8, "ytick.major.width": 0.8, "hatch.linewidth": 0.6,
}  # fmt: skip
_SAVE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "engram"}


def canvas(
    height: float,
    title: str,
    caption: str,
    *,
    width_ratios: Sequence[float] = (1,),
    left: float = 1.0,
    right: float = 0.15,
) -> Figure:
    """A figure of so many inches between its title and its caption, with one panel per width ratio.

    `left` and `right` are the room in inches for what stands beside the panels.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = textwrap.wrap(caption, 128)
    above, below = 0.5, 0.62 + _LINE * len(lines)
    total = above + height + below
    with rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, total))
        FigureCanvasAgg(figure)
        figure.subplots(
            1, len(width_ratios), sharey=True, squeeze=False,
            gridspec_kw={
                "left": left / WIDTH, "right": 1 - right / WIDTH, "bottom": below / total, "top": 1 - above / total,
                "width_ratios": list(width_ratios), "wspace": 0.09,
            },
        )  # fmt: skip
        figure.text(0.12 / WIDTH, 1 - 0.1 / total, title, size=11, weight="bold", va="top")
        for i, line in enumerate(lines):
            y = (0.1 + _LINE * (len(lines) - 1 - i)) / total
            figure.text(0.12 / WIDTH, y, line, size=_SIZE, va="bottom", alpha=0.8)
    figure.set_label(title)
    return figure


def grid(axes: Axes, which: str) -> None:
    """Faint lines behind everything, across the axis `which` ("x" or "y")."""
    axes.grid(axis=which, color=INK, alpha=0.13, linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def whisker(axes: Axes, y: float, interval: tuple[float, float] | None, *, upright: bool = False) -> None:
    """An interval as a line with ends, over whatever stands there."""
    if interval is None:
        return
    low, high = interval
    line = ([y, y], [low, high]) if upright else ([low, high], [y, y])
    axes.plot(*line, color=INK, linewidth=1.1, marker="|" if not upright else "_", markersize=4, zorder=5)


def legend(axes: Axes, entries: Iterable[tuple[str, str, str]]) -> None:
    """What the marks mean: (label, marker, colour); a marker of "" is a filled box."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], marker=m, color=c, linestyle="none", label=t, markersize=5) if m else Patch(color=c, label=t)
        for t, m, c in entries
    ]
    axes.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(handles), frameon=False, fontsize=8.5,
        borderpad=0, borderaxespad=0.25, handlelength=1.0, handletextpad=0.5, columnspacing=1.4, labelcolor=INK,
    )  # fmt: skip


def svg(figure: Figure) -> str:
    """The figure as SVG text without an XML head: text stays text, the ground is clear, ink has the page's colour.

    >>> from matplotlib.figure import Figure
    >>> svg(Figure())[:4]
    '<svg'
    """
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context(_SAVE):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace(INK, "currentColor").replace("'DejaVu Sans'", FONTS)
    title = escape(str(figure.get_label()))
    return re.sub(r"<svg ([^>]*)>", rf'<svg \1 role="img">\n <title>{title}</title>', text, count=1)


def save(figure: Figure, path: str | Path) -> None:
    """Write the figure as .svg or .png, on white. Raises BadSetting for another ending.

    >>> import tempfile
    >>> from matplotlib.figure import Figure
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(Figure(), Path(folder) / "empty.svg")
    ...     (Path(folder) / "empty.svg").read_text(encoding="utf-8")[:5]
    '<?xml'
    """
    path = Path(path)
    if path.suffix == ".svg":
        path.write_text(standalone(svg(figure)), encoding="utf-8")
    elif path.suffix == ".png":
        path.write_bytes(png(figure))
    else:
        raise BadSetting(f"a picture is written as .svg or .png, not as {path.name!r}")


def png(figure: Figure) -> bytes:
    """The figure as a picture of dots, on white."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=200, facecolor="white", bbox_inches="tight", pad_inches=0.1)
    return out.getvalue()


def standalone(text: str) -> str:
    """An SVG for a file of its own: on white, in ink.

    >>> standalone("<svg width='1'></svg>").splitlines()[0]
    '<?xml version="1.0" encoding="utf-8" standalone="no"?>'
    """
    head = '<?xml version="1.0" encoding="utf-8" standalone="no"?>\n'
    return head + text.replace("<svg ", f'<svg style="background: #fff; color: {INK}" ', 1)
