"""Whole papers as runs that build on each other: which, in which order, with which settings."""

from .dai2022 import Dai2022, Step

__all__ = ["Dai2022", "Step"]
