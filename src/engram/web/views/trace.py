"""Which tokens and layers bring the answer back? The page's view of a causal trace, its kinds side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from ...models import Model
from ...report import trace_words as words
from ...report.traces import interactive
from ...tracers import CausalTracing, trace
from ...traces import Kind, unit
from ...traces import Trace as Found
from ..kept import kept
from ..serving import serving
from ..stages import Tell, stage
from .base import Question, Word, plain, views

KINDS: tuple[Kind, ...] = ("block", "ffn", "attention")
BARE, UNDER = "the model as it is", "under the chosen edits"


@views("trace")
class Trace(Question):
    """Causal tracing (Meng et al. 2022), by these kinds of site; under edits, beside the model as it is.

    `noise` is a number or as `CausalTracing` takes it; `window` is of FFNs and attention, None its default.
    """

    subject: Word
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1, max_length=3)] = KINDS
    samples: Annotated[int, Field(ge=1, le=100)] = 10
    noise: Word = "3s"
    window: Annotated[int, Field(ge=1, le=200)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0

    def run(self, model: Model, progress: Tell) -> dict[str, Any]:
        edits = kept.under(self.under, model.name)
        arms: list[tuple[str, Any]] = [(BARE, None), *([(UNDER, edits)] if edits else [])]
        tracers = [CausalTracing(**own) for own in self._settings()]
        said: list[dict[str, Any]] = []
        for i, (says, under) in enumerate(arms):
            found = []
            for j, by in enumerate(tracers):
                at, parts = i * len(tracers) + j, len(arms) * len(tracers)
                part = stage(progress, at, parts, f"Tracing {words.NAMES[by.kind]}")
                found.append(trace(model, self.asked(), subject=self.subject, by=by, under=under, progress=part))
            said.append(
                {"says": says, "caption": words.captions(found, still=False), "traces": [told(t) for t in found]}
            )
        return {"arms": said}

    def python(self, model: str) -> str:
        made = "\n".join(
            f"    eg.CausalTracing({', '.join(f'{k}={v!r}' for k, v in own.items())})," for own in self._settings()
        )
        return (
            "import engram as eg\nfrom engram.report.traces import heat_maps\n\n"
            f"model = {serving.model_python(model)}\n{kept.python(self.under, model)}"
            f"prompt = eg.Prompt({self.prompt!r}, {self.answer!r})\ntracers = [\n{made}\n]\n"
            f"traces = [eg.trace(model, prompt, subject={self.subject!r}, by=by, under=under) for by in tracers]\n"
            'heat_maps(traces).savefig("trace.png")\n'
        )

    def _settings(self) -> list[dict[str, Any]]:
        """Those of one tracer for each kind; only what is not a block has a window."""
        noise = _number(self.noise)
        shared: dict[str, Any] = {"samples": self.samples, "noise": noise, "seed": self.seed}
        return [
            {"kind": k, **({"window": self.window} if self.window and k != "block" else {}), **shared}
            for k in dict.fromkeys(self.kinds)
        ]


def _number(noise: str) -> float | str:
    """A standard deviation where it is a number, and else what it is called."""
    try:
        return float(noise)
    except ValueError:
        return noise


def told(found: Found) -> dict[str, Any]:
    """A trace in plain values: its figure, its numbers [token][layer], and what one must know to read them."""
    token, layer = _largest(found)
    figure = interactive(found)
    labels: Sequence[str] = figure["layout"]["yaxis"]["ticktext"]
    return {
        "kind": found.kind, "figure": figure, "tokens": list(labels), "restored": words.restored(found),
        "effect": _rows(found.effect), "spread": _rows(found.spread), "unit": unit(found.metric),
        "measured": words.effect_on(found), "samples": found.samples, "windows": [list(w) for w in found.windows],
        "clean": plain(found.clean), "corrupted": plain(found.corrupted), "total": plain(found.total),
        "largest": {"token": token, "layer": layer, "effect": plain(float(found.effect[token, layer])),
                    "spread": plain(float(found.spread[token, layer]))},
        "subject": list(found.subject), "at": found.at, "notes": list(found.notes),
    }  # fmt: skip


def _largest(found: Found) -> tuple[int, int]:
    gain = words.gain(found)
    at = int(gain.argmax())
    return at // gain.shape[1], at % gain.shape[1]


def _rows(values: Any) -> list[list[float | None]]:
    return [[float(x) if math.isfinite(x) else None for x in row] for row in values]
