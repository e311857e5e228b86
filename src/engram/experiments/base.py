"""Many cases, one summary. An experiment knows nothing of processes, files or GPUs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from ..facts import FactSet
from ..models import Model
from ..models.batching import Progress
from ..registry import Registry
from ..results import Report

Case = dict[str, Any]  # plain values, so that a case has a hash and can travel
Result = Mapping[str, Any]  # plain values, so that a result can be stored


class Experiment(ABC):
    """Subclasses are frozen dataclasses: their fields are the settings, the data come with each call."""

    name: ClassVar[str]

    @abstractmethod
    def cases(self, facts: FactSet) -> list[Case]:
        """What there is to do, independent of each other."""

    @abstractmethod
    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """One case. What cannot be asked is left out and listed under `skipped` with its reason."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""

    @abstractmethod
    def summary(self, results: Iterable[Result]) -> Report:
        """All cases together. Needs no model."""


experiments: Registry[Any] = Registry("experiment", "engram.experiments")
