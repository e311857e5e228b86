"""Which neurons does the answer come from? The page's part Neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from pydantic import Field

from ...facts import Fact, Prompt
from ...locators import IntegratedGradients, locate
from ...models import Model, ask
from ...models.batching import Progress
from ...results import Attribution, Floats
from .. import fact as facts
from ..kept import kept
from ..pooling import pooled, short
from ..stages import Tell, stage
from .base import Question, Word, plain, views

FLOOR = 0.05  # of a prompt's largest score: what lies below is not sent
MOST = 2000  # neurons of a prompt
BEST = 60  # neurons in the list
UNITS = {"probability": "probability", "logprob": "nats", "logit": "logits"}


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean score of every neuron over the prompts, [layer, neuron], and what it was asked for."""

    key: str
    scores: Floats
    widths: tuple[int, ...]


_LAST: WeakKeyDictionary[Model, Mean] = WeakKeyDictionary()  # of each model the last one: zooming asks nothing again


class Asked(Question):
    """A sentence, alone or with the other templates of its fact, and how the scores are made."""

    subject: Word | None = None
    every: bool = False
    rule: Literal["gauss", "right", "left", "linspace", "trapezoid", "midpoint", "radau", "lobatto"] = "gauss"
    target: Literal["probability", "logprob", "logit"] = "probability"
    steps: Annotated[int, Field(ge=1, le=300)] | None = None

    def fact(self) -> Fact | None:
        """The fact whose templates are asked too; None where the sentence is asked alone."""
        return facts.fact_of(self.asked(), self.subject) if self.every else None

    def prompts(self, model: Model) -> list[Prompt]:
        """The sentence first."""
        return facts.templates(model, self.asked(), self.fact())

    def locator(self) -> IntegratedGradients:
        """Raises BadSetting for a rule that needs other steps."""
        return IntegratedGradients(rule=self.rule, target=self.target, steps=self._steps())

    def found(self, model: Model, progress: Progress) -> list[Attribution]:
        """One attribution for each prompt; their mean is kept."""
        under = kept.under(self.under, model.name)
        scores = locate(model, self.prompts(model), by=self.locator(), under=under, progress=progress)
        _LAST[model] = Mean(self._key(), np.mean([a.scores for a in scores], axis=0), tuple(scores[0].widths))
        return scores

    def mean(self, model: Model, progress: Progress) -> Mean:
        """The mean score of every neuron over the prompts, located again only where something else was last."""
        last = _LAST.get(model)
        if last is None or last.key != self._key():
            self.found(model, progress)
        return _LAST[model]

    def scored(self, model: str) -> str:
        """Python that leaves the attributions in `scores`."""
        held, under = (kept.python(self.under, model), ", under=under") if self.under else ("", "")
        lines = facts.python(model, self.asked(), self.fact(), held)
        steps = "" if self._steps() is None else f", steps={self._steps()}"
        by = f"eg.IntegratedGradients(rule={self.rule!r}, target={self.target!r}{steps})"
        return f"{lines}scores = eg.locate(model, prompts, by={by}{under})\n"

    def _steps(self) -> int | None:
        return 20 if self.steps is None and self.rule != "gauss" else self.steps

    def _key(self) -> str:
        return self.model_dump_json(include=set(Asked.model_fields))


@views("locate")
class Locate(Asked):
    """Every neuron's score: an overview, the best, each layer's sum, and what a threshold needs to select again."""

    def run(self, model: Model, progress: Tell) -> dict[str, Any]:
        base = self._bare(model, stage(progress, 0, 2, "The model as it is")) if self.under else None
        scores = self.found(model, stage(progress, 1, 2, "Under the edits") if self.under else progress)
        mean, first = _LAST[model].scores, scores[0]
        prompts = [a.prompt for a in scores]
        answers = ask(model, prompts, under=kept.under(self.under, model.name))
        sparse = [_sparse(a) for a in scores]
        fact = facts.fact_of(self.asked(), self.subject)
        return {
            "prompts": [
                {"text": a.prompt.text, "answer": a.prompt.answer, "probability": a.probability, "rank": a.rank, **s}
                for a, s in zip(answers, sparse, strict=True)
            ],
            "floor": max(s["floor"] for s in sparse),
            "unit": UNITS[self.target],
            "widths": list(first.widths),
            "settings": {k: v for k, v in first.settings.items() if v is not None},
            "fact": None if fact is None else str(fact),
            "templates": len(facts.templates(model, self.asked(), fact)),
            "overview": pooled(mean, first.widths, (0, len(mean)), (0, mean.shape[1])),
            "layers": _layers(scores, mean, base),
            "best": _best(mean, scores, base),
        }

    def _bare(self, model: Model, progress: Progress) -> Floats:
        """The mean scores of the model as it is, without the edits."""
        scores = locate(model, self.prompts(model), by=self.locator(), progress=progress)
        found: Floats = np.mean([a.scores for a in scores], axis=0)
        return found

    def python(self, model: str) -> str:
        return (
            f"{self.scored(model)}threshold, share = 0.2, 0.7\n"
            "neurons = eg.select(scores, by=eg.Shared(threshold=threshold, share=share))\nprint(neurons)\n"
        )


