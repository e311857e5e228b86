"""What can the page ask of a model? What every view shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from ...facts import Prompt
from ...models import Model
from ...registry import Registry
from ..stages import Tell

Text = Annotated[str, Field(min_length=1, max_length=2000)]  # a sentence
Word = Annotated[str, Field(min_length=1, max_length=200)]  # an answer, a subject, a name
KeptIds = Annotated[list[Annotated[str, Field(max_length=40)]], Field(max_length=20)]


class View(BaseModel, ABC):
    """A question of the page: its fields are what is sent, each of bounded size.

    Frozen, and nothing that it does not know is let through. `anew` says that it is done again when the same is asked
    again, for it does more than answer (it keeps an edit, say); else the answer that is there serves.
    """

    anew: ClassVar[bool] = False
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @abstractmethod
    def run(self, model: Model, progress: Tell) -> dict[str, Any]:
        """The answer as plain JSON values. `progress(done, total, says)` is called on the way; it may raise."""

    @abstractmethod
    def python(self, model: str) -> str:
        """The Python that makes this of the model of this name: it runs as it is."""


class Question(View, ABC):
    """A view that asks one sentence with its blank [Y] for one answer, under the edits kept by these ids."""

    prompt: Text
    answer: Word
    under: KeptIds = []

    def asked(self) -> Prompt:
        """The sentence and its answer. Raises NotOneBlank."""
        return Prompt(self.prompt, self.answer)


views: Registry[View] = Registry("view", "engram.web.views")


def plain(number: float) -> float | None:
    """A number as JSON has it: None for what is not finite.

    >>> plain(1.5), plain(float("nan"))
    (1.5, None)
    """
    return float(number) if abs(number) < float("inf") else None
