"""Model and prompts → a score for every neuron."""

from ..models.targets import TARGETS
from .ablation import Ablation
from .activation import Activation
from .base import Locator, Scores, locate, locators
from .gradient_times_activation import GradientTimesActivation
from .integrated_gradients import IntegratedGradients
from .quadrature import RULES, quadrature

__all__ = [
    "RULES", "TARGETS", "Ablation", "Activation", "GradientTimesActivation", "IntegratedGradients", "Locator", "Scores",
    "locate", "locators", "quadrature",
]  # fmt: skip
