"""Many cases, one summary. An experiment knows nothing of processes, files or GPUs."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ..errors import EngramError
from ..facts import Fact, FactSet, Prompt
from ..models import Model, ask
from ..models.batching import Progress
from ..registry import Registry
from ..results import Answer, Report

Case = dict[str, Any]  # plain values, so that a case has a hash and can travel
"""What there is to do, in plain values."""
Result = Mapping[str, Any]  # plain values, so that a result can be stored
"""What came of a case, in plain values: `rows`, `skipped` and what else the experiment says."""


class Experiment(ABC):
    """Subclasses are frozen dataclasses: their fields are the settings, the data come with each call.

    `columns` are those of the `rows` of a result, by name and kind: text, whole, real, flag, texts, wholes or reals.

    >>> from dataclasses import dataclass
    >>> import engram as eg
    >>> @dataclass(frozen=True)
    ... class Known(Experiment):
    ...     name = "known"
    ...     columns = {"subject": "text", "rank": "whole"}
    ...     def cases(self, facts):
    ...         return [{"number": i} for i in range(len(facts))]
    ...     def run(self, model, facts, case, *, progress=None):
    ...         fact = list(facts)[case["number"]]
    ...         answer, = eg.ask(model, facts.prompts(fact, blank_last=model.blank_last, limit=1))
    ...         return {"rows": [{"subject": fact.subject, "rank": answer.rank}], "skipped": []}
    ...     def settings(self):
    ...         return {}
    ...     def summary(self, results):
    ...         ranks = [row["rank"] for result in results for row in result["rows"]]
    ...         return eg.Report("known", (eg.Score("accuracy", ranks.count(1) / len(ranks), len(ranks), "fraction"),))
    >>> model, facts, experiment = eg.load(), eg.data.read("shipped").only(["continent"]), Known()
    >>> report = experiment.summary(experiment.run(model, facts, case) for case in experiment.cases(facts)[:2])
    >>> report["accuracy"].n
    2
    """

    name: ClassVar[str]
    columns: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def cases(self, facts: FactSet) -> list[Case]:
        """What there is to do, independent of each other."""

    @abstractmethod
    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """One case: `rows` with the experiment's columns, and what else there is to say of it in plain values.

        What cannot be asked is left out and listed under `skipped` with its reason.
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""

    @abstractmethod
    def summary(self, results: Iterable[Result]) -> Report:
        """All cases together. Needs no model."""


def halves(progress: Progress | None) -> tuple[Progress, Progress]:
    """What to tell of a first and of a second half of the work, so that `progress` hears of the whole.

    >>> first, second = halves(lambda done, total: print(done, "of", total))
    >>> first(1, 2), second(1, 2)
    1 of 4
    3 of 4
    (None, None)
    """

    def first(done: int, total: int) -> None:
        if progress is not None:
            progress(done, 2 * total)

    def second(done: int, total: int) -> None:
        if progress is not None:
            progress(total + done, 2 * total)

    return first, second


def luck(seed: int, relation: str, *more: int) -> np.random.Generator:
    """Of a relation by itself: what is drawn for it does not depend on which others are tried, or when."""
    return np.random.default_rng([seed, zlib.crc32(relation.encode()), *more])


def ask_each(model: Model, prompts: Sequence[Sequence[Prompt]], under: object = None) -> list[list[Answer]]:
    """All in one go: rows of equal length share a batch."""
    answers = iter(ask(model, [p for own in prompts for p in own], under=under))
    return [[next(answers) for _ in own] for own in prompts]


def reason(fact: Fact, error: EngramError) -> dict[str, str]:
    """Why a fact was left out."""
    return {"fact": str(fact), "reason": f"{type(error).__name__}: {error}"}


experiments: Registry[Any] = Registry("experiment", "engram.experiments", Experiment)
"""The experiments by name; a plug-in registers its own with `@experiments("name")`."""
