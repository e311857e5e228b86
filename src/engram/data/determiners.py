"""Every determiner with every noun in the sentences of a data set: Niu et al. (2024), section 3.2.

In "Carl cures those horses." determiner and noun can be put in for others. So each pair of a determiner and a noun can
be asked in all sentences of a paradigm, as a fact is in the templates of its relation.
"""

from __future__ import annotations

import re

import numpy as np

from ..errors import BadSetting, UnknownName
from ..facts import BLANK, SUBJECT, Fact, FactSet, Prompt, Relation
from .labels import DETERMINERS, kind_of
from .sets.blimp import PARADIGMS as OF_BLIMP
from .sets.pairs import PARADIGMS as OF_PAIRS

BETWEEN = "with_adj"  # paradigms that are so called have an adjective between the two
DETERMINER, NOUN = "determiner", "noun"


def determiner_pairs(
    facts: FactSet, asked: str = DETERMINER, *, paradigm: str | None = None, templates: int | None = None, seed: int = 0
) -> FactSet:
    """Which determiners stand with which nouns in these minimal pairs, each asked in the sentences of all?

    `facts` are BLiMP's or the shipped pairs. `asked` "determiner": the determiner is asked before its noun, and the
    noun is a pair's subject; "noun": the noun behind its determiner, for causal models, and the determiner is the
    subject. The sentences are those of `paradigm`, by default the first there is in which this is asked
    (determiner_noun_agreement_2 and _1): one relation, whose templates they are. `templates` draws so many of them by
    `seed`, and says so in `source`; None takes all. A noun that is asked is asked directly behind its determiner, so
    sentences with something between (a compound's first half) are no template.

    The answer is the right word; the wrong one is not named, for no wrong noun goes with every template. Raises
    BadSetting where nothing of the kind is there, UnknownName.

    >>> import engram as eg
    >>> pairs = determiner_pairs(eg.data.pairs(), templates=2)
    >>> relation, first = pairs.relations[0], next(iter(pairs))
    >>> len(pairs), first.answer, first.subject, [p.text for p in pairs.prompts(first)]
    (80, 'these', 'houses', ['Rosa bought [Y] green houses.', 'Sophie forgot [Y] houses.'])
    """
    relation = facts.relation(paradigm or _first(facts, asked))
    if kind_of(relation.id) != asked:
        raise BadSetting(f"{relation.id} does not ask for the {asked}, but for the {kind_of(relation.id)}")
    frames: list[str] = []
    pairs: dict[tuple[str, str], None] = {}
    for fact in facts.facts(relation.id):
        prompt = facts.prompts(fact)[0]
        if (frame := _frame(prompt, fact.subject, asked)) is not None:
            frames.append(frame)
        pairs.setdefault((fact.subject, fact.answer), None)
    if not frames:
        raise BadSetting(f"no sentence of {relation.id} has its determiner beside its noun")
    total = len(frames)
    if templates is not None:
        if templates < 1:
            raise BadSetting(f"templates is a number of sentences from 1 up, not {templates}")
        order = np.random.default_rng(seed).permutation(total)[:templates]
        frames = [frames[i] for i in sorted(order)]
    made = Relation(relation.id, relation.name, tuple(frames), "", relation.description)
    members = tuple(
        Fact(subject, relation.id, answer, f"{relation.id}: {subject} {answer}")
        for subject, answer in pairs
        if (answer if asked == DETERMINER else subject) in DETERMINERS
    )
    said = f"{facts.source} ({len(members)} pairs in {len(frames)} of {total} sentences of {relation.id}, seed {seed})"
    return FactSet(f"{facts.name}: {relation.id}", (made,), {relation.id: members}, said)


def determiner_of(fact: Fact) -> str:
    """The determiner of a pair that `determiner_pairs` made.

    >>> determiner_of(Fact("houses", "noun_determiner", "these"))
    'these'
    """
    return fact.answer if fact.answer in DETERMINERS else fact.subject


def _first(facts: FactSet, asked: str) -> str:
    """The first relation in which this is asked of determiners and nouns."""
    if asked not in (DETERMINER, NOUN):
        raise UnknownName("word of a determiner and its noun", asked, (DETERMINER, NOUN))
    decides = NOUN if asked == DETERMINER else DETERMINER
    known = {**OF_BLIMP, **OF_PAIRS}
    for relation in facts.relations:
        if known.get(relation.id) == decides and facts.facts(relation.id):
            return relation.id
    there = ", ".join(r.id for r in facts.relations) or "none"
    raise BadSetting(f"{facts.name} has no paradigm in which the {asked} is asked; it has {there}")


def _frame(prompt: Prompt, subject: str, asked: str) -> str | None:
    """The sentence with a mark for what decides; None where a noun is asked that does not follow its determiner."""
    before, after = prompt.text.split(BLANK)
    word = rf"(?<!\w){re.escape(subject)}(?!\w)"
    if asked == DETERMINER:
        return f"{before}{BLANK}{re.sub(word, SUBJECT, after, count=1)}"
    found = list(re.finditer(word, before))[-1]
    between = before[found.end() :].split()
    paradigm = prompt.fact.relation if prompt.fact is not None else ""
    if len(between) != (BETWEEN in paradigm) and paradigm in OF_BLIMP:
        return None
    return f"{before[: found.start()]}{SUBJECT}{before[found.end() :]}{BLANK}{after}"
