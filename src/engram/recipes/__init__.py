"""Whole papers as runs that build on each other: which, in which order, with which settings."""

from .audit import Audit
from .base import Recipe, Step
from .dai2022 import Dai2022
from .niu2024 import Niu2024
from .wen2022 import Wen2022

__all__ = ["Audit", "Dai2022", "Niu2024", "Recipe", "Step", "Wen2022"]
