"""The only home of Hugging Face and of hooks."""

from .applying import apply
from .ask import ask
from .conditions import holding
from .editing import slot_of
from .keeping import second_moments
from .lens import lens
from .loading import load
from .merging import stacked
from .model import Model, value_slots
from .moments import Moments, asked_moments

__all__ = [
    "Model", "Moments", "apply", "ask", "asked_moments", "holding", "lens", "load", "second_moments", "slot_of",
    "stacked", "value_slots",
]  # fmt: skip
