"""Traces of many facts as lines: the average effect of a token category by layer, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..errors import BadSetting
from ..results import Floats
from ..traces import Kind, unit
from .canvas import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILLION, WIDTH, canvas, grid
from .trace_words import NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Look = Mapping[str, tuple[str, Literal["-", "--", ":"]]]
_LOOK: Look = {  # of each category: colour, dashes
    "before": (GREY, ":"), "first subject": (ORANGE, "-"), "middle subject": (PURPLE, "-"),
    "last subject": (VERMILLION, "-"), "first subsequent": (GREEN, "-"), "further": (GREY, "-"), "last": (BLUE, "-"),
    "mask": (INK, "-"),
}  # fmt: skip
_SEVERED: Look = {"ordinary": (INK, "-"), "FFN severed": (GREEN, "-"), "attention severed": (VERMILLION, "-")}
_OTHERS: tuple[tuple[str, Literal["--"]], ...] = ((INK, "--"), (BLUE, "--"), (ORANGE, "--"), (GREEN, "--"))
_ROW, _APART = 0.19, 0.1  # of the legend: height of a row, and room below it; inches
_BANDS = "Bands: 95 % intervals, facts resampled (bootstrap)."
_NO_BANDS = "No intervals: one fact says nothing of others."


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The average effect at one category of tokens, by layer, and its 95 % interval from a bootstrap over facts.

    Of `facts` facts in `prompts` prompts. `mean`, `low` and `high` [layer] are in the metric's unit, and the last two
    NaN where one fact alone gives no interval. Raises BadSetting where they are not of one length.

    >>> Curve("last subject", np.array([0.1, 0.3]), np.array([0.0, 0.2]), np.array([0.2, 0.4]), 20, 60).facts
    20
    """

    category: str
    mean: Floats
    low: Floats
    high: Floats
    facts: int
    prompts: int

    def __post_init__(self) -> None:
        shapes = [np.shape(x) for x in (self.mean, self.low, self.high)]
        if len(shapes[0]) != 1 or len({*shapes}) != 1:
            raise BadSetting(f"a curve has one mean, low and high for every layer; {self.category!r} has {shapes}")


def lines(panels: Mapping[Kind, Sequence[Curve]], *, metric: str = "probability", about: str = "") -> Figure:
    """At which tokens, and in which layers, do facts come back? Meng et al. (2022), figure 7: the averages of maps.

    A panel for each kind of site, and in it a line for each category. `metric` may be a unit of its own, such as "part
    of the total effect". `about` says in the caption what the numbers rest on: model, noise, samples, window. Raises
    BadSetting where there is nothing to draw.

    >>> curve = Curve("last subject", np.array([0.1, 0.3]), np.array([0.0, 0.2]), np.array([0.2, 0.4]), 20, 60)
    >>> lines({"block": [curve], "ffn": [curve]}).get_label()
    'Where facts come back: average effect by layer'
    """
    drawn = {NAMES[kind]: tuple(curves) for kind, curves in panels.items() if curves}
    caption = "Mean over facts of the effect (restored minus corrupted) at tokens of each category."
    return _figure(drawn, "Where facts come back: average effect by layer", caption, metric, about, _LOOK)


def severed(
    ordinary: Curve, *, ffn: Curve | None = None, attention: Curve | None = None, metric: str = "probability",
    about: str = "",
) -> Figure:  # fmt: skip
    """Through what does a restored block act: the FFNs above it, or attention? Meng et al. (2022), figure 3.

    Each curve is the average effect of one restored block at one category of tokens (there: the last of the subject),
    in the ordinary network and with all FFNs or all attention of that token kept as in the corrupted run.

    >>> curve = Curve("last subject", np.array([0.1, 0.3]), np.array([0.0, 0.2]), np.array([0.2, 0.4]), 20, 60)
    >>> severed(curve, ffn=curve).get_label()
    'What a restored block acts through, at the last subject token'
    """
    given = {"ordinary": ordinary, "FFN severed": ffn, "attention severed": attention}
    curves = [Curve(name, c.mean, c.low, c.high, c.facts, c.prompts) for name, c in given.items() if c is not None]
    caption = (
        f"Mean over facts of the effect (restored minus corrupted) of one block at the {ordinary.category} token. "
        "Severed: every FFN, or attention, of that token stays as in the corrupted run."
    )
    title = f"What a restored block acts through, at the {ordinary.category} token"
    return _figure({"": tuple(curves)}, title, caption, metric, about, _SEVERED)


