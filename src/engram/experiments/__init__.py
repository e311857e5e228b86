"""One file = one published or new experiment: `cases`, `run`, `summary`."""

from .base import Experiment, experiments
from .suppression import Suppression

__all__ = ["Experiment", "Suppression", "experiments"]
