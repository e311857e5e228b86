"""Of what are an editor's second moments? Of ordinary text, or of the keys at which other facts are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from .. import data
from ..errors import UnaskablePrompt
from ..facts import Prompt
from ..models import Model, Moments, second_moments
from ..models.batching import Progress
from ..models.moments import asked_moments
from .serving import serving

Kind = Literal["none", "shipped", "asked"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ASKED = 1500  # sentences whose keys are the kind "asked"


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
        return asked_moments(model, others(model, subject), layers, progress=progress)
    texts = data.texts("shipped", data.read("shipped"))
    return second_moments(model, [*texts.everything, *texts.neither], layers, tokens=tokens, progress=progress)


def python(kind: Kind, subject: str, tokens: int) -> list[str]:
    """The same in Python, after `model = …` and `layers = …`: lines that leave `covariances`."""
    if kind == "none":
        return []
    if kind == "asked":
        return [
            "from engram.models.moments import asked_moments",
            "from engram.web.keys import others",
            f"covariances = asked_moments(model, others(model, {subject!r}), layers)",
        ]
    return [
        'texts = eg.data.texts("shipped", eg.data.shipped())',
        "ordinary = [*texts.everything, *texts.neither]",
        f"covariances = eg.second_moments(model, ordinary, layers, tokens={tokens})",
    ]


def others(model: Model, subject: str) -> list[Prompt]:
    """At most ASKED sentences that can be asked, of facts not about the subject: one of each, then a second.

    Drawn with seed 0 from the page's data set.
    """
    facts = serving.facts()
    apart = [f for f in facts if f.subject != subject]
    found: list[Prompt] = []
    for turn in range(2):
        for i in np.random.default_rng(0).permutation(len(apart)):
            if len(found) == ASKED:
                return found
            own = facts.prompts(apart[int(i)], blank_last=model.blank_last)
            try:
                model.rows(own[turn])
            except (UnaskablePrompt, IndexError):
                continue
            found.append(own[turn])
    return found
