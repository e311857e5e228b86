"""What did a change cost or bring? One table, with its uncertainty and its controls."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import BadSetting
from ..results import Answer, Better, Floats, Report, Score
from .base import Metric, chosen, settings_of
from .changes import (
    CHANGES,
    Change,
    accuracy,
    average,
    average_of_known,
    log_change,
    mean_reciprocal_rank,
    named,
    without_ratio,
)
from .intervals import Resampling, percentile
from .pairs import Pairs
from .significance import paired_test

Answers = Sequence[Answer]
Statistic = Callable[..., Floats]

_RESAMPLES = 2000


def compare(
    before: Answers,
    after: Answers,
    *,
    title: str = "change",
    change: str = "ratio of means",
    controls: Mapping[str, tuple[Answers, Answers]] | None = None,
    metrics: Sequence[Metric | str] = (),
    seed: int = 0,
) -> Report:
    """How did the answers to the same prompts change, and how much of it do the controls explain?

    Scores: "p before", "p after", the four published changes ("ratio of means", "mean of ratios", "absolute",
    "symmetric fold"), "log-probability", "accuracy" and "mean reciprocal rank" before and after, and the "p-value" of
    a paired test (sign flips, over facts). For every control, e.g. the same prompts under matched chance neurons, or
    other facts under the same neurons: its own `change`, as "chance: ratio of means" where it is called chance, and
    the target's minus the control's, as "minus chance: ratio of means". For every one of `metrics`, a name or a value:
    its mean.

    Intervals are 95 % bootstraps over facts (a prompt without a fact is a cluster of its own). A control that asks
    about the same facts is resampled together with the target, any other one independently. With one fact there is
    no interval, and a number that cannot be computed is left out; a note says so. Raises BadSetting where before and
    after are not answers to the same prompts in the same order, or are none; UnknownName for a change or a metric.

    >>> from engram.facts import Prompt
    >>> prompts = [Prompt("The capital of Ireland is [Y].", "Dublin"), Prompt("The capital of Italy is [Y].", "Rome")]
    >>> before = [Answer(p, (p.answer,), logprob=-1.0, rank=1, top=()) for p in prompts]
    >>> after = [Answer(p, (p.answer,), logprob=-2.0, rank=3, top=()) for p in prompts]
    >>> print(compare(before, after)["ratio of means"])
    ratio of means: -0.6321 [-0.6321, -0.6321] ratio of means (n=2)
    """
    carried, own = named(change), chosen(metrics)
    target = _sample("the target", before, after, seed)
    test = paired_test(target.pairs.before, target.pairs.after, target.pairs.facts, seed=seed)
    rows = [*_probabilities(target), *_others(target, before, after)]
    rows.append(_Row("p-value", "p-value", test.n, test.p, draws=None))
    rows += _measured(own, {row.name for row in rows}, target, before, after)
    for i, (name, (b, a)) in enumerate((controls or {}).items()):
        rows += _against(carried, name, target, _sample(f"the control {name!r}", b, a, seed + 1 + i))
    scores = [row.score() for row in rows if math.isfinite(row.value)]
    settings: dict[str, Any] = {"change": change, "resamples": _RESAMPLES, "seed": seed, "facts": test.n}
    settings |= {"test": test.method} | ({"metrics": [settings_of(metric) for metric in own]} if own else {})
    return Report(title, tuple(scores), settings, tuple(_notes(target.pairs, rows, test.n)))


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    pairs: Pairs
    drawn: Resampling

    def row(self, name: str, unit: str, of: Statistic, values: Sequence[Floats], better: Better = "neither") -> _Row:
        return _Row(name, unit, len(self.pairs.facts), float(of(*values)), self.drawn.draws(of, values), better)


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """A score and the values it takes in the resamples; is it a metric's that was asked for?"""

    name: str
    unit: str
    n: int
    value: float
    draws: Floats | None
    better: Better = "neither"
    own: bool = False

    def score(self) -> Score:
        return Score(self.name, self.value, self.n, self.unit, self.better, percentile(self.draws))


def _sample(what: str, before: Answers, after: Answers, seed: int) -> _Sample:
    try:
        pairs = Pairs.of(before, after)
    except BadSetting as e:
        raise BadSetting(f"{what}: {e}") from None
    return _Sample(pairs, Resampling.of(pairs.facts, n=_RESAMPLES, seed=seed))


def _probabilities(target: _Sample) -> list[_Row]:
    p = target.pairs
    rows = [
        target.row(f"p {when}", "probability", average, [x]) for when, x in (("before", p.before), ("after", p.after))
    ]
    rows += [target.row(c.name, c.unit, c.of, [p.before, p.after]) for c in CHANGES]
    usable = len(p.facts) - without_ratio(p.before, p.after)
    return [replace(r, n=usable) if r.name == "mean of ratios" else r for r in rows]


def _others(target: _Sample, before: Answers, after: Answers) -> list[_Row]:
    logprobs = [np.array([a.logprob for a in answers]) for answers in (before, after)]
    rows = [target.row("log-probability", "nats", log_change, logprobs)]
    ranks = {"before": np.array([a.rank for a in before]), "after": np.array([a.rank for a in after])}
    rows += [target.row(f"accuracy {when}", "fraction", accuracy, [r], "higher") for when, r in ranks.items()]
    return rows + [
        target.row(f"mean reciprocal rank {when}", "reciprocal rank", mean_reciprocal_rank, [r], "higher")
        for when, r in ranks.items()
    ]


def _measured(
    own: Sequence[Metric], taken: Collection[str], target: _Sample, before: Answers, after: Answers
) -> Iterator[_Row]:
    for metric in own:
        if metric.name in taken:
            raise BadSetting(f"every report has a score called {metric.name!r}: no metric can have that name")
        values = np.array([metric.of(b, a) for b, a in zip(before, after, strict=True)], float)
        row = target.row(metric.name, metric.unit, average_of_known, [values], metric.better)
        yield replace(row, n=int(np.isfinite(values).sum()), own=True)


def _against(change: Change, name: str, target: _Sample, control: _Sample) -> list[_Row]:
    if control.pairs.facts == target.pairs.facts:
        control = replace(control, drawn=target.drawn)
    full, own = (
        s.row(f"{name}: {change.name}", change.unit, change.of, [s.pairs.before, s.pairs.after])
        for s in (target, control)
    )
    draws = None if full.draws is None or own.draws is None else full.draws - own.draws
    return [own, replace(full, name=f"minus {own.name}", value=full.value - own.value, draws=draws)]


def _notes(pairs: Pairs, rows: list[_Row], facts: int) -> list[str]:
    out = [r for r in rows if not math.isfinite(r.value)]
    why = {True: "no prompt has such a number", False: "a probability of 0 stands in the way"}
    notes = [f"{r.name}: left out, {why[r.own]}" for r in out]
    if lost := without_ratio(pairs.before, pairs.after):
        notes.append(
            f"mean of ratios: {lost} of {len(pairs.facts)} prompts had probability 0 before, and are counted out"
        )
    if facts == 1:
        notes.append("one fact only: no interval can be given")
    return notes
