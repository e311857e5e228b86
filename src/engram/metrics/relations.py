"""The change of every relation, and Dai's headline: their mean, in which each relation counts once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import BadSetting
from ..results import Floats, Report, Score
from .changes import named
from .intervals import Resampling, percentile
from .pairs import Pairs
from .significance import false_discovery, paired_test


@dataclass(frozen=True, slots=True)
class RelationChange:
    """How the answers of one relation changed, over how many facts; the paired test's p, and its q over all rows.

    >>> from engram.results import Score
    >>> RelationChange("P36", Score("P36", -0.4, 20, "ratio of means"), facts=5, p=0.01, q=0.02).facts
    5
    """

    relation: str
    change: Score
    facts: int
    p: float
    q: float


@dataclass(frozen=True, slots=True)
class RelationChanges:
    """One row per relation, and the `mean` over them.

    `left_out` are the relations whose change cannot be computed: a probability of 0 stands in the way.

    Made by `by_relation`.

    >>> own = RelationChange("P36", Score("P36", -0.4, 20, "ratio of means"), facts=5, p=0.01, q=0.02)
    >>> changes = RelationChanges((own,), Score("mean over relations", -0.4, 1, "ratio of means"))
    >>> changes.report()["P36 q"].value
    0.02
    """

    rows: tuple[RelationChange, ...]
    mean: Score
    left_out: tuple[str, ...] = ()

    def report(self, title: str = "by relation") -> Report:
        """As a Report: "mean over relations", then "P36", "P36 p" and "P36 q" for each relation."""
        scores = [self.mean]
        for r in self.rows:
            scores += [r.change, Score(f"{r.relation} p", r.p, r.facts, "p-value")]
            scores += [Score(f"{r.relation} q", r.q, len(self.rows), "q-value")]
        facts = {r.relation: r.facts for r in self.rows}
        return Report(title, tuple(scores), {"facts": facts}, tuple(f"{r}: {_LEFT_OUT}" for r in self.left_out))

    def __str__(self) -> str:
        wide = max(len(s.name) for s in (self.mean, *(r.change for r in self.rows)))
        lines = [f"{'':{wide}}  {self.mean.unit:<26}  facts       p       q"]
        lines += [f"{_shown(r.change, wide)}  {r.facts:>5}  {r.p:6.4f}  {r.q:6.4f}" for r in self.rows]
        return "\n".join([*lines, _shown(self.mean, wide), *(f"{r}: {_LEFT_OUT}" for r in self.left_out)])


_LEFT_OUT = "left out, a probability of 0 stands in the way"


def by_relation(
    groups: Mapping[str, Pairs], *, change: str = "ratio of means", n: int = 2000, level: float = 0.95, seed: int = 0
) -> RelationChanges:
    """How did the answers of each relation change, and of relations on the whole?

    `groups` are the pairs of each relation (`Pairs.by_relation` makes them from answers). A relation's change has a
    bootstrap interval over its facts, and a p-value (sign flips, over facts) with its q after Benjamini-Hochberg over
    all relations. The mean over relations is unweighted, as the headline of Dai et al. (2022), figures 4 and 5; its
    interval draws facts anew within each relation, so it is about these relations, and is None where one of them has
    one fact only. Raises BadSetting where no relation's change can be computed, UnknownName for the change.

    >>> capital = Pairs([0.4, 0.3, 0.5], [0.2, 0.2, 0.2], ("Ireland", "Italy", "Kuwait"))
    >>> found = by_relation({"P36": capital, "P37": Pairs([0.2, 0.3], [0.2, 0.3], ("Ireland", "Italy"))})
    >>> [(r.relation, round(r.change.value, 2), r.p, r.q) for r in found.rows], round(found.mean.value, 2)
    ([('P36', -0.5, 0.25, 0.5), ('P37', 0.0, 1.0, 1.0)], -0.25)
    """
    how = named(change)
    changes: dict[str, Score] = {}
    draws: list[Floats | None] = []
    for i, (relation, pairs) in enumerate(groups.items()):
        both = (pairs.before, pairs.after)
        if math.isfinite(value := float(how.of(*both))):
            draws.append(Resampling.of(pairs.facts, n=n, seed=seed + i).draws(how.of, both))
            interval = percentile(draws[-1], level)
            changes[relation] = Score(relation, value, len(pairs.facts), how.unit, interval=interval, level=level)
    if not changes:
        raise BadSetting(f"the {change} cannot be computed for any of {len(groups)} relations")
    known = [d for d in draws if d is not None]
    interval = percentile(np.mean(known, axis=0) if len(known) == len(draws) else None, level)
    value = float(np.mean([s.value for s in changes.values()]))
    mean = Score("mean over relations", value, len(changes), how.unit, interval=interval, level=level)
    return RelationChanges(_tested(groups, changes, seed), mean, tuple(r for r in groups if r not in changes))


def _tested(groups: Mapping[str, Pairs], changes: Mapping[str, Score], seed: int) -> tuple[RelationChange, ...]:
    tests = [paired_test(groups[r].before, groups[r].after, groups[r].facts, seed=seed) for r in changes]
    qs = false_discovery([t.p for t in tests])
    return tuple(
        RelationChange(relation, score, test.n, test.p, float(q))
        for (relation, score), test, q in zip(changes.items(), tests, qs, strict=True)
    )


def _shown(score: Score, wide: int) -> str:
    interval = f"[{score.interval[0]:+.4f}, {score.interval[1]:+.4f}]" if score.interval is not None else ""
    return f"{score.name:<{wide}}  {score.value:+.4f} {interval:<18}"
