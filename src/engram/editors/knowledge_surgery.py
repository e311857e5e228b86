"""Dai et al. (2022), section 4.5.1: a fact's neurons write its answer, so let them write another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from torch import Tensor

from ..edits import Edit, Wish
from ..errors import BadSetting, UnknownName
from ..facts import Prompt
from ..models import Model
from ..neurons import Neuron, NeuronSet
from ..presets import FROM_PRESET, fill
from .base import Editor, edited, editors, question
from .vectors import Embedding, embedding, token

_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "hunter": {"remove": 1.0, "add": 8.0, "scaled": True},
    "paper": {"remove": 1.0, "add": 8.0, "scaled": False},
    "eleuther": {"remove": 2.0, "add": 2.0, "scaled": False},
}


@editors("knowledge_surgery")
@dataclass(frozen=True, slots=True)
class KnowledgeSurgery(Editor):
    """Take the old answer out of the value slots of these neurons, and put the new one in.

    v ← v − remove · s(t) · e(t) + add · s(t′) · e(t′), with e the word embedding of the old answer t (the fact's own)
    and of the new one t′. `scaled`: s(t) = ‖v‖ / ‖e(t)‖, so that `remove` and `add` count in lengths of the slot; else
    s = 1, and what they mean depends on how long the model's embeddings are. `embedding` says which e is meant, as the
    weights have it: "input" (a factor that a model puts on it when it reads, as Gemma does, is left out) or "output".

    A preset gives the settings that are left out. "hunter", the authors' code and the default: 1, 8, scaled. "paper":
    1, 8, as the formula is printed, not scaled. "eleuther": 2, 2, not scaled (there t is what the model says first).

    Each answer must be one token. Raises BadSetting, UnknownName, AnswerNotWritable, and UnsupportedModel where
    embeddings and value slots differ in width (ALBERT, ELECTRA, and some of OPT).

    >>> from engram import NeuronSet
    >>> KnowledgeSurgery(NeuronSet.parse("L9.2141"), preset="eleuther").add
    2.0
    """

    name: ClassVar[str] = "knowledge_surgery"
    neurons: NeuronSet
    remove: float = FROM_PRESET
    add: float = FROM_PRESET
    scaled: bool = FROM_PRESET
    embedding: Embedding = "input"
    preset: str | None = None

    def __post_init__(self) -> None:
        fill(self, self.preset, _PRESETS)
        if self.embedding not in get_args(Embedding):
            raise UnknownName("embedding", self.embedding, get_args(Embedding))
        if not all(abs(x) < float("inf") for x in (self.remove, self.add)):
            raise BadSetting(f"remove and add are finite factors, not {self.remove} and {self.add}")

    def plan(self, model: Model, wish: Wish, prompt: Prompt | None = None) -> Edit:
        asked, where = question(self, wish, prompt)
        ids = [token(model, where.asking_for(str(answer))) for answer in (asked.fact.answer, asked.answer)]
        if ids[0] == ids[1]:
            raise BadSetting(f"the new answer {asked.answer!r} is the old one, as the tokenizer writes it")
        old, new = (embedding(model, i, self.embedding) for i in ids)

        def change(_neuron: Neuron, v: Tensor) -> Tensor:
            size = v.norm() if self.scaled else None
            out, into = (e if size is None else e * (size / e.norm()) for e in (old, new))
            return v - self.remove * out + self.add * into

        return edited(self, model, wish, self.neurons, change)
