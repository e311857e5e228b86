"""What is said of a trace beside its picture: what was restored, of how many samples, in which unit, how surely."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..results import Floats
from ..traces import Kind, Trace, turned, unit
from .tokens import readable

NAMES: dict[Kind, str] = {"block": "block", "ffn": "FFN", "attention": "attention"}
_ONE: dict[Kind, str] = {"block": "one block", "ffn": "FFN of one layer", "attention": "attention of one layer"}
_MANY: dict[Kind, str] = {"block": "{} blocks", "ffn": "FFNs of {} layers", "attention": "attention of {} layers"}


def short(x: float) -> str:
    """Three decimals, or a power of ten where these would show nothing; with a true minus.

    >>> short(0.0214), short(-3.2e-7), short(-12.5), short(float("nan"))
    ('0.021', '−3.2e−07', '−12.500', '–')
    """
    if not math.isfinite(x):
        return "–"
    text = f"{x:.3f}" if x == 0 or 1e-3 <= abs(x) < 1e5 else f"{x:.1e}"
    return text.replace("-", "−")


def cut(text: str, most: int) -> str:
    """The text, with dots for what is too long.

    >>> cut("antidisestablishment", 8)
    'antidis…'
    """
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def metric_of(trace: Trace) -> str:
    """The metric with its answer, as one reads it."""
    answer = cut(trace.answer.strip(), 16)
    known = {
        "probability": f"P({answer})", "logprob": f"ln P({answer})", "rank": f"rank of {answer}",
        "logit_difference": f"logit of {answer} − {cut((trace.prompt.against or '').strip(), 16)}",
    }  # fmt: skip
    return known.get(trace.metric, f"{trace.metric} of {answer}")


def effect_on(trace: Trace) -> str:
    """What a map's colours mean, and their unit."""
    what, of = metric_of(trace), unit(trace.metric)
    return f"effect on {what} ({of})"


def width(trace: Trace) -> int:
    """How many layers a whole window has: as many as were asked for, or the most that one got."""
    asked = trace.settings.get("window")
    return int(asked) if asked else max(end - first for first, end in trace.windows)


def clipped(trace: Trace) -> list[int]:
    """The layers whose window the first or the last layer cut short."""
    return [i for i, (first, end) in enumerate(trace.windows) if end - first < width(trace)]


def restored(trace: Trace) -> str:
    """What was restored together, and what was severed."""
    what = _ONE[trace.kind] if (n := width(trace)) == 1 else _MANY[trace.kind].format(n)
    severed = trace.settings.get("severed")
    return f"{what} restored" + (f", {NAMES[severed]} severed" if severed else "")


def across(trace: Trace) -> str:
    """What the layers of a map are."""
    return "layer" if width(trace) == 1 else f"middle of {width(trace)} layers"


def gain(trace: Trace) -> Floats:
    """The effects so turned that more brings back more: of ranks, where 1 is best, their minus. [token, layer]"""
    found: Floats = trace.effect * turned(trace.metric)
    return found


def caption(trace: Trace, *, still: bool = True) -> str:
    """Everything that a map's reader must know; what is said of the drawing is left out where it is not a `still`."""
    found = _found(trace)
    return " ".join([*_asked(trace), f"L{found[1:]}", *(_drawn([trace]) if still else ()), *_noted([trace])])


def captions(traces: Sequence[Trace], *, still: bool = True) -> str:
    """The same of several maps of one prompt: what they share once."""
    each = [f"{restored(t)[0].upper()}{restored(t)[1:]}: {_found(t)}" for t in traces]
    return " ".join([*_asked(traces[0]), *each, *(_drawn(traces) if still else ()), *_noted(traces)])


def _asked(trace: Trace) -> list[str]:
    said = trace.settings
    own = ", the model's own first word" if said.get("answers") == "argmax" else ""
    samples = f"mean and sd over {trace.samples} samples" if trace.samples > 1 else "one sample"
    luck = [f"noise {said['noise']}"] if "noise" in said else []
    luck += [f"seed {trace.seed}", *([f"rng {said['rng']}"] if "rng" in said else [])]
    model = f"Asked of {said['model']} ({said.get('dtype', 'its own type')}). " if "model" in said else ""
    how = "" if trace.method == "causal_tracing" else f" Estimated to first order ({trace.method.replace('_', ' ')})."
    return [
        f"“{trace.prompt.text}” → “{trace.answer.strip()}”{own}. {model}Effect: {metric_of(trace)} with the site as in "
        f"the clean run, minus corrupted; {samples}. Tokens with a star were corrupted ({', '.join(luck)}).{how}",
        f"Clean {short(trace.clean)}, corrupted {short(trace.corrupted)}, total effect {short(trace.total)} "
        f"{unit(trace.metric)}.",
    ]


def _found(trace: Trace) -> str:
    better = gain(trace)
    token, layer = _place(better)
    said = f"largest {_at(trace, token, layer)}"
    if (last := trace.subject[1] - 1) != token:
        said += f"; at the last subject token {_at(trace, last, int(np.argmax(better[last])))}"
    if count := int((better < 0).sum()):
        side, end = ("below", "lowest") if turned(trace.metric) > 0 else ("above", "highest")
        said += f"; {side} 0: {count} of {better.size} effects, the {end} {_at(trace, *_place(-better))}"
    return f"{said}."


def _place(values: Floats) -> tuple[int, int]:
    token, layer = np.unravel_index(int(np.argmax(values)), values.shape)
    return int(token), int(layer)


def _at(trace: Trace, token: int, layer: int) -> str:
    sd = float(trace.spread[token, layer])
    around = f" (sd {short(sd)})" if math.isfinite(sd) else ""
    return f"{short(float(trace.effect[token, layer]))}{around} at “{readable(trace.tokens)[token]}”, layer {layer}"


def _drawn(traces: Sequence[Trace]) -> list[str]:
    said = []
    if any((gain(t) < 0).any() for t in traces):
        side = "below" if turned(traces[0].metric) > 0 else "above"
        said.append(f"What is {side} 0 has the shade of 0, and a dash from a tenth of the largest on.")
    if any(clipped(t) for t in traces):
        said.append("Grey lines under layers: their window is cut short by the first or the last layer.")
    return said


def _noted(traces: Sequence[Trace]) -> list[str]:
    notes = dict.fromkeys(note for t in traces for note in t.notes)
    return [f"Note: {note.rstrip('.')}." for note in notes]
