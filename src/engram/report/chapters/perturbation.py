"""Perturbation: noise in the word embeddings, where they are read, where words are scored, and in both (Wen & Bai)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...metrics.tried import BY_RELATION, Tried, perturbed
from ...results import Report, Score
from ...store import Run
from ..bars import number
from ..canvas import BLUE, INK, ORANGE
from ..curves import Line, curves
from ..page import Part, Section
from ..tables import Table, signed
from .base import Chapter, rest, still

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"input": BLUE, "output": ORANGE, "both": INK}
CALLED = {"input": "where words are read (input)", "output": "where words are scored (output)", "both": "both"}
PUBLISHED = (("GPT-2", "0.03", "0.26", 0.1050, -0.0951), ("BERT-base-uncased", "0.01", "0.25", 0.1411, -0.0051))
CLEAN = "clean"


def chapter(run: Run, report: Report) -> Chapter:
    """From the rows of every prompt."""
    figures: dict[str, Figure] = {}
    settings = report.settings
    conditions = (CLEAN, *(name for _, _, name in _tried(settings)))
    tried = Tried.of(run.results(), conditions, seed=settings["seed"])
    first = next(r for r in run.results() if r["rows"])
    parts: list[Part] = [_asked(report, first)]
    if len(settings["sizes"]) > 1:
        parts.append(still(figures, "perturbation", _curve(tried, run, report)))
    parts += [_each(report, first), *_apart(report), _published(report, first)]
    sections = (Section("What noise in the embeddings does", parts),
                Section("Left out, and settings", tuple(rest(run, report))))  # fmt: skip
    asks = "What becomes of the answer when there is noise in the word embeddings, and in which use of them?"
    return Chapter("perturbation", "Noise in the word embeddings", asks, sections, figures)


def _tried(settings: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    """Every place and size, and what the two are called."""
    for place in settings["where"]:
        for size in settings["sizes"]:
            yield place, size, perturbed(place, size, settings["unit"])


def _asked(report: Report, first: Mapping[str, Any]) -> str:
    s, table = report.settings, first["tables"]["input"]
    draws = f"{s['samples']} draw{'' if s['samples'] == 1 else 's'} of noise"
    whose = "the same for all facts" if s["tables"] == "shared" else "anew for every fact"
    tied = (
        "This model has one table for both, as GPT-2 and BERT have"
        if first["tied"]
        else "This model has a table for each"
    )
    return (
        f"{report['facts'].n:,} facts in {report['prompts'].n:,} prompts. Gaussian noise for a whole table of word "
        f"embeddings ({' × '.join(f'{n:,}' for n in table['shape'])}; σ {table['sigma']:.3g}, mean absolute value "
        f"{table['mean']:.3g}) is added where words are read, where they are scored, or in both; no weight is written. "
        f"{tied}. {draws}, {whose}, shared by all places and sizes up to scale. Means are over facts, intervals draw "
        "facts anew (95 %), and not the noise: how far means differ from draw to draw is beside them."
    )


def _curve(tried: Tried, run: Run, report: Report) -> Figure:
    settings, found = report.settings, tried.probability()
    at = {name: i for i, name in enumerate(tried.conditions)}
    lines = []
    for place in settings["where"]:
        index = np.array([0, *(at[name] for where, _, name in _tried(settings) if where == place)])
        y, low, high = (x[index] for x in (found.mean, found.low, found.high))
        lines.append(Line(place, COLOURS[place], (0, *settings["sizes"]), y, low, high))
    model = run.manifest["model"]
    caption = (
        f"Mean P(answer) over {report['facts'].n:,} facts in {report['prompts'].n:,} prompts, with noise where "
        "words are read (input), where they are scored (output), and in both. "
        f"{_draws(settings)} Model: {model['name']}."
    )
    unit = {"sigma": "σ of the table", "absolute": "as numbers of the table"}.get(settings["unit"], "× as published")
    return curves(lines, "The answer under noise in the word embeddings", caption,
                  x=f"standard deviation of the noise ({unit})", y="P(answer)",
                  ticks=_apart_enough((0, *settings["sizes"])))  # fmt: skip


def _draws(settings: Mapping[str, Any]) -> str:
    n = settings["samples"]
    return f"{n} draw{'' if n == 1 else 's'} of noise, the same in all three." if len(settings["where"]) == 3 else ""


def _apart_enough(sizes: tuple[float, ...]) -> list[float]:
    """Those of the sizes whose labels do not run into each other."""
    kept = [sizes[0]]
    for size in sizes[1:]:
        if size - kept[-1] >= 0.05 * sizes[-1]:
            kept.append(size)
    return kept


def _each(report: Report, first: Mapping[str, Any]) -> Table:
    known = {s.name: s for s in report.scores}
    facts = f"{report['facts'].n:,}"
    clean = [_number(known.get(f"{CLEAN}: {name}"), *how) for name, how in _HOW.items()]
    rows = [["as it is", "0", *clean, "–", facts]]
    sizes = {place: first["sizes"]["output" if place == "output" else "input"] for place in report.settings["where"]}
    for place, size, name in _tried(report.settings):
        absolute = sizes[place][report.settings["sizes"].index(size)]
        cells = [_number(known.get(f"{name}: {what}"), *how) for what, how in _HOW.items()]
        spread = known.get(f"{name}: standard deviation of the change over draws")
        between = "–" if spread is None else f"{100 * spread.value:.1f}"
        called = CALLED[place] + "\n" + name.partition(", ")[2]
        rows.append([called, f"{absolute:.3g}", *cells, between, facts])
    columns = ("noise in the table", "its σ, absolute #", "P(answer) #", "accuracy (%) #", "change (points) #",
               "mean over relations (points) #", "relative (%) #", "sd over draws (points) #", "facts #")  # fmt: skip
    return Table("P(answer) under noise; changes are against the model as it is", columns, rows)


_HOW = {
    "P(answer)": (1.0, 3, False), "accuracy": (100.0, 1, False), "change": (100.0, 1, True),
    "change" + BY_RELATION: (100.0, 1, True), "relative change": (100.0, 1, True),
}  # fmt: skip


def _number(score: Score | None, scale: float, digits: int, signs: bool) -> str:
    return "–" if score is None else number(score, scale, digits, signs=signs)


def _apart(report: Report) -> Iterator[Part]:
    end = " minus input: P(answer)"
    rows = [
        [s.name.removesuffix(end).partition(", ")[2], number(s, 100, 1, signs=True), f"{s.n:,}"]
        for s in report.scores
        if s.name.endswith(end)
    ]
    if rows:
        caption = "P(answer) with noise in the output less with the same noise in the input (paired, fact by fact)"
        yield Table(caption, ("size", "difference (points) #", "facts #"), rows)


def _published(report: Report, first: Mapping[str, Any]) -> Table:
    known = {s.name: s for s in report.scores}
    rows = [
        [f"Wen & Bai: {who}", f"{size} ({part} of the mean absolute value)", f"{base:.4f}", signed(100 * change, 2),
         signed(100 * change / base)]
        for who, size, part, base, change in PUBLISHED
    ]  # fmt: skip
    base = known[f"{CLEAN}: P(answer){BY_RELATION}"]
    sizes = dict(zip(report.settings["sizes"], first["sizes"]["input"], strict=True))
    for place, size, name in _tried(report.settings):
        if place == "both":
            change, relative = known[f"{name}: change{BY_RELATION}"], known.get(f"{name}: relative change")
            part = f"{sizes[size] / first['tables']['input']['mean']:.2f} of the mean absolute value"
            cells = (number(base, 1, 4), number(change, 100, 2, signs=True), _number(relative, 100, 1, True))
            rows.append([f"here, {name.partition(', ')[2]}", f"{sizes[size]:.3g} ({part})", *cells])
    columns = ("model", "size of the noise #", "P(answer) #", "change (points) #", "relative (%) #")
    caption = (
        "Beside what was published: noise in both tables, means over relations. Theirs are other models on other "
        "facts, and have no intervals"
    )
    return Table(caption, columns, rows)
