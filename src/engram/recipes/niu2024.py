"""Niu et al. (2024), "What does the Knowledge Neuron Thesis Have to do with Knowledge?": every experiment, as runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from ..cases import CaseSet
from ..data import counterfact_from, data_sets, sentence_sets, together
from ..data.previous import with_criteria
from ..editors import ROME
from ..errors import BadSetting, UnknownName
from ..experiments import By, ByNeurons, Criteria, Neurons, Tracing
from ..experiments.determiners import Determiners
from ..experiments.localisation import Localisation
from ..experiments.minimal_pairs import MinimalPairs
from ..experiments.planning import Planner
from ..experiments.profile import Profile
from ..facts import FactSet
from ..locators import IntegratedGradients
from ..selectors import Shared
from ..tracers import CausalTracing
from ..traces import KINDS
from .base import Step

Like = Literal["engram", "paper"]
SENTENCES = 10  # of a determiner with a noun, or of one number: what a fact's templates are for facts
PAIRS = 30  # pairs of each paradigm for each fact of each relation


@dataclass(frozen=True, slots=True, kw_only=True)
class Niu2024:
    """The settings of all runs: `like` whom, of which `data` and `pairs` (None: the shipped ones), and how many.

    `pairs` are minimal pairs: BLiMP's (`data.blimp`) or one's own. "engram" finds neurons by the integral itself, those
    of facts in other templates than they are tried in, and draws the new answers of edits; "paper" takes the published
    sum of 20 points, the search of its code, every template, and the answer of the fact before. The neurons of a number
    are tried on other pairs than they are found in, whomever it is like. `corpus` is where co-occurrence is counted,
    which the paper argues from and does not count: "shipped", a file or texts.

    `facts` limits the facts of each relation, drawn by `seed`; of each paradigm 30 times as many pairs are asked, and
    five times as many cases edited of each relation that has criteria (None: all). `known_only` keeps facts that the
    model answers first for their layers and their traces. `place` is ROME's layer and token; without it there is no
    ROME. `causal` models read nothing behind a blank: they are asked for the noun in place of the determiner, and their
    profile is one of verbs. Raises BadSetting, UnknownName.

    >>> [step.name for step in Niu2024(facts=1).steps("runs")][:4]
    ['determiners', 'profile', 'neurons', 'localisation']
    """

    few: ClassVar[int] = 4
    model: ClassVar[str] = "engram:masked"
    like: Like = "engram"
    facts: int | None = None
    known_only: bool = False
    seed: int = 0
    relations: tuple[str, ...] | None = None
    data: FactSet | None = field(default=None, repr=False)
    pairs: FactSet | None = field(default=None, repr=False)
    corpus: str | Path = "shipped"
    place: tuple[int, str] | None = None
    layers: int | None = None
    causal: bool = False

    def __post_init__(self) -> None:
        if self.like not in get_args(Like):
            raise UnknownName("way to reproduce", self.like, get_args(Like))
        if self.facts is not None and self.facts < 1:
            raise BadSetting(f"facts per relation is a number from 1 up, not {self.facts}")

    @property
    def left_out(self) -> tuple[str, ...]:
        """What of the paper is not run with these settings, and why."""
        said = ["Tables 5 to 7 list neurons that were chosen by hand, by a rule that is not told: they are left out."]
        if self.causal:
            said.append(
                "A causal model cannot be asked for a determiner: nouns take their place, and verbs in figure 3."
            )
        if self.place is None:
            said.append("Edits are by knowledge surgery alone: where ROME is to write was not told.")
        if not self._cases_with_criteria():
            said.append("No fact can be turned round or said in another word: table 1 is left out.")
        return tuple(said)

    def steps(self, out: str | Path) -> Iterator[Step]:
        """The runs in `out`, each in a folder of its name: those that others build on come first."""
        own, facts = self._pairs(), self._facts()
        pairs = None if self.facts is None else PAIRS * self.facts
        published = self.like == "paper"
        asked = Determiners(
            asked="noun" if self.causal else "determiner", templates=None if self.facts is None else SENTENCES,
            sample=pairs, seed=self.seed, preset="niu" if published else None,
        )  # fmt: skip
        yield Step("determiners", "table 4, figures 2 and 5b: neurons of a number", asked, own)
        chosen: dict[str, Any] = {"facts": pairs, "seed": self.seed}
        if published:
            chosen["locator"] = IntegratedGradients(preset="eleuther")
        words = "verbs" if self.causal else "determiners"
        moved = Profile(words=words, corpus=self.corpus, **chosen)
        yield Step("profile", "figures 3 and 4: which words move, and what they occur with", moved, own)
        found = Neurons(
            facts=self.facts, known_only=self.known_only, seed=self.seed, relations=self.relations,
            preset="paper" if published else None,
        )  # fmt: skip
        yield Step("neurons", "figure 5b: in which layers the neurons of facts lie", found, facts)
        yield from self._levels(own, facts)
        yield Step("minimal_pairs", "figure 6: the right word, before and after", MinimalPairs(**chosen), own)
        yield from self._traces(own, facts)
        cases = self._cases_with_criteria()
        if cases is not None:
            yield Step("criteria", "table 1: symmetry and synonymy of edits", self._criteria(), cases)

    def _facts(self) -> FactSet:
        facts = self.data if self.data is not None else data_sets["shipped"]().read()
        return facts if self.relations is None else facts.only(self.relations)

    def _pairs(self) -> FactSet:
        return self.pairs if self.pairs is not None else data_sets["pairs"]().read()

    def _levels(self, pairs: FactSet, facts: FactSet) -> Iterator[Step]:
        """Tables 8 and 9, with the published threshold and share in both."""
        sets = sentence_sets(pairs, prompts=SENTENCES, seed=self.seed)
        chosen: dict[str, Any] = {"facts": self.facts, "seed": self.seed}
        if self.like == "paper":
            chosen |= {"locator": IntegratedGradients(preset="eleuther"), "selector": Shared(preset="niu")}
        syntax = tuple(r.id for r in sets.relations)
        levels = Localisation(syntax=syntax, prompts=SENTENCES, **chosen)
        yield Step("localisation", "tables 8 and 9: how localised facts are, and syntax", levels, together(facts, sets))

    def _traces(self, pairs: FactSet, facts: FactSet) -> Iterator[Step]:
        """Figures 7 and 13, of agreement by the right word against the wrong one, of facts by the probability."""
        drawn: dict[str, Any] = {"seed": self.seed}
        for name, what, data, metric, n in (
            ("tracing_agreement", "figure 7: traces of agreement", pairs, "logit_difference", 3),
            ("tracing_facts", "figure 13: traces of facts", facts, "probability", 1),
        ):
            by = tuple(CausalTracing(kind=kind, metric=metric) for kind in KINDS)
            few = None if self.facts is None else n * self.facts
            known = self.known_only or (self.like == "engram" and data is facts)
            yield Step(name, what, Tracing(by, facts=few, known_only=known, **drawn), data)

    def _cases_with_criteria(self) -> CaseSet | FactSet | None:
        """What is edited: cases with new answers drawn, or with those of the facts before; None where there is none."""
        facts = self._facts()
        if not with_criteria(facts):
            return None
        if self.like == "paper" or isinstance(facts, CaseSet):
            return facts
        return counterfact_from(facts, seed=self.seed, neighbours=0, attributes=0, texts=0)

    def _criteria(self) -> Criteria:
        by: list[Planner] = [ByNeurons()]
        if self.place is not None:
            layer, token = self.place
            by.append(By(ROME(layer, None, token=token), "ROME"))
        few = None if self.facts is None else 5 * self.facts
        return Criteria(tuple(by), new="previous" if self.like == "paper" else "drawn", facts=few, seed=self.seed)
