"""What must hold for neurons to count as carrying a fact, and whether it does: met, not met, or still open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..results import Score
from .tables import percent

Kind = Literal["yes", "no", "open"]
WORDS: dict[Kind, str] = {"yes": "met", "no": "not met", "open": "open"}


@dataclass(frozen=True, slots=True)
class Aim:
    """The change under `condition` is to lie between `low` and `high` (fractions; None: no bound on this side).

    >>> aim = Aim("suppressed", "without its own neurons, P(answer) falls by 15 % or more", high=-0.15)
    >>> aim.judge(Score("suppressed", -0.4, 40, "ratio of means", interval=(-0.5, -0.3)))
    'yes'
    >>> aim.judge(Score("suppressed", -0.4, 40, "ratio of means"))  # no interval: nobody knows how sure it is
    'open'
    """

    condition: str
    says: str
    low: float | None = None
    high: float | None = None

    def judge(self, score: Score) -> Kind:
        """Met if the number lies there with its whole interval, not met if the number does not, else open.

        Without an interval, the aim is open at best.
        """
        if not self._holds(score.value):
            return "no"
        if score.interval is None or not all(map(self._holds, score.interval)):
            return "open"
        return "yes"

    def _holds(self, x: float) -> bool:
        return (self.low is None or x >= self.low) and (self.high is None or x <= self.high)


AIMS = (
    Aim("suppressed", "without its own neurons, P(answer) falls by 15 % or more", high=-0.15),
    Aim("chance suppressed", "without as many random neurons of the same layers, it stays within 2 %", -0.02, 0.02),
    Aim("other relation", "without these neurons, facts of other relations stay within 2 %", -0.02, 0.02),
    Aim("amplified", "with its own neurons amplified, P(answer) rises", low=0.0),
    Aim("chance amplified", "with as many random neurons amplified, it stays within 2 %", -0.02, 0.02),
)
"""What neurons that carry a fact are to do under each condition: the bounds that `verdicts` holds numbers against."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Was an aim met? The aim, the number it was held against, and what came of it: yes, no or open.

    >>> verdict, = verdicts([Score("amplified", -0.1, 40, "ratio of means", interval=(-0.2, -0.05))])
    >>> verdict.kind
    'no'
    """

    aim: Aim
    score: Score
    kind: Kind

    def __str__(self) -> str:
        return f"{self.aim.says}: {percent(self.score)} %"


def verdicts(scores: Iterable[Score], aims: Iterable[Aim] = AIMS) -> list[Verdict]:
    """Every aim held against the score of its condition; aims without a score are left out.

    >>> fell = Score("suppressed", -0.38, 40, "ratio of means", interval=(-0.41, -0.12))
    >>> [(v.kind, str(v)) for v in verdicts([fell])]
    [('open', 'without its own neurons, P(answer) falls by 15 % or more: −38.0 [−41.0, −12.0] %')]
    """
    known = {s.name: s for s in scores}
    return [Verdict(a, known[a.condition], a.judge(known[a.condition])) for a in aims if a.condition in known]
