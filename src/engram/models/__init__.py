"""The only home of Hugging Face and of hooks."""

from .ask import ask
from .conditions import holding
from .editing import slot_of
from .loading import load
from .model import Model, value_slots
from .moments import Moments, second_moments

__all__ = ["Model", "Moments", "ask", "holding", "load", "second_moments", "slot_of", "value_slots"]
