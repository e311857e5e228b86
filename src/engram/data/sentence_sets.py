"""Sets of minimal pairs that say the same: what a fact in all its templates is for knowledge, for agreement.

A minimal pair has one sentence. How localised something is, and which neurons carry it, is asked of several.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import BadSetting
from ..facts import Fact, FactSet, Prompt, Relation
from .determiners import DETERMINER, NOUN, determiner_pairs
from .labels import kind_of, label_of
from .sets.blimp import PARADIGMS as OF_BLIMP
from .sets.pairs import PARADIGMS as OF_PAIRS


def sentence_sets(facts: FactSet, *, prompts: int = 10, seed: int = 0) -> FactSet:
    """Minimal pairs put together in sets of `prompts` sentences that say the same: facts with several sentences each.

    In the paradigms of determiner and noun a set is a determiner with a noun, in `prompts` sentences of the paradigm
    (`determiner_pairs`), as Niu et al. (2024), tables 8 and 9. In the others it is `prompts` pairs whose right word has
    the same number or gender, as their `search_kns` pools them; the pairs of each are drawn by `seed` in another order
    and divided, and what is left over is left out. Paradigms are relations, as before; those of which there are too few
    sentences are left out. Raises BadSetting.

    >>> import engram as eg
    >>> sets = sentence_sets(eg.data.pairs().only(["subject_have"]), prompts=20)
    >>> [(f.subject, f.answer, len(sets.prompts(f, blank_last=True))) for f in sets]
    [('singular 1', 'singular', 20), ('plural 1', 'plural', 20)]
    """
    if prompts < 1:
        raise BadSetting(f"a set has a number of prompts from 1 up, not {prompts}")
    relations: list[Relation] = []
    members: dict[str, tuple[Fact, ...]] = {}
    own: dict[str, tuple[Prompt, ...]] = {}
    known = {**OF_BLIMP, **OF_PAIRS}
    found: list[tuple[Fact, tuple[Prompt, ...]]]
    for relation in facts.relations:
        if known.get(relation.id) in (DETERMINER, NOUN):
            pairs = determiner_pairs(
                facts, kind_of(relation.id), paradigm=relation.id, templates=prompts, seed=_seed(seed, relation.id)
            )
            made, found = pairs.relations[0], [(f, ()) for f in pairs]
        else:
            made, found = relation, _pooled(facts, relation.id, prompts, seed)
        if found:
            relations.append(made)
            members[made.id] = tuple(fact for fact, _ in found)
            own |= {fact.id: sentences for fact, sentences in found if sentences}
    said = f"{facts.source} (in sets of {prompts} sentences, seed {seed})"
    return FactSet(facts.name, tuple(relations), members, said, own)


def together(*sets: FactSet) -> FactSet:
    """Several data sets as one: the relations of all, in order. Raises BadSetting where two have a relation in common.

    >>> import engram as eg
    >>> both = together(eg.data.shipped(), sentence_sets(eg.data.pairs()))
    >>> both.name, both.relations[0].id, both.relations[-1].id
    ('shipped + pairs', 'animal_class', 'reflexive_number')
    """
    relations = tuple(r for facts in sets for r in facts.relations)
    if twice := sorted({r.id for i, r in enumerate(relations) if r.id in [s.id for s in relations[:i]]}):
        raise BadSetting(f"these data sets have relations of the same name: {', '.join(twice)}")
    members = {id_: facts for known in sets for id_, facts in known.members.items()}
    own = {id_: prompts for known in sets for id_, prompts in known.own.items()}
    name, source = (" + ".join(text) for text in ([s.name for s in sets], [s.source for s in sets]))
    return FactSet(name, relations, members, source, own)


def _pooled(facts: FactSet, paradigm: str, prompts: int, seed: int) -> list[tuple[Fact, tuple[Prompt, ...]]]:
    """Sets of pairs of one label."""
    groups: dict[str, list[Fact]] = {}
    for fact in facts.facts(paradigm):
        if (label := label_of(facts.prompts(fact)[0])) is not None:
            groups.setdefault(label, []).append(fact)
    found = []
    for name in sorted(groups, reverse=True):
        order = np.random.default_rng(_seed(seed, paradigm, name)).permutation(len(groups[name]))
        for number, start in enumerate(range(0, len(order) - prompts + 1, prompts), 1):
            own = [facts.prompts(groups[name][i]) for i in order[start : start + prompts]]
            fact = Fact(f"{name} {number}", paradigm, name, f"{paradigm}: {name} {number}")
            found.append((fact, _in_turn(own)))
    return found


def _in_turn(own: Sequence[Sequence[Prompt]]) -> tuple[Prompt, ...]:
    """Every sentence, and behind it the same cut off at its blank, where there is that too."""
    return tuple(replace(p, fact=None, template=None) for prompts in own for p in prompts)


def _seed(seed: int, *names: str) -> int:
    """Of a paradigm by itself: what is drawn of it does not depend on which others there are."""
    return int(np.random.default_rng([seed, zlib.crc32(" ".join(names).encode())]).integers(2**31))
