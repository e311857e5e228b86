"""Which neurons speak for a mark of punctuation, in how many sentences, and whose marks suffer without them?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from ..neurons import Neuron
from ..results import Score
from .changes import absolute, average, ratio_of_means
from .intervals import Resampling, percentile
from .significance import false_discovery, paired_test

Result = Mapping[str, Any]  # of one mark, in plain values
OWN, RANDOM, OTHERS = "its own neurons", "random neurons", "the other marks' neurons"


@dataclass(frozen=True, slots=True)
class Counted:
    """In how many of a mark's `n` sentences each neuron is above the threshold."""

    mark: str
    n: int
    votes: Mapping[Neuron, int]

    def at(self, share: float, *, strict: bool) -> dict[Neuron, int]:
        """Those in at least (`strict`: in more than) this share of the sentences, the commonest first.

        >>> Counted(".", 10, {Neuron(1, 2): 9, Neuron(0, 7): 6}).at(0.6, strict=True)
        {Neuron(layer=1, index=2): 9}
        """
        cut = Fraction(str(share)) * self.n
        least = max(1, math.floor(cut) + 1 if strict else math.ceil(cut))
        kept = sorted((-v, neuron) for neuron, v in self.votes.items() if v >= least)
        return {neuron: -v for v, neuron in kept}


@dataclass(frozen=True, slots=True)
class Effect:
    """What becomes of P(mark) in the held-out sentences of a mark, without some neurons.

    `change` in probability, `part` of the mean before; `p` of a paired test over sentences, with its `q` over all
    tests of the run; of `own` neurons also against the random ones.
    """

    mark: str
    whose: str
    before: Score
    change: Score
    part: Score
    p: float
    q: float = math.nan
    p_above: float = math.nan
    q_above: float = math.nan


def counted(results: Iterable[Result], half: str | None = None) -> dict[str, Counted]:
    """By mark, over all sentences or those of one half ("discovery", "test")."""
    found = {}
    for r in results:
        own = [row for row in r["rows"] if row["condition"] == "located" and half in (None, row["half"])]
        votes = Counter(Neuron.parse(text) for row in own for text in row["neurons"])
        if own:
            found[r["mark"]] = Counted(r["mark"], len(own), votes)
    return found


def universal(marks: Mapping[str, Counted], share: float, *, strict: bool) -> dict[Neuron, tuple[str, ...]]:
    """The neurons of two marks or more at this share, and whose they are, those of most marks first."""
    whose: dict[Neuron, list[str]] = {}
    for mark, own in marks.items():
        for neuron in own.at(share, strict=strict):
            whose.setdefault(neuron, []).append(mark)
    kept = sorted((-len(m), neuron) for neuron, m in whose.items() if len(m) > 1)
    return {neuron: tuple(whose[neuron]) for _, neuron in kept}


def held_out(results: Sequence[Result], *, seed: int = 0) -> list[Effect]:
    """Of every mark: without its own neurons, as many random ones, and the neurons of each other mark.

    A mark that has no neurons tries nothing. Intervals are bootstraps over sentences; the tests are paired (sign flips
    over sentences).
    """
    rows = [row for r in results if r["neurons"] for row in r["rows"] if row["condition"] != "located"]
    found = []
    for mark in dict.fromkeys(r["mark"] for r in results):
        asked = [row for row in rows if row["answer"] == mark]
        own = [row for row in asked if row["condition"] == "own" and row["mark"] == mark]
        luck = {row["number"]: row["after"] for row in asked if row["condition"] == "chance"}
        others = [row for row in asked if row["condition"] == "own" and row["mark"] != mark]
        arms = {OWN: own, RANDOM: [row for row in asked if row["condition"] == "chance"], OTHERS: others}
        for whose, said in arms.items():
            if said:
                above = _beside(own, luck, seed) if whose == OWN and luck else math.nan
                found.append(_effect(mark, whose, said, above, seed))
    return _discovered(found)


def crossed(results: Sequence[Result], *, seed: int = 0) -> dict[tuple[str, str], Score]:
    """The change of P(mark), in probability, without the neurons of a mark: by (whose neurons, the mark asked)."""
    found = {}
    for r in results:
        rows = [row for row in r["rows"] if row["condition"] == "own" and r["neurons"]]
        for asked in dict.fromkeys(row["answer"] for row in rows):
            said = [row for row in rows if row["answer"] == asked]
            found[r["mark"], asked] = _score(f"{r['mark']} → {asked}", "probability", absolute, said, seed)
    return found


def _beside(own: Sequence[Mapping[str, Any]], luck: Mapping[int, float], seed: int) -> float:
    numbers = [row["number"] for row in own]
    return paired_test([luck[i] for i in numbers], [row["after"] for row in own], numbers, seed=seed).p


def _effect(mark: str, whose: str, said: Sequence[Mapping[str, Any]], above: float, seed: int) -> Effect:
    before, after = ([row[when] for row in said] for when in ("before", "after"))
    p = paired_test(before, after, [row["number"] for row in said], seed=seed).p
    name = f"{mark} without {whose}"
    own = {row["number"]: row for row in said}  # a sentence counts once, under however many marks' neurons
    return Effect(
        mark, whose, _score(f"P({mark})", "probability", average, list(own.values()), seed, "before"),
        _score(f"{name}: absolute change", "probability", absolute, said, seed),
        _score(name, "ratio of means", ratio_of_means, said, seed), p, p_above=above,
    )  # fmt: skip


def _score(name: str, unit: str, of: Any, said: Sequence[Mapping[str, Any]], seed: int, *keys: str) -> Score:
    values = [np.array([row[key] for row in said]) for key in keys or ("before", "after")]
    numbers = [row["number"] for row in said]
    drawn = Resampling.of(numbers, seed=seed).draws(of, values)
    return Score(name, float(of(*values)), len(set(numbers)), unit, interval=percentile(drawn))


def _discovered(effects: Sequence[Effect]) -> list[Effect]:
    """With q over all tests of the run, those against random neurons among them."""
    above = [i for i, e in enumerate(effects) if not math.isnan(e.p_above)]
    if not effects:
        return []
    qs = false_discovery([e.p for e in effects] + [effects[i].p_above for i in above])
    found = [replace(e, q=float(q)) for e, q in zip(effects, qs, strict=False)]
    for i, q in zip(above, qs[len(effects) :], strict=True):
        found[i] = replace(found[i], q_above=float(q))
    return found
