"""An editor of one's own: what some neurons wrote for the old answer they write for the new one, and conversely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from engram.editors import Editor, editors
from engram.editors.base import edited, question
from engram.editors.vectors import embedding, token
from engram.edits import Edit, Wish
from engram.errors import BadSetting
from engram.facts import Prompt
from engram.models import Model
from engram.neurons import Neuron, NeuronSet


@editors("swapped")
@dataclass(frozen=True, slots=True)
class Swapped(Editor):
    """Mirror these neurons' value slots so that the two answers change places (Householder 1958): v ← v − 2 (v·d) d.

    d is the direction from the new answer's embedding to the old one's, both of length 1. The mirror keeps every slot's
    length and changes nothing at right angles to d; done twice, it is undone. `times` mirrors in turn so often. Each
    answer must be one token. Raises BadSetting, AnswerNotWritable, UnsupportedModel.
    """

    name: ClassVar[str] = "swapped"
    neurons: NeuronSet
    times: int = 1

    def __post_init__(self) -> None:
        if self.times < 1:
            raise BadSetting(f"times is a number from 1 up, not {self.times}")

    def plan(self, model: Model, wish: Wish, prompt: Prompt | None = None) -> Edit:
        asked, where = question(self, wish, prompt)
        ids = [token(model, where.asking_for(str(answer))) for answer in (asked.fact.answer, asked.answer)]
        old, new = (vector / vector.norm() for vector in (embedding(model, i, "input") for i in ids))
        apart = (old - new) / (old - new).norm()

        def change(_neuron: Neuron, v: Tensor) -> Tensor:
            return v - (1 - (-1) ** self.times) * (v @ apart) * apart

        return edited(self, model, wish, self.neurons, change)
