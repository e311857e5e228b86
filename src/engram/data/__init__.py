"""Data sets: files become a FactSet. `data.pararel("path/to/its/folder")`, `data.shipped()`; one file in `sets` each.

Every data set that is registered, a plug-in's too, can be read by a function of its name here. `data.texts` reads texts
about the facts of one, `data.cases` what edits of them are judged by.

>>> from engram import data
>>> len(data.shipped()), data.read("shipped").relation("capital").type
(4066, '1-1')
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..facts import FactSet
from .base import DataSet, Entry, catalogue, data_sets, read, verb
from .case_form import save_cases
from .cases import CaseData, cases
from .contexts import InContext, fewer_demonstrations, save_contexts, with_demonstrations
from .counterfactual import case_of, counterfact_from
from .counts import Counts, counts
from .determiners import determiner_pairs
from .labels import gender_of, label_of, number_of
from .one_token import one_token_pairs
from .sentence_sets import sentence_sets, together
from .texts import texts

if TYPE_CHECKING:
    shipped: Callable[..., FactSet]  # else a type checker takes the folder of that name for a module

__all__ = [
    "CaseData", "Counts", "DataSet", "Entry", "InContext", "case_of", "cases", "catalogue", "counterfact_from",
    "counts", "data_sets", "determiner_pairs", "fewer_demonstrations", "gender_of", "label_of", "number_of",
    "one_token_pairs", "read", "save_cases", "save_contexts", "sentence_sets", "texts", "together",
    "with_demonstrations",
]  # fmt: skip


def __getattr__(name: str) -> Callable[..., FactSet]:
    if name.startswith("_") or name not in data_sets:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    return verb(name)


def __dir__() -> list[str]:
    return [*__all__, *data_sets.names()]
