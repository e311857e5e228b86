"""The average heat map of many traces: categories of tokens down, layers across, a panel for each kind of site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BadSetting
from ..traces import Kind, turned, unit
from .canvas import INK, WIDTH, canvas
from .trace_lines import Curve
from .trace_words import NAMES
from .traces import SHADES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW, _BAR, _BELOW = 0.3, 0.11, 0.72  # height of a row, of a colour bar, and what it takes below a panel; inches


def average_map(panels: Mapping[Kind, Sequence[Curve]], *, metric: str = "probability", about: str = "") -> Figure:
    """In which layers do the tokens of each category bring the answer back, on average? As a map of all of them.

    Each panel in its own shade up to its own largest. Raises BadSetting where there is nothing to draw.

    >>> curve = Curve("last subject", np.array([0.1, 0.3]), np.array([0.0, 0.2]), np.array([0.2, 0.4]), 20, 60)
    >>> average_map({"block": [curve]}).get_label()
    'The average map: categories of tokens and layers'
    """
    drawn = {kind: curves for kind, curves in panels.items() if curves}
    if not drawn:
        raise BadSetting("no curve was given: there is nothing to draw")
    names = list(dict.fromkeys(c.category for curves in drawn.values() for c in curves))
    facts = {c.category: c.facts for curves in drawn.values() for c in curves}
    labels = [f"{name} ({facts[name]:,})" for name in names]
    caption = (
        "Mean over facts of the effect (restored minus corrupted) at tokens of each category; behind its name, in how "
        "many facts there is one. Each panel in its own shade, up to its own largest; what is not better than the "
        f"corrupted run has none. {about}"
    )
    room = _ROW * len(names)
    title = "The average map: categories of tokens and layers"
    left = 0.45 + 0.072 * max(map(len, labels))
    figure = canvas(room + _BELOW, title, caption, width_ratios=(1,) * len(drawn), left=left)
    tall = figure.get_figheight()
    for axes, (kind, curves) in zip(list(figure.axes), drawn.items(), strict=True):
        box = axes.get_position()
        axes.set_position((box.x0, box.y0 + _BELOW / tall, box.width, room / tall))
        bar = figure.add_axes((box.x0, box.y0 + 0.06 / tall, box.width, _BAR / tall))
        _panel(axes, bar, kind, {c.category: c for c in curves}, names, metric, box.width * WIDTH)
    first = figure.axes[0]
    first.set_yticks(np.arange(len(names)) + 0.5, labels, fontsize=8)
    first.set_ylim(len(names), 0)
    return figure


def _panel(
    axes: Axes, bar: Axes, kind: Kind, curves: Mapping[str, Curve], names: Sequence[str], metric: str, width: float
) -> None:
    layers = max(len(c.mean) for c in curves.values())
    gain = np.zeros((len(names), layers))
    for i, name in enumerate(names):
        if name in curves:
            gain[i] = curves[name].mean * turned(metric)
    most = float(gain.max()) if gain.max() > 0 else 1.0
    lines = min(0.5, 2.5 * width / layers)
    mesh = axes.pcolormesh(
        np.clip(gain, 0, None), cmap=SHADES[kind], vmin=0, vmax=most, edgecolors="white", linewidth=lines
    )
    mesh.set_gid(f"average {kind}")
    step = next(s for s in (1, 2, 4, 5, 10, 20) if layers * 0.3 / s <= width or s == 20)
    axes.set_xticks([i + 0.5 for i in range(0, layers, step)], [str(i) for i in range(0, layers, step)], fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("layer", fontsize=8.5, labelpad=3)
    axes.set_title(NAMES[kind], size=9, pad=4)
    bar.imshow(np.linspace(0, 1, 256)[None], extent=(0, most, 0, 1), aspect="auto", cmap=SHADES[kind], vmin=0, vmax=1)
    bar.set(xlim=(0, most), yticks=[])
    bar.spines[:].set_visible(True)
    bar.spines[:].set(linewidth=0.6, color=INK)
    bar.locator_params(axis="x", nbins=4)
    bar.xaxis.set_major_formatter(lambda x, _: f"{turned(metric) * x if x else 0:.3g}".replace("-", "−"))
    bar.tick_params(axis="x", labelsize=7.5, length=2.5, width=0.6, pad=2, colors=INK)
    bar.set_xlabel(f"average effect ({unit(metric)})", fontsize=8, labelpad=2, color=INK)
