"""One file = one published or new experiment: `cases`, `run`, `summary`."""

from .activation_by_prompt import ActivationByPrompt
from .agreement import Agreement
from .attribution import Attributions
from .base import Experiment, experiments
from .editing import Editing
from .erasing import Erasing
from .in_turn import InTurn
from .neurons import Neurons
from .planning import By, ByNeurons
from .stored import StoredNeurons
from .suggesting import Suggestion, suggest_layer
from .suppression import Suppression
from .tracing import Tracing
from .trigger_prompts import TriggerPrompts
from .updating import Updating
from .verdict import judge

__all__ = [
    "ActivationByPrompt", "Agreement", "Attributions", "By", "ByNeurons", "Editing", "Erasing", "Experiment", "InTurn",
    "Neurons", "StoredNeurons", "Suggestion", "Suppression", "Tracing", "TriggerPrompts", "Updating", "experiments",
    "judge", "suggest_layer",
]  # fmt: skip
