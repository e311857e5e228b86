"""The only home of Hugging Face and of hooks."""

from .ask import ask
from .conditions import holding
from .editing import slot_of
from .loading import load
from .model import Model, value_slots

__all__ = ["Model", "ask", "holding", "load", "slot_of", "value_slots"]
