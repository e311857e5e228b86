"""What `engram trace` found, for people and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from . import _show
from ._show import APART, NUMBER, TEXT, WORD, number

if TYPE_CHECKING:
    from ..models import Model
    from ..results import Floats
    from ..traces import Kind, Trace

LONGEST = 20  # columns of a token
SHADES: dict[Kind, tuple[int, ...]] = {  # of the 256 colours that terminals have, from light to deep
    "block": (225, 183, 141, 98, 55), "ffn": (194, 157, 114, 71, 22), "attention": (224, 217, 210, 167, 88),
}  # fmt: skip
DARK = 3  # the shade from which on letters are white
UNITS = {
    "clean": "the metric (unit: see each trace) in the clean run",
    "corrupted": "the metric with the subject corrupted, mean over samples",
    "total": "clean - corrupted",
    "effect": "[token][layer]: the metric with the site as in the clean run, minus corrupted, mean over samples",
    "spread": "[token][layer]: standard deviation of the effect over samples; null where there is one",
    "windows": "[layer]: the first layer restored and the one behind the last",
    "subject": "the first token corrupted and the one behind the last",
    "at": "the number of the token that answers",
    "best": "the largest effect (of ranks, where 1 is best, the lowest); last_subject: at the last token corrupted",
}


@dataclass(frozen=True)
class Traced:
    """Traces of one prompt or of a fact in several, of so many `kinds` each."""

    model: Model
    found: tuple[Trace, ...]
    kinds: int
    out: Path | None = None

    def lines(self) -> None:
        """Print it for people."""
        first = self.found[0]
        one = len(self.found) == self.kinds
        fact = first.prompt.fact
        _show.line(first.prompt.text if one else f"{fact} in {len(self.found) // self.kinds} templates")
        _show.line(f"asked of {self.model.name}")
        if one:
            _show.line()
            _runs(first)
        for i in range(self.kinds):
            _show.line()
            own = self.found[i :: self.kinds]
            _one(own[0]) if one else _several(own)
        _show.line()
        _rest(self.found)
        if self.out is not None:
            _show.line()
            _show.line(f"The picture: {self.out.resolve()}")

    def document(self) -> None:
        """Print it as JSON."""
        first = self.found[0]
        _show.document(
            "trace",
            model=_show.about(self.model),
            method=first.method,
            units=UNITS,
            fact=None if first.prompt.fact is None else str(first.prompt.fact),
            traces=[_plain(t) for t in self.found],
            picture=None if self.out is None else str(self.out),
        )


def _runs(trace: Trace) -> None:
    from ..report.tokens import readable
    from ..traces import unit

    first, end = trace.subject
    columns = [("answer", WORD), ("corrupted tokens", TEXT), (f"clean ({unit(trace.metric)})", NUMBER),
               ("corrupted", NUMBER), ("total effect", NUMBER), ("samples", NUMBER)]  # fmt: skip
    values = map(number, (trace.clean, trace.corrupted, trace.total))
    tokens = " ".join(readable(trace.tokens)[first:end])
    _show.table(columns, [(trace.answer.strip(), tokens, *values, trace.samples)])


def _one(trace: Trace) -> None:
    from ..report.trace_words import effect_on, restored

    exponent, digits = _written(trace.effect)
    times = f", times 10^{-exponent}" if exponent else ""
    _show.line(f"{restored(trace)}: {effect_on(trace)}{times}, at each token and layer")
    _show.line()
    _map(trace, exponent, digits)
    _show.line()
    best, last = _best(trace)
    _show.line(f"largest: {_said(trace, *best)}; at the last subject token: {_said(trace, *last)}")


def _several(found: Sequence[Trace]) -> None:
    """A row for each prompt."""
    from ..report.tokens import readable
    from ..report.trace_words import restored
    from ..traces import unit

    first = found[0]
    columns = [("template", NUMBER), ("prompt", TEXT), (f"clean ({unit(first.metric)})", NUMBER), ("corrupted", NUMBER),
               ("total effect", NUMBER), ("largest", NUMBER), ("token", WORD), ("layer", NUMBER),
               ("last subject", NUMBER), ("layer", NUMBER)]  # fmt: skip
    rows = []
    for t in found:
        best, last = _best(t)
        row: list[object] = [t.prompt.template, t.prompt.text, *map(number, (t.clean, t.corrupted, t.total))]
        row += [number(float(t.effect[best])), readable(t.tokens)[best[0]], f"L{best[1]}"]
        rows.append([*row, number(float(t.effect[last])), f"L{last[1]}"])
    _show.line(f"{restored(first)}: the largest effects, anywhere and at the last subject token")
    _show.line()
    _show.table(columns, rows)


def _rest(found: Sequence[Trace]) -> None:
    """Windows cut short, notes, settings: of all traces."""
    from ..report.trace_words import clipped, width

    cut_short: dict[tuple[int, str], list[str]] = {}
    for trace in found:
        if short := clipped(trace):
            kinds = cut_short.setdefault((width(trace), _ranges(short)), [])
            kinds.extend([trace.kind] if trace.kind not in kinds else [])
    for (layers, where), kinds in cut_short.items():
        _show.line(f"windows of {' and '.join(kinds)}: {layers} layers; fewer around {where}, cut short at the ends")
    for note in dict.fromkeys(n for t in found for n in t.notes):
        _show.line(f"note: {note}")
    first = found[0]
    same = {k: v for k, v in first.settings.items() if k not in ("kind", "window", "model") and v not in (None, (), [])}
    _show.entries([(first.method, ", ".join(f"{k} {v}" for k, v in {**same, "seed": first.seed}.items()))])


def _ranges(layers: Sequence[int]) -> str:
    """Layers that follow each other together.

    >>> _ranges([0, 1, 2, 5, 7, 8])
    'L0-L2, L5, L7-L8'
    """
    parts: list[list[int]] = []
    for i in layers:
        if parts and parts[-1][-1] == i - 1:
            parts[-1].append(i)
        else:
            parts.append([i])
    return ", ".join(f"L{p[0]}" + (f"-L{p[-1]}" if len(p) > 1 else "") for p in parts)


def _map(trace: Trace, exponent: int, digits: int) -> None:
    """Tokens down, layers across, in as many pieces as the terminal needs; shaded where it has colours."""
    from rich.console import Console
    from rich.text import Text

    from ..report.tokens import readable
    from ..report.trace_words import cut, gain

    console = Console()
    room = console.width if console.is_terminal else None
    coloured = console.color_system in ("256", "truecolor") and not console.no_color
    first, end = trace.subject
    tokens = [cut(t, LONGEST) + "*" * (first <= i < end) for i, t in enumerate(readable(trace.tokens))]
    side = max(Text(t).cell_len for t in tokens)
    cells = [[_cell(float(x), exponent, digits) for x in row] for row in trace.effect]
    shades = _shades(gain(trace)) if coloured else np.full(trace.effect.shape, -1)
    layers = trace.effect.shape[1]
    width = max(len(f"L{layers - 1}"), *(len(c) for row in cells for c in row))
    fit = layers if room is None else max(1, (room - side) // (width + len(APART)))
    for begin in range(0, layers, fit):
        shown = range(begin, min(layers, begin + fit))
        if begin:
            _show.line()
        head = " " * side + "".join(f"{APART}{f'L{i}':>{width}}" for i in shown)
        _show.line(typer.style(head, dim=True))
        for i, token in enumerate(tokens):
            row = "".join(APART[:1] + _shaded(f" {cells[i][k]:>{width}}", shades[i, k], trace.kind) for k in shown)
            _show.line(token + " " * (side - Text(token).cell_len) + row)


def _shaded(text: str, shade: int, kind: Kind) -> str:
    if shade < 0:
        return text
    return typer.style(text, bg=SHADES[kind][shade], fg=231 if shade >= DARK else 16)


def _shades(values: Floats) -> Any:
    """Which of the shades has each value? −1, none, below a twentieth of the largest."""
    most = float(values.max())
    part = values / most if most > 0 else np.zeros_like(values)
    return np.where(part < 0.05, -1, np.minimum((part * 5).astype(int), 4))


def _written(effect: Floats) -> tuple[int, int]:
    """How effects are shown: in which power of ten (0, unless three decimals would show nothing), with what decimals.

    >>> _written(np.array([0.3, -0.1])), _written(np.array([2.1e-6])), _written(np.array([-88.0]))
    ((0, 3), (-6, 3), (0, 1))
    """
    most = float(np.abs(effect).max())
    exponent = 0 if most == 0 or most >= 0.01 else math.floor(math.log10(most))
    return exponent, 3 if most < 10 else 1 if most < 1000 else 0


def _cell(x: float, exponent: int, digits: int) -> str:
    """What is 0 without decimals is known to be nothing, and not rounded.

    >>> _cell(0.12345, 0, 3), _cell(-12.5, 0, 1), _cell(2.1e-6, -6, 3), _cell(0.0, 0, 3), _cell(-1e-9, 0, 3)
    ('0.123', '-12.5', '2.100', '0', '0.000')
    """
    text = f"{x / 10**exponent:.{digits}f}"
    return "0" if x == 0 else text if float(text) else text.removeprefix("-")


def _best(trace: Trace) -> tuple[tuple[int, int], tuple[int, int]]:
    """The place of the largest effect, anywhere and at the last subject token."""
    from ..report.trace_words import gain

    better = gain(trace)
    token, layer = np.unravel_index(int(np.argmax(better)), better.shape)
    last = trace.subject[1] - 1
    return (int(token), int(layer)), (last, int(np.argmax(better[last])))


def _said(trace: Trace, token: int, layer: int) -> str:
    from ..report.tokens import readable

    sd = float(trace.spread[token, layer])
    around = f" (sd {number(sd)}, {trace.samples} samples)" if math.isfinite(sd) else ""
    return f"{number(float(trace.effect[token, layer]))}{around} at {readable(trace.tokens)[token]}, L{layer}"


def _plain(trace: Trace) -> dict[str, Any]:
    from ..traces import unit

    places = zip(("best", "last_subject"), _best(trace), strict=True)
    return {
        "prompt": trace.prompt.text, "answer": trace.answer, "against": trace.prompt.against,
        "template": trace.prompt.template, "method": trace.method, "kind": trace.kind, "metric": trace.metric,
        "unit": unit(trace.metric), "tokens": trace.tokens, "subject": trace.subject, "at": trace.at,
        "clean": trace.clean, "corrupted": trace.corrupted, "total": trace.total, "samples": trace.samples,
        **{name: {"token": p[0], "layer": p[1], "effect": trace.effect[p], "spread": trace.spread[p]}
           for name, p in places},
        "effect": trace.effect, "spread": trace.spread, "windows": trace.windows, "seed": trace.seed,
        "settings": trace.settings, "notes": trace.notes,
    }  # fmt: skip
