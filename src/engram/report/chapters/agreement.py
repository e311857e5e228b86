"""Agreement: do knowledge neurons and causal tracing point to the same places?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...metrics.likeness import Pair, compared
from ...metrics.traced import rows_of
from ...results import Report, Score
from ...store import Run
from ..bars import number
from ..canvas import svg
from ..matrix import Matrix
from ..page import Folded, Part, Picture, Section
from ..tables import Table
from .base import Chapter, rest

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def chapter(run: Run, report: Report) -> Chapter:
    """From the rows of every fact and two methods."""
    figures: dict[str, Figure] = {}
    tops = report.settings["tops"]
    pairs = compared(run.results(), tops, seed=report.settings["seed"])
    names = list(dict.fromkeys(p.a for p in pairs))
    apart = [p for p in pairs if p.a != p.b]
    by_neuron = [p for p in apart if p.neurons is not None]
    facts, layers = report["facts"].n, len(run.manifest["model"]["widths"])
    how = report.settings["by"]
    about = (
        f"{facts:,} facts, one prompt each. Model: {run.manifest['model']['name']}, {layers} layers. Noise: "
        f"{how['noise']}, {how['samples']} samples. Intervals, in the table: 95 %, facts resampled."
    )
    neurons = Matrix(
        "Do methods rank the neurons alike?",
        f"Spearman's rank correlation over all {sum(run.manifest['model']['widths']):,} neurons, at the asked "
        f"position; mean over facts. {about}",
        [n for n in names if any(n in (p.a, p.b) for p in by_neuron)],
        {(p.a, p.b): p.neurons for p in by_neuron if p.neurons},
    )
    profiles = Matrix(
        "Do methods rank the layers alike?",
        "Spearman's rank correlation of profiles over layers; mean over facts. Of scores of neurons a layer's profile "
        "is the sum of the positive ones, of tracing (ffn, block) the effect at the asked token, or the largest at any."
        f" {about}",
        names, {(p.a, p.b): p.layers for p in apart if p.layers},
    )  # fmt: skip
    parts: list[Part] = [
        "Knowledge neurons are found where the answer is asked, by what the answer would lose without them; tracing "
        "asks what brings the answer back when the subject is corrupted. Ablation and mediation are exact: each neuron "
        "alone silenced, or restored.",
        _drawn(figures, "neurons", neurons), _neurons(by_neuron, tops, report),
        _drawn(figures, "layers", profiles), _coarse(report), _peaks(run, names),
        Folded(f"All {len(apart)} pairs of profiles", (_layers(apart),)),
    ]  # fmt: skip
    sections = (Section("What the methods agree on", parts),
                Section("Left out, and settings", tuple(rest(run, report))))  # fmt: skip
    asks = "Do knowledge neurons and causal tracing point to the same layers and neurons?"
    return Chapter("agreement", "Agreement of localisation methods", asks, sections, figures)


def _drawn(figures: dict[str, Figure], name: str, matrix: Matrix) -> Picture:
    figures[name] = figure = matrix.figure()
    return Picture(svg(figure), matrix.chart(), matrix.caption)


def _neurons(pairs: Sequence[Pair], tops: Sequence[int], report: Report) -> Table:
    rows = [
        [p.a, p.b, _number(p.neurons), *(_number(s, 100, 1) for s in p.shared), f"{p.neurons.n if p.neurons else 0:,}"]
        for p in pairs
    ]
    chance = [f"{100 * report[f'best {k} neurons: by chance'].value:.1f}" for k in tops]
    rows.append(["by chance", "", "0", *chance, ""])
    columns = ("method", "and", "rank correlation #", *(f"of the best {k} both name (%) #" for k in tops), "facts #")
    return Table("Single neurons, at the asked position", columns, rows)


def _layers(pairs: Sequence[Pair]) -> Table:
    rows = []
    for p in pairs:
        n = next((s.n for s in (p.layers, p.same_peak) if s is not None), 0)
        rows.append([p.a, p.b, _number(p.layers), _number(p.same_peak, 100, 1), f"{n:,}"])
    columns = ("method", "and", "rank correlation #", "same peak layer (% of facts) #", "facts #")
    return Table("Profiles over layers", columns, rows)


def _coarse(report: Report) -> str:
    return " ".join(f"{note[0].upper()}{note[1:]}." for note in report.notes)


def _peaks(run: Run, names: Sequence[str]) -> Table:
    found: dict[str, Counter[int]] = {name: Counter() for name in names}
    for row in rows_of(run.results()):
        if row["a"] == row["b"]:
            found[row["a"]][int(np.argmax(row["profile"]))] += 1
    rows = [[name, "; ".join(_shares(own)), f"{own.total():,}"] for name, own in found.items()]
    return Table("In which layer a fact's profile is largest: share of facts", ("method", "layers", "facts #"), rows)


def _shares(own: Counter[int]) -> Iterator[str]:
    for layer, n in own.most_common(4):
        yield f"L{layer} {100 * n / own.total():.0f} %"


def _number(score: Score | None, scale: float = 1, digits: int = 2) -> str:
    return "–" if score is None else number(score, scale, digits, signs=scale == 1)
