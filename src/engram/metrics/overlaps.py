"""How many neurons does a fact have, in which layers, and how many does it share? Dai et al. (2022), section 4.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import BadSetting
from ..neurons import Neuron, NeuronSet
from ..results import Floats, Score
from .intervals import percentile

_BLOCK = 20  # resamples at once
Groups = Mapping[str, Sequence[NeuronSet]]


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Table 2 and figure 3: `scores` by name, and the share of all (fact, neuron) pairs in every layer."""

    scores: tuple[Score, ...]
    layers: tuple[Score, ...]

    def __getitem__(self, name: str) -> Score:
        return {s.name: s for s in self.scores}[name]


def overlaps(groups: Groups, layers: int, *, n: int = 1000, seed: int = 0, level: float = 0.95) -> Overlaps:
    """Neurons per fact, intersections of facts of the same and of different relations, and the layers they lie in.

    `groups` are the neurons of every fact of each relation; facts without any count. Exact, over all pairs of facts:
    within a relation pooled over pairs (a relation of n facts weighs n(n−1)/2, as in the authors' code) and as the
    mean over relations; across relations, the mean over facts and over the other relations of the mean over their
    facts, which is what the authors' 100 draws a fact estimate. Intervals draw facts anew within every relation, `n`
    times; a fact drawn twice is no pair with itself. Raises BadSetting without facts.

    >>> sets = {"P36": [NeuronSet.parse("L0.1 L1.2"), NeuronSet.parse("L0.1")], "P37": [NeuronSet.parse("L0.1")]}
    >>> [(s.name, s.value, s.n) for s in overlaps(sets, 2).scores][:3]
    [('neurons per fact', 1.3333333333333333, 3), ('facts without a neuron', 0.0, 3), ('shared within', 1.0, 1)]
    """
    known = {relation: list(sets) for relation, sets in groups.items() if sets}
    if not known:
        raise BadSetting("there are no facts whose neurons could be counted")
    table = _Counts.of(list(known.values()))
    sizes = table.sizes
    facts = len(sizes)
    exact = table.numbers([np.ones((1, k)) for k in table.per_relation])
    drawn = _draws(table, n, seed) if facts > 1 else None
    pairs = sum(k * (k - 1) // 2 for k in table.per_relation)
    names = (
        ("neurons per fact", facts, "neurons"), ("facts without a neuron", facts, "fraction"),
        ("shared within", pairs, "neurons"), ("shared within, mean over relations", len(known), "neurons"),
        ("shared across", facts, "neurons"),
    )  # fmt: skip

    def score(i: int, name: str, count: int, unit: str) -> Score:
        interval = percentile(drawn[:, i], level) if drawn is not None else None
        return Score(name, float(exact[0, i]), count, unit, interval=interval, level=level)

    scores = [score(i, *about) for i, about in enumerate(names)]
    kept = tuple(s for s in scores if np.isfinite(s.value))
    return Overlaps(kept, layer_shares([x for sets in known.values() for x in sets], layers, n=n, seed=seed))


def layer_shares(
    sets: Sequence[NeuronSet], layers: int, *, n: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[Score, ...]:
    """Which part of all (fact, neuron) pairs lies in each layer? Intervals draw facts anew."""
    counts = np.zeros((len(sets), layers))
    for i, own in enumerate(sets):
        for neuron in own:
            counts[i, neuron.layer] += 1
    if not counts.sum():
        return ()
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(sets), np.full(len(sets), 1 / len(sets)), size=n)
    sums = times @ counts
    drawn = sums / sums.sum(1, keepdims=True) if (sums.sum(1) > 0).all() else None
    shares, total = counts.sum(0) / counts.sum(), int(counts.sum())
    return tuple(
        Score(
            f"layer {layer}", float(shares[layer]), total, "fraction", level=level,
            interval=percentile(drawn[:, layer], level) if drawn is not None and len(sets) > 1 else None,
        )
        for layer in range(layers)
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Counts:
    """Which fact has which neuron: of every relation, where its ones are; `columns` neurons in all."""

    ones: tuple[tuple[NDArray[np.intp], NDArray[np.intp]], ...]
    per_relation: tuple[int, ...]
    columns: int

    @classmethod
    def of(cls, groups: Sequence[Sequence[NeuronSet]]) -> _Counts:
        number: dict[Neuron, int] = {}
        ones = []
        for sets in groups:
            where = [(i, number.setdefault(neuron, len(number))) for i, own in enumerate(sets) for neuron in own]
            rows, columns = zip(*where, strict=True) if where else ((), ())
            ones.append((np.array(rows, np.intp), np.array(columns, np.intp)))
        return cls(tuple(ones), tuple(map(len, groups)), max(len(number), 1))

    @property
    def sizes(self) -> NDArray[np.intp]:
        """How many neurons each fact has."""
        parts = [np.bincount(rows, minlength=k) for (rows, _), k in zip(self.ones, self.per_relation, strict=True)]
        return np.concatenate(parts)

    def numbers(self, times: Sequence[Floats]) -> Floats:
        """[resample, 5]: what the names in `overlaps` say, with fact i of relation r counted times[r][resample, i]."""
        from scipy.sparse import csr_array

        among, own, empty, pairs, shared = [], [], [], [], []
        for (rows, columns), k, w in zip(self.ones, self.per_relation, times, strict=True):
            a = csr_array((np.ones(len(rows)), (rows, columns)), shape=(k, self.columns))
            sizes = np.bincount(rows, minlength=k)
            there = (a.T @ w.T).T  # [resample, neuron]: facts that have it
            among.append(there / k)
            own.append(w @ sizes)
            empty.append(w @ (sizes == 0))
            pairs.append((w.sum(1) ** 2 - (w**2).sum(1)) / 2)
            shared.append(((there**2).sum(1) - (w**2) @ sizes) / 2)
        facts = sum(self.per_relation)
        with np.errstate(invalid="ignore", divide="ignore"):
            within = [s / p for s, p, k in zip(shared, pairs, self.per_relation, strict=True) if k > 1]
            pooled = sum(shared) / sum(pairs)
        mean = np.mean(within, axis=0) if within else np.full(len(times[0]), np.nan)
        return np.stack([sum(own) / facts, sum(empty) / facts, pooled, mean, self._across(among)], axis=1)

    def _across(self, among: Sequence[Floats]) -> Floats:
        if len(among) < 2:
            return np.full(len(among[0]), np.nan)
        total = np.sum(among, axis=0)
        parts = [k * (p * (total - p)).sum(1) for p, k in zip(among, self.per_relation, strict=True)]
        across: Floats = np.sum(parts, axis=0) / (len(among) - 1) / sum(self.per_relation)
        return across


def _draws(table: _Counts, n: int, seed: int) -> Floats | None:
    """The numbers of `n` resamples; None where a relation has one fact only, for that says nothing of its facts."""
    if min(table.per_relation) < 2:
        return None
    rng = np.random.default_rng(seed)
    parts: list[Floats] = []
    for start in range(0, n, _BLOCK):
        size = min(_BLOCK, n - start)
        times = [rng.multinomial(k, np.full(k, 1 / k), size).astype(float) for k in table.per_relation]
        parts.append(table.numbers(times))
    return np.concatenate(parts)
