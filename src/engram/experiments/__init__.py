"""One file = one published or new experiment: `cases`, `run`, `summary`."""

from .activation_by_prompt import ActivationByPrompt
from .agreement import Agreement
from .attribution import Attributions
from .base import Experiment, experiments
from .erasing import Erasing
from .neurons import Neurons
from .stored import StoredNeurons
from .suppression import Suppression
from .tracing import Tracing
from .trigger_prompts import TriggerPrompts
from .updating import Updating

__all__ = [
    "ActivationByPrompt", "Agreement", "Attributions", "Erasing", "Experiment", "Neurons", "StoredNeurons",
    "Suppression", "Tracing", "TriggerPrompts", "Updating", "experiments",
]  # fmt: skip
