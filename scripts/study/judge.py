"""How far is a setting from what it is to compute, at which cost, and does it select the same neurons?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np

from engram.locators import locate
from engram.metrics import Resampling, percentile
from engram.models import Model
from engram.results import Attribution, Floats
from engram.selectors import Shared
from study.plan import BFLOAT16, DEFAULT, REFERENCE, SECOND, SETTINGS, Setting
from study.sample import Known

Figures = dict[str, Any]
PAPER = Shared(preset="paper")


def study(model: Model, half: Model | None, known: Sequence[Known], settings: Sequence[Setting] = SETTINGS) -> Figures:
    """All figures of one model for these facts. `half` is the same network in bfloat16; without it, that is left out.

    Among the settings must be that of `SECOND`, for the reference's doubt stands in other figures, and those whose
    sums are computed.
    """
    prompts = [p for k in known for p in k.prompts]
    done = [s for s in settings if half is not None or s.kind != "bfloat16"]
    found = {s.name: locate(half if half and s.kind == "bfloat16" else model, prompts, by=s.by) for s in done}
    truth = locate(model, prompts, by=REFERENCE)
    trial = Trial(known, [len(model.rows(p)) for p in prompts], truth, errors(found[SECOND], truth))
    out: Figures = {
        "facts": len(known),
        "relations": len({k.fact.relation for k in known}),
        "prompts": len(prompts),
        "layers": len(model.layers),
        "largest score": _short(np.median(largest(truth))),
        "reference": {"steps": REFERENCE.steps, "gap": _spread(gaps(truth, largest(truth)))},
        "settings": [trial.against_the_integral(s, found[s.name]) for s in done],
        "sums": [trial.against_the_sum(s, found[s.name], found[s.stands_for]) for s in done if s.stands_for],
    }
    if half is not None:
        out["rounding"] = {"of": BFLOAT16, **trial.apart(found[BFLOAT16], found[DEFAULT])}
    return out


@dataclass(frozen=True)
class Trial:
    """Facts and their prompts, how many tokens each answer has, the integral, and how sure that is, [prompt]."""

    known: Sequence[Known]
    tokens: Sequence[int]
    integral: Sequence[Attribution]
    doubt: Floats

    def against_the_integral(self, s: Setting, ours: Sequence[Attribution]) -> Figures:
        """What a setting costs, and how far it is from the integral. The estimate is of what it stands for."""
        return {
            "name": s.name,
            "kind": s.kind,
            "by": repr(s.by),
            "evaluations": self.evaluations(ours),
            **self.apart(ours, self.integral),
            "gap": _spread(gaps(ours, largest(self.integral))),
            "estimate": None if s.stands_for else self.estimate(s, ours, self.integral),
        }

    def against_the_sum(self, s: Setting, ours: Sequence[Attribution], literal: Sequence[Attribution]) -> Figures:
        """How far is a compressed grid from the literal sum that it stands for?"""
        return {
            "name": s.name,
            "sum": s.stands_for,
            "evaluations": self.evaluations(ours),
            "evaluations of the sum": self.evaluations(literal),
            **self.apart(ours, literal),
            "estimate": self.estimate(s, ours, literal),
        }

    def evaluations(self, ours: Sequence[Attribution]) -> float:
        """At how many points of the path was a gradient taken, on average over layers and prompts? Per token."""
        return _short(np.mean(np.array([a.points for a in ours], float) / np.array(self.tokens)[:, None]))

    def apart(self, ours: Sequence[Attribution], truth: Sequence[Attribution]) -> Figures:
        """The error, and the sets of neurons: coarse of each prompt, refined of each fact."""
        each = errors(ours, truth)
        coarse = [jaccard(set(PAPER.votes([a])), set(PAPER.votes([t]))) for a, t in zip(ours, truth, strict=True)]
        refined = [jaccard(a, t) for a, t in zip(self.refined(ours), self.refined(truth), strict=True)]
        interval = median_interval(each, [k.fact for k in self.known for _ in k.prompts])
        return {
            "error": {**_spread(each), "interval": _shorts(interval)},
            "coarse": _short(np.mean(coarse)),
            "refined": _short(np.mean(refined)),
            "other sets": sum(x < 1 for x in refined),
        }

    def refined(self, of: Sequence[Attribution]) -> list[AbstractSet[object]]:
        """The refined set of every fact. A prompt without a usable peak names no neuron, as in `Shared.select`."""
        rest = iter(of)
        mine = [[next(rest) for _ in k.prompts] for k in self.known]
        return [PAPER.agreed(PAPER.votes(scores), len(scores)).members for scores in mine]

    def estimate(self, s: Setting, ours: Sequence[Attribution], truth: Sequence[Attribution]) -> Figures | None:
        """What the locator believes its error to be, and how often it is more, layer by layer. None: it made none."""
        unit = largest(truth)[:, None]
        believed = np.array([a.error for a in ours], float) / unit  # [prompt, layer]
        if np.isnan(believed).any():
            return None
        each = np.array([np.abs(a.dense() - t.dense()).max(1) for a, t in zip(ours, truth, strict=True)], float) / unit
        return {
            **_spread(believed.max(1)),
            "tolerance": s.by.tolerance,
            "layers": each.size,
            "layers above the estimate": int((each > believed + self.doubt[:, None]).sum()),
            "prompts above the tolerance": int((each.max(1) > s.by.tolerance).sum()),
        }


def largest(of: Sequence[Attribution]) -> Floats:
    """The largest score of each prompt, without its sign, [prompt]."""
    return np.array([np.abs(a.dense()).max() for a in of], float)


def errors(ours: Sequence[Attribution], truth: Sequence[Attribution]) -> Floats:
    """The largest difference of a prompt's scores, as a part of its largest score, [prompt]."""
    far = [np.abs(a.dense() - t.dense()).max() for a, t in zip(ours, truth, strict=True)]
    return np.array(far, float) / largest(truth)


def gaps(of: Sequence[Attribution], unit: Floats) -> Floats:
    """The largest completeness gap of a prompt's layers, in this unit, [prompt]."""
    return np.array([np.abs(a.gap).max() for a in of], float) / unit


def jaccard(a: AbstractSet[object], b: AbstractSet[object]) -> float:
    """What both hold, as a part of what either holds; 1 for two empty sets."""
    return len(a & b) / len(a | b) if a | b else 1.0


def median_interval(values: Floats, clusters: Sequence[Hashable], level: float = 0.95) -> tuple[float, float] | None:
    """Between which values does the median over prompts lie, were other facts drawn? A bootstrap over clusters."""
    drawn = Resampling.of(clusters)
    if drawn.times.shape[1] < 2:
        return None
    order = np.argsort(values)
    counts = drawn.times[:, drawn.row[order]].astype(np.int64).cumsum(-1)
    half = counts[:, -1:] / 2
    low, high = (np.argmax(reached, -1) for reached in (counts >= half, counts > half))
    middle = np.asarray(values)[order]
    return percentile((middle[low] + middle[high]) / 2, level)


def _spread(each: Floats) -> Figures:
    return {"median": _short(np.median(each)), "p95": _short(np.quantile(each, 0.95)), "worst": _short(each.max())}


def _short(x: Any) -> float:
    return float(f"{float(x):.4g}")


def _shorts(x: tuple[float, float] | None) -> list[float] | None:
    return None if x is None else [_short(i) for i in x]
