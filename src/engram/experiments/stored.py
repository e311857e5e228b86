"""The neurons that an earlier run found, for the experiments that change them: nothing is located twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..facts import Fact, FactSet, Prompt, Split
from ..metrics.outcomes import ARMS
from ..models import Model
from ..models.batching import Progress
from ..neurons import NeuronSet
from .base import Case
from .earlier import opened, same_facts, same_model
from .neurons import Neurons, Sets


@dataclass(frozen=True, slots=True)
class StoredNeurons:
    """The neurons that a run of `Neurons` found, with its settings: takes the place of a `Neurons`.

    `run` is its folder. Where something is asked of another model or other facts than that run's, OtherRun is raised.

    >>> import tempfile
    >>> import engram as eg
    >>> facts, folder = eg.data.read("shipped"), tempfile.mkdtemp()
    >>> found = eg.run(Neurons(relations=("capital",), facts=1), facts, out=folder)
    >>> later = eg.experiments.Suppression(StoredNeurons(folder))
    >>> [case["relation"] for case in later.cases(facts)]
    ['capital']
    """

    run: str | Path

    @property
    def found(self) -> Neurons:
        """The experiment of that run; what it located with is of no matter any more."""
        said = opened(self.run, "neurons").manifest["settings"]
        chosen = {key: said[key] for key in ("held_out", "facts", "known_only", "seed")}
        relations = said["relations"] and tuple(said["relations"])
        return Neurons(mean=tuple(said["mean"]), relations=relations, **chosen)

    @property
    def seed(self) -> int:
        """That run's."""
        return self.found.seed

    @property
    def held_out(self) -> bool:
        """Were its neurons found on the discovery templates alone?"""
        return self.found.held_out

    @property
    def known_only(self) -> bool:
        """Had its facts to be known to the model?"""
        return self.found.known_only

    @property
    def mean(self) -> tuple[float, float]:
        """How many neurons of a fact it looked for, from and to, on the mean over facts."""
        return self.found.mean

    def cases(self, facts: FactSet) -> list[Case]:
        """As that run's."""
        same_facts(opened(self.run, "neurons"), facts)
        return self.found.cases(facts)

    def sets(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Sets:
        """What that run found for this relation. Raises OtherRun, and BadData where it is not done."""
        run = opened(self.run, "neurons")
        same_facts(run, facts)
        same_model(run, model)
        relation = case["relation"]
        shard = [c["relation"] for c in self.found.cases(facts)].index(relation)
        result = run.result(shard)
        numbers = list(dict.fromkeys(row["number"] for row in result["rows"]))
        arms: dict[str, list[NeuronSet]] = {arm: [] for arm in ARMS}
        for row in result["rows"]:
            arms[row["arm"]].append(NeuronSet.parse(" ".join(row["neurons"])))
        about = {key: result[key] for key in ("drawn", "askable", "known", "widths", "shares")}
        own = facts.facts(relation)
        return Sets(
            relation, tuple(own[n] for n in numbers), tuple(numbers),
            {arm: tuple(sets) for arm, sets in arms.items()}, about, tuple(result["skipped"]),
        )  # fmt: skip

    def prompts(self, model: Model, facts: FactSet, fact: Fact, split: Split) -> tuple[Prompt, ...]:
        """As that run asked."""
        return self.found.prompts(model, facts, fact, split)

    def askable(self, model: Model, facts: FactSet, fact: Fact, skipped: list[dict[str, str]]) -> bool:
        """As that run judged."""
        return self.found.askable(model, facts, fact, skipped)

    def known(self, model: Model, facts: FactSet, chosen: Sequence[Fact]) -> list[Fact]:
        """As that run judged."""
        return self.found.known(model, facts, chosen)

    def settings(self) -> dict[str, Any]:
        """Which run it was, and its settings."""
        run = opened(self.run, "neurons")
        return {"run": run.folder.id, **run.manifest["settings"]}


Finder = Neurons | StoredNeurons
