"""The sceptic's battery: how far what neurons, traces and edits say of one model can be believed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..cases import CaseSet
from ..data.previous import with_criteria
from ..errors import BadSetting
from ..experiments import (
    Agreement,
    Attributions,
    ByNeurons,
    Criteria,
    Editing,
    InTurn,
    Neurons,
    StoredNeurons,
    Suppression,
)
from ..experiments.localisation import Localisation
from ..experiments.minimal_pairs import MinimalPairs
from ..experiments.planning import Planner
from ..facts import FactSet
from ..locators import Activation
from .base import Step

CHECKS = (1, 2, 5, 10, 20)
CONTROLS = ("random neurons",)


@dataclass(frozen=True, slots=True)
class Audit:
    """The settings of all runs.

    `facts` of each relation are drawn by `seed` for their neurons, and `compared` for the agreement of methods, which
    silences each neuron by itself. Of each relation `edited` cases are edited, and `follow` of those that can be turned
    round or said in another word; `turns` cases of all relations are edited one after the other. None is all of them.
    `known_only` keeps the facts that the model answers first. `by` plans edits, and `cases` are what they are judged
    by; `pairs` are minimal pairs, of which `asked` of each paradigm are asked; `both` are
    the facts and sets of those pairs' sentences (`data.together`), of which `sets` of each relation or paradigm are
    asked how localised they are. Without these, their steps are left out.
    `relations` names those that are tried. Raises BadSetting.

    >>> [step.name for step in Audit(facts=2).steps("runs")]
    ['attribution', 'activation', 'neurons', 'suppression', 'agreement']
    """

    facts: int | None = 5
    compared: int | None = 1
    edited: int | None = 1
    follow: int | None = 5
    turns: int = 20
    known_only: bool = True
    seed: int = 0
    by: tuple[Planner, ...] = field(default_factory=lambda: (ByNeurons(),))
    cases: CaseSet | None = field(default=None, repr=False)
    pairs: FactSet | None = field(default=None, repr=False)
    asked: int | None = 60
    both: FactSet | None = field(default=None, repr=False)
    sets: int | None = 4
    relations: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("facts", "compared", "edited", "follow", "turns", "asked", "sets"):
            if (n := getattr(self, name)) is not None and n < 1:
                raise BadSetting(f"{name} is a number from 1 up, not {n}")

    def steps(self, out: str | Path) -> Iterator[Step]:
        """The runs in `out`, each in a folder of its name: those that others build on come first."""
        out = Path(out)
        drawn: dict[str, Any] = {"facts": self.facts, "seed": self.seed, "relations": self.relations}
        yield Step("attribution", "the score of every neuron in every prompt", Attributions(Neurons().locator, **drawn))
        yield Step("activation", "the same by activation alone", Attributions(Activation(), **drawn))
        kept = Neurons(**drawn, known_only=self.known_only, scores=out / "attribution", activations=out / "activation")
        yield Step("neurons", "where facts sit", kept)
        tried = Suppression(StoredNeurons(out / "neurons"))
        yield Step("suppression", "whether their neurons matter, and more than others", tried)
        few: dict[str, Any] = {**drawn, "facts": self.compared}
        yield Step("agreement", "whether methods agree", Agreement(known_only=self.known_only, **few))
        yield from self._edits()
        if self.pairs is not None:
            yield from self._levels(self.pairs)
            right = MinimalPairs(facts=self.asked, seed=self.seed)
            yield Step("minimal_pairs", "syntax, and whether it has neurons", right, self.pairs)

    def _levels(self, pairs: FactSet) -> Iterator[Step]:
        """How localised facts and syntax are."""
        if self.both is None:
            return
        syntax = tuple(r.id for r in self.both.relations if r.id in {own.id for own in pairs.relations})
        chosen = (*self.relations, *syntax) if self.relations else None
        level = Localisation(facts=self.sets, seed=self.seed, relations=chosen, syntax=syntax)
        yield Step("localisation", "how localised facts and syntax are", level, self.both)

    def _edits(self) -> Iterator[Step]:
        """What edits do, what follows from them, and what many of them cost."""
        if self.cases is None or not self.by:
            return
        drawn: dict[str, Any] = {"by": self.by, "seed": self.seed, "relations": self.relations}
        judged = Editing(controls=CONTROLS, facts=self.edited, **drawn)
        yield Step("editing", "what an edit does, and to whom", judged, self.cases)
        wanted = {self.cases.relation(r).id for r in self.relations or ()}
        able = {fact.relation for i, fact in enumerate(self.cases) if i in set(with_criteria(self.cases))}
        if able & wanted if wanted else able:
            follows = Criteria(controls=CONTROLS, facts=self.follow, **drawn)
            yield Step("criteria", "what should follow from an edit", follows, self.cases)
        turns = InTurn(checks=CHECKS, sample=self.turns, stop=False, **drawn)
        yield Step("in_turn", "what many edits cost", turns, self.cases)
