"""The new answers that Niu et al. (2024) take: those of the facts that stand before, in place of drawn ones."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from ..cases import Case, CaseSet, Group
from ..errors import BadSetting
from ..facts import BLANK, Fact, FactSet, Prompt
from .criteria import CRITERIA, WORDS, Follows


def with_criteria(facts: FactSet) -> list[int]:
    """The numbers of the facts that can be judged by symmetry or by synonymy.

    Of a `CaseSet` those whose cases have such a sentence; of other sets those that `data.criteria` lists.

    >>> import engram as eg
    >>> cases = eg.data.cases("shipped", relations=["capital", "author"])
    >>> len(with_criteria(cases)) == len(cases.facts("capital")) < len(cases)
    True
    """
    if isinstance(facts, CaseSet):
        own = {c.id for c in facts.cases if c.reverse or c.synonym}
        return [i for i, fact in enumerate(facts) if fact.id in own]
    kinds = {r: c.kind for c in CRITERIA for r in c.relations if c.kind in ("reverse", "synonym")}
    return [
        i for i, fact in enumerate(facts)
        if kinds.get(fact.relation) == "reverse" or (kinds.get(fact.relation) == "synonym" and fact.answer in WORDS)
    ]  # fmt: skip


def previous(facts: FactSet, fact: Fact, prompt: Prompt, follows: Follows | None = None) -> Case:
    """This fact with the answer of the one before it in its relation, and what that is judged by (Niu et al. 2024).

    The first fact takes the last one's. Under synonymy it is the answer before it among the relation's different
    answers that have a word of the same meaning, in the order in which they first appear; the published code has them
    in the order of a set of strings, which differs from run to run and cannot be reproduced. Of a `CaseSet` the order
    is that of its cases. `prompt` is the sentence that is edited, `follows` what follows from the facts of the set.
    Raises BadSetting where the answer is true already.

    >>> import engram as eg
    >>> facts = eg.data.shipped()
    >>> first, second = facts.facts("capital")[:2]
    >>> previous(facts, second, facts.prompts(second)[0]).new == first.answer
    True
    """
    own = facts.facts(fact.relation)
    if any(c.kind == "synonym" and fact.relation in c.relations for c in CRITERIA):
        answers = [a for a in dict.fromkeys(f.answer for f in own) if a in WORDS]
        at = answers.index(fact.answer) if fact.answer in answers else None
    else:
        answers = [f.answer for f in own]
        at = own.index(fact) if fact in own else None
    if at is None:
        raise BadSetting(f"before {fact} stands none in {facts.name} whose answer it could take")
    new = answers[at - 1]
    if new in {f.answer for f in own if f.subject == fact.subject}:
        raise BadSetting(f"the answer of the fact before is true already: {new!r} of {fact}")
    further: dict[Group, list[Prompt]] = defaultdict(list)
    for kind, p in (follows or Follows(facts)).asked(fact, new):
        further[kind].append(replace(p, text=p.text if not prompt.blank_last else f"{p.text.split(BLANK)[0]}{BLANK}"))
    named = replace(fact, id=fact.id or "0")
    kept = replace(prompt, answer=fact.answer, fact=named, against=None)
    return Case(named.id, named, new, kept, reverse=tuple(further["reverse"]), synonym=tuple(further["synonym"]))
