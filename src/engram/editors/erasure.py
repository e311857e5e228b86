"""Dai et al. (2022), section 4.5.2: neurons whose value slots are zero write nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from ..edits import Edit, Wish, said
from ..errors import BadSetting, UnknownName
from ..facts import Prompt, Rewrite
from ..models import Model
from ..neurons import Neuron, NeuronSet
from .base import Editor, edited, editors
from .vectors import embedding

To = Literal["zero", "unk"]


@editors("erasure")
@dataclass(frozen=True, slots=True)
class Erasure(Editor):
    """The value slots of these neurons become zero, which is the same as silencing the neurons everywhere.

    `to="unk"` writes the input embedding of the unknown token instead (an option of EleutherAI's code), in masked
    models. The wish is a relation, or facts with no answer. Raises BadSetting, UnknownName, UnsupportedModel.

    >>> from engram import NeuronSet
    >>> Erasure(NeuronSet.parse("L9.2141")).to
    'zero'
    """

    name: ClassVar[str] = "erasure"
    neurons: NeuronSet
    to: To = "zero"

    def __post_init__(self) -> None:
        if self.to not in get_args(To):
            raise UnknownName("value of erased slots", self.to, get_args(To))

    def plan(self, model: Model, wish: Wish, prompt: Prompt | None = None) -> Edit:
        wishes = (wish,) if isinstance(wish, Rewrite) else wish if isinstance(wish, tuple) else ()
        for one in wishes:
            if one.answer is not None:
                raise BadSetting(f"erasure writes no new answer: wish fact.becoming(None), not {said(one)}")
        unknown = self._unknown(model) if self.to == "unk" else None

        def change(_neuron: Neuron, v: Tensor) -> Tensor:
            return torch.zeros_like(v) if unknown is None else unknown

        return edited(self, model, wish, self.neurons, change)

    def _unknown(self, model: Model) -> Tensor:
        token: Any = model.tokenizer.unk_token_id
        if model.family.asks != "mask" or token is None:
            raise BadSetting(f"to='unk' is for masked models with an unknown token; {model.name} is none")
        return embedding(model, int(token), "input")
