"""Wen & Bai (2022), "A Study on Localization of Knowledge in Language Models": every experiment, as runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from ..cases import CaseSet
from ..data import counterfact_from, data_sets
from ..data.contexts import PAPER22, with_demonstrations
from ..editors import ROME, CausalNeuron
from ..errors import BadSetting, UnknownName
from ..experiments import (
    Attributions,
    By,
    ByNeurons,
    Demonstrations,
    Editing,
    Neurons,
    Perturbation,
    Punctuation,
    StoredNeurons,
    Suppression,
    Tracing,
)
from ..experiments.planning import Planner
from ..facts import FactSet
from ..locators import Activation, IntegratedGradients
from ..selectors import Shared
from ..tracers import CausalTracing
from ..traces import KINDS
from .base import Step

Like = Literal["engram", "paper"]
SHOWN = 4  # demonstrations before a sentence
RECORDS = 1000  # cases that the paper edits
EDITED = 10  # cases for each fact of a relation, where facts are limited


@dataclass(frozen=True, slots=True, kw_only=True)
class Wen2022:
    """The settings of all runs: `like` whom, of which `data` (None: the shipped facts), and of which facts.

    Facts are asked in the templates that end with their answer, so that masked and causal models read the same. "paper"
    finds neurons behind four demonstrations, by 20 points with both ends, above .3 of the peak in more than half of a
    fact's prompts, and tries them in the same prompts; "engram" finds them in sentences without demonstrations (which
    give away what the relation's answers look like), by the integral itself, and tries them in other templates.
    Noise is that of the paper and, beside it, in the model's own σ, whomever it is like.

    `facts` limits the facts of each relation, drawn by `seed`, `sentences` those of each mark, and ten times `facts`
    cases are edited (None: all facts, and 1,000 cases). `known_only` keeps facts that the model answers first (traced
    are only such). `place` is ROME's layer and token, `covariance` that of its keys there, and `layers` how many layers
    there are: without these there is no ROME in the table, and no edit behind the last attention. Raises BadSetting,
    UnknownName.

    >>> [step.name for step in Wen2022(facts=1).steps("runs")][:4]
    ['demonstrations', 'perturbation', 'perturbation_published', 'attribution']
    """

    few: ClassVar[int] = 2
    model: ClassVar[str] = "engram:causal"
    like: Like = "engram"
    facts: int | None = None
    known_only: bool = False
    seed: int = 0
    relations: tuple[str, ...] | None = None
    data: FactSet | None = field(default=None, repr=False)
    sentences: int | None = None
    place: tuple[int, str] | None = None
    layers: int | None = None
    covariance: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.like not in get_args(Like):
            raise UnknownName("way to reproduce", self.like, get_args(Like))
        if self.facts is not None and self.facts < 1:
            raise BadSetting(f"facts per relation is a number from 1 up, not {self.facts}")
        if self.place is not None and self.layers is None:
            raise BadSetting("a place for ROME is one of so many layers: give layers, too")

    @property
    def left_out(self) -> tuple[str, ...]:
        """What of the paper is not run with these settings, and why."""
        said = [
            "The reading of the causal neuron that steers (site_steer) changes no weight, and is no row of table 3."
        ]
        if self.place is None:
            said.append("ROME is left out of table 3: no fact that the model knows could be traced to say where.")
        return tuple(said)

    def steps(self, out: str | Path) -> Iterator[Step]:
        """The runs in `out`, each in a folder of its name: those that others build on come first."""
        drawn: dict[str, Any] = {"facts": self.facts, "seed": self.seed, "relations": self.relations}
        shown = self._asked(SHOWN)
        asked = shown if self.like == "paper" else self._asked(0)
        yield Step("demonstrations", "what demonstrations add", Demonstrations(**drawn), shown)
        yield Step("perturbation", "noise in the embeddings, as a curve", Perturbation(**drawn, prompts=1), asked)
        theirs = Perturbation(**drawn, preset="published", prompts=1)
        yield Step("perturbation_published", "section 5.4, as published", theirs, asked)
        yield from self._neurons(Path(out), asked, drawn)
        marks = Punctuation(
            sentences=self.sentences, seed=self.seed, preset="published" if self.like == "paper" else None
        )
        yield Step("punctuation", "section 5.5", marks, data_sets["punctuation"]().read())
        yield from self._traces(asked, drawn)
        yield Step("editing", "table 3", self._edits(), self._cases())

    @property
    def edited(self) -> tuple[CaseSet, set[str]]:
        """The cases of table 3, and about whom those are that are edited."""
        cases, experiment = self._cases(), self._edits()
        numbers = {number for case in experiment.cases(cases) for number in case["facts"]}
        return cases, {fact.subject for i, fact in enumerate(cases) if i in numbers}

    def _facts(self) -> FactSet:
        return self.data if self.data is not None else data_sets["shipped"]().read()

    def _asked(self, demonstrations: int) -> FactSet:
        """The facts behind so many demonstrations; the published relations where they are ParaRel's."""
        facts = self._facts()
        theirs = self.like == "paper" and any(r.id in PAPER22 for r in facts.relations)
        most = 100 if self.like == "paper" else max(map(len, facts.members.values()))
        return with_demonstrations(
            facts, variant="paper22" if theirs else "auto", demonstrations=demonstrations, most=most,
            least=SHOWN if self.like == "paper" else 2,
        )  # fmt: skip

    def _neurons(self, out: Path, asked: FactSet, drawn: dict[str, Any]) -> Iterator[Step]:
        chosen: dict[str, Any] = {}
        locator = IntegratedGradients(rule="gauss")
        if self.like == "paper":
            locator = IntegratedGradients(preset="eleuther")
            own = Shared(threshold=0.3, share=0.5)
            chosen = {"selector": own, "baseline": own, "held_out": False, "mean": (0.0, 1e6)}
        yield Step("attribution", "the score of every neuron in every prompt", Attributions(locator, **drawn), asked)
        yield Step("activation", "the same by activation", Attributions(Activation(), **drawn), asked)
        found = Neurons(
            **drawn, **chosen, known_only=self.known_only, scores=out / "attribution", activations=out / "activation"
        )
        yield Step("neurons", "in which layers neurons lie", found, asked)
        tried = Suppression(StoredNeurons(out / "neurons"), unrelated=True)
        yield Step("suppression", "section 5.2, related and unrelated facts", tried, asked)

    def _traces(self, asked: FactSet, drawn: dict[str, Any]) -> Iterator[Step]:
        """Figure 6: averages, once with the noise of the paper and once with three times the subjects' σ."""
        theirs = tuple(
            CausalTracing(kind=kind, samples=10, noise=0.1, rng="rome", window=None if kind == "block" else 10)
            for kind in KINDS
        )
        yield Step("tracing", "figure 6, with noise of 3 σ", Tracing(**drawn), asked)
        yield Step("tracing_published", "figure 6, with noise of 0.1", Tracing(theirs, **drawn), asked)

    def _cases(self) -> CaseSet:
        facts = self._facts()
        if isinstance(facts, CaseSet):
            return facts if self.relations is None else facts.only(self.relations)
        return counterfact_from(facts, seed=self.seed, relations=self.relations)

    def _edits(self) -> Editing:
        """Table 3: KN, CN in two readings, ROME where traces say, and where no attention can carry it on."""
        by: list[Planner] = [
            ByNeurons(),
            By(CausalNeuron(), "causal neuron"),
            By(CausalNeuron("published"), "causal neuron, as published"),
        ]
        if self.place is not None and self.layers is not None:
            layer, token = self.place
            by.append(By(ROME(layer, self.covariance, token=token), "ROME"))
            if self.layers > 1:
                by.append(By(ROME(self.layers - 2, None), "ROME, last but one"))
            by.append(By(ROME(self.layers - 1, None), "ROME, last layer"))
        few = RECORDS if self.facts is None else EDITED * self.facts
        return Editing(tuple(by), controls=("random neurons",), sample=few, seed=self.seed)
