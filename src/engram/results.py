"""What the verbs return: frozen values of numbers. No torch, no model, no open file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import BelowFloor
from .facts import Prompt
from .neurons import Neuron

Floats = NDArray[np.floating[Any]]
Better = Literal["higher", "lower", "neither"]
"""Whether a number should be high or low, if it should."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a model answered one prompt.

    `tokens` is the prompt's answer as the tokenizer writes it; `logprob` its log-probability in nats (of several
    tokens: the sum, each given the gold tokens before it); `rank` its rank in the vocabulary, 1 is best (of several
    tokens: the worst of theirs); `top` the best few single tokens at the blank with their probabilities.

    >>> import engram as eg
    >>> answer, = eg.ask(eg.load(), eg.Prompt("The capital of Ireland is [Y].", "Dublin"))
    >>> answer.tokens, answer.rank, answer.knows, round(answer.probability, 1)
    (('Dublin',), 1, True, 0.5)
    """

    prompt: Prompt
    tokens: tuple[str, ...]
    logprob: float
    rank: int
    top: tuple[tuple[str, float], ...]

    @property
    def probability(self) -> float:
        """Of the prompt's answer, in [0, 1]."""
        return math.exp(self.logprob)

    @property
    def knows(self) -> bool:
        """Is the prompt's answer what the model would say first?"""
        return self.rank == 1


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """The score of every neuron for one prompt, [layer, neuron].

    Layers narrower than the widest are filled with zeros (`widths` says how wide each is). `change[layer]` is what
    the layer's scores must add up to for an attribution that is complete: target(clean) − target(layer silent at
    the position), in the target's unit; `gap[layer]` is by how much they miss it. Both are NaN for methods that
    promise no completeness. `error[layer]` is an estimate of how far the layer's sum is from the one asked for, in the
    same unit (NaN: none was made), and `points[layer]` at how many points of the path the gradient was taken, both
    ends included (of an answer of several tokens: the largest error, and all points). `floor` is the smallest score
    kept: below it nothing can be said, and asking raises.

    >>> import engram as eg
    >>> prompt = eg.Prompt("The capital of Ireland is [Y].", "Dublin")
    >>> found, = eg.locate(eg.load(), prompt, by=eg.GradientTimesActivation())
    >>> found.scores.shape, found.gap.shape, found.best(1)[0][0]
    ((4, 256), (4,), Neuron(layer=3, index=187))
    """

    prompt: Prompt
    method: str
    scores: Floats
    gap: Floats
    change: Floats
    widths: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    floor: float = -math.inf
    error: Floats | None = None
    points: Floats | None = None

    def dense(self) -> Floats:
        """All scores as an array [layer, neuron]. Raises BelowFloor where only high scores were kept."""
        if self.floor > -math.inf:
            raise BelowFloor(f"only scores of at least {self.floor:g} were kept; there is no dense array")
        return self.scores

    @property
    def peak(self) -> float:
        """The largest score."""
        return float(self.scores.max())

    def above(self, threshold: float, *, strict: bool = True) -> frozenset[Neuron]:
        """The neurons that score more than `threshold` (or, not `strict`, at least). Raises BelowFloor."""
        if threshold < self.floor:
            raise BelowFloor(f"scores are kept from {self.floor:g} up; {threshold:g} was asked for")
        mask = self.scores > threshold if strict else self.scores >= threshold
        mask &= np.arange(self.scores.shape[1])[None] < np.asarray(self.widths)[:, None]
        return frozenset(Neuron(int(layer), int(index)) for layer, index in np.argwhere(mask))

    def best(self, k: int) -> list[tuple[Neuron, float]]:
        """The k neurons with the largest scores, best first; ties by layer, then index."""
        valid = np.arange(self.scores.shape[1])[None] < np.asarray(self.widths)[:, None]
        flat = np.where(valid, self.scores, -np.inf).ravel()
        order = np.argsort(-flat, kind="stable")[:k]
        width = self.scores.shape[1]
        return [(Neuron(int(i) // width, int(i) % width), float(flat[i])) for i in order if flat[i] > -np.inf]


@dataclass(frozen=True, slots=True)
class Score:
    """One number, and all one needs in order not to misread it.

    `interval` is (low, high) at `level`; None where none can be given. `unit`: probability, nats, fraction, ratio of
    means, mean of ratios, symmetric fold change, neurons …

    >>> print(Score("accuracy", 0.5, 4, "fraction", "higher", (0.15, 0.85)))
    accuracy: 0.5 [0.15, 0.85] fraction (n=4)
    """

    name: str
    value: float
    n: int
    unit: str
    better: Better = "neither"
    interval: tuple[float, float] | None = None
    level: float = 0.95

    def __str__(self) -> str:
        shown = f"{self.value:.4g}"
        if self.interval is not None:
            shown += f" [{self.interval[0]:.4g}, {self.interval[1]:.4g}]"
        return f"{self.name}: {shown} {self.unit} (n={self.n})"


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it? Scores under a title, with the settings they were made under. A score is found by its name.

    Raises KeyError, with the names there are, for a name that is none of them.

    >>> report = Report("capitals", (Score("accuracy", 0.5, 4, "fraction"),), notes=("facts of one continent",))
    >>> report["accuracy"].n
    4
    >>> print(report)
    capitals
      accuracy  +0.5000  fraction, n=4
      note: facts of one continent
    """

    title: str
    scores: tuple[Score, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Score:
        for s in self.scores:
            if s.name == name:
                return s
        raise KeyError(f"no score called {name!r} in {self.title!r}; there are {[s.name for s in self.scores]}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        rows = [
            {"name": s.name, "value": s.value, "n": s.n, "unit": s.unit, "better": s.better,
             "interval": s.interval, "level": s.level}
            for s in self.scores
        ]  # fmt: skip
        return {"title": self.title, "scores": rows, "settings": dict(self.settings), "notes": list(self.notes)}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Report:
        """The report that `to_dict` made these plain values of.

        >>> report = Report("capitals", (Score("accuracy", 0.5, 4, "fraction", interval=(0.1, 0.9)),))
        >>> Report.of(report.to_dict()) == report
        True
        """
        scores = [Score(**{**s, "interval": s["interval"] and tuple(s["interval"])}) for s in plain["scores"]]
        return cls(plain["title"], tuple(scores), plain["settings"], tuple(plain["notes"]))

    def __str__(self) -> str:
        width = max((len(s.name) for s in self.scores), default=0)
        rows = [self.title]
        for s in self.scores:
            interval = f" [{s.interval[0]:+.4f}, {s.interval[1]:+.4f}]" if s.interval is not None else ""
            rows.append(f"  {s.name:<{width}}  {s.value:+.4f}{interval}  {s.unit}, n={s.n}")
        rows += [f"  note: {n}" for n in self.notes]
        return "\n".join(rows)
