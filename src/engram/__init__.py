"""Find, test, rewrite and audit what a Hugging Face transformer knows.

The public names, each read from its home when it is first used: `import engram` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import data, errors, experiments, testing
    from .cases import Case, CaseSet
    from .editors import MEMIT, ROME, AlphaEdit, CausalNeuron, Erasure, FineTuning, KnowledgeSurgery, rewrite
    from .edits import Edit
    from .experiments import diff, judge, suggest_layer
    from .facts import Fact, FactSet, Prompt, Relation, Rewrite
    from .interventions import Fixed, Noised, Scaled, Steered, amplified, fixed, noised, suppressed
    from .locators import Ablation, Activation, GradientTimesActivation, IntegratedGradients, locate
    from .metrics import by_relation, compare
    from .models import Model, Moments, apply, ask, asked_moments, holding, lens, load, second_moments, stacked
    from .neurons import Neuron, NeuronSet
    from .results import Answer, Attribution, Report, Score
    from .runs import run
    from .selectors import Chance, Exclusive, Shared, Top, search_share, select
    from .store import Run, open_run
    from .tracers import AttributionPatching, CausalTracing, UnitMediation, mediate, trace
    from .traces import Mediation, Trace

_HOME = {
    "cases": ("Case", "CaseSet"),
    "editors": (
        "MEMIT",
        "ROME",
        "AlphaEdit",
        "CausalNeuron",
        "Erasure",
        "FineTuning",
        "KnowledgeSurgery",
        "rewrite",
    ),
    "edits": ("Edit",),
    "experiments": ("diff", "judge", "suggest_layer"),
    "facts": ("Fact", "FactSet", "Prompt", "Relation", "Rewrite"),
    "interventions": ("Fixed", "Noised", "Scaled", "Steered", "amplified", "fixed", "noised", "suppressed"),
    "locators": ("Ablation", "Activation", "GradientTimesActivation", "IntegratedGradients", "locate"),
    "metrics": ("by_relation", "compare"),
    "models": (
        "Model",
        "Moments",
        "apply",
        "ask",
        "asked_moments",
        "holding",
        "lens",
        "load",
        "second_moments",
        "stacked",
    ),
    "neurons": ("Neuron", "NeuronSet"),
    "results": ("Answer", "Attribution", "Report", "Score"),
    "runs": ("run",),
    "selectors": ("Chance", "Exclusive", "Shared", "Top", "search_share", "select"),
    "store": ("Run", "open_run"),
    "tracers": ("AttributionPatching", "CausalTracing", "UnitMediation", "mediate", "trace"),
    "traces": ("Mediation", "Trace"),
}
_MODULE = {name: home for home, names in _HOME.items() for name in names}
_PACKAGES = ("data", "errors", "experiments", "testing")
__all__ = sorted([*_MODULE, *_PACKAGES])


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"engram.{name}")
    if (home := _MODULE.get(name)) is None:
        raise AttributeError(f"module 'engram' has no attribute {name!r}")
    return getattr(importlib.import_module(f"engram.{home}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
