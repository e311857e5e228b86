"""Dai et al. (2022), "Knowledge Neurons in Pretrained Transformers": every experiment, nothing located twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from ..errors import BadSetting, UnknownName
from ..experiments import (
    ActivationByPrompt,
    Attributions,
    Erasing,
    Neurons,
    StoredNeurons,
    Suppression,
    TriggerPrompts,
    Updating,
)
from ..locators import Activation
from ..texts import Texts
from .base import Step

Like = Literal["engram", "paper", "hunter"]


@dataclass(frozen=True, slots=True)
class Dai2022:
    """The settings of all runs: `like` whom, and of which facts.

    `facts` limits the facts of each relation, drawn by `seed`; after an erasure, four times as many are asked of the
    relation, and so many of each other. None is all of them, as in the paper. `known_only` keeps those that the model
    answers first. `relations` names those that are tried; the others still serve as controls. `texts` about the facts
    are needed for two of the experiments, which are left out without. Raises BadSetting, UnknownName.

    >>> [step.name for step in Dai2022(facts=3).steps("runs")]
    ['attribution', 'activation', 'neurons', 'suppression', 'updating', 'erasing']
    """

    few: ClassVar[int] = 5
    like: Like = "engram"
    facts: int | None = None
    known_only: bool = False
    seed: int = 0
    texts: Texts | None = None
    relations: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.like not in get_args(Like):
            raise UnknownName("way to reproduce", self.like, get_args(Like))
        if self.facts is not None and self.facts < 1:
            raise BadSetting(f"facts per relation is a number from 1 up, not {self.facts}")

    @property
    def left_out(self) -> tuple[str, ...]:
        """What of the paper is not run with these settings, and why."""
        missing = "Tables 3 and 4 are left out: there are no texts about these facts, --texts names some."
        return () if self.texts is not None else (missing,)

    def steps(self, out: str | Path) -> Iterator[Step]:
        """The runs in `out`, each in a folder of its name: those that others build on come first."""
        out = Path(out)
        chosen: dict[str, Any] = {"facts": self.facts, "known_only": self.known_only, "seed": self.seed}
        chosen["relations"] = self.relations
        locator = Neurons(preset=self.like).locator
        drawn: dict[str, Any] = {"facts": self.facts, "seed": self.seed, "relations": self.relations}
        yield Step("attribution", "the score of every neuron in every prompt", Attributions(locator, **drawn))
        yield Step("activation", "the same by activation, for the baseline", Attributions(Activation(), **drawn))
        kept = Neurons(**chosen, scores=out / "attribution", activations=out / "activation", preset=self.like)
        yield Step("neurons", "table 2 and figure 3", kept)
        found = StoredNeurons(out / "neurons")
        yield Step("suppression", "figures 4 and 5", Suppression(found))
        if self.texts is not None:
            kinds = "engram" if self.like == "engram" else "paper"
            by_type = ActivationByPrompt(self.texts, found, preset=kinds)
            yield Step("activation_by_prompt", "table 4", by_type)
            yield Step("trigger_prompts", "table 3", TriggerPrompts(self.texts, found, preset=self.like))
        yield Step("updating", "table 6", Updating(found, preset=self.like))
        few = {"own": 4 * self.facts, "others": self.facts} if self.facts is not None else {}
        every = {"others": None} if self.facts is None and self.like != "engram" else few
        yield Step("erasing", "table 5", Erasing(found, **every))
