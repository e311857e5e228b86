"""Does a plug-in keep what engram promises of its kind? That of families is in `contract`; tracers and interventions
have none.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..data import DataSet
from ..editors import Editor
from ..edits import Wish
from ..errors import EngramError
from ..experiments import Experiment
from ..facts import Fact, FactSet, Prompt
from ..locators import Locator
from ..metrics import Metric
from ..models import Model
from ..results import Attribution
from ..selectors import Selector
from . import clauses
from .contract import PROMPTS, ContractBroken
from .networks import tiny


def check_locator(locator: Locator, model: Model | None = None, prompts: Sequence[Prompt] = PROMPTS) -> None:
    """Does this locator keep what engram promises of every locator? Raises ContractBroken at the first breach.

    `model` is a tiny random GPT-2, where none is given; it must be able to answer the prompts. Two of them should be
    equally long.

    >>> import engram as eg
    >>> check_locator(eg.Activation())
    """
    _keeps("locator", locator, clauses.LOCATOR, model or Model.wrap(*tiny("gpt2")), tuple(prompts))


def check_selector(selector: Selector, scores: Sequence[Attribution] | None = None) -> None:
    """Does this selector keep what engram promises of every selector? Raises ContractBroken at the first breach.

    Without `scores`, it gets those of five prompts, drawn at random, over layers of 7 and of 5 neurons.

    >>> import engram as eg
    >>> check_selector(eg.Top(3))
    """
    _keeps("selector", selector, clauses.SELECTOR, tuple(scores) if scores is not None else clauses.scores())


def check_editor(
    editor: Editor, model: Model | None = None, wish: Wish | None = None, prompt: Prompt | None = None
) -> None:
    """Does this editor keep what engram promises of every editor? Raises ContractBroken at the first breach.

    Without `model`, it edits a tiny random GPT-2 (3 layers of 24 neurons). Without `wish` and `prompt`, the capital of
    Ireland is to become Paris.

    >>> import engram as eg
    >>> check_editor(eg.KnowledgeSurgery(eg.NeuronSet.parse("L0.1, L2.3")))
    """
    asked = prompt or PROMPTS[0]
    wanted = wish or Fact("Ireland", "capital", asked.answer).becoming("Paris")
    _keeps("editor", editor, clauses.EDITOR, model or Model.wrap(*tiny("gpt2")), wanted, asked)


def check_metric(metric: Metric) -> None:
    """Does this metric keep what engram promises of every metric? Raises ContractBroken at the first breach.

    >>> from engram.metrics import Flips
    >>> check_metric(Flips())
    """
    _keeps("metric", metric, clauses.METRIC)


def check_data_set(data_set: DataSet) -> None:
    """Does this data set keep what engram promises of every data set? Raises ContractBroken at the first breach.

    >>> from engram.data import data_sets
    >>> check_data_set(data_sets["shipped"]())
    """
    _keeps("data set", data_set, clauses.DATA_SET)


def check_experiment(experiment: Experiment, model: Model, facts: FactSet) -> None:
    """Does this experiment keep what engram promises of every experiment? Raises ContractBroken at the first breach.

    Everything is done three times, so give it few facts.

    >>> import engram as eg
    >>> few = eg.data.read("shipped").only(["capital"])
    >>> check_experiment(eg.experiments.Attributions(eg.Activation(), limit=2, shard=1), eg.load(), few)
    """
    _keeps("experiment", experiment, clauses.EXPERIMENT, model, facts)


def _keeps(kind: str, thing: Any, promised: Sequence[Callable[..., None]], *with_: Any) -> None:
    name = getattr(thing, "name", type(thing).__name__)
    for clause in (clauses.it_is_a_value_that_can_be_sent_elsewhere, *promised):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                clause(thing, *with_)
        except Exception as error:
            # another's code may fail in any way
            seen = (
                str(error) if isinstance(error, (EngramError, ContractBroken)) else f"{type(error).__name__}: {error}"
            )
            promise = clause.__name__.replace("_", " ")
            raise ContractBroken(f"the {kind} {name} breaks {promise!r}: {seen}") from error
