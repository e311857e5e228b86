"""What does the model say at the blank, and from which layer on?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from ...models import Model, ask, lens
from ...models.batching import Progress
from ...results import Answer
from ..kept import kept
from ..serving import serving
from .base import Question, plain, views

BEFORE = 1000  # words of the model as it is, among which those are looked up that it says under an edit


@views("ask")
class Ask(Question):
    """The best few answers, the wanted one's rank and probability, and both as each layer has them."""

    top: Annotated[int, Field(ge=1, le=50)] = 10

    def run(self, model: Model, progress: Progress) -> dict[str, Any]:
        """The model's answer and its layers', and where edits are held, those of the model as it is."""
        edits = kept.under(self.under, model.name)
        prompt = self.asked()
        (said,) = ask(model, prompt, under=edits or None, top=self.top)
        (layers,) = lens(model, prompt, under=edits or None, top=1, progress=progress)
        found: dict[str, Any] = {
            "answer": told(said),
            "layers": by_layer(layers),
            "base": None,
            "base_layers": None,
            "before": None,
        }
        if edits:
            (base,) = ask(model, prompt, top=BEFORE)
            (layers,) = lens(model, prompt, top=1, progress=progress)
            before = dict(reversed(base.top))  # of words that read the same, the best
            found["before"] = [plain(before[word]) if word in before else None for word, _ in said.top]
            found["base"], found["base_layers"] = told(replace(base, top=base.top[: self.top])), by_layer(layers)
        return {**found, "vocabulary": int(model.config.vocab_size), "model": model.name}

    def python(self, model: str) -> str:
        """Asks, and reads the layers."""
        under = kept.python(self.under, model) if self.under else "under = None\n"
        return (
            "import engram as eg\n\n"
            f"model = {serving.model_python(model)}\n"
            f"{under}"
            f"prompt = eg.Prompt({self.prompt!r}, {self.answer!r})\n"
            f"(answer,) = eg.ask(model, prompt, under=under, top={self.top})\n"
            "(layers,) = eg.lens(model, prompt, under=under)\n"
            "rows = [(layer, one.rank, one.probability, one.top[0]) for layer, one in layers.items()]\n"
            'print(answer.rank, answer.probability, answer.top)\nprint(*rows, sep="\\n")\n'
        )


def told(answer: Answer) -> dict[str, Any]:
    """An answer in plain values: `probability` in [0, 1], `logprob` in nats, `top` pairs of word and probability."""
    return {
        "tokens": list(answer.tokens), "rank": answer.rank, "probability": plain(answer.probability),
        "logprob": plain(answer.logprob), "top": [[word, plain(p)] for word, p in answer.top],
    }  # fmt: skip


def by_layer(layers: Mapping[int, Answer]) -> list[dict[str, Any]]:
    """What each layer says, in plain values, bottom to top."""
    return [{"layer": layer, **told(one)} for layer, one in layers.items()]
