"""Is the right word of minimal pairs the likelier one? What is made of the results of `MinimalPairs`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import BadSetting
from ..results import Floats, Score
from .changes import average
from .intervals import Resampling, of_cases, percentile
from .significance import false_discovery, paired_test

BEFORE = "as it is"
CHANCE = {"matching": "random, as matching", "both": "random, as both"}
CONDITIONS = (BEFORE, "matching", "other", "both", *CHANCE.values())

Pair = tuple[str, int]  # relation and number


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """Of some pairs, by condition: is the right word the likelier one [pair] (of several draws: in which part of them),
    and by how much, ln P(good) − ln P(bad) [pair], in nats.
    """

    name: str
    pairs: tuple[Pair, ...]
    right: Mapping[str, Floats]
    margin: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a condition does to the accuracy: `change` from as it is; `beyond` what it is more than by chance.

    `margin` is the change of ln P(good) − ln P(bad), which moves where the accuracy cannot. `p` is exact, of McNemar's
    test; `beyond_p` of sign flips of pairs, against random neurons, and `margin_p` of the same, against as it is. `q`,
    `beyond_q` and `margin_q` are their false discovery rates over relations and conditions. None without a control.
    """

    name: str
    condition: str
    accuracy: Score
    change: Score
    p: float
    q: float
    beyond: Score | None
    beyond_p: float | None
    beyond_q: float | None
    margin: Score
    margin_p: float
    margin_q: float


def choices(results: Iterable[Mapping[str, Any]]) -> list[Choices]:
    """One for each relation, in order."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        for row in result["rows"]:
            groups.setdefault(row["relation"], []).append(row)
    return [_choices(relation, rows) for relation, rows in groups.items()]


def _choices(relation: str, rows: Sequence[Mapping[str, Any]]) -> Choices:
    pairs = tuple((relation, n) for r in rows if r["condition"] == BEFORE for n in r["numbers"])
    at = {pair: i for i, pair in enumerate(pairs)}
    right: dict[str, Floats] = {}
    margin: dict[str, Floats] = {}
    for condition in CONDITIONS:
        if not (own := [r for r in rows if r["condition"] == condition]):
            continue
        times, hits, nats = (np.zeros(len(pairs)) for _ in range(3))
        for r in own:
            where = [at[relation, n] for n in r["numbers"]]
            apart = np.asarray(r["good"], float) - np.asarray(r["bad"], float)
            times[where] += 1
            hits[where] += apart > 0
            nats[where] += apart
        if (times > 0).all():
            right[condition], margin[condition] = hits / times, nats / times
    return Choices(relation, pairs, right, margin)


def together(found: Sequence[Choices], name: str = "all pairs") -> Choices:
    """All pairs as one, under the conditions that all of them have. Raises BadSetting without any."""
    if not found:
        raise BadSetting("there are no pairs to take together")
    shared = [c for c in CONDITIONS if all(c in one.right for one in found)]
    right = {c: np.concatenate([one.right[c] for one in found]) for c in shared}
    margin = {c: np.concatenate([one.margin[c] for one in found]) for c in shared}
    return Choices(name, tuple(p for one in found for p in one.pairs), right, margin)


def effects(found: Sequence[Choices], *, seed: int = 0) -> list[Effect]:
    """What each condition does to each accuracy; q is over all of these together."""
    each = [(one, c) for one in found for c in one.right if c in ("matching", "other", "both")]
    ps = [mcnemar(one.right[BEFORE], one.right[c]) for one, c in each]
    controls = [CHANCE.get(c, "") if CHANCE.get(c) in one.right else None for one, c in each]
    beyond_ps = [
        None if k is None else paired_test(one.right[k], one.right[c], one.pairs, seed=seed).p
        for (one, c), k in zip(each, controls, strict=True)
    ]
    margin_ps = [paired_test(one.margin[BEFORE], one.margin[c], one.pairs, seed=seed).p for one, c in each]
    qs = iter(false_discovery(ps)) if ps else iter(())
    margin_qs = iter(false_discovery(margin_ps)) if ps else iter(())
    beyond_qs = iter(false_discovery([p for p in beyond_ps if p is not None]) if any(controls) else ())
    return [
        Effect(
            one.name, c, accuracy(one, c, seed=seed), difference(one, BEFORE, c, seed=seed), p, float(next(qs)),
            None if k is None else difference(one, k, c, seed=seed), beyond,
            None if beyond is None else float(next(beyond_qs)),
            _mean(f"{one.name}: {c}, change of margin", one, one.margin[c] - one.margin[BEFORE], "nats", seed), margin,
            float(next(margin_qs)),
        )
        for (one, c), p, k, beyond, margin in zip(each, ps, controls, beyond_ps, margin_ps, strict=True)
    ]  # fmt: skip


def accuracy(one: Choices, condition: str, *, seed: int = 0) -> Score:
    """The share of pairs whose right word is the likelier one, with a 95 % interval over pairs."""
    x = one.right[condition]
    interval = of_cases(x, drawn=Resampling.of(one.pairs, seed=seed))
    return Score(f"{one.name}: {condition}", float(x.mean()), len(x), "fraction", "higher", interval)


def difference(one: Choices, of: str, to: str, *, seed: int = 0) -> Score:
    """By how much the accuracy under `to` is above that under `of`, of the same pairs."""
    name = f"{one.name}: {to}, change" if of == BEFORE else f"{one.name}: {to}, beyond random"
    return _mean(name, one, one.right[to] - one.right[of], "difference of fractions", seed)


def margin(one: Choices, condition: str, *, seed: int = 0) -> Score:
    """The mean of ln P(good) − ln P(bad), with a 95 % interval over pairs."""
    return _mean(f"{one.name}: {condition}, margin", one, one.margin[condition], "nats", seed)


def _mean(name: str, one: Choices, x: Floats, unit: str, seed: int) -> Score:
    interval = percentile(Resampling.of(one.pairs, seed=seed).draws(average, (x,)))
    return Score(name, float(x.mean()), len(x), unit, interval=interval)


def mcnemar(before: Floats, after: Floats) -> float:
    """The exact two-sided p-value that as many pairs become right as become wrong.

    >>> mcnemar(np.array([1.0, 1, 1, 1, 1, 0]), np.array([0.0, 0, 0, 0, 0, 0])), mcnemar(np.ones(3), np.ones(3))
    (0.0625, 1.0)
    """
    lost, won = int(((before == 1) & (after == 0)).sum()), int(((before == 0) & (after == 1)).sum())
    if not lost + won:
        return 1.0
    from scipy import stats

    return float(stats.binomtest(won, lost + won).pvalue)


def scores_of(found: Sequence[Choices], *, seed: int = 0) -> Iterator[Score]:
    """Accuracies, their changes and p-values, and the mean margins, relation by relation."""
    known = {(e.name, e.condition): e for e in effects(found, seed=seed)}
    for one in found:
        n = len(one.pairs)
        for condition in one.right:
            yield accuracy(one, condition, seed=seed)
            if (e := known.get((one.name, condition))) is not None:
                yield e.change
                yield Score(f"{one.name}: {condition}, change, McNemar's p", e.p, n, "p-value")
                if e.beyond is not None and e.beyond_p is not None:
                    yield e.beyond
                    yield Score(f"{one.name}: {condition}, beyond random, p", e.beyond_p, n, "p-value")
        for condition in one.margin:
            yield margin(one, condition, seed=seed)
            if (e := known.get((one.name, condition))) is not None:
                yield e.margin
                yield Score(f"{one.name}: {condition}, change of margin, p", e.margin_p, n, "p-value")
