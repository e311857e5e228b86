"""How localised is something that a set of prompts has in common? Niu et al. (2024), section 3.4 and tables 8 and 9."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import BadSetting, NotFinite
from ..results import Floats, Score
from .intervals import percentile

LEVELS = {"neurons": "neurons", "share": "fraction of prompts", "r1": "R1² (0 to 1)"}  # of a set, with their units
DRAWS = 2000


def r1_squared(maps: ArrayLike | None = None, *, gram: ArrayLike | None = None) -> float | None:
    """How alike are the maps of n prompts in direction? (σ₁² − 1) / (n − 1), of the maps at length 1.

    `maps` [prompt, …] are the scores of all neurons for each prompt, in any shape; `gram` [prompt, prompt] their inner
    products, in their place. σ₁ is the largest singular value of the matrix of the maps at length 1; its square is the
    largest eigenvalue of their n × n Gram matrix. 1: all are parallel (or opposite); 0: each is orthogonal to every
    other; of maps whose every two have the same cosine c, c. A map of nothing but zeros has no direction: it counts as
    orthogonal to all. None of one prompt, and where all maps are zero. Niu et al. (2024), equation 2; their code
    divides a map of zeros by 1e-15, which says the same. Raises BadSetting, NotFinite.

    >>> r1_squared([[1, 0, 0], [2, 0, 0]]), r1_squared([[1, 0, 0], [0, 3, 0]]), r1_squared([[1, 0, 0]])
    (1.0, 0.0, None)
    """
    products = _gram(maps, gram)
    n = len(products)
    lengths = np.sqrt(np.clip(np.diag(products), 0, None))
    if n < 2 or not lengths.any():
        return None
    scale = np.divide(1, lengths, out=np.zeros(n), where=lengths > 0)
    cosines = products * scale[:, None] * scale[None]
    largest = float(np.linalg.eigvalsh(cosines)[-1])
    return float(np.clip(round((largest - 1) / (n - 1), 12), 0, 1))


def _gram(maps: ArrayLike | None, gram: ArrayLike | None) -> Floats:
    """The inner products of every two maps."""
    if (maps is None) == (gram is None):
        raise BadSetting("give either the maps, or their inner products as gram")
    if gram is None:
        x = np.asarray(maps, float)
        if x.ndim < 2 or not len(x):
            raise BadSetting(f"maps are a table of at least one prompt and its scores, not of shape {x.shape}")
        x = x.reshape(len(x), -1)
        with np.errstate(over="ignore", invalid="ignore"):
            products: Floats = x @ x.T
    else:
        products = np.asarray(gram, float)
        if products.ndim != 2 or products.shape[0] != products.shape[1] or not len(products):
            raise BadSetting(f"a gram matrix has as many rows as columns, not the shape {products.shape}")
    if not np.isfinite(products).all():
        raise NotFinite("some of the scores are not finite, and have no direction")
    return products


@dataclass(frozen=True, slots=True)
class Level:
    """One relation or paradigm: its kind (facts, syntax), its sets, and the means of its levels, by their names.

    `neurons`: how many are refined at the threshold and share of the selector; `share`: that at which the search
    settled; `r1`: `r1_squared`. Means over sets, 95 % bootstraps over them.
    """

    relation: str
    kind: str
    sets: int
    scores: Mapping[str, Score]


def levels(rows: Iterable[Mapping[str, Any]], *, seed: int = 0) -> list[Level]:
    """The levels of every relation, from rows of `localisation`: `relation`, `kind` and each level's number, or None.

    Raises BadSetting without rows.
    """
    return [
        Level(relation, own[0]["kind"], len(own), {
            level: score for level in LEVELS if (score := _mean(level, [_draws(own, level, seed)], level)) is not None
        })
        for relation, own in _by_relation(rows).items()
    ]  # fmt: skip


def kinds(rows: Iterable[Mapping[str, Any]], *, seed: int = 0) -> dict[str, dict[str, Score]]:
    """Of facts and of syntax the mean over relations of every level; where there are both, their "difference" too.

    n are the sets. Relations weigh the same, however many sets they have, as in the published means; intervals draw
    the sets of each relation anew.

    >>> rows = [{"relation": r, "kind": k, "neurons": n, "share": 0.7, "r1": None}
    ...         for r, k, n in (("P36", "facts", 2), ("P36", "facts", 4), ("be", "syntax", 9))]
    >>> found = kinds(rows)
    >>> found["facts"]["neurons"].value, found["difference"]["neurons"].value, "r1" in found["facts"]
    (3.0, 6.0, False)
    """
    groups: dict[str, list[list[Mapping[str, Any]]]] = {}
    for own in _by_relation(rows).values():
        groups.setdefault(own[0]["kind"], []).append(own)
    drawn = {
        kind: {level: [d for own in of if len((d := _draws(own, level, seed)).own)] for level in LEVELS}
        for kind, of in groups.items()
    }
    found = {
        kind: {level: score for level, d in of.items() if (score := _mean(level, d, f"{kind}: {level}")) is not None}
        for kind, of in drawn.items()
    }
    if set(found) == {"facts", "syntax"}:
        found["difference"] = {
            level: _apart(level, drawn["syntax"][level], drawn["facts"][level])
            for level in LEVELS
            if drawn["syntax"][level] and drawn["facts"][level]
        }
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """The numbers of one relation's sets, and the means of the sets drawn anew [resample]; None where there is one."""

    own: Floats
    means: Floats | None


def _draws(rows: Sequence[Mapping[str, Any]], level: str, seed: int) -> _Drawn:
    own = np.array([row[level] for row in rows if row[level] is not None], float)
    n = len(own)
    if n < 2:
        return _Drawn(own, None)
    rng = np.random.default_rng([seed, zlib.crc32(rows[0]["relation"].encode())])  # of each relation its own draws
    return _Drawn(own, rng.multinomial(n, np.full(n, 1 / n), size=DRAWS) @ own / n)


def _mean(level: str, drawn: Sequence[_Drawn], name: str) -> Score | None:
    drawn = [d for d in drawn if len(d.own)]
    if not drawn:
        return None
    value, n = float(np.mean([d.own.mean() for d in drawn])), sum(len(d.own) for d in drawn)
    return Score(name, value, n, LEVELS[level], interval=percentile(_means(drawn)))


def _means(drawn: Sequence[_Drawn]) -> Floats | None:
    """The mean over relations of every resample; None where one of them has one set only."""
    each = [d.means for d in drawn if d.means is not None]
    return np.mean(each, axis=0) if len(each) == len(drawn) else None


def _apart(level: str, syntax: Sequence[_Drawn], facts: Sequence[_Drawn]) -> Score:
    """Syntax minus facts."""
    value = np.mean([d.own.mean() for d in syntax]) - np.mean([d.own.mean() for d in facts])
    a, b = _means(syntax), _means(facts)
    between = percentile(a - b) if a is not None and b is not None else None
    n = sum(len(d.own) for d in (*syntax, *facts))
    return Score(f"syntax − facts: {level}", float(value), n, LEVELS[level], interval=between)


def _by_relation(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["relation"], []).append(row)
    if not groups:
        raise BadSetting("there are no sets whose levels could be averaged")
    return groups
