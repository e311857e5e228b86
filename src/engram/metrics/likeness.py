"""Do several methods point to the same layers, and in them to the same neurons? Pair by pair, and over facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import BadSetting, NotFinite
from ..results import Floats, Score
from .bands import bands
from .traced import rows_of

RANKS, FRACTION = "rank correlation", "fraction"


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two methods are on one prompt: `layers` and `neurons` are Spearman's rank correlations.

    `same_peak`: is the largest number of both in the same layer? `shared` [top] is which part of the best so many
    neurons both name. None where one side's numbers are all equal, and () where a method has none of single neurons.
    """

    layers: float | None
    same_peak: bool
    neurons: float | None = None
    shared: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """Two methods over many facts: means with 95 % bootstraps over facts, None where nothing could be compared."""

    a: str
    b: str
    layers: Score | None
    same_peak: Score | None
    neurons: Score | None
    shared: tuple[Score, ...]


def spearman(x: Floats, y: Floats) -> float | None:
    """Spearman's rank correlation, ties by their mean rank; None where one side is constant.

    >>> spearman(np.array([0.1, 0.4, 0.2]), np.array([1.0, 9.0, 3.0])), spearman(np.ones(3), np.arange(3.0))
    (1.0, None)
    """
    a, b = _ranked(x), _ranked(y)
    return None if a is None or b is None else _product(a, b)


def likenesses(
    profiles: Mapping[str, Floats], scores: Mapping[str, Floats], tops: Sequence[int] = (10, 100)
) -> Iterator[tuple[str, str, Likeness]]:
    """Every two methods of one prompt, and each with itself.

    `profiles` has one number for each layer, by method, `scores` one for each neuron of the model, by those methods
    that have them. Of equal scores the first counts as better. Raises NotFinite, and BadSetting for more best neurons
    than there are.
    """
    for name, x in (*profiles.items(), *scores.items()):
        if not np.isfinite(x).all():
            raise NotFinite(f"some numbers by {name} are not finite")
    if (least := min(map(len, scores.values()), default=max(tops))) < max(tops):
        raise BadSetting(f"the best {max(tops)} of {least} neurons were asked for: give smaller tops")
    by_layer, by_neuron = ({name: _ranked(x) for name, x in of.items()} for of in (profiles, scores))
    best = {name: np.argsort(-x, kind="stable")[: max(tops)] for name, x in scores.items()}
    names = list(profiles)
    for i, a in enumerate(names):
        for b in names[i:]:
            same = int(np.argmax(profiles[a])) == int(np.argmax(profiles[b]))
            alike = Likeness(_correlated(by_layer[a], by_layer[b]), same)
            if a in scores and b in scores:
                shared = tuple(len(np.intersect1d(best[a][:k], best[b][:k])) / k for k in tops)
                alike = Likeness(alike.layers, same, _correlated(by_neuron[a], by_neuron[b]), shared)
            yield a, b, alike


def compared(found: Iterable[Mapping[str, Any]], tops: Sequence[int], *, seed: int = 0) -> list[Pair]:
    """Every two methods over all facts, from rows of `agreement` or results that hold them. A fact counts once."""
    table: dict[tuple[str, str], dict[int, list[float | None]]] = {}
    for row in rows_of(found):
        numbers = [row["layer_correlation"], float(row["same_peak"]), row["neuron_correlation"], *row["shared"]]
        table.setdefault((row["a"], row["b"]), {})[row["number"]] = numbers
    names = [f"best {k} neurons" for k in tops]
    pairs = []
    for (a, b), facts in table.items():
        said = bands(np.array(list(facts.values()), float), seed=seed)

        def score(i: int, what: str, unit: str, a: str = a, b: str = b, said: Any = said) -> Score | None:
            n = int(said.n[i])
            return Score(f"{what}: {a} ~ {b}", float(said.mean[i]), n, unit, interval=said.interval(i)) if n else None

        shared = [score(3 + i, name, FRACTION) for i, name in enumerate(names[: len(said.mean) - 3])]
        pairs.append(
            Pair(a, b, score(0, "layers", RANKS), score(1, "same peak layer", FRACTION), score(2, "neurons", RANKS),
                 tuple(s for s in shared if s is not None))
        )  # fmt: skip
    return pairs


def _ranked(x: Floats) -> Floats | None:
    """Ranks as a vector of length 1 around 0, so that products are correlations; None of equal numbers."""
    from scipy import stats  # takes long to import, and no report needs it

    ranks = stats.rankdata(x).astype(float)
    ranks -= ranks.mean()
    length = float(np.linalg.norm(ranks))
    found: Floats = ranks / length if length > 0 else ranks
    return found if length > 0 else None


def _correlated(a: Floats | None, b: Floats | None) -> float | None:
    return None if a is None or b is None else _product(a, b)


def _product(a: Floats, b: Floats) -> float:
    return float(np.clip(round(float(a @ b), 12), -1, 1))
