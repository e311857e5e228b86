"""A locator of one's own: how much each neuron writes, whatever it writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engram.locators import Locator, Scores, locators
from engram.models import Model, value_slots
from engram.models.batching import rows_within
from engram.models.questions import Batch
from engram.models.replay import record


@locators("written")
@dataclass(frozen=True, slots=True)
class Written(Locator):
    """How long is the vector that each neuron writes at the asked position? `score_i = |w_i| · ‖v_i‖`.

    v_i is its value slot. `relative`: as a part of what all neurons of its layer write, their lengths added up.
    """

    name: ClassVar[str] = "written"
    relative: bool = False

    def rows_at_once(self, model: Model, tokens: int) -> int:
        return rows_within(model, tokens, gradient=False)

    def score(self, model: Model, batch: Batch) -> Scores:
        clean = record(model, batch)
        written = [
            w.abs() * value_slots(layer.down).norm(dim=1) for w, layer in zip(clean.neurons, model.layers, strict=True)
        ]
        if self.relative:
            written = [x / x.sum(1, keepdim=True) for x in written]
        return Scores(tuple(written))
