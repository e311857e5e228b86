"""Of what are an editor's second moments? Of ordinary text, or of the keys at which other facts are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from .. import data
from ..experiments.elsewhere import elsewhere
from ..models import Model, Moments, asked_moments, second_moments
from ..models.batching import Progress
from .serving import serving

Kind = Literal["none", "shipped", "asked"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def moments(
    model: Model, layers: Sequence[int], kind: Kind, subject: str, tokens: int, progress: Progress
) -> dict[int, Moments] | None:
    """The second moments of these layers; None for the kind "none". Raises as `engram.second_moments`.

    "shipped" reads so many tokens of the ordinary text that comes with engram, "asked" asks facts that are not about
    the subject.
    """
    if kind == "none":
        return None
    if kind == "asked":
        return asked_moments(model, elsewhere(model, serving.facts(), {subject}), layers, progress=progress)
    texts = data.texts("shipped", data.read("shipped"))
    return second_moments(model, [*texts.everything, *texts.neither], layers, tokens=tokens, progress=progress)


def python(kind: Kind, subject: str, tokens: int) -> list[str]:
    """The same in Python, after `model = …` and `layers = …`: lines that leave `covariances`."""
    if kind == "none":
        return []
    if kind == "asked":
        return [
            "from engram.experiments.elsewhere import elsewhere",
            f"others = elsewhere(model, {serving.facts_python}, {{{subject!r}}})",
            "covariances = eg.asked_moments(model, others, layers)",
        ]
    return [
        'texts = eg.data.texts("shipped", eg.data.shipped())',
        "ordinary = [*texts.everything, *texts.neither]",
        f"covariances = eg.second_moments(model, ordinary, layers, tokens={tokens})",
    ]
