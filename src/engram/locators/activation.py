"""The baseline of Dai et al. (2022), section 4.3: a neuron's score is its activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..models import Model
from ..models.batching import rows_within
from ..models.questions import Batch
from ..models.replay import record
from .base import Locator, Scores, locators


@locators("activation")
@dataclass(frozen=True, slots=True)
class Activation(Locator):
    """How active is each neuron at the asked position? It knows nothing of the answer: the baseline to beat."""

    name: ClassVar[str] = "activation"

    def rows_at_once(self, model: Model, tokens: int) -> int:
        """No gradient is taken."""
        return rows_within(model, tokens, gradient=False)

    def score(self, model: Model, batch: Batch) -> Scores:
        """One clean pass."""
        return Scores(record(model, batch).neurons)
