"""Values that say how activations differ from what the model does by itself."""

from .base import Intervention, interventions
from .fixed import Fixed, fixed
from .noised import Noised, noised
from .perturbed import Perturbed
from .scaled import Scaled, amplified, suppressed
from .steered import Steered

__all__ = [
    "Fixed",
    "Intervention",
    "Noised",
    "Perturbed",
    "Scaled",
    "Steered",
    "amplified",
    "fixed",
    "interventions",
    "noised",
    "suppressed",
]
