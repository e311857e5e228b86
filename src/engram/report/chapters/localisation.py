"""Localisation: tables 8 and 9, and figure 5, of Niu et al. (2024): facts and syntax side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...metrics.levels import LEVELS, kinds, levels
from ...results import Report, Score
from ...store import Run
from ..anchors import anchors
from ..bars import number
from ..canvas import BLUE, INK, VERMILLION, canvas, grid, legend, whisker
from ..page import Folded, Part, Section
from ..tables import Table
from .base import Chapter, names_of, rest, still

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"facts": BLUE, "syntax": VERMILLION}
CALLED = {"neurons": "refined neurons, |KN|", "share": "share of prompts, τ", "r1": "likeness of maps, R1²"}
DIGITS = {"neurons": 2, "share": 3, "r1": 3}
MARKS = {"bert-base-cased": "D", "gpt2": "s"}
HOLLOW = {"bert-base-cased": "◇", "gpt2": "□"}  # the same, in the legend
SHOWN = {"bert-base-cased": "BERT-base", "gpt2": "GPT-2"}
Row = tuple[str, str, Mapping[str, Score], str]  # what it is called, its kind, its levels, its relation ("": all)


def chapter(run: Run, report: Report) -> Chapter:
    """From the levels of every set."""
    figures: dict[str, Figure] = {}
    found = [row for result in run.results() for row in result["rows"]]
    seed = report.settings["seed"]
    over = kinds(found, seed=seed)
    names = names_of(run)
    rows: list[Row] = []
    for kind in COLOURS:
        own = [each for each in levels(found, seed=seed) if each.kind == kind]
        if own:
            rows.append((f"{kind}: mean of {len(own)}", kind, over[kind], ""))
            rows += [(names[each.relation], kind, each.scores, each.relation) for each in own]
    paper = anchors("niu2024", "localisation")
    parts: list[Part] = [_asked(len(found)), still(figures, "localisation", _panels(rows, paper, len(found)))]
    parts += [_over(over, paper), _all(rows, report)]
    sections = [
        Section("How localised are facts, and syntax?", parts),
        Section("As published", _published(paper)),
        Section("Left out, and settings", tuple(rest(run, report))),
    ]
    asks = "Is syntax as localised as facts are, by the measures that were meant for facts?"
    return Chapter("localisation", "Levels of localisation", asks, sections, figures)


def _asked(sets: int) -> str:
    return (
        f"{sets:,} sets of prompts: a fact in its templates, or sentences in which the same agreement is asked. Of "
        "each set: how many neurons are among the highest in most of its prompts (|KN|: above 0.2 of the peak, in more "
        "than 0.7 of the prompts, unless settings say otherwise); at which share of the prompts there are two "
        "to five (τ); and how alike in direction the prompts' maps of scores are (R1²: 1 if all are parallel, 0 if "
        "each is orthogonal to every other). Higher numbers mean more in common, in all three. The prompts of a fact, "
        "and of a determiner with a noun, ask for one word; those of other agreements ask for several words of one "
        "number or gender, and have less in common for that alone."
    )


def _panels(rows: Sequence[Row], paper: Mapping[str, Any], sets: int) -> Figure:
    """A panel for each level, a row for each relation; those of syntax below those of facts."""
    caption = (
        f"Means over sets ({sets:,} in all). Lines: 95 % intervals, sets resampled. Bold: means over relations. Open "
        "marks: Niu et al. (2024), tables 8 and 9, of other models and other data."
    )
    left = 0.35 + 0.068 * max(len(_cut(name)) for name, *_ in rows)
    figure = canvas(max(1.2, 0.19 * len(rows)), "Facts and syntax, three levels of localisation", caption,
                    width_ratios=(1, 1, 1), left=left)  # fmt: skip
    for axes, level in zip(figure.axes, LEVELS, strict=True):
        for y, (_, kind, scores, relation) in enumerate(rows):
            _drawn(axes, y, scores.get(level), kind, bold=not relation)
            for model, value in _anchored(paper, kind, relation, level).items():
                axes.plot(value, y, MARKS[model], color=INK, markerfacecolor="none", markersize=4.5, zorder=6)
        axes.set(xlabel=CALLED[level], ylim=(len(rows) - 0.4, -0.6))
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(left=0, right=max(1.03, axes.get_xlim()[1]) if level == "neurons" else 1.03)
        grid(axes, "x")
        if level != "neurons":
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        border = next((y for y, (_, kind, *_) in enumerate(rows) if kind == "syntax"), 0)
        axes.axhline(border - 0.5, color=INK, linewidth=0.8 if border else 0, alpha=0.5)
    first = figure.axes[0]
    first.set_yticks(range(len(rows)), [_cut(name) for name, *_ in rows], fontsize=8)
    for label, (*_, relation) in zip(first.get_yticklabels(), rows, strict=True):
        label.set_fontweight("normal" if relation else "bold")
    shown = [k for k in COLOURS if any(kind == k for _, kind, *_ in rows)]
    published = [(f"{SHOWN[model]} (published)", f"${mark}$", INK) for model, mark in HOLLOW.items()]
    legend(figure.axes[-1], [*((k, "o", COLOURS[k]) for k in shown), *published])
    return figure


def _drawn(axes: Axes, y: float, score: Score | None, kind: str, *, bold: bool) -> None:
    if score is None:
        return
    axes.plot(score.value, y, "o", color=COLOURS[kind], markersize=6.5 if bold else 4.5, zorder=5, clip_on=False)
    whisker(axes, y, score.interval)


def _anchored(paper: Mapping[str, Any], kind: str, relation: str, level: str) -> dict[str, float]:
    """What was published of this row, by model: of facts the mean over relations only, for the rows are scrambled."""
    if kind == "facts":
        return {m: own[level] for m, own in paper["facts"].items()} if not relation else {}
    return {m: own[relation][level] for m, own in paper["syntax"].items() if relation in own}


def _over(over: Mapping[str, Mapping[str, Score]], paper: Mapping[str, Any]) -> Table:
    rows = []
    for kind in (*COLOURS, "difference"):
        if kind not in over:
            continue
        called = "syntax − facts" if kind == "difference" else kind
        signs = kind == "difference"
        cells = [
            number(s, digits=DIGITS[level], signs=signs) if (s := over[kind].get(level)) else "–" for level in LEVELS
        ]
        rows.append([called, *cells, f"{max(s.n for s in over[kind].values()):,}"])
    for model, own in paper["facts"].items():
        values = [f"{own[level]:.{DIGITS[level]}f}" for level in LEVELS]
        rows.append([f"facts, {SHOWN[model]} (published)", *values, f"{paper['relations']} relations"])
    columns = ("of", *(f"{CALLED[level]} #" for level in LEVELS), "sets #")
    return Table("Means over relations, with 95 % intervals over sets; published ones are of ParaRel", columns, rows)


def _all(rows: Sequence[Row], report: Report) -> Folded:
    kept = {s.name.removesuffix(": kept"): s for s in report.scores if s.name.endswith(": kept")}
    told = []
    for name, kind, scores, relation in rows:
        cells = [number(s, digits=DIGITS[level]) if (s := scores.get(level)) else "–" for level in LEVELS]
        asked = f"{kept[relation].value * kept[relation].n:.0f} of {kept[relation].n:,}" if relation in kept else "–"
        told.append([name, kind, *cells, f"{max((s.n for s in scores.values()), default=0):,}", asked])
    columns = ("relation or paradigm", "kind", *(f"{CALLED[level]} #" for level in LEVELS), "sets #",
               "sentences of one token #")  # fmt: skip
    return Folded(f"Every relation and paradigm: {sum(bool(r) for *_, r in rows)}", (
        Table("Means over sets, with 95 % intervals over sets", columns, told),))  # fmt: skip


def _published(paper: Mapping[str, Any]) -> list[Part]:
    """Table 8, and what of table 9 can be used."""
    rows = []
    for model, own in paper["syntax"].items():
        for paradigm, values in own.items():
            rows.append([SHOWN[model], paradigm.replace("_", " "), *(f"{values[level]:.2f}" for level in LEVELS)])
    for model, values in paper["facts"].items():
        rows.append([SHOWN[model], f"facts: mean of {paper['relations']} relations of ParaRel",
                     *(f"{values[level]:.3g}" for level in LEVELS)])  # fmt: skip
    columns = ("model", "paradigm", *(f"{CALLED[level]} #" for level in LEVELS))
    return [paper["warning"], Table("Tables 8 and 9 of Niu et al. (2024)", columns, rows)]


def _cut(name: str) -> str:
    return name if len(name) <= 40 else name[:39].rstrip() + "…"
