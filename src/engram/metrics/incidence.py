"""In which part of several sets is each neuron? Niu et al. (2024), table 4 and figure 2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import BadSetting
from ..neurons import Neuron, NeuronSet
from ..results import Score
from .intervals import percentile, proportion

DRAWS = 2000
NUMBERS = {"singular": ("this", "that"), "plural": ("these", "those")}  # whose determiners they are


@dataclass(frozen=True, slots=True)
class Incidence:
    """One neuron, and of each group the part of its sets that hold it; n counts the group's sets."""

    neuron: Neuron
    shares: Mapping[str, Score]

    @property
    def mean(self) -> float:
        """The mean of its shares: groups weigh the same."""
        return float(np.mean([s.value for s in self.shares.values()]))


def incidences(groups: Mapping[str, Sequence[NeuronSet]], *, seed: int = 0) -> list[Incidence]:
    """Every neuron of any set, those with the largest mean share first, then by layer and index.

    `groups` are sets of neurons by what they have in common. Intervals draw the sets of a group anew; where all of
    them hold the neuron, or none, they are exact (Clopper & Pearson). Groups without sets are left out. Raises
    BadSetting without sets.

    >>> sets = [NeuronSet.parse("L0.1 L1.2"), NeuronSet.parse("L0.1")]
    >>> [(str(i.neuron), i.shares["this"].value) for i in incidences({"this": sets, "these": [NeuronSet()]})]
    [('L0.1', 1.0), ('L1.2', 0.5)]
    """
    known = {name: list(sets) for name, sets in groups.items() if sets}
    if not known:
        raise BadSetting("there are no sets in which neurons could be counted")
    counts = {name: Counter(n for own in sets for n in own) for name, sets in known.items()}
    found = [
        Incidence(neuron, {name: _share(f"{neuron}: {name}", counts[name][neuron], len(known[name]), seed)
                           for name in known})
        for neuron in sorted(set().union(*counts.values()))
    ]  # fmt: skip
    return sorted(found, key=lambda i: (-i.mean, i.neuron))


def of_one_kind(
    found: Sequence[Incidence], own: Sequence[str], others: Sequence[str], *, foreign: float = 0.02, least: float = 0.25
) -> Neuron | None:
    """The neuron that stands for `own` groups and not for `others`; None where there is none.

    Of those that at most `foreign` of the sets of each other group hold, the one of which the smallest share in its own
    groups is largest, if this is `least` or more (then the one whose mean share is largest). Niu et al. took L9.1094
    for the plural and L10.2096 for the singular, and left out L11.1835 by hand, for 3 % of the sets of "these" hold it.

    >>> sets = {"this": [NeuronSet.parse("L0.1 L1.2")], "these": [NeuronSet.parse("L1.2")]}
    >>> print(of_one_kind(incidences(sets), ["this"], ["these"]))
    L0.1
    """

    def rank(i: Incidence) -> tuple[float, float]:
        shares = [i.shares[g].value for g in own if g in i.shares]
        return (min(shares), float(np.mean(shares))) if shares else (0.0, 0.0)

    pure = [i for i in found if all(i.shares[g].value <= foreign for g in others if g in i.shares)]
    best = max(pure, key=rank, default=None)
    return best.neuron if best is not None and rank(best)[0] >= least else None


def shares_of(rows: Iterable[Mapping[str, Any]], *, seed: int = 0) -> list[Incidence]:
    """Of every neuron the part of each determiner's pairs that have it, from rows of `determiners`: table 4.

    Raises BadSetting without rows.
    """
    groups: dict[str, list[NeuronSet]] = {determiner: [] for own in NUMBERS.values() for determiner in own}
    for row in rows:
        groups[row["determiner"]].append(set_of(row))
    return incidences(groups, seed=seed)


def number_neurons(found: Sequence[Incidence], *, foreign: float = 0.02) -> dict[str, Neuron | None]:
    """The neuron that stands for the singular, and the one that stands for the plural: see `of_one_kind`."""
    one, many = NUMBERS.values()
    return {
        "singular": of_one_kind(found, one, many, foreign=foreign),
        "plural": of_one_kind(found, many, one, foreign=foreign),
    }


def set_of(row: Mapping[str, Any]) -> NeuronSet:
    """The neurons of one row."""
    return NeuronSet.parse(" ".join(row["neurons"]))


def _share(name: str, k: int, n: int, seed: int) -> Score:
    """k of n sets."""
    held = np.repeat([1.0, 0.0], [k, n - k])
    if n < 2:
        return Score(name, k / n, n, "fraction of pairs")
    drawn = np.random.default_rng([seed, n]).binomial(n, k / n, size=DRAWS) / n
    return Score(name, k / n, n, "fraction of pairs", interval=proportion(held) or percentile(drawn))
