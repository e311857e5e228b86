"""In how many prompts does the model say something else first?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..results import Answer
from .base import Metric, metrics


@metrics("flips")
@dataclass(frozen=True, slots=True)
class Flips(Metric):
    """The share of prompts whose first word is another one afterwards, be it right or wrong.

    >>> from engram.facts import Prompt
    >>> said = [Answer(Prompt("It is [Y].", "so"), ("so",), -1.0, 1, ((word, 0.4),)) for word in ("so", "not")]
    >>> Flips().of(said[0], said[1]), Flips().of(said[1], said[1])
    (1.0, 0.0)
    """

    name: ClassVar[str] = "flips"
    unit: ClassVar[str] = "fraction"

    def of(self, before: Answer, after: Answer) -> float:
        if not (before.top and after.top):
            return float("nan")  # nothing was kept of what the model says first
        return float(before.top[0][0] != after.top[0][0])
