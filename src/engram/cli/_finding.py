"""Options of experiments that change neurons: which facts, and how their neurons are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from ..errors import BadSetting
from .locate import Method

if TYPE_CHECKING:
    from ..experiments import Neurons, StoredNeurons


@dataclass(frozen=True)
class Finding:
    """Which facts are tried, and which neurons are theirs. What is left out is as `--like` has it."""

    neurons: Annotated[
        Path | None, Option(help="A run of neurons: they are taken from there, with its facts; nothing is located.")
    ] = None
    like: Annotated[
        str | None,
        Option(help="engram: held-out templates; paper, hunter (its code): all templates, their sums. [engram]"),
    ] = None
    scores: Annotated[Path | None, Option(help="A run of attribution: scores are taken from there.")] = None
    activations: Annotated[
        Path | None, Option(help="The same, of --method activation, for the neurons of the baseline.")
    ] = None
    facts: Annotated[int | None, Option(min=1, help="At most so many facts of each relation, drawn by --seed.")] = None
    known_only: Annotated[
        bool, Option("--known-only", help="Only facts that the model answers first in half of their discovery prompts.")
    ] = False
    threshold: Annotated[
        float | None, Option(help="A neuron counts in a prompt above this part of its largest score. [0.2]")
    ] = None
    share: Annotated[
        str | None,
        Option(
            help="It is kept above this share of prompts: where the search for 2 to 5 neurons per fact starts. [0.7]"
        ),
    ] = None
    seed: Annotated[int, Option(min=0, help="Of every draw.")] = 0

    def finder(self, method: Method, relations: Sequence[str] | None) -> Neurons | StoredNeurons:
        """Those of an earlier run, or how they are found. Raises BadSetting, UnknownName."""
        if self.neurons is not None:
            from ..experiments import StoredNeurons

            free = ("neurons", "like")  # the second also says how the experiment itself is set
            given = [f.name for f in fields(self) if f.name not in free and getattr(self, f.name) != f.default]
            if given or relations or method != Method():
                raise BadSetting(f"a run of neurons has its own settings: leave out {', '.join(given) or 'others'}")
            return StoredNeurons(self.neurons)
        return self.located(method, relations)

    def located(self, method: Method, relations: Sequence[str] | None) -> Neurons:
        """How they are found. Raises BadSetting, UnknownName."""
        from ..experiments import Neurons

        if self.neurons is not None:
            raise BadSetting("neurons are found by this run: --neurons is for the experiments that change them")
        chosen: dict[str, Any] = {"facts": self.facts, "known_only": self.known_only, "seed": self.seed}
        if method != Method():
            chosen["locator"] = method.locator()
        if self.threshold is not None or self.share is not None:
            chosen["selector"] = self._selector()
        for name in ("scores", "activations"):
            if (folder := getattr(self, name)) is not None:
                chosen[name] = folder
        return Neurons(**chosen, relations=tuple(relations) if relations else None, preset=self.like)

    def _selector(self) -> Any:
        from ..selectors import Shared

        given = {name: value for name in ("threshold", "share") if (value := getattr(self, name)) is not None}
        return Shared(**given, preset=self.like if self.like in ("paper", "hunter") else None)
