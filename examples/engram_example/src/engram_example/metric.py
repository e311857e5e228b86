"""A metric of one's own: how many answers lost half of their probability?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engram.errors import BadSetting
from engram.metrics import Metric, metrics
from engram.results import Answer, Better


@metrics("halved")
@dataclass(frozen=True, slots=True)
class Halved(Metric):
    """Of how many prompts does the answer keep less than `part` of its probability?

    >>> from engram.facts import Prompt
    >>> before, after = (Answer(Prompt("It is [Y].", "so"), ("so",), logprob, 1, ()) for logprob in (-1.0, -2.0))
    >>> Halved().of(before, after), Halved(part=0.25).of(before, after)
    (1.0, 0.0)
    """

    name: ClassVar[str] = "halved"
    unit: ClassVar[str] = "fraction"
    better: ClassVar[Better] = "neither"
    part: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.part < 1:
            raise BadSetting(f"part is between 0 and 1, not {self.part:g}")

    def of(self, before: Answer, after: Answer) -> float:
        if before.probability == 0:
            return float("nan")  # it had nothing to lose: counted out
        return float(after.probability < self.part * before.probability)
