"""Which facts are tried: a seeded draw of known ones, as many of each relation, with their discovery prompts."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from engram.errors import EngramError
from engram.facts import Fact, FactSet, Prompt
from engram.models import Model, ask


@dataclass(frozen=True)
class Known:
    """A fact that the model knows, and all of its discovery prompts that the model can be asked."""

    fact: Fact
    prompts: tuple[Prompt, ...]


def known_facts(model: Model, facts: FactSet, each: int, seed: int = 0) -> list[Known]:
    """The first `each` known facts of every relation, in an order drawn for the relation by itself.

    Known: the model answers it first in at least half of its discovery prompts. A relation may have fewer.
    """
    found: list[Known] = []
    for relation in facts.relations:
        members = facts.facts(relation.id)
        mine: list[Known] = []
        for i in np.random.default_rng([seed, zlib.crc32(relation.id.encode())]).permutation(len(members)):
            prompts = facts.prompts(members[i], split="discovery", blank_last=model.blank_last)
            if prompts and _knows(model, prompts):
                mine.append(Known(members[i], prompts))
            if len(mine) == each:
                break
        found += mine
    return found


def _knows(model: Model, prompts: tuple[Prompt, ...]) -> bool:
    try:
        answers = ask(model, prompts, top=1)
    except EngramError:  # an answer that this model cannot write
        return False
    return 2 * sum(a.knows for a in answers) >= len(answers)


def few(facts: FactSet, relations: int) -> FactSet:
    """So many relations of the set, evenly spaced."""
    at = np.linspace(0, len(facts.relations) - 1, relations).astype(int)
    return facts.only([facts.relations[i].id for i in at])
