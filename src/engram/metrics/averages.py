"""Means in which every relation counts once, as in the tables of Dai et al. (2022), with intervals over facts."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..results import Score
from .changes import average
from .intervals import Resampling, percentile

Measured = tuple[Hashable, float]  # a fact, and one number of it


def by_key(rows: Iterable[Mapping[str, Any]], key: str) -> dict[Any, list[Mapping[str, Any]]]:
    """The rows of each value of a column, in order of first appearance."""
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def relation_mean(name: str, unit: str, groups: Mapping[str, Sequence[Measured]], *, seed: int = 0) -> Score:
    """The unweighted mean over relations of the mean over a relation's numbers; `n` counts facts.

    The 95 % interval draws facts anew within each relation, so it is about these relations; there is none where one
    of them has one fact only.

    >>> relation_mean("x", "points", {"P36": [("Ireland", 1.0), ("Italy", 3.0)], "P37": [("Ireland", 6.0)]}).value
    4.0
    """
    means, draws = [], []
    for i, own in enumerate(groups.values()):
        values = np.array([value for _, value in own], float)
        means.append(float(values.mean()))
        draws.append(Resampling.of([fact for fact, _ in own], seed=seed + i).draws(average, [values]))
    known = [d for d in draws if d is not None]
    interval = percentile(np.mean(known, axis=0)) if len(known) == len(draws) else None
    n = sum(len({fact for fact, _ in own}) for own in groups.values())
    return Score(name, float(np.mean(means)), n, unit, interval=interval)
