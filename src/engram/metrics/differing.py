"""Which facts do two models know differently? What each said to the same prompts, fact by fact and on the whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..results import Floats, Report, Score
from .bands import Bands, bands
from .choices import mcnemar
from .intervals import proportion
from .significance import false_discovery, paired_test

Row = Mapping[str, Any]
KEPT, LOST, GAINED, NEITHER = "known to both", "lost", "gained", "known to neither"
STATES = (KEPT, LOST, GAINED, NEITHER)


@dataclass(frozen=True, slots=True)
class Changed:
    """One fact, as two models answer it in `prompts` prompts.

    `logprob` are the means over prompts of the log-probability of the whole answer, in nats, of the first model and of
    the second; `ranks` the medians of the answer's rank; `first` in which part of the prompts it comes first; `says`
    what each says first in its first prompt.
    """

    number: int
    relation: str
    subject: str
    answer: str
    prompts: int
    logprob: tuple[float, float]
    ranks: tuple[float, float]
    first: tuple[float, float]
    says: tuple[str, str]

    @property
    def change(self) -> float:
        """Of the log-probability, second − first, in nats."""
        return self.logprob[1] - self.logprob[0]

    @property
    def state(self) -> str:
        """Who knows it: a fact is known that comes first in at least half of its prompts."""
        before, after = (2 * part >= 1 for part in self.first)
        return {(True, True): KEPT, (True, False): LOST, (False, True): GAINED}.get((before, after), NEITHER)

    def __str__(self) -> str:
        return f"⟨{self.subject}, {self.relation}, {self.answer}⟩"


@dataclass(frozen=True, slots=True)
class RelationDiffers:
    """One relation: the mean `change` over its facts, how many of them each knows, and both tests with their q."""

    relation: str
    change: Score
    counts: Mapping[str, int]
    p: float
    q: float
    p_known: float
    q_known: float


def changed(rows: Iterable[Row]) -> list[Changed]:
    """Every fact, that which changed most first (by the size of the change of its log-probability).

    >>> row = {"number": 0, "relation": "capital", "subject": "Ireland", "answer": "Dublin", "first": [-0.5, -0.5],
    ...        "second": [-3.0, -4.0], "rank_first": [1, 1], "rank_second": [2, 5], "says_first": ["Dublin"] * 2,
    ...        "says_second": ["Cork"] * 2}
    >>> fact, = changed([row])
    >>> str(fact), fact.change, fact.state, fact.says
    ('⟨Ireland, capital, Dublin⟩', -3.0, 'lost', ('Dublin', 'Cork'))
    """
    found = [
        Changed(
            row["number"], row["relation"], row["subject"], row["answer"], len(row["first"]),
            (float(np.mean(row["first"])), float(np.mean(row["second"]))),
            (float(np.median(row["rank_first"])), float(np.median(row["rank_second"]))),
            (_firsts(row["rank_first"]), _firsts(row["rank_second"])), (row["says_first"][0], row["says_second"][0]),
        )
        for row in rows
    ]  # fmt: skip
    return sorted(found, key=lambda f: (-abs(f.change), f.number))


def counts(facts: Iterable[Changed]) -> dict[str, int]:
    """How many facts are known to both, lost, gained, and known to neither."""
    found = dict.fromkeys(STATES, 0)
    for fact in facts:
        found[fact.state] += 1
    return found


def scores_of(facts: Sequence[Changed], *, seed: int = 0) -> Iterator[Score]:
    """The facts on the whole: means over facts, with 95 % bootstraps over facts, and both tests."""
    n = len(facts)
    states = {name: np.array([f.state == name for f in facts], float) for name in STATES}
    knows = _known(facts)
    logprob = np.array([f.logprob for f in facts])
    numbers: list[tuple[str, Floats, str]] = [
        ("log P(answer), first model", logprob[:, 0], "nats"),
        ("log P(answer), second model", logprob[:, 1], "nats"),
        ("change of log P(answer)", logprob[:, 1] - logprob[:, 0], "nats"),
        ("known to the first model", knows[0], "fraction"), ("known to the second model", knows[1], "fraction"),
        ("change of what is known", knows[1] - knows[0], "fraction"),
        *((name, x, "fraction") for name, x in states.items()),
    ]  # fmt: skip
    found = bands(np.stack([x for _, x, _ in numbers], axis=1), seed=seed)
    yield Score("facts", n, n, "facts")
    yield Score("prompts", sum(f.prompts for f in facts), n, "prompts")
    for i, (name, x, unit) in enumerate(numbers):
        kind = "change" if name.startswith("change") else unit  # a change of none may be one of either sign
        yield Score(name, float(x.mean()), n, unit, interval=_interval(found, i, x, kind))
    yield Score("change of log P(answer): p", _paired(facts, seed), n, "p-value")
    lost, gained = int(states[LOST].sum()), int(states[GAINED].sum())
    yield Score("change of what is known: p", mcnemar(*knows), lost + gained, "p-value")


def _paired(facts: Sequence[Changed], seed: int) -> float:
    """The p-value of the paired test of the log-probabilities, over facts (sign flips)."""
    both = np.array([f.logprob for f in facts])
    return paired_test(both[:, 0], both[:, 1], range(len(facts)), seed=seed).p


def by_relation(facts: Sequence[Changed], *, seed: int = 0) -> list[RelationDiffers]:
    """Every relation, with its tests and their q over all relations (Benjamini & Hochberg), in order of the data."""
    groups: dict[str, list[Changed]] = {}
    for fact in sorted(facts, key=lambda f: f.number):
        groups.setdefault(fact.relation, []).append(fact)
    counted = {r: counts(own) for r, own in groups.items()}
    ps = [_paired(own, seed) for own in groups.values()]
    known = [mcnemar(*_known(own)) for own in groups.values()]
    changes = []
    for relation, own in groups.items():
        x = np.array([f.change for f in own])
        interval = _interval(bands(x[:, None], seed=seed), 0, x, "nats")
        changes.append(Score(relation, float(x.mean()), len(own), "nats", interval=interval))
    return [
        RelationDiffers(s.name, s, counted[s.name], p, float(q), p_known, float(q_known))
        for s, p, q, p_known, q_known in zip(
            changes, ps, false_discovery(ps), known, false_discovery(known), strict=True
        )
    ]


def report(
    facts: Sequence[Changed], largest: int, settings: Mapping[str, Any], notes: Sequence[str], extra: Sequence[Score]
) -> Report:
    """Facts on the whole, every relation, the `largest` changes by name, and whatever else was measured."""
    seed = settings["seed"]
    scores = [*scores_of(facts, seed=seed), *extra]
    for r in by_relation(facts, seed=seed):
        n = r.change.n
        scores.append(Score(f"{r.relation}: change of log P(answer)", *_rest(r.change)))
        scores.append(Score(f"{r.relation}: change of log P(answer): q", r.q, n, "q-value"))
        scores += [Score(f"{r.relation}: {name}", r.counts[name] / n, n, "fraction") for name in STATES]
        scores.append(Score(f"{r.relation}: change of what is known: q", r.q_known, n, "q-value"))
    scores += [Score(str(f), f.change, f.prompts, "nats") for f in facts[:largest] if f.change]
    return Report("what two models know", tuple(scores), settings, tuple(notes))


def _known(facts: Sequence[Changed]) -> tuple[Floats, Floats]:
    """Which facts the first model knows, and which the second, as 1 and 0."""
    first, second = (np.array([f.state in (KEPT, which) for f in facts], float) for which in (LOST, GAINED))
    return first, second


def _rest(score: Score) -> tuple[Any, ...]:
    return score.value, score.n, score.unit, score.better, score.interval, score.level


def _interval(found: Bands, i: int, x: Floats, unit: str) -> tuple[float, float] | None:
    return (proportion(x) if unit == "fraction" and (x >= 0).all() else None) or found.interval(i)


def _firsts(ranks: Sequence[int]) -> float:
    return float(np.mean(np.asarray(ranks) == 1))
