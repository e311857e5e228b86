"""One file = one published or new experiment: `cases`, `run`, `summary`."""

from .attribution import Attributions
from .base import Experiment, experiments
from .suppression import Suppression

__all__ = ["Attributions", "Experiment", "Suppression", "experiments"]
