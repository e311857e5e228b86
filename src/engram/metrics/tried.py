"""The same prompts under several conditions: what became of the answers, over facts, against the first condition."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadSetting
from ..results import Better, Floats, Score
from .averages import relation_mean
from .bands import Bands, bands
from .pairs import Pairs
from .significance import paired_test

BY_RELATION = ", mean over relations"


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """Log-probabilities and ranks of the right answer [row, condition]; the first condition is what others change.

    A row is a prompt, or one draw of it; `facts` and `relations` say whose, [row]. A fact counts once, whatever its
    number of rows. Numbers of all conditions share the draws of their intervals, so differences are paired.

    >>> said = np.log([[0.5, 0.25], [0.7, 0.35]])
    >>> tried = Tried(("alone", "noisy"), said, np.ones((2, 2)), ("Ireland", "Italy"), ("P36", "P36"))
    >>> round(tried.change("noisy").value, 3), round(tried.relative("noisy").value, 3)
    (-0.3, -0.5)
    """

    conditions: tuple[str, ...]
    logprob: Floats
    rank: Floats
    facts: tuple[Hashable, ...]
    relations: tuple[str, ...]
    seed: int = 0

    @classmethod
    def of(cls, results: Iterable[Mapping[str, Any]], conditions: Sequence[str], *, seed: int = 0) -> Tried:
        """From rows that keep `logprob` and `rank` [draw × condition]; a draw's conditions stand together.

        Raises BadSetting where there is no row.
        """
        said: list[Floats] = []
        ranks: list[Floats] = []
        facts: list[int] = []
        relations: list[str] = []
        for row in (row for result in results for row in result["rows"]):
            draws = np.reshape(row["logprob"], (-1, len(conditions)))
            said.append(draws)
            ranks.append(np.reshape(row["rank"], draws.shape))
            facts += [row["number"]] * len(draws)
            relations += [row["relation"]] * len(draws)
        if not said:
            raise BadSetting("no prompt was asked")
        return cls(tuple(conditions), np.concatenate(said), np.concatenate(ranks), tuple(facts), tuple(relations), seed)

    @property
    def n(self) -> int:
        """How many facts."""
        return len(set(self.facts))

    def probability(self) -> Bands:
        """P(answer), means over facts, [condition]."""
        return self._bands(np.exp(self.logprob))

    def accuracy(self) -> Bands:
        """The share of prompts whose answer is the first, means over facts, [condition]."""
        return self._bands((self.rank == 1).astype(float))

    def changes(self) -> Bands:
        """P(answer) less that under the first condition, means over facts, [condition]."""
        p = np.exp(self.logprob)
        return self._bands(p - p[:, :1])

    def change(self, condition: str, against: str | None = None) -> Score:
        """P(answer) less that under the first condition, or under `against`: probability, mean over facts."""
        p, i, j = np.exp(self.logprob), self._at(condition), self._at(against or self.conditions[0])
        return self._score("change", "probability", self._bands(p[:, [i]] - p[:, [j]]))

    def relative(self, condition: str) -> Score:
        """The change as a part of what was there: of means over facts. NaN where there was nothing."""
        found, i = self.probability(), self._at(condition)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(found.mean[i] / found.mean[0] - 1)
            draws = found.draws[:, i] / found.draws[:, 0] - 1
        ends = np.quantile(draws, [0.025, 0.975]) if np.isfinite(draws).all() else None
        interval = None if ends is None else (float(ends[0]), float(ends[1]))
        return Score("relative change", value, self.n, "ratio of means", interval=interval)

    def in_nats(self, condition: str) -> Score:
        """By how many nats the log-probability of the answer differs, mean over facts."""
        i = self._at(condition)
        return self._score("log-probability", "nats", self._bands(self.logprob[:, [i]] - self.logprob[:, :1]))

    def over_relations(self, condition: str) -> Score:
        """The change in probability, each relation counted once."""
        p, i = np.exp(self.logprob), self._at(condition)
        return self._over_relations("change" + BY_RELATION, p[:, i] - p[:, 0])

    def level_over_relations(self, condition: str) -> Score:
        """P(answer), each relation counted once."""
        return self._over_relations("P(answer)" + BY_RELATION, np.exp(self.logprob[:, self._at(condition)]))

    def p_value(self, condition: str) -> Score:
        """Could the change of P(answer) be chance? A paired test over facts (sign flips)."""
        p, i = np.exp(self.logprob), self._at(condition)
        test = paired_test(p[:, 0], p[:, i], self.facts, seed=self.seed)
        return Score("p-value", test.p, test.n, "p-value")

    def pairs(self, condition: str) -> dict[str, Pairs]:
        """Before and after, relation by relation."""
        p, i = np.exp(np.minimum(self.logprob, 0)), self._at(condition)
        rows = self._relations()
        return {r: Pairs(p[at, 0], p[at, i], tuple(self.facts[k] for k in at)) for r, at in rows.items()}

    def scores(self, condition: str, *, briefly: bool = False) -> Iterator[Score]:
        """What is said of one condition, each number under its name; `briefly`, without what follows from others."""
        level, right, i = self.probability(), self.accuracy(), self._at(condition)
        found = [self._score("P(answer)", "probability", level, i, "higher")]
        found.append(self._score("accuracy", "fraction", right, i, "higher"))
        if not i or not briefly:
            found.append(self.level_over_relations(condition))
        if i:
            found += [self.change(condition), self.over_relations(condition), self.relative(condition)]
        if i and not briefly:
            found += [self.in_nats(condition), self.p_value(condition)]
        for s in found:
            if np.isfinite(s.value):
                yield replace(s, name=f"{condition}: {s.name}")

    def _score(self, name: str, unit: str, found: Bands, i: int = 0, better: Better = "neither") -> Score:
        return Score(name, float(found.mean[i]), int(found.n[i]), unit, better, found.interval(i))

    def _bands(self, values: Floats) -> Bands:
        """Of [row, number]: facts as wholes."""
        which = {fact: i for i, fact in enumerate(dict.fromkeys(self.facts))}
        row = np.array([which[f] for f in self.facts])
        count = np.bincount(row)
        columns = [np.bincount(row, column) / count for column in np.asarray(values, float).T]
        return bands(np.stack(columns, axis=1), seed=self.seed)

    def _over_relations(self, name: str, values: Floats) -> Score:
        groups = {r: [(self.facts[i], float(values[i])) for i in at] for r, at in self._relations().items()}
        return relation_mean(name, "probability", groups, seed=self.seed)

    def _relations(self) -> dict[str, NDArray[np.intp]]:
        names = np.array(self.relations)
        return {r: np.flatnonzero(names == r) for r in dict.fromkeys(self.relations)}

    def _at(self, condition: str) -> int:
        return self.conditions.index(condition)


def behind(counts: Iterable[int]) -> tuple[str, ...]:
    """What it is called to be asked behind so many demonstrations.

    >>> behind([0, 1, 4])
    ('alone', 'behind 1', 'behind 4')
    """
    return tuple("alone" if n == 0 else f"behind {n}" for n in counts)


def perturbed(where: str, size: float, unit: str) -> str:
    """What it is called to have noise of this size in these tables.

    >>> perturbed("input", 0.25, "sigma"), perturbed("both", 1, "published")
    ('input, 0.25 σ', 'both, as published')
    """
    if unit == "published":
        return f"{where}, as published" if size == 1 else f"{where}, {size:g} × as published"
    return f"{where}, {size:g}{' σ' if unit == 'sigma' else ''}"
