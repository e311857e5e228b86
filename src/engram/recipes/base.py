"""What every recipe is made of: runs, in an order, each in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from ..experiments import Experiment
from ..facts import FactSet


@dataclass(frozen=True, slots=True)
class Step:
    """A run: the name of its folder, what it finds out, its experiment; its data, where they are not the recipe's.

    >>> from engram.experiments import Suppression
    >>> Step("suppression", "what happens without a fact's neurons?", Suppression()).data is None
    True
    """

    name: str
    finds: str
    experiment: Experiment
    data: FactSet | None = field(default=None, repr=False)


class Recipe(Protocol):
    """The settings of all runs: a frozen dataclass.

    `few` is how many facts of each relation end within ten minutes with what is shipped; `left_out` says what of the
    paper is not run, and why.

    >>> from engram.recipes import Dai2022
    >>> recipe = Dai2022(facts=2)
    >>> [step.name for step in recipe.steps("runs/dai")][:2]
    ['attribution', 'activation']
    """

    few: ClassVar[int]

    @property
    def left_out(self) -> tuple[str, ...]:
        """What of the paper is not run, and why."""

    def steps(self, out: str | Path) -> Iterator[Step]:
        """The runs in `out`, each in a folder of its name: those that others build on come first."""
        ...
