"""Draw the pictures of docs/concepts: ``scripts/concepts --help``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import engram as eg
from engram.metrics import mean_of_ratios, ratio_of_means
from engram.models import value_slots
from engram.report import save
from engram.report.canvas import BLUE, GREEN, GREY, INK, ORANGE, VERMILLION, canvas, grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
PROMPT = eg.Prompt("The capital of Ireland is [Y].", "Dublin")
POINTS = 41  # of α
STRIPS = 20  # of the paper's sum
FACTS = 4  # of each relation
LOOKS = ((GREY, ":"), (ORANGE, "-."), (GREEN, "--"), (BLUE, "-"))  # of layers 0 to 3

Numbers = NDArray[np.float64]


def along(model: eg.Model, layer: int, alphas: Numbers) -> Numbers:
    """P(answer) where all neurons of this layer have α times their value at the mask, [α]."""
    whole = eg.NeuronSet.of((layer, i) for i in range(len(value_slots(model.layers[layer].down))))
    return np.array([eg.ask(model, PROMPT, under=eg.amplified(whole, by=float(a)))[0].probability for a in alphas])


def path(model: eg.Model) -> Figure:
    """P(answer) along each layer's joint path."""
    figure = canvas(
        3.0, "P(Dublin) along the joint path of each layer",
        f"engram:masked, {PROMPT.text!r}, {POINTS} points of α, float32, no sampling.", left=0.75,
    )  # fmt: skip
    (axes,) = figure.axes
    alphas = np.linspace(0, 1, POINTS)
    for layer, (colour, line) in enumerate(LOOKS):
        axes.plot(alphas, along(model, layer, alphas), color=colour, linestyle=line, label=f"layer {layer}")
    axes.set(xlabel="α: all neurons of the layer, at the mask, have α times their value", ylabel="P(Dublin)")
    axes.set(xlim=(0, 1), ylim=(0, None))
    axes.legend(frameon=False, loc="lower right")
    grid(axes, "y")
    return figure


def slope(model: eg.Model) -> Figure:
    """dP/dα in the last layer by central differences, and a strip for each term of the paper's sum."""
    figure = canvas(
        3.0, "The slope along the path of layer 3, and the paper's sum",
        f"engram:masked, {PROMPT.text!r}, float32; slope by central differences of 0.001. A strip is one of the "
        f"{STRIPS} terms, as high as the slope at its right end.",
        left=0.75,
    )  # fmt: skip
    (axes,) = figure.axes
    fine, step, last = np.linspace(0, 1, 2 * STRIPS + 1), 1e-3, len(model.layers) - 1
    rise = (along(model, last, fine + step) - along(model, last, np.maximum(fine - step, 0))) / (
        fine + step - np.maximum(fine - step, 0)
    )
    strips = {"width": 1 / STRIPS, "align": "edge", "color": ORANGE, "alpha": 0.35, "linewidth": 0.5}
    axes.bar(np.arange(STRIPS) / STRIPS, rise[2::2], edgecolor=INK, label="the paper's sum", **strips)
    axes.plot(fine, rise, color=BLUE, label="slope")
    axes.set(xlabel="α", ylabel="dP(Dublin)/dα", xlim=(0, 1), ylim=(0, None))
    axes.legend(frameon=False, loc="upper right")
    grid(axes, "y")
    return figure


def change(model: eg.Model) -> Figure:
    """Every prompt's relative change against its P before, with a fact's own neurons amplified, and two means."""
    experiment = eg.experiments.Suppression(eg.experiments.Neurons(facts=FACTS))
    facts = eg.data.shipped()
    rows = [r for c in experiment.cases(facts) for r in experiment.run(model, facts, c)["rows"]]
    rows = [r for r in rows if r["condition"] == "amplified"]
    before, after = (np.concatenate([np.asarray(r[when], float) for r in rows]) for when in ("before", "after"))
    figure = canvas(
        3.4, "Change of P(answer), prompt by prompt, with the fact's own neurons amplified",
        f"engram:masked, {len(rows)} facts of 29 relations, {len(before)} test prompts, seed 0; integrated gradients, "
        "rule gauss. A dot is a prompt; lines are the mean of ratios and the ratio of means.",
        width_ratios=[1.0], left=0.75,
    )  # fmt: skip
    (axes,) = figure.axes
    axes.plot(before, 100 * (after - before) / before, "o", markersize=3, color=GREY, alpha=0.6, markeredgewidth=0)
    for name, value, colour, line in (
        ("mean of ratios", mean_of_ratios(before, after), VERMILLION, "--"),
        ("ratio of means", ratio_of_means(before, after), BLUE, "-"),
    ):
        axes.axhline(100 * float(value), color=colour, linestyle=line, label=f"{name}: {100 * float(value):+.1f} %")
    axes.set(xlabel="P(answer) before", ylabel="change of P(answer), %", xlim=(0, 1))
    axes.legend(frameon=False, loc="upper right")
    grid(axes, "y")
    return figure


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(prog="scripts/concepts", description=__doc__)
    parser.add_argument("--to", type=Path, default=IMAGES, help="folder of the pictures")
    to = parser.parse_args(arguments).to
    model = eg.load()
    save(path(model), to / "concept-path.svg")
    save(slope(model), to / "concept-slope.svg")
    save(change(model), to / "concept-change.svg")


if __name__ == "__main__":
    main()
