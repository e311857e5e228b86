"""Many traces together: at which tokens, and in which layers, do facts come back on average?

Meng et al. (2022), figure 7 and appendix B. There all tokens of a category are pooled over prompts, so that a fact with
a long subject counts more; here a fact has one number, and intervals draw facts anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import BadSetting
from ..facts import Fact, Prompt
from ..results import Floats, Score
from ..traces import CATEGORIES, Trace, categories, turned, unit, windows
from .bands import Bands, bands

Row = Mapping[str, Any]  # what the experiment `tracing` keeps of one prompt and tracer
Key = tuple[str, str]  # the kind of site, and what was severed ("" where nothing was)
MOST = ("anywhere", "at the last subject token", "at the asked token")


@dataclass(frozen=True, slots=True, eq=False)
class Averages:
    """The mean effect at the tokens of one category, by layer, and its interval from a bootstrap over facts.

    `mean`, `low` and `high` [layer] are in the metric's unit, or, normalised, parts of the total effect. Of `facts`
    facts in `prompts` prompts, with `tokens` tokens of this category in all; `left_out` facts had no total effect to
    divide by. `draws` [resample, layer] are the means of the facts as drawn anew.
    """

    category: str
    mean: Floats
    low: Floats
    high: Floats
    facts: int
    prompts: int
    tokens: int
    draws: Floats
    left_out: int = 0


@dataclass(slots=True, eq=False)
class _OfFact:
    """Of one fact and tracer: sums over the tokens of each category [layer], what was said, and the largest effects."""

    effects: dict[str, Floats] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    prompts: dict[str, int] = field(default_factory=dict)
    said: list[tuple[float, float]] = field(default_factory=list)
    most: list[tuple[float, float, float]] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """One prompt more."""
        effect = np.asarray(row["effect"], float).reshape(len(row["tokens"]), -1)
        total = row["clean"] - row["corrupted"]
        self.said.append((row["clean"], row["corrupted"]))
        better = effect * turned(row["metric"])
        tops = better.max(), better[row["end"] - 1].max(), better[row["at"]].max()
        self.most.append(tuple(turned(row["metric"]) * float(x) for x in tops))  # type: ignore[arg-type]
        for name, own in places(row).items():
            self.effects[name] = self.effects.get(name, 0.0) + effect[own].sum(0)
            self.totals[name] = self.totals.get(name, 0.0) + len(own) * total
            self.tokens[name] = self.tokens.get(name, 0) + len(own)
            self.prompts[name] = self.prompts.get(name, 0) + 1


@dataclass(slots=True, eq=False)
class Gathered:
    """What averages need of many traces, read once: `facts` by tracer and number, the `metric` of each tracer.

    >>> row = {"number": 0, "kind": "block", "severed": "", "metric": "probability", "tokens": ["Rome", "is", "in"],
    ...     "first": 0, "end": 1, "at": 2, "clean": 0.5, "corrupted": 0.1, "effect": [0.3, 0.1, 0, 0, 0, 0.4]}
    >>> found = Gathered.of([row]).curves()["block", ""]
    >>> {name: average.mean.tolist() for name, average in found.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'first subject': [0.3, 0.1], 'last subject': [0.3, 0.1], 'first subsequent': [0.0, 0.0], 'last': [0.0, 0.4]}
    """

    facts: dict[Key, dict[int, _OfFact]] = field(default_factory=dict)
    metric: dict[Key, str] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Iterable[Row]) -> Gathered:
        """From rows, or from results that hold them. Raises BadSetting where a tracer's prompts have two metrics."""
        new = cls()
        for row in rows_of(found):
            key = row["kind"], row["severed"]
            if new.metric.setdefault(key, row["metric"]) != row["metric"]:
                raise BadSetting(f"{called(key)} was measured in {new.metric[key]} and in {row['metric']}: one at once")
            new.facts.setdefault(key, {}).setdefault(row["number"], _OfFact()).add(row)
        return new

    def unit(self, key: Key) -> str:
        """Of the tracer's numbers."""
        return unit(self.metric[key])

    def curves(self, *, normalised: bool = False, n: int = 2000, seed: int = 0) -> dict[Key, dict[str, Averages]]:
        """The averages of each tracer and category, categories in the order of the prompt; see `curves`."""
        return {
            key: {
                name: self._average(key, name, normalised, n, seed)
                for name in CATEGORIES
                if any(name in of.tokens for of in facts.values())
            }
            for key, facts in self.facts.items()
        }

    def said(self, key: Key, *, seed: int = 0) -> Bands:
        """Clean, corrupted, and the total effect: means over facts of a fact's means over prompts."""
        means = [np.mean(of.said, axis=0) for of in self.facts[key].values()]
        return bands([[clean, low, clean - low] for clean, low in means], seed=seed)

    def most(self, key: Key, *, seed: int = 0) -> Bands:
        """The largest effect of a prompt, as in `MOST`: means over facts of a fact's means over prompts."""
        return bands([np.mean(of.most, axis=0) for of in self.facts[key].values()], seed=seed)

    def lost(self, key: Key, category: str, *, seed: int = 0) -> Averages | None:
        """What severing takes away: the ordinary effect minus the severed one, of the same facts. [layer]

        None where nothing was severed, or the ordinary effect is not known.
        """
        ordinary = self.facts.get((key[0], ""), {})
        own = {i: of for i, of in self.facts[key].items() if category in of.tokens and i in ordinary}
        if not key[1] or not own:
            return None
        less = [_mean(ordinary[i], category) - _mean(of, category) for i, of in own.items()]
        return _averages(category, np.array(less), list(own.values()), 2000, seed)

    def _average(self, key: Key, name: str, normalised: bool, n: int, seed: int) -> Averages:
        own = [of for of in self.facts[key].values() if name in of.tokens]
        if not normalised:
            return _averages(name, np.array([_mean(of, name) for of in own]), own, n, seed)
        kept = [of for of in own if turned(self.metric[key]) * of.totals[name] > 0]
        parts = np.array([of.effects[name] / of.totals[name] for of in kept]).reshape(
            len(kept), len(own[0].effects[name])
        )
        return _averages(name, parts, kept, n, seed, len(own) - len(kept))


