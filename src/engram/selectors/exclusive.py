"""Dai et al. (2022), section 5: a fact is changed through those of its neurons that few of its relation share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from ..errors import BadSetting
from ..neurons import NeuronSet
from ..presets import FROM_PRESET, fill
from ..results import Attribution
from .base import Selector, selectors
from .shared import Share, Shared, exact

_PRESETS = {"paper": {"strict": True, "twice": False}, "hunter": {"strict": False, "twice": True}}


@selectors("exclusive")
@dataclass(frozen=True, slots=True)
class Exclusive(Selector):
    """The neurons of `by` that fewer than `limit` of the sets `among` hold (not `strict`: at most `limit`).

    `among` are the neurons of every fact of the relation, the fact in question included and counted once (`twice`:
    counted twice); so a relation of 10 facts or fewer leaves none at the limit of a tenth. The preset "hunter", the
    authors' code, counts twice and is not strict; a setting that is given wins over it.

    >>> mine = NeuronSet.parse("L9.2141 L10.1122")
    >>> others = [NeuronSet.parse("L10.1122")] * 2 + [NeuronSet()] * 17
    >>> print(Exclusive(among=(mine, *others)).keep(mine))
    {L9.2141}
    """

    among: tuple[NeuronSet, ...]
    by: Selector = field(default_factory=Shared)
    limit: Share = Fraction(1, 10)
    strict: bool = FROM_PRESET
    twice: bool = FROM_PRESET
    preset: str | None = None

    def __post_init__(self) -> None:
        fill(self, self.preset, _PRESETS)
        if not self.among:
            raise BadSetting("Exclusive needs the sets of the relation's facts, and was given none")
        if not 0 <= exact(self.limit) <= 1:
            raise BadSetting(f"a limit is a share of the relation's facts between 0 and 1, not {self.limit}")

    def keep(self, neurons: NeuronSet) -> NeuronSet:
        """Those of these neurons that few enough of the sets hold."""
        allowed = exact(self.limit) * len(self.among)
        counts = {n: sum(n in s for s in self.among) + self.twice for n in neurons}
        return NeuronSet(frozenset(n for n, c in counts.items() if (c < allowed if self.strict else c <= allowed)))

    def select(self, scores: Sequence[Attribution]) -> NeuronSet:
        return self.keep(self.by.select(scores))