@views("part")
class Part(Asked):
    """The overview of some layers and some neurons only: what one sees on going nearer."""

    first_layer: Annotated[int, Field(ge=0, le=10_000)] = 0
    end_layer: Annotated[int, Field(ge=1, le=10_000)] = 10_000
    first_neuron: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    end_neuron: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000_000

    def run(self, model: Model, progress: Progress) -> dict[str, Any]:
        layers, neurons = (self.first_layer, self.end_layer), (self.first_neuron, self.end_neuron)
        mean = self.mean(model, progress)
        return pooled(mean.scores, mean.widths, layers, neurons)

    def python(self, model: str) -> str:
        part = f"{self.first_layer}:{self.end_layer}, {self.first_neuron}:{self.end_neuron}"
        return (
            f"{self.scored(model)}mean = sum(a.dense() for a in scores) / len(scores)  # [layer, neuron]\n"
            f"part = mean[{part}]\nprint(part)\n"
        )


def _sparse(found: Attribution) -> dict[str, Any]:
    """The scores above the floor, each exact, as [layer, neuron, score]; and which part of the peak the floor is."""
    peak = found.peak
    if not 0 < peak < np.inf:
        return {"peak": plain(peak), "scores": [], "floor": 0.0}
    high = np.flatnonzero(found.scores.ravel() > FLOOR * peak)
    floor, values = FLOOR, found.scores.ravel()
    if len(high) > MOST:
        high = high[np.argsort(-values[high], kind="stable")][:MOST]
        floor = float(values[high[-1]]) / peak
    width = found.scores.shape[1]
    return {"peak": peak, "floor": floor, "scores": [[int(i) // width, int(i) % width, float(values[i])] for i in high]}


def _layers(scores: list[Attribution], mean: Floats, base: Floats | None) -> list[dict[str, Any]]:
    """Of each layer: the sum of the mean scores and of their absolute values, and by how much the sum misses.

    `before` is the sum of absolute values of the model without the edits, where it is asked under some.
    """
    gap, change = (np.mean([getattr(a, part) for a in scores], axis=0) for part in ("gap", "change"))
    return [
        {
            "layer": i, "sum": short(row.sum(dtype=float)), "absolute": short(np.abs(row).sum(dtype=float)),
            "change": plain(change[i]), "gap": plain(gap[i]),
            "before": None if base is None else short(np.abs(base[i]).sum(dtype=float)),
        }
        for i, row in enumerate(mean)
    ]  # fmt: skip


def _best(mean: Floats, scores: list[Attribution], base: Floats | None) -> list[dict[str, Any]]:
    """The neurons of the largest mean score; of how much of its layer each is, all scores taken as positive."""
    width, total = mean.shape[1], np.abs(mean).sum(1, dtype=float)
    order = _largest(mean.ravel(), BEST)
    places = [(int(i) // width, int(i) % width) for i in order]
    return [
        {
            "neuron": f"L{layer}.{index}", "score": float(mean[layer, index]),
            "share": short(abs(mean[layer, index]) / total[layer]) if total[layer] else 0.0,
            "low": float(min(a.scores[layer, index] for a in scores)),
            "high": float(max(a.scores[layer, index] for a in scores)),
            "before": None if base is None else float(base[layer, index]),
        }
        for layer, index in places
        if index < scores[0].widths[layer]
    ]  # fmt: skip


def _largest(values: Floats, count: int) -> Any:
    """The places of the largest, in order; of equal ones the first. Without sorting millions."""
    if len(values) <= count:
        return np.argsort(-values, kind="stable")
    cut = np.partition(values, len(values) - count)[len(values) - count]
    high = np.flatnonzero(values >= cut)
    return high[np.argsort(-values[high], kind="stable")][:count]