def curves(
    found: Iterable[Row], *, normalised: bool = False, n: int = 2000, seed: int = 0
) -> dict[Key, dict[str, Averages]]:
    """The average effect by layer at each category of tokens, from rows of `tracing` or results that hold them.

    By (kind, severed), then by category. A fact's number is the mean over all its tokens of the category, in all its
    prompts; averages are means over facts, and facts are drawn anew for the 95 % bands. `normalised`: parts of the
    total effect at these tokens' prompts, without the facts that have none (clean not better than corrupted), which
    are counted. Raises BadSetting.

    >>> import engram as eg
    >>> few = eg.experiments.Tracing(relations=("capital",), facts=1)
    >>> facts, model = eg.data.read("shipped"), eg.load("engram:causal")
    >>> found = curves(row for case in few.cases(facts) for row in few.run(model, facts, case)["rows"])
    >>> sorted(found), len(found["block", ""]["last"].mean)  # by layer
    ([('attention', ''), ('block', ''), ('ffn', '')], 4)
    """
    return Gathered.of(found).curves(normalised=normalised, n=n, seed=seed)


def rows_of(found: Iterable[Row]) -> Iterator[Row]:
    """The rows themselves, of rows or of results."""
    for x in found:
        yield from x.get("rows", (x,))


def places(row: Row) -> dict[str, list[int]]:
    """The numbers of the tokens of each category."""
    tokens = len(row["tokens"])
    found = categories(tokens, (row["first"], row["end"]), row["at"], masked=row["at"] != tokens - 1)
    return {str(name): own for name, own in found.items()}


def called(key: Key) -> str:
    """A tracer's name.

    >>> called(("block", "")), called(("block", "ffn"))
    ('block', 'block, ffn severed')
    """
    return f"{key[0]}, {key[1]} severed" if key[1] else key[0]


def peak(average: Averages, metric: str) -> int:
    """The layer of the largest mean."""
    return int(np.argmax(turned(metric) * average.mean))


