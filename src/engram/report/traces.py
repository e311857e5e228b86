"""The heat map of a causal trace: tokens down, layers across, and how much of the answer each site brings back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BadSetting
from ..traces import Kind, Trace, turned
from ..traces import unit as unit_of
from . import trace_words as words
from .canvas import GREY, INK, WIDTH, canvas
from .tables import signed
from .tokens import drawable, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHADES: dict[Kind, str] = {"block": "Purples", "ffn": "Greens", "attention": "Reds"}  # as Meng et al. have them
_LIVE: dict[str, dict[Kind, tuple[str, ...]]] = {  # from the ground of a page, white or black, away from it
    "light": {
        "block": ("#ffffff", "#dcd3f5", "#8b74c9", "#3f007d"), "ffn": ("#ffffff", "#c4ecc9", "#3fa35c", "#00441b"),
        "attention": ("#ffffff", "#ffd2c2", "#ee5a41", "#67000d"),
    },
    "dark": {
        "block": ("#14181d", "#4f3a94", "#957fd0", "#e4dcfb"), "ffn": ("#14181d", "#14602f", "#3fa35c", "#c4ecc9"),
        "attention": ("#14181d", "#99231d", "#ee5a41", "#ffd2c2"),
    },
}  # fmt: skip
_DASH = "#5b6570"  # on the cells, which are as light on a dark page
_BAR, _BELOW = 0.11, 0.72  # height of a colour bar, and what it takes below a panel in all; inches
_LONGEST = 24  # letters of a token that are shown
_NOTICED = 0.1  # an effect below minus this part of the largest has a mark


def heat_map(trace: Trace) -> Figure:
    """Which tokens and layers bring the answer back? Meng et al. (2022), figure 1.

    The whole map in one shade, from no effect (and below, which the caption counts) to the largest. The bar goes on,
    empty, to the clean run, unless that is too far off.

    >>> from engram.facts import Prompt
    >>> trace = Trace(Prompt("Rome is in [Y]", "Italy"), "causal_tracing", "block", ("Rome", "Ġis", "Ġin"), (0, 1), 2,
    ...     "Italy", "probability", np.eye(3, 4) / 4, np.zeros((3, 4)), 0.5, 0.1, 10, ((0, 1),) * 4, 0)
    >>> heat_map(trace).get_label()
    'Where “Italy” comes back: one block restored'
    """
    return _drawn([trace], _title(trace), words.caption(trace))


def heat_maps(traces: Sequence[Trace]) -> Figure:
    """The same prompt, its blocks, FFNs and attention side by side, each in its own shade up to its own largest.

    Raises BadSetting for traces of several prompts or answers.

    >>> from engram.facts import Prompt
    >>> ffn, attention = (
    ...     Trace(Prompt("Rome is in [Y]", "Italy"), "causal_tracing", kind, ("Rome", "Ġis", "Ġin"), (0, 1), 2,
    ...           "Italy", "probability", np.eye(3, 4) / 4, np.zeros((3, 4)), 0.5, 0.1, 10, ((0, 1),) * 4, 0)
    ...     for kind in ("ffn", "attention"))
    >>> heat_maps([ffn, attention]).get_label()
    'Where “Italy” comes back'
    """
    if not traces:
        raise BadSetting("no trace was given: there is nothing to draw")
    first = traces[0]
    if any((t.tokens, t.subject, t.answer) != (first.tokens, first.subject, first.answer) for t in traces):
        raise BadSetting("heat maps stand side by side for one prompt, one subject and one answer; draw others apart")
    if len(traces) == 1:
        return heat_map(first)
    return _drawn(traces, f"Where “{words.cut(first.answer.strip(), 40)}” comes back", words.captions(traces))


def _title(trace: Trace) -> str:
    return f"Where “{words.cut(trace.answer.strip(), 28)}” comes back: {words.restored(trace)}"


def _drawn(traces: Sequence[Trace], title: str, caption: str) -> Figure:
    labels = labelled(traces[0])
    rows = len(labels)
    each = 0.24 if rows <= 16 else 0.19 if rows <= 40 else 0.13
    left = 0.45 + 0.072 * max(map(len, labels))
    layers = max(t.effect.shape[1] for t in traces)
    right = max(0.15, WIDTH - left - 0.62 * layers) if len(traces) == 1 else 0.15
    room = max(1.0, each * rows)
    figure = canvas(
        room + _BELOW, drawable(title), drawable(caption), width_ratios=(1,) * len(traces), left=left, right=right
    )
    tall = figure.get_figheight()
    for text in figure.texts:
        text.set_parse_math(False)
    for axes, trace in zip(list(figure.axes), traces, strict=True):
        box = axes.get_position()
        axes.set_position((box.x0, box.y0 + _BELOW / tall, box.width, room / tall))
        _map(figure, axes, trace, box.width * WIDTH)
        bar = figure.add_axes((box.x0, box.y0 + 0.06 / tall, box.width, _BAR / tall))
        _bar(bar, trace)
        if len(traces) > 1:
            axes.set_title(words.restored(trace), size=8.5, pad=4)
    first = figure.axes[0]
    first.set_yticks(np.arange(rows) + 0.5, labels, fontsize=8 if rows <= 40 else 6.5, parse_math=False)
    first.set_ylim(rows, 0)
    return figure


def labelled(trace: Trace) -> list[str]:
    """The tokens as they stand beside the map, a star behind those that were corrupted."""
    first, end = trace.subject
    shown = (drawable(words.cut(t, _LONGEST)) for t in readable(trace.tokens))
    return [f"{t}*" if first <= i < end else t for i, t in enumerate(shown)]


def top(trace: Trace) -> float:
    """The size of the effect that has the full shade: the largest, or what stands for it where none brings anything."""
    return next((x for x in (float(np.max(words.gain(trace))), turned(trace.metric) * trace.total) if x > 0), 1.0)


def _map(figure: Figure, axes: Axes, trace: Trace, width: float) -> None:
    from matplotlib.transforms import offset_copy

    layers = trace.effect.shape[1]
    gain = words.gain(trace)
    mesh = axes.pcolormesh(
        np.clip(gain, 0, None), cmap=SHADES[trace.kind], vmin=0, vmax=top(trace), edgecolors="white",
        linewidth=min(0.5, 2.5 * width / layers),
    )  # fmt: skip
    mesh.set_gid("effects")
    low = np.argwhere(gain < -_NOTICED * top(trace))
    if len(low):
        axes.plot(*(low[:, ::-1] + 0.5).T, "_", color=_DASH, markersize=5, markeredgewidth=1.0, gid="below 0")
    step = next(s for s in (1, 2, 4, 5, 10, 20) if layers * 0.3 / s <= width or s == 20)
    shown = range(0, layers, step)
    axes.set_xticks([i + 0.5 for i in shown], [str(i) for i in shown], fontsize=8)
    short = words.clipped(trace)
    for label, i in zip(axes.get_xticklabels(), shown, strict=True):
        label.set_alpha(0.55 if i in short else None)
    under = offset_copy(axes.get_xaxis_transform(), figure, y=-2.5, units="points")
    for i in short:
        axes.plot([i + 0.08, i + 0.92], [0, 0], color=GREY, linewidth=2, solid_capstyle="butt", transform=under,
                  clip_on=False, gid=f"short {i}")  # fmt: skip
    axes.tick_params(length=0)
    axes.tick_params(axis="x", pad=6)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(words.across(trace), fontsize=8.5, labelpad=3)


def _bar(bar: Axes, trace: Trace) -> None:
    """From the corrupted run to the clean one, in shade as far as the largest effect goes."""
    sign = turned(trace.metric)
    most, whole = top(trace), sign * trace.total
    end = max(most, whole) if most >= 0.2 * whole else most
    bar.imshow(
        np.linspace(0, 1, 256)[None], extent=(0, most, 0, 1), aspect="auto", cmap=SHADES[trace.kind], vmin=0, vmax=1
    )
    bar.set(xlim=(0, end), ylim=(0, 1), yticks=[])
    bar.spines[:].set_visible(True)
    bar.spines[:].set(linewidth=0.6, color=INK)
    bar.locator_params(axis="x", nbins=4)
    bar.xaxis.set_major_formatter(lambda x, _: f"{sign * x:.3g}".replace("-", "−") if x else "0")
    bar.tick_params(axis="x", labelsize=7.5, length=2.5, width=0.6, pad=2, colors=INK)
    bar.set_xlabel(words.effect_on(trace), fontsize=8, labelpad=2, color=INK, parse_math=False)
    inside = 0 < whole <= end
    if inside:
        bar.axvline(whole, color=INK, linewidth=1.2)
    clean = f"clean {words.short(trace.clean)}"
    far = inside and whole >= 0.6 * end
    start = f"corrupted {words.short(trace.corrupted)}"
    said: list[tuple[float, str, Any]] = [(0, start if far or whole > end else f"{start}, {clean}", "left")]
    if far or whole > end:
        said.append((whole / end if far else 1, clean if far else f"{clean}, beyond →", "right"))
    for x, text, side in said:
        bar.annotate(text, (x, 1), (0, 2.5), xycoords="axes fraction", textcoords="offset points", ha=side, va="bottom",
                     fontsize=7.5, color=INK)  # fmt: skip


def interactive(trace: Trace) -> dict[str, Any]:
    """The same map to look into: a plotly figure in plain values, every effect in it unclipped.

    What hangs under the mouse says the token, the layers restored, the effect with its sd, and the metric restored. A
    page draws it in the shades of `meta` that its ground asks for.

    >>> from engram.facts import Prompt
    >>> trace = Trace(Prompt("Rome is in [Y]", "Italy"), "causal_tracing", "block", ("Rome", "Ġis", "Ġin"), (0, 1), 2,
    ...     "Italy", "probability", np.eye(3, 4) / 4, np.zeros((3, 4)), 0.5, 0.1, 10, ((0, 1),) * 4, 0)
    >>> interactive(trace)["data"][0]["z"][1]
    [0.0, 0.25, 0.0, 0.0]
    """
    rows, layers = trace.effect.shape
    first, end = trace.subject
    most = turned(trace.metric) * top(trace)
    tokens = [escape(t, quote=False) + "*" * (first <= i < end) for i, t in enumerate(readable(trace.tokens))]
    data: dict[str, Any] = {
        "type": "heatmap", "z": [[float(x) if math.isfinite(x) else None for x in row] for row in trace.effect],
        "zmin": min(0.0, most), "zmax": max(0.0, most), "reversescale": most < 0,
        "xgap": 1, "ygap": 1, "hoverongaps": False,
        "meta": {ground: _scale(trace.kind, ground) for ground in _LIVE},
        "colorscale": _scale(trace.kind, "light"),
        "colorbar": {"title": {"text": escape(words.effect_on(trace), quote=False), "side": "right"}, "thickness": 12,
                     "outlinewidth": 0, "nticks": 6},
        "customdata": [[_said(trace, tokens[i], i, layer) for layer in range(layers)] for i in range(rows)],
        "hovertemplate": "%{customdata}<extra></extra>", "hoverlabel": {"align": "left"},
    }  # fmt: skip
    return {"data": [data], "layout": _layout(trace, tokens, layers)}


def _layout(trace: Trace, tokens: Sequence[str], layers: int) -> dict[str, Any]:
    bare: dict[str, Any] = {"showgrid": False, "zeroline": False, "ticks": ""}
    step = next(s for s in (1, 2, 4, 5, 10, 20) if layers <= 24 * s or s == 20)
    names = [words.cut(t, 40) for t in tokens]
    return {
        "title": {"text": escape(_title(trace), quote=False)}, "height": 170 + 24 * len(tokens),
        "xaxis": {**bare, "title": {"text": words.across(trace)}, "dtick": step},
        "yaxis": {**bare, "autorange": "reversed", "automargin": True, "tickmode": "array",
                  "tickvals": list(range(len(tokens))), "ticktext": names},
    }  # fmt: skip


def _scale(kind: Kind, ground: str) -> list[list[float | str]]:
    return [[i / 3, shade] for i, shade in enumerate(_LIVE[ground][kind])]


def _said(trace: Trace, token: str, row: int, layer: int) -> str:
    effect, sd = float(trace.effect[row, layer]), float(trace.spread[row, layer])
    first, end = trace.windows[layer]
    layers = f"layer {layer}" if end - first == 1 else f"layers {first} to {end - 1}"
    layers += " (cut short)" * (layer in words.clipped(trace))
    unit = unit_of(trace.metric)
    whole = turned(trace.metric) * trace.total > 0
    part = f", {signed(100 * effect / trace.total, 0)} % of the total effect" if whole else ""
    around = f" ± {words.short(sd)} (sd, {trace.samples} samples)" if math.isfinite(sd) else ""
    return (
        f"<b>{token}</b>, {layers}<br>effect: {words.short(effect)}{around} {unit}{part}<br>"
        f"restored: {words.short(effect + trace.corrupted)} {unit}; corrupted {words.short(trace.corrupted)}, clean "
        f"{words.short(trace.clean)}"
    )
