"""The only home of Hugging Face and of hooks."""

from .ask import ask
from .conditions import holding
from .loading import load
from .model import Model, value_slots

__all__ = ["Model", "ask", "holding", "load", "value_slots"]
