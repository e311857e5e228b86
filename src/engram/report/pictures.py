"""The four pictures of an experiment on knowledge neurons. Each says what it shows, of how many, and how surely."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BadSetting
from ..metrics import Resampling, percentile
from ..metrics.changes import average
from ..neurons import Neuron
from ..results import Score
from .canvas import BLUE, GREEN, GREY, INK, VERMILLION, canvas, grid, legend, whisker
from .tables import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Carried = Mapping[str, Sequence[Sequence[Neuron]]]  # relation: the neurons of each of its facts
OWN = {"suppressed": BLUE, "amplified": VERMILLION}  # every other condition is a control, and grey
_FACTS, _NEURONS = 500, 200  # more than these are pooled: marks would run together


@dataclass(frozen=True, slots=True)
class Effect:
    """Of one condition: P(answer) before and after, the change, and the change of each relation by itself."""

    condition: str
    before: Score
    after: Score
    change: Score
    relations: Mapping[str, Score]
    facts: int

    @property
    def colour(self) -> str:
        """Blue for silence, vermillion for amplification, grey for controls."""
        return OWN.get(self.condition, GREY)


def layers(carried: Carried, n: int) -> Figure:
    """In which layers do the refined neurons lie? Dai et al. (2022), figure 3. Raises BadSetting without neurons."""
    counts = {r: Counter(x.layer for own in facts for x in own) for r, facts in carried.items()}
    counts = {r: c for r, c in counts.items() if c}
    if not counts:
        raise BadSetting("no fact has a neuron: there is nothing to draw")
    share = np.array([[100 * c[layer] / c.total() for layer in range(n)] for c in counts.values()])
    drawn = Resampling.of(list(counts))
    facts, pairs = sum(map(len, carried.values())), sum(c.total() for c in counts.values())
    figure = canvas(
        2.5, "Where the neurons lie",
        f"Share of a relation's (fact, neuron) pairs that lie in each layer. Bars: mean over {len(counts)} relations; "
        f"lines: 95 % interval, relations resampled; dots: single relations. {facts:,} facts, {pairs:,} pairs.",
    )  # fmt: skip
    axes = figure.axes[0]
    axes.bar(range(n), share.mean(0), color=BLUE, alpha=0.55, width=0.62)
    for layer in range(n):
        aside = np.linspace(-0.24, -0.04, len(share))  # dots of equal height stand beside each other
        axes.plot(layer + aside, share[:, layer], "o", color=INK, markersize=2.6, markeredgewidth=0, alpha=0.45)
        whisker(axes, layer, percentile(drawn.draws(average, (share[:, layer],))), upright=True)
    axes.set_xticks(range(n) if n <= 16 else range(0, n, 4))
    axes.set(
        xlabel="layer (0 reads the input)",
        ylabel="share of pairs (%)",
        xlim=(-0.6, n - 0.4),
        ylim=(0, max(10, share.max() * 1.05)),
    )
    grid(axes, "y")
    return figure


def carriers(carried: Carried, names: Mapping[str, str]) -> Figure:
    """Which neurons carry which facts? `names` says what a relation is called. Raises BadSetting without neurons.

    Facts are rows, grouped by relation, and neurons columns, in order of layer and index. Of too many, relations are
    rows, and columns are the neurons that most facts have.

    >>> from engram.neurons import Neuron
    >>> carriers({"P36": [[Neuron(3, 187), Neuron(3, 99)], [Neuron(3, 187)]]}, {"P36": "capital"}).get_label()
    'Which neurons carry which facts'
    """
    uses: Counter[Neuron] = Counter(x for facts in carried.values() for own in facts for x in own)
    if not uses:
        raise BadSetting("no fact has a neuron: there is nothing to draw")
    draw = _pooled if sum(map(len, carried.values())) > _FACTS else _single
    return draw(carried, uses, names)


def _single(carried: Carried, uses: Counter[Neuron], names: Mapping[str, str]) -> Figure:
    column = {x: i for i, x in enumerate(sorted(uses))}
    of: dict[Neuron, set[str]] = {}
    for relation, facts in carried.items():
        for x in (x for own in facts for x in own):
            of.setdefault(x, set()).add(relation)
    rows = sum(map(len, carried.values()))
    shared = sum(len(r) > 1 for r in of.values())
    caption = (
        f"{rows:,} facts, grouped by relation, and their {len(column):,} neurons in order of layer and index. A "
        f"mark: this neuron is one of this fact's. {shared:,} neurons belong to facts of several relations, "
        f"{len(column) - shared:,} to those of one."
    )
    height = min(max(2.0, 0.2 * len(carried), 0.028 * rows), 9.0)
    figure = canvas(height, "Which neurons carry which facts", caption, left=2.0)
    axes = figure.axes[0]
    marks: dict[str, list[tuple[int, int]]] = {BLUE: [], VERMILLION: []}
    least = math.ceil(0.15 * rows / height)  # rows that the name of a relation takes
    sizes = [max(len(facts), least) for facts in carried.values()]
    for start, facts in zip(np.cumsum([0, *sizes]).tolist(), carried.values(), strict=False):
        for row, own in enumerate(facts, start):
            for x in own:
                marks[VERMILLION if len(of[x]) > 1 else BLUE].append((column[x], row))
    size = max(1.2, 72 * height / sum(sizes) * 0.9)
    for colour, places in marks.items():
        if places:
            axes.plot(
                *np.array(places).T, linestyle="none", marker="|", color=colour, markersize=size, markeredgewidth=1.6
            )
    _groups(axes, sizes, [names.get(r, r) for r in carried])
    _columns(axes, sorted(uses))
    legend(axes, [("of one relation", "s", BLUE), ("of several", "s", VERMILLION)])
    return figure


def _pooled(carried: Carried, uses: Counter[Neuron], names: Mapping[str, str]) -> Figure:
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    most = sorted(x for x, _ in sorted(uses.items(), key=lambda item: (-item[1], item[0]))[:_NEURONS])
    column = {x: i for i, x in enumerate(most)}
    share = np.zeros((len(carried), len(most)))
    for i, facts in enumerate(carried.values()):
        for x in (x for own in facts for x in own if x in column):
            share[i, column[x]] += 100 / len(facts)
    caption = (
        f"The share of each relation's facts that have the neuron. {sum(map(len, carried.values())):,} facts of "
        f"{len(carried)} relations; the {len(most):,} neurons that most facts have, of {len(uses):,}, in order of "
        "layer."
    )
    figure = canvas(max(2.0, 0.2 * len(carried)), "Which neurons carry which relations", caption, left=2.0, right=0.8)
    axes = figure.axes[0]
    shades = LinearSegmentedColormap.from_list("", [to_rgba(GREEN, alpha) for alpha in (0.0, 0.4, 1.0)])
    image = axes.imshow(share, aspect="auto", cmap=shades, vmin=0, interpolation="nearest")
    bar = figure.colorbar(image, cax=axes.inset_axes((1.015, 0, 0.02, 1)))
    bar.set_label("facts of the relation (%)", color=INK)
    bar.ax.tick_params(colors=INK, labelsize=8)
    _groups(axes, [1] * len(carried), [names.get(r, r) for r in carried])
    _columns(axes, most)
    return figure


def _groups(axes: Axes, sizes: Sequence[int], names: Sequence[str]) -> None:
    """Names of relations at the middle of their rows, and faint lines between them."""
    edges = np.cumsum([0, *sizes]) - 0.5
    for edge in edges[1:-1]:
        axes.axhline(edge, color=INK, alpha=0.18, linewidth=0.5)
    axes.set_yticks((edges[:-1] + edges[1:]) / 2, [_short(name) for name in names], fontsize=7.5)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(edges[-1], edges[0])


def _columns(axes: Axes, neurons: Sequence[Neuron]) -> None:
    """Names of layers at the middle of their columns, and lines between them."""
    sizes = Counter(x.layer for x in neurons)
    edges = np.cumsum([0, *(sizes[layer] for layer in sorted(sizes))]) - 0.5
    for edge in edges[1:-1]:
        axes.axvline(edge, color=INK, alpha=0.5, linewidth=0.8)
    room = {
        layer: sizes[layer] / len(neurons) for layer in sorted(sizes)
    }  # of the width; what is too narrow has no name
    names = [f"layer {i}\n{sizes[i]} neurons" if x > 1 / 12 else f"{i}" if x > 1 / 60 else "" for i, x in room.items()]
    axes.set_xticks((edges[:-1] + edges[1:]) / 2, names, fontsize=8)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(edges[0], edges[-1])


def conditions(effects: Sequence[Effect], names: Mapping[str, str]) -> Figure:
    """How far does P(answer) change under each condition? `names` says in words what each is."""
    caption = (
        "Left: P(answer), mean over prompts, before and after. Right: its change, (mean after − mean before) / "
        "mean before, over all prompts; thin strokes: single relations. Lines and brackets: 95 % intervals, facts "
        f"resampled. Grey: controls. {_range([e.facts for e in effects])} facts in "
        f"{_range([e.change.n for e in effects])} prompts under each condition."
    )
    title, ratios = "What becomes of the right answer", (1, 1.6)
    figure = canvas(0.6 * len(effects), title, caption, width_ratios=ratios, left=2.6, right=1.35)
    level, change = figure.axes
    for y, e in enumerate(effects):
        level.plot([e.before.value, e.after.value], [y, y], color=e.colour, linewidth=2, alpha=0.6)
        level.plot(e.before.value, y, "o", color=e.colour, markersize=6, markerfacecolor="none")
        level.plot(e.after.value, y, "o", color=e.colour, markersize=6)
        _bar(change, y, e.change, e.colour, 0.44)
        each = 100 * np.array([s.value for s in e.relations.values()])
        change.plot(each, np.full(len(each), y + 0.34), "|", color=e.colour, markersize=4, alpha=0.75)
        change.annotate(
            percent(e.change),
            (1.02, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8.5,
            color=INK,
            annotation_clip=False,
        )
    _room(change, [s for e in effects for s in (e.change, *(replace(r, interval=None) for r in e.relations.values()))])
    level.set_yticks(range(len(effects)), [_described(e.condition, names) for e in effects], fontsize=8)
    level.set(xlabel="P(answer)", xlim=(-0.03, 1.03), ylim=(len(effects) - 0.4, -0.6), xticks=[0, 0.5, 1])
    change.set_xlabel("change of P(answer) (%)")
    legend(level, [("before", "$○$", INK), ("after", "o", INK)])
    for axes in figure.axes:
        axes.tick_params(axis="y", length=0)
        grid(axes, "x")
    return figure


def by_relation(
    suppressed: tuple[Effect, Effect], amplified: tuple[Effect, Effect], names: Mapping[str, str]
) -> Figure:
    """The change of each relation, own neurons beside random ones: Dai et al. (2022), figures 4 and 5.

    Each pair is the effect and its control by chance; `names` says what a relation is called.
    """
    worst = sorted(suppressed[0].relations.items(), key=lambda item: item[1].value)
    order = [r for r, _ in worst] + [r for r in amplified[0].relations if r not in suppressed[0].relations]
    caption = (
        "Change of P(answer), (mean after − mean before) / mean before, of each relation. Coloured: the fact's own "
        "neurons; grey: as many random neurons of the same layers. Lines: 95 % intervals, facts resampled. "
        f"{len(order)} relations, {suppressed[0].facts:,} facts in {suppressed[0].change.n:,} prompts."
    )
    figure = canvas(
        max(1.2, 0.26 * len(order)), "Change of P(answer), relation by relation", caption, width_ratios=(1, 1), left=2.0
    )
    for axes, (own, chance), title in zip(
        figure.axes, (suppressed, amplified), ("suppressed", "amplified"), strict=True
    ):
        for y, relation in enumerate(order):
            for e, at in ((own, y - 0.17), (chance, y + 0.21)):
                if (score := e.relations.get(relation)) is not None:
                    _bar(axes, at, score, e.colour, 0.34)
        _room(axes, [s for e in (own, chance) for s in e.relations.values()])
        axes.set_xlabel("change of P(answer) (%)")
        axes.set_yticks(range(len(order)), [_short(names.get(r, r)) for r in order], fontsize=8)
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        legend(axes, [(title, "", own.colour), ("chance", "", chance.colour)])
        grid(axes, "x")
    return figure


def _bar(axes: Axes, y: float, score: Score, colour: str, height: float) -> None:
    axes.barh(y, 100 * score.value, height=height, color=colour)
    if score.interval is not None:
        whisker(axes, y, (100 * score.interval[0], 100 * score.interval[1]))


def _room(axes: Axes, scores: Sequence[Score]) -> None:
    """Limits that hold all scores and their intervals, and a line at no change."""
    values = 100 * np.array([0.0, *(v for s in scores for v in (s.value, *(s.interval or ())))])
    low, high = float(values.min()), float(values.max())
    wide = 0.05 * max(high - low, 4.0)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlim(low - wide, high + wide)


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _described(condition: str, names: Mapping[str, str]) -> str:
    return "\n".join([condition, *textwrap.wrap(names.get(condition, ""), 40)])


def _short(name: str) -> str:
    return name if len(name) <= 30 else name[:29].rstrip() + "…"
