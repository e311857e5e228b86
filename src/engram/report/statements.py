"""Plain statements about a model, each with its number, interval, test and verdict: held, not held, or open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..metrics.significance import false_discovery
from ..results import Score
from .aims import Aim, Kind
from .bars import number
from .tables import Table, signed

BELOW, ABOVE = -1e-12, 1e-12  # bounds that 0 itself does not keep
SIGNS = "paired, signs flipped over {}"  # over what
VERDICTS: dict[Kind, str] = {"yes": "held", "no": "not held", "open": "open"}


@dataclass(frozen=True, slots=True)
class Unit:
    """How numbers are written: what they are multiplied with, decimals, with a sign or without, and what follows."""

    scale: float = 1.0
    digits: int = 2
    signs: bool = False
    name: str = ""

    def shown(self, score: Score) -> str:
        """The number with its interval."""
        return number(score, self.scale, self.digits, signs=self.signs) + self.name

    def bound(self, x: float) -> str:
        """A bound, with no more decimals than it needs."""
        text = signed(x * self.scale, self.digits)
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return (text if self.signs else text.removeprefix("+")) + self.name


SHARE, CHANGE = Unit(100, 1, name=" %"), Unit(100, 1, True, " %")
POINTS, RANKS = Unit(100, 1, True, " points"), Unit(1, 2, True)
LIKENESS, DIFFERENCE = Unit(1, 2), Unit(1, 2, True)
NEURONS, TIMES = Unit(1, 2, name=" neurons"), Unit(1, 3, name=" times")


@dataclass(frozen=True, slots=True)
class Statement:
    """What is claimed, the number it was held against, and what came of it.

    It holds where `score` lies between `low` and `high` (None: no bound on this side; neither: a description without a
    verdict) with its whole interval, and does not where the number itself lies elsewhere; else it is open. `undecided`
    is open whatever the number, for what would decide it could not be asked; `beside` says why. `p` is that of a `how`
    test, and `q` its false discovery rate over all statements; `of` is what `score.n` counts.

    >>> fell = Score("suppressed", -0.38, 40, "ratio of means", interval=(-0.41, -0.12))
    >>> s = Statement("Facts", "Without its neurons, P(answer) falls", fell, CHANGE, "prompts", high=-0.15)
    >>> s.verdict, s.number, s.wanted
    ('open', '−38.0 [−41.0, −12.0] %', 'at most −15 %')
    """

    about: str
    says: str
    score: Score
    unit: Unit
    of: str
    low: float | None = None
    high: float | None = None
    beside: str = ""
    how: str = ""
    p: float | None = None
    q: float | None = None
    undecided: bool = False

    @property
    def verdict(self) -> str:
        """held, not held or open; "–" for what only describes."""
        if self.low is None and self.high is None:
            return "–"
        if self.undecided:
            return VERDICTS["open"]
        return VERDICTS[Aim("", self.says, self.low, self.high).judge(self.score)]

    @property
    def number(self) -> str:
        """With its interval and unit."""
        return self.unit.shown(self.score)

    @property
    def wanted(self) -> str:
        """Where the number must lie."""
        if self.low is not None and self.high is not None:
            return f"{self.unit.bound(self.low).removesuffix(self.unit.name)} to {self.unit.bound(self.high)}"
        if self.low is None and self.high is None:
            return ""
        if self.low is not None:
            return "above 0" if self.low == ABOVE else f"at least {self.unit.bound(self.low)}"
        return "below 0" if self.high == BELOW else f"at most {self.unit.bound(self.high or 0.0)}"

    @property
    def counted(self) -> str:
        """Of how many what."""
        return f"{self.score.n:,} {self.of}"

    @property
    def test(self) -> str:
        """Which test, with its p and q."""
        if self.p is None:
            return ""
        q = "" if self.q is None else f", {_is('q', self.q)}"
        return f"{self.how}: {_is('p', self.p)}{q}"

    def plain(self) -> dict[str, Any]:
        """In plain values."""
        s = self.score
        return {
            "about": self.about, "says": self.says, "verdict": self.verdict, "value": s.value, "interval": s.interval,
            "unit": s.unit, "n": s.n, "of": self.of, "low": self.low, "high": self.high, "beside": self.beside,
            "test": self.how or None, "p": self.p, "q": self.q,
        }  # fmt: skip


def together(found: Iterable[Statement]) -> list[Statement]:
    """All of them, with the false discovery rate of their tests over all that were tested (Benjamini & Hochberg)."""
    known = list(found)
    tested = {i: s.p for i, s in enumerate(known) if s.p is not None}
    if tested:
        for i, q in zip(tested, false_discovery(list(tested.values())), strict=True):
            known[i] = replace(known[i], q=float(q))
    return known


def table(found: Sequence[Statement]) -> Table:
    """A row for each statement; what stands beside its number is small below it."""
    rows = [
        [s.about if i == 0 or found[i - 1].about != s.about else "", f"{s.says}\n{s.beside}", s.verdict, s.number,
         s.wanted or "–", _small(s.test), s.counted.replace(" of ", "\nof ", 1)]
        for i, s in enumerate(found)
    ]  # fmt: skip
    columns = ("about", "statement", "verdict", "number [95 %] #", "held if #", "test", "n #")
    return Table("Each statement with its number and verdict", columns, rows)


def _small(test: str) -> str:
    """The p-value, and below it of which test."""
    how, _, ps = test.partition(": ")
    return f"{ps}\n{how}" if ps else "–"


def _is(name: str, x: float) -> str:
    if x < 0.001:
        return f"{name} < .001"
    return f"{name} = {f'{x:.2g}'.removeprefix('0')}"
