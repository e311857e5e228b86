"""Tracing: figures 1, 3 and 7 of Meng et al. (2022), from what a run kept of every prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...metrics.traced import Averages, Gathered, Key, called, peak, places, trace_of
from ...results import Report, Score
from ...store import Run
from ...traces import KINDS, turned
from .. import trace_words as words
from ..canvas import svg
from ..page import Folded, Part, Picture, Section
from ..tables import Table, signed
from ..tokens import readable
from ..trace_average import average_map
from ..trace_lines import Curve, lines, severed
from ..traces import heat_map, interactive
from .base import LISTED, Chapter, Row, names_of, rest, still

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAST = "last subject"
Curves = Mapping[Key, Mapping[str, Averages]]


def chapter(run: Run, report: Report) -> Chapter:
    """From the rows of every prompt and tracer."""
    figures: dict[str, Figure] = {}
    seed = report.settings["seed"]
    found = Gathered.of(run.results())
    every = found.curves(seed=seed)
    metric = next(iter(found.metric.values()))
    prompts = _prompts(run)
    median = sorted(prompts, key=lambda p: p.total)[len(prompts) // 2].rows(run)
    about = _about(run, report, median)
    panels = {kind: _curves(every[kind, ""]) for kind in KINDS if (kind, "") in every}
    parts: list[Part] = [
        _asked(report),
        _totals(report, list(every)),
        still(figures, "averages", lines(panels, metric=metric, about=about)),
        still(figures, "average-map", average_map(panels, metric=metric, about=about)),
        _peaks(found, every, report, seed),
    ]
    sections = [Section("Where facts come back", parts)]
    if any(key[1] for key in every):
        acts = [*_severed(figures, found, every, seed, about)]
        sections.append(Section("Through what a restored block acts", acts))
    sections += [
        Section("One fact, and each", [*_example(figures, run, median), _each(prompts, median[0]["kind"])]),
        Section("Left out, and settings", tuple(rest(run, report))),
    ]
    asks = "At which tokens, and in which layers, does the answer come back when one site is restored?"
    return Chapter("tracing", "Causal tracing", asks, sections, figures)


def _about(run: Run, report: Report, rows: Sequence[Row]) -> str:
    """What the numbers rest on, in a line; `rows` are those of one prompt."""
    first = report.settings["by"][0]
    widths = dict.fromkeys((row["kind"], row["window"]) for row in rows if row["kind"] != "block")
    windows = ", ".join(f"{words.NAMES[kind]} {n}" for kind, n in widths)
    together = f" Layers restored together: {windows}." if windows else ""
    samples = f"{rows[0]['samples']} samples, rng {first['rng']}, seed {first['seed']}"
    return (
        f"Model: {run.manifest['model']['name']} ({run.manifest['model']['dtype']}). Noise: {first['noise']}, "
        f"{samples if rows[0]['samples'] > 1 else 'one sample'}.{together}"
    )


def _asked(report: Report) -> str:
    kept = "all answered first by the model" if report.settings["known_only"] else "whether or not the model knows them"
    return (
        f"{report['facts'].n:,} facts in {report['prompts'].n:,} prompts, {kept}. The embeddings of the subject's "
        "tokens are corrupted; then one token in one layer, or in a few layers together, is given what it was in the "
        "clean run. The effect is how much of the answer that brings back: restored minus corrupted. A fact counts "
        "once, however many prompts and tokens it has. Intervals draw facts anew (95 %)."
    )


def _totals(report: Report, keys: Sequence[Key]) -> Table:
    names = ("clean", "corrupted", "total effect", "largest effect anywhere",
             "largest effect at the last subject token", "largest effect at the asked token")  # fmt: skip
    rows = []
    for key in keys:
        scores = [report[f"{called(key)}: {name}"] for name in names]
        rows.append([_called(key), *map(_number, scores), f"{scores[0].n:,}"])
    columns = ("restored", "clean #", "corrupted #", "total effect #", "largest, anywhere #",
               "at the last subject token #", "at the asked token #", "facts #")  # fmt: skip
    unit = report[f"{called(keys[0])}: clean"].unit
    return Table(f"The answer, and the largest effect of a prompt ({unit}; means over facts)", columns, rows)


def _curves(each: Mapping[str, Averages]) -> list[Curve]:
    return [Curve(a.category, a.mean, a.low, a.high, a.facts, a.prompts) for a in each.values()]


def _peaks(found: Gathered, every: Curves, report: Report, seed: int) -> Table:
    parts = found.curves(normalised=True, seed=seed)
    known = {s.name: s for s in report.scores}
    rows = []
    for key, each in every.items():
        for name, a in each.items():
            part, start = parts[key][name], f"{called(key)}: {name}"
            said = ["0", "–", "–"]
            if (largest := known.get(f"{start}: largest mean")) is not None:
                layer = peak(a, found.metric[key])
                said = [_number(largest), _layer(known[f"{start}: its layer"]), _share(part, layer)]
            counts = (a.facts, part.left_out, a.prompts, a.tokens)
            rows.append([_called(key), name, *said, *(f"{n:,}" for n in counts)])
    columns = ("restored", "tokens", "largest mean effect #", "its layer #", "% of the total effect #", "facts #",
               "without a total effect #", "prompts #", "tokens of this kind #")  # fmt: skip
    caption = "Each category of tokens: the largest mean effect over layers, with the interval of that layer"
    return Table(caption, columns, rows)


def _severed(figures: dict[str, Figure], found: Gathered, every: Curves, seed: int, about: str) -> Iterator[Part]:
    cut = [key for key in every if key[1]]
    kind = cut[0][0]
    curves = {part: _curves({LAST: every[kind, part][LAST]})[0] for part in ("", *(key[1] for key in cut))}
    metric = found.metric[kind, ""]
    yield still(figures, "severed", severed(
        curves[""], ffn=curves.get("ffn"), attention=curves.get("attention"), metric=metric, about=about,
    ))  # fmt: skip
    rows = []
    for key in cut:
        if (lost := found.lost(key, LAST, seed=seed)) is None:
            continue
        for layer in range(len(lost.mean)):
            rows.append([
                _called(key), str(layer), *(_band(a, layer) for a in (every[kind, ""][LAST], every[key][LAST], lost)),
                f"{lost.facts:,}",
            ])  # fmt: skip
    columns = ("severed", "layer restored #", "ordinary #", "severed: effect #", "lost #", "facts #")
    table = Table(f"Effect at the {LAST} token, and what severing takes of it (paired, fact by fact)", columns, rows)
    yield table if len(rows) <= 12 else Folded("Each layer", (table,))


@dataclass(frozen=True, slots=True)
class _Asked:
    """One prompt, by the first tracer: where it lies in the run, its total effect, and its line in the table."""

    shard: int
    which: tuple[int, int | None]
    total: float
    line: Sequence[str]

    def rows(self, run: Run) -> list[Row]:
        """Of every tracer."""
        return [row for row in run.result(self.shard)["rows"] if _which(row) == self.which]


def _prompts(run: Run) -> list[_Asked]:
    names = names_of(run)
    found: list[_Asked] = []
    for shard, result in enumerate(run.results()):
        seen: set[tuple[int, int | None]] = set()
        for row in result["rows"]:
            if (which := _which(row)) not in seen:
                seen.add(which)
                total = turned(row["metric"]) * (row["clean"] - row["corrupted"])
                found.append(_Asked(shard, which, total, _line(row, names) if len(found) < LISTED else ()))
    return found


def _which(row: Row) -> tuple[int, int | None]:
    return row["number"], row["template"]


def _line(row: Row, names: Mapping[str, str]) -> Sequence[str]:
    effect = np.array(row["effect"]).reshape(len(row["tokens"]), -1)
    token, layer = np.unravel_index(int(np.argmax(turned(row["metric"]) * effect)), effect.shape)
    category = next(name for name, own in reversed(places(row).items()) if int(token) in own)
    numbers = (row["clean"], row["corrupted"], row["clean"] - row["corrupted"], float(effect[token, layer]))
    return [
        names[row["relation"]], f"{row['subject']} → {row['answer']}\n{row['prompt']}", *map(words.short, numbers),
        f"{readable(row['tokens'])[int(token)]} ({category})", str(layer),
    ]  # fmt: skip


def _example(figures: dict[str, Figure], run: Run, rows: Sequence[Row]) -> Iterator[Part]:
    """One prompt by every tracer, to look into."""
    fact = f"⟨{rows[0]['subject']}, {names_of(run)[rows[0]['relation']]}, {rows[0]['answer']}⟩"
    yield f"{fact}, whose total effect is the median of all prompts."
    said = {"model": run.manifest["model"]["name"], "dtype": run.manifest["model"]["dtype"]}
    for row, how in zip(rows, run.manifest["settings"]["by"], strict=True):
        trace = trace_of(row, {**said, "rng": how["rng"], "answers": how["answers"]})
        name = f"example-{row['kind']}" + (f"-without-{row['severed']}" if row["severed"] else "")
        figures[name] = figure = heat_map(trace)
        yield Picture(svg(figure), interactive(trace), words.caption(trace, still=False))


def _each(prompts: Sequence[_Asked], kind: str) -> Folded:
    rows = [p.line for p in prompts[:LISTED]]
    columns = ("relation", "fact", "clean #", "corrupted #", "total effect #", "largest #", "at", "layer #")
    line = f"All {len(prompts):,} prompts" if len(rows) == len(prompts) else f"The first {LISTED} of {len(prompts):,}"
    return Folded(line, (Table(f"Each prompt, and its largest effect ({kind} restored)", columns, rows),))


def _called(key: Key) -> str:
    kind: Any = key[0]
    other: Any = key[1]
    return words.NAMES[kind] + (f", {words.NAMES[other]} severed" if other else "")


def _band(a: Averages, layer: int) -> str:
    ends = float(a.low[layer]), float(a.high[layer])
    interval = ends if np.isfinite(ends).all() else None
    return _number(Score("", float(a.mean[layer]), a.facts, "", interval=interval))


def _number(score: Score, digits: int | None = None) -> str:
    """With as many decimals as the number needs, with its interval."""

    def shown(x: float) -> str:
        return words.short(x) if digits is None else signed(x, digits).removeprefix("+")

    around = "" if score.interval is None else f" [{shown(score.interval[0])}, {shown(score.interval[1])}]"
    return shown(score.value) + around


def _layer(score: Score) -> str:
    around = "" if score.interval is None else f" [{score.interval[0]:.0f}, {score.interval[1]:.0f}]"
    return f"{score.value:.0f}{around}"


def _share(part: Averages, layer: int) -> str:
    ends = 100 * float(part.low[layer]), 100 * float(part.high[layer])
    interval = ends if np.isfinite(ends).all() else None
    return _number(Score("", 100 * float(part.mean[layer]), part.facts, "%", interval=interval), 1)
