"""Scores to neurons. Pure numpy: thresholds can be retuned without a model."""

from .base import DegenerateScores, Selector, degenerate, select, selectors
from .chance import Chance
from .exclusive import Exclusive
from .search import ShareSearch, search_share
from .shared import Shared
from .top import Top

__all__ = [
    "Chance",
    "DegenerateScores",
    "Exclusive",
    "Selector",
    "ShareSearch",
    "Shared",
    "Top",
    "degenerate",
    "search_share",
    "select",
    "selectors",
]
