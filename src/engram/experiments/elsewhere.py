"""Which sentences are not about a fact: whose keys should an edit at the asked token leave alone?"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

import numpy as np

from ..errors import UnaskablePrompt
from ..facts import FactSet, Prompt
from ..models import Model

MOST = 1500


def elsewhere(model: Model, facts: FactSet, without: Collection[str], *, most: int = MOST) -> list[Prompt]:
    """At most so many sentences of facts that are not about these subjects: one of each, then a second.

    Those that this model can be asked, of facts drawn with seed 0. For `engram.asked_moments`.

    >>> import engram as eg
    >>> found = elsewhere(eg.load("engram:causal"), eg.data.shipped(), {"Ireland"}, most=3)
    >>> len(found), any("Ireland" in p.text for p in found)
    (3, False)
    """
    apart = [f for f in facts if f.subject not in without]
    found: list[Prompt] = []
    for turn in range(2):
        for i in np.random.default_rng(0).permutation(len(apart)):
            if len(found) == most:
                return found
            own = facts.prompts(apart[int(i)], blank_last=model.blank_last)[turn : turn + 1]
            with suppress(UnaskablePrompt):
                found += [p for p in own if model.rows(p)]
    return found
