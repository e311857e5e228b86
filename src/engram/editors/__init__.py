"""A model and a wish → Edit."""

from .alpha_edit import AlphaEdit
from .base import Editor, editors, rewrite
from .causal_neuron import CausalNeuron
from .erasure import Erasure
from .fine_tuning import FineTuning
from .knowledge_surgery import KnowledgeSurgery
from .memit import MEMIT
from .rome import ROME
from .wanted import Search

__all__ = [
    "MEMIT",
    "ROME",
    "AlphaEdit",
    "CausalNeuron",
    "Editor",
    "Erasure",
    "FineTuning",
    "KnowledgeSurgery",
    "Search",
    "editors",
    "rewrite",
]
