"""What exactly was asked: of which model and which facts, with which versions of what decides the numbers."""

from __future__ import annotations

import platform
from importlib.metadata import version

from .. import __version__
from ..experiments import Experiment
from ..facts import FactSet
from ..models import Model
from ..models.identity import model_key
from ..store import RunKey, data_key

LIBRARIES = ("numpy", "pyarrow", "tokenizers", "torch", "transformers")


def key_of(experiment: Experiment, model: Model, facts: FactSet, *, threads: int) -> RunKey:
    """All that decides the numbers of this experiment on this model and these facts.

    `threads` are torch's: sums over a number of threads differ in their last bits from sums over another.

    >>> import engram as eg
    >>> facts = eg.data.read("shipped").only(["capital"])
    >>> key = key_of(eg.experiments.Attributions(limit=1), eg.load(), facts, threads=1)
    >>> key.experiment, key == key_of(eg.experiments.Attributions(limit=2), eg.load(), facts, threads=1)
    ('attribution', False)
    """
    return RunKey(
        experiment.name, experiment.settings(), {**model_key(model), "threads": threads}, data_key(facts), __version__,
        {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    )  # fmt: skip
