"""Dai et al. (2022), section 3.3: the neurons that score high in most of a fact's prompts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np

from ..errors import BadSetting, UnknownName
from ..neurons import Neuron, NeuronSet
from ..presets import FROM_PRESET, fill
from ..results import Attribution
from .base import Selector, degenerate, same_widths, selectors, usable, warn_degenerate

Kind = Literal["relative", "absolute", "percentile"]
Share = float | str | Fraction

_HUNTER: Mapping[str, Any] = {"strict": False, "share_strict": False, "floor": 3}
_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {"threshold": 0.2, "share": 0.7, "strict": True, "share_strict": True, "floor": 0},
    "hunter": _HUNTER,
    "hunter-baseline": {**_HUNTER, "threshold": 0.5},
    "eleuther": {"threshold": 0.3, "share": 0.3},
    "niu": {},
}


def exact(share: Share) -> Fraction:
    """The share as it is written in decimals: 0.85 is 17/20, not the binary number nearest to it.

    Raises BadSetting for what is no number.

    >>> exact(0.85), exact("7/10")
    (Fraction(17, 20), Fraction(7, 10))
    """
    try:
        return Fraction(str(share))
    except (ValueError, ZeroDivisionError):
        raise BadSetting(f"a share is written like 0.7, '0.7' or '7/10', not {share!r}") from None


@selectors("shared")
@dataclass(frozen=True, slots=True)
class Shared(Selector):
    """The neurons above a threshold (the coarse set) in more than a share of the prompts (the refined set).

    Coarse: a score greater than (not `strict`: at least) `threshold`, which is, by `kind`, a part of the prompt's
    peak over all layers ("relative", the paper), a score ("absolute"), or a percentile, 0 to 100, of all scores of
    the prompt (numpy's linear one). Refined: in more than (not `share_strict`: at least) `share` of the prompts,
    and in at least `floor` prompts and one. The share is exact: of 20 prompts, 0.85 are 17, and more is 18.

    A preset gives the settings that are left out; one that is given wins over the preset.
    "paper": > 0.2, > 0.7, no floor (the default). "hunter", the authors' code: ≥ 0.2, ≥ 0.7, floor 3;
    "hunter-baseline", the same for activations: ≥ 0.5. "eleuther": > 0.3, > 0.3. "niu" (Niu et al. 2024): as paper.

    A prompt whose peak is not above 0, or not finite, names no neuron, counts among the prompts, and is named in
    one `DegenerateScores` warning. Raises BadSetting, UnknownName, and BelowFloor where lower scores are needed
    than were kept.

    >>> Shared(preset="hunter", share="0.85").least(20), Shared(share=0.85).least(20)
    (17, 18)
    """

    threshold: float = FROM_PRESET
    share: Share = FROM_PRESET
    kind: Kind = "relative"
    strict: bool = FROM_PRESET
    share_strict: bool = FROM_PRESET
    floor: int = FROM_PRESET
    preset: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UnknownName("kind of threshold", self.kind, get_args(Kind))
        if self.kind != "relative" and self.threshold is FROM_PRESET:
            raise BadSetting(f"a threshold of kind {self.kind!r} has no default: give `threshold`")
        fill(self, self.preset, _PRESETS)
        top = {"relative": 1.0, "absolute": math.inf, "percentile": 100.0}[self.kind]
        if not 0 <= self.threshold <= top:
            raise BadSetting(f"a threshold of kind {self.kind!r} is between 0 and {top:g}, not {self.threshold}")
        if not 0 <= self.exact_share <= 1:
            raise BadSetting(f"a share of the prompts is between 0 and 1, not {self.share}")
        if self.floor < 0:
            raise BadSetting(f"a floor is a number of prompts, not {self.floor}")

    @property
    def exact_share(self) -> Fraction:
        """The share as a fraction; see `exact`."""
        return exact(self.share)

    def least(self, n: int) -> int:
        """In how many of `n` prompts must a neuron be? In at least one, whatever the share."""
        cut = self.exact_share * n
        least = math.floor(cut) + 1 if self.share_strict else math.ceil(cut)
        return max(least, self.floor, 1)

    def select(self, scores: Sequence[Attribution]) -> NeuronSet:
        same_widths(scores)
        warn_degenerate(degenerate(scores), len(scores))
        return self.agreed(self.votes(scores), len(scores))

    def votes(self, scores: Sequence[Attribution]) -> Counter[Neuron]:
        """In how many prompts is each neuron in the coarse set? Needs the threshold only, not the share."""
        return Counter(n for a in scores if usable(a) for n in a.above(self._cut(a), strict=self.strict))

    def agreed(self, votes: Mapping[Neuron, int], n: int) -> NeuronSet:
        """The neurons with enough of the votes of `n` prompts."""
        least = self.least(n)
        return NeuronSet(frozenset(neuron for neuron, v in votes.items() if v >= least))

    def _cut(self, a: Attribution) -> float:
        if self.kind == "relative":
            return self.threshold * a.peak
        if self.kind == "absolute":
            return self.threshold
        valid = np.arange(a.dense().shape[1])[None] < np.asarray(a.widths)[:, None]
        return float(np.percentile(a.dense()[valid], self.threshold))
