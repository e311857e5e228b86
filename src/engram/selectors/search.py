"""The share at which facts have two to five neurons: Dai et al. (2022), section 4.1, and Niu et al. (2024)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from ..errors import BadSetting
from ..facts import Prompt
from ..neurons import Neuron, NeuronSet
from ..results import Attribution
from .base import degenerate, same_widths, warn_degenerate
from .shared import Share, Shared, exact

Keep = Literal["nearest", "last"]
Poll = tuple[Counter[Neuron], int]  # the votes of a group's prompts, and how many prompts there are

_PAPER = Shared()
_KEEP_LAST = ("hunter", "hunter-baseline", "niu")


@dataclass(frozen=True, slots=True)
class ShareSearch:
    """The share that was settled on, and the neurons of every group at that share.

    `mean` is their mean number per group, `found` whether it lies in the wanted interval, `tried` every share that
    was evaluated with its mean, in order.

    >>> print(ShareSearch(Fraction(1, 2), (), 3.5, True, ((Fraction(1, 2), 3.5),)))
    share 0.5: 3.50 neurons per group
    """

    share: Fraction
    sets: tuple[NeuronSet, ...]
    mean: float
    found: bool
    tried: tuple[tuple[Fraction, float], ...]

    def __str__(self) -> str:
        said = "" if self.found else f", outside the wanted interval after {len(self.tried)} evaluations"
        return f"share {float(self.share):g}: {self.mean:.2f} neurons per group{said}"


def search_share(
    groups: Iterable[Sequence[Attribution]],
    by: Shared = _PAPER,
    *,
    mean: tuple[float, float] = (2, 5),
    step: Share = Fraction(1, 20),
    limit: int = 6,
    keep: Keep | None = None,
) -> ShareSearch:
    """At which share of the prompts do groups have, on average, between two and five neurons?

    A group is the scores of one fact; Dai et al. search once per relation over its facts, Niu et al. once per set
    (one group, `limit=20`). From `by.share` on: a mean (groups without a neuron count as 0) below the interval
    lowers the share by `step`, one above raises it, within 0 to 1, for at most `limit` evaluations. Where none of
    them lies in the interval, `found` is False; then `keep` "nearest" (the default) settles on the evaluated share
    whose mean is nearest to it, and stops at once when a share comes up again; "last" (the default for the presets
    hunter, hunter-baseline and niu) goes on to the limit and keeps the last one, as the published code does, which
    however lets the share drift in floating point.

    Each group is read once, so `groups` may be a generator over a store. Degenerate prompts of all groups are named
    in one warning. Raises BadSetting, BelowFloor.

    >>> import numpy as np
    >>> from engram.facts import Prompt
    >>> scores = [np.array([[0.9, high, 0.8]]) for high in (0.7, 0.7, 0.7, 0.1)]  # neuron 1 is high in 3 of 4 prompts
    >>> prompt, nothing = Prompt("It is [Y].", "so"), np.zeros(1)
    >>> fact = [Attribution(prompt, "toy", s, gap=nothing, change=nothing, widths=(3,)) for s in scores]
    >>> print(search_share([fact], Shared(share=0.9), mean=(3, 5)))
    share 0.7: 3.00 neurons per group
    """
    keep = keep or ("last" if by.preset in _KEEP_LAST else "nearest")
    if not mean[0] <= mean[1] or exact(step) <= 0 or limit < 1 or keep not in ("nearest", "last"):
        raise BadSetting(
            "a search needs a mean (low, high), a step and a limit above 0, and keep 'nearest' or 'last'; "
            f"not mean={mean}, step={step}, limit={limit}, keep={keep!r}"
        )
    polls = _poll(groups, by)
    tried = _walk(
        lambda s: sum(map(len, _sets(polls, by, s))) / len(polls), by.exact_share, mean, exact(step), limit, keep
    )
    share, number = tried[-1] if keep == "last" else min(tried, key=lambda t: abs(_outside(t[1], mean)))
    return ShareSearch(share, _sets(polls, by, share), number, not _outside(number, mean), tuple(tried))


def _walk(
    number: Callable[[Fraction], float],
    share: Fraction,
    mean: tuple[float, float],
    step: Fraction,
    limit: int,
    keep: Keep,
) -> list[tuple[Fraction, float]]:
    """The shares evaluated from `share` on, until one lies in the interval or the search ends, each with its mean."""
    tried = [(share, number(share))]
    while len(tried) < limit and (off := _outside(tried[-1][1], mean)):
        share = min(max(share + (step if off > 0 else -step), Fraction(0)), Fraction(1))
        if keep == "nearest" and share in dict(tried):
            break
        tried.append((share, number(share)))
    return tried


def _sets(polls: Sequence[Poll], by: Shared, share: Fraction) -> tuple[NeuronSet, ...]:
    at = replace(by, share=share)
    return tuple(at.agreed(votes, n) for votes, n in polls)


def _poll(groups: Iterable[Sequence[Attribution]], by: Shared) -> list[Poll]:
    """The votes and the number of prompts of every group; warns once for all."""
    polls: list[Poll] = []
    empty: list[Prompt] = []
    for scores in groups:
        same_widths(scores)
        polls.append((by.votes(scores), len(scores)))
        empty += degenerate(scores)
    if not polls:
        raise BadSetting("there are no groups of scores to search a share for")
    warn_degenerate(empty, sum(n for _, n in polls))
    return polls


def _outside(number: float, wanted: tuple[float, float]) -> float:
    """By how much `number` lies above (positive) or below (negative) the interval; 0 inside."""
    return max(number - wanted[1], 0) or min(number - wanted[0], 0)
