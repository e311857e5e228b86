"""What the same prompts were answered before and after a change."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import BadSetting
from ..facts import Prompt
from ..results import Answer, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Probabilities of the right answer before and after, [prompt], and the fact behind each prompt.

    `facts` are the clusters of all statistics: prompts of one fact are no independent evidence. Any hashable values
    will do. Raises BadSetting where the three differ in length, are empty, or a probability is not in [0, 1].

    >>> Pairs(np.array([0.4, 0.1]), np.array([0.2, 0.2]), ("Ireland", "Italy")).facts
    ('Ireland', 'Italy')
    """

    before: Floats
    after: Floats
    facts: tuple[Hashable, ...]

    def __post_init__(self) -> None:
        for name in ("before", "after"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=float))
        n = len(self.facts)
        if not self.before.shape == self.after.shape == (n,):
            raise BadSetting(f"{self.before.shape} before, {self.after.shape} after and {n} facts do not make pairs")
        if not n:
            raise BadSetting("there are no answers to compare")
        both = np.concatenate([self.before, self.after])
        if not ((both >= 0) & (both <= 1)).all():
            raise BadSetting("a probability is between 0 and 1; some of these are not, or are not numbers")

    @classmethod
    def of(cls, before: Sequence[Answer], after: Sequence[Answer]) -> Pairs:
        """From answers to the same prompts in the same order; a prompt without a fact is a cluster of its own.

        Raises BadSetting.
        """
        _same_prompts(before, after)
        p = [np.array([a.probability for a in answers]) for answers in (before, after)]
        return cls(p[0], p[1], tuple(a.prompt.fact or a.prompt.text for a in before))

    @classmethod
    def by_relation(cls, before: Sequence[Answer], after: Sequence[Answer]) -> dict[str, Pairs]:
        """The same, for each relation by itself, in order of appearance. Raises BadSetting where a fact is missing."""
        _same_prompts(before, after)
        rows: dict[str, list[int]] = {}
        for i, a in enumerate(before):
            if a.prompt.fact is None:
                raise BadSetting(f"this prompt belongs to no fact, so to no relation: {a.prompt.text!r}")
            rows.setdefault(a.prompt.fact.relation, []).append(i)
        return {r: cls.of([before[i] for i in at], [after[i] for i in at]) for r, at in rows.items()}


def _same_prompts(before: Sequence[Answer], after: Sequence[Answer]) -> None:
    if len(before) != len(after):
        raise BadSetting(f"before and after answer the same prompts: {len(before)} answers before, {len(after)} after")
    for i, (b, a) in enumerate(zip(before, after, strict=True)):
        if b.prompt != a.prompt:
            raise BadSetting(
                f"before and after answer the same prompts in the same order: number {i} is {_quote(b.prompt)} before "
                f"and {_quote(a.prompt)} after"
            )


def _quote(prompt: Prompt) -> str:
    return f"{prompt.text!r} ({prompt.answer})"