def _figure(
    panels: Mapping[str, tuple[Curve, ...]], title: str, caption: str, metric: str, about: str,
    look: Look,
) -> Figure:  # fmt: skip
    if not panels:
        raise BadSetting("no curve was given: there is nothing to draw")
    names = list(dict.fromkeys(c.category for curves in panels.values() for c in curves))
    others = [n for n in names if n not in look]
    if len(others) > len(_OTHERS):
        raise BadSetting(f"lines are told apart for {', '.join(look)} and {len(_OTHERS)} others; got also {others}")
    look = {**look, **dict(zip(others, _OTHERS, strict=False))}
    names.sort(key=[*look].index)
    rows = -(-len(names) // 4)
    every = [c for own in panels.values() for c in own]
    sure = _BANDS if any(np.isfinite(c.low).any() for c in every) else _NO_BANDS
    text = " ".join(filter(None, (caption, sure, _counted(every), about)))
    room = _ROW * rows + _APART
    figure = canvas(2.5 + room, title, text, width_ratios=(1,) * len(panels), left=0.85)
    tall = figure.get_figheight()
    for axes, (name, curves) in zip(figure.axes, panels.items(), strict=True):
        box = axes.get_position()
        axes.set_position((box.x0, box.y0, box.width, box.height - room / tall))
        _panel(axes, name, curves, look)
    figure.axes[0].set_ylabel(f"average effect ({unit(metric)})")
    _legend(figure, names, look, 1 - 0.4 / tall)
    for t in figure.texts:
        t.set_parse_math(False)
    return figure


def _panel(axes: Axes, name: str, curves: Sequence[Curve], look: Look) -> None:
    axes.axhline(0, color=INK, linewidth=0.8)
    for curve in curves:
        colour, dashes = look[curve.category]
        at = np.arange(len(curve.mean))
        band = axes.fill_between(at, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
        band.set_gid(f"band of {curve.category}")
        mark = "o" if len(at) <= 16 else ""
        axes.plot(at, curve.mean, color=colour, linestyle=dashes, linewidth=1.6, marker=mark, markersize=3,
                  label=curve.category)  # fmt: skip
    axes.locator_params(axis="x", integer=True)
    most = max(len(c.mean) for c in curves)
    axes.set(xlabel="layer", xlim=(-0.5, most - 0.5))
    if most <= 6:
        axes.set_xticks(range(most))
    if name:
        axes.set_title(name, size=9, pad=4)
    grid(axes, "y")


def _legend(figure: Figure, entries: Sequence[str], look: Look, y: float) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=look[n][0], linestyle=look[n][1], linewidth=1.8, label=n) for n in entries]
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.12 / WIDTH, y), ncols=4, frameon=False, fontsize=8.5,
        borderpad=0,
        borderaxespad=0, labelspacing=0.3, handlelength=1.8, columnspacing=1.6, labelcolor=INK,
    )  # fmt: skip


def _counted(curves: Sequence[Curve]) -> str:
    """How many facts and prompts each line rests on; once, where it is the same of all."""
    said: dict[tuple[int, int], list[str]] = {}
    for c in curves:
        names = said.setdefault((c.facts, c.prompts), [])
        if c.category not in names:
            names.append(c.category)
    each = [
        f"{_many(facts, 'fact')} in {_many(prompts, 'prompt')}" + (f" ({', '.join(names)})" if len(said) > 1 else "")
        for (facts, prompts), names in said.items()
    ]
    return f"n = {'; '.join(each)}."


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
