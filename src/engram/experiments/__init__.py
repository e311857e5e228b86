"""One file = one published or new experiment: `cases`, `run`, `summary`.

>>> from engram import experiments
>>> experiments.Suppression().settings()["by"]
2.0
"""

from .activation_by_prompt import ActivationByPrompt
from .agreement import Agreement
from .attribution import Attributions
from .base import Experiment, experiments
from .criteria import Criteria
from .demonstrations import Demonstrations
from .determiners import Determiners
from .differing import Differing, diff
from .editing import Editing
from .erasing import Erasing
from .in_turn import InTurn
from .localisation import Localisation
from .minimal_pairs import MinimalPairs
from .neurons import Neurons
from .perturbation import Perturbation
from .planning import By, ByNeurons
from .profile import Profile
from .punctuation import Punctuation
from .stored import StoredNeurons
from .suggesting import Suggestion, suggest_layer
from .suppression import Suppression
from .tracing import Tracing
from .trigger_prompts import TriggerPrompts
from .updating import Updating
from .verdict import judge

__all__ = [
    "ActivationByPrompt", "Agreement", "Attributions", "By", "ByNeurons", "Criteria", "Demonstrations", "Determiners",
    "Differing", "Editing", "Erasing", "Experiment", "InTurn", "Localisation", "MinimalPairs", "Neurons",
    "Perturbation", "Profile", "Punctuation", "StoredNeurons", "Suggestion", "Suppression", "Tracing",
    "TriggerPrompts", "Updating", "diff", "experiments", "judge", "suggest_layer",
]  # fmt: skip
