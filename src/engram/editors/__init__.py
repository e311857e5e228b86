"""A model and a wish → Edit."""

from .base import Editor, editors, rewrite
from .erasure import Erasure
from .knowledge_surgery import KnowledgeSurgery

__all__ = ["Editor", "Erasure", "KnowledgeSurgery", "editors", "rewrite"]
