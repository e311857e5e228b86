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
    """How active is each neuron at the asked position? It knows nothing of the answer: the baseline to beat.

    Scores are in the activation's own unit. They add up to nothing, so `change` and `gap` are NaN.

    >>> import engram as eg
    >>> prompt = eg.Prompt("The capital of Ireland is [Y].", "Dublin")
    >>> found, = eg.locate(eg.load(), [prompt], by=Activation())
    >>> other, = eg.locate(eg.load(), [prompt.asking_for("Lisbon")], by=Activation())
    >>> found.scores.shape, bool((found.scores == other.scores).all())
    ((4, 256), True)
    """

    name: ClassVar[str] = "activation"

    def rows_at_once(self, model: Model, tokens: int) -> int:
        """No gradient is taken."""
        return rows_within(model, tokens, gradient=False)

    def score(self, model: Model, batch: Batch) -> Scores:
        """One clean pass."""
        return Scores(record(model, batch).neurons)