def scores_of(found: Gathered, *, seed: int = 0) -> Iterator[Score]:
    """Of each tracer: what was said, the largest effects, and of each category the largest mean and its layer."""
    for key in found.facts:
        yield from _totals(found, key, seed)
    every = found.curves(seed=seed)
    for key, each in every.items():
        for category, average in each.items():
            if average.mean.any():  # before the subject of a causal model everything is known to be 0
                yield from _peaks(f"{called(key)}: {category}", average, found.unit(key), found.metric[key])
        last = every.get((key[0], ""), {}).get("last subject")
        if last is not None and (less := found.lost(key, "last subject", seed=seed)) is not None:
            layer = peak(last, found.metric[key])
            yield _at(
                f"{called(key)}: lost of the largest mean at the last subject token", less, layer, found.unit(key)
            )
    yield from _tokens(found)


def trace_of(row: Row, settings: Mapping[str, Any]) -> Trace:
    """The trace that a row was made of; `settings` are what the row does not say: model, dtype, rng."""
    shape = len(row["tokens"]), row["layers"]
    fact = Fact(row["subject"], row["relation"], row["answer"])
    prompt = Prompt(row["prompt"], row["answer"], fact, row["template"], row["against"])
    own = {"window": row["window"], "severed": row["severed"] or None, "noise": row["noise"]}
    effect, spread = (np.array(row[name], float).reshape(shape) for name in ("effect", "spread"))
    return Trace(
        prompt, row["method"], row["kind"], tuple(row["tokens"]), (row["first"], row["end"]), row["at"],
        row["measured"], row["metric"], effect, spread, row["clean"], row["corrupted"], row["samples"],
        windows(row["window"], row["layers"]), row["seed"], {**settings, **own}, tuple(row["notes"]),
    )  # fmt: skip


def _mean(of: _OfFact, category: str) -> Floats:
    found: Floats = of.effects[category] / of.tokens[category]
    return found


def _averages(name: str, values: Floats, own: Sequence[_OfFact], n: int, seed: int, left_out: int = 0) -> Averages:
    found = bands(values, n=n, seed=seed)
    prompts, tokens = (sum(getattr(of, part)[name] for of in own) for part in ("prompts", "tokens"))
    return Averages(name, found.mean, found.low, found.high, len(own), prompts, tokens, found.draws, left_out)


def _totals(found: Gathered, key: Key, seed: int) -> Iterator[Score]:
    tables = (("clean", "corrupted", "total effect"), found.said(key, seed=seed)), (
        [f"largest effect {where}" for where in MOST], found.most(key, seed=seed)
    )  # fmt: skip
    for names, table in tables:
        for i, name in enumerate(names):
            value, n = float(table.mean[i]), int(table.n[i])
            yield Score(f"{called(key)}: {name}", value, n, found.unit(key), interval=table.interval(i))


def _peaks(name: str, average: Averages, unit: str, metric: str) -> Iterator[Score]:
    layer = peak(average, metric)
    yield _at(f"{name}: largest mean", average, layer, unit)
    where = np.argmax(turned(metric) * average.draws, axis=1)
    ends = np.quantile(where, [0.025, 0.975], method="nearest") if average.facts > 1 else None
    interval = None if ends is None else (float(ends[0]), float(ends[1]))
    yield Score(f"{name}: its layer", layer, average.facts, "layer", interval=interval)


def _at(name: str, average: Averages, layer: int, unit: str) -> Score:
    ends = float(average.low[layer]), float(average.high[layer])
    interval = ends if np.isfinite(ends).all() else None
    return Score(name, float(average.mean[layer]), average.facts, unit, interval=interval)


def _tokens(found: Gathered) -> Iterator[Score]:
    """The same of all tracers, for a prompt has a trace by each or none."""
    facts = list(next(iter(found.facts.values()), {}).values())
    for name in CATEGORIES:
        if prompts := sum(of.prompts.get(name, 0) for of in facts):
            yield Score(f"tokens: {name}", sum(of.tokens.get(name, 0) for of in facts), prompts, "tokens")
