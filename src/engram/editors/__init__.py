"""A model and a wish → Edit."""

from .base import Editor, editors, rewrite
from .erasure import Erasure
from .knowledge_surgery import KnowledgeSurgery
from .rome import ROME
from .wanted import Search

__all__ = ["ROME", "Editor", "Erasure", "KnowledgeSurgery", "Search", "editors", "rewrite"]
