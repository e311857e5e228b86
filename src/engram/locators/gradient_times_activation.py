"""One gradient at the neurons' own values, times the values: the cheapest first-order estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..models import Model
from ..models.questions import Batch
from ..models.targets import target_of
from .base import Locator, Scores, locators
from .integrated_gradients import IntegratedGradients


@locators("gradient_times_activation")
@dataclass(frozen=True, slots=True)
class GradientTimesActivation(Locator):
    """What would each neuron's silence cost, were the network linear? `score_i = w_i · ∂target/∂w_i`.

    It is integrated gradients with the single node α = 1; its gap says how far from linear the network is.

    `target` is one of `engram.locators.TARGETS`, and its unit that of the scores. Raises UnknownName for another.

    >>> import engram as eg
    >>> prompt = eg.Prompt("The capital of Ireland is [Y].", "Dublin")
    >>> found, = eg.locate(eg.load(), prompt, by=GradientTimesActivation())
    >>> bool(abs(found.gap).sum() > 0.1 * abs(found.change).sum())  # far from linear: more than a tenth is missed
    True
    """

    name: ClassVar[str] = "gradient_times_activation"
    target: str = "probability"

    def __post_init__(self) -> None:
        target_of(self.target)

    def score(self, model: Model, batch: Batch) -> Scores:
        """As integrated gradients with one step at the end of the path."""
        return IntegratedGradients(steps=1, rule="right", target=self.target).score(model, batch)
