"""What a model may know: relations, facts, and the prompts that ask for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from .errors import BadTemplate, NotOneBlank, UnknownName

BLANK = "[Y]"
SUBJECT = "[X]"
FINAL_MARKS = " .!?"  # what may stand behind a blank that still counts as last

Split = Literal["discovery", "test"]


def split_of(fact: int, template: int) -> Split:
    """To which half does this template of this fact belong: to finding neurons, or to testing them?

    Fact number `fact` of its relation keeps every third template for the test, each fact another third, so that
    every template serves on both sides. The models shipped with engram never saw a fact in its test templates.

    >>> [split_of(0, t) for t in range(4)]
    ['test', 'discovery', 'discovery', 'test']
    """
    return "test" if (fact + template) % 3 == 0 else "discovery"


@dataclass(frozen=True, slots=True)
class Relation:
    """A kind of fact, and the ways to ask for it, in ParaRel's own marks `[X]` and `[Y]`.

    `type` is 1-1, N-1 or N-M where the data set says so (LAMA's classes), else empty.

    >>> capital = Relation("P36", "capital", ("The capital of [X] is [Y].", "[Y] is the capital of [X]."))
    >>> [p.text for p in capital.fact("Ireland", "Dublin").prompts(capital)]
    ['The capital of Ireland is [Y].', '[Y] is the capital of Ireland.']
    """

    id: str
    name: str
    templates: tuple[str, ...]
    type: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        for t in self.templates:
            if t.count(SUBJECT) != 1 or t.count(BLANK) != 1:
                raise BadTemplate(f"relation {self.id!r}: a template has exactly one {SUBJECT} and one {BLANK}: {t!r}")

    def fact(self, subject: str, answer: str, id: str = "") -> Fact:  # noqa: A002
        """The fact that `subject` stands in this relation to `answer`."""
        return Fact(subject, self.id, answer, id)


@dataclass(frozen=True, slots=True)
class Fact:
    """What is to be known: ⟨subject, relation, answer⟩. `id` is the data set's own name for it.

    >>> ireland = Fact("Ireland", "P36", "Dublin")
    >>> print(ireland)
    ⟨Ireland, P36, Dublin⟩
    >>> [p.text for p in ireland.prompts(Relation("P36", "capital", ("The capital of [X] is [Y].",)))]
    ['The capital of Ireland is [Y].']
    """

    subject: str
    relation: str
    answer: str
    id: str = ""

    def becoming(self, answer: str | None) -> Rewrite:
        """The wish that this fact's answer were another one; None wishes it erased.

        >>> Fact("Ireland", "P36", "Dublin").becoming("Cork").answer
        'Cork'
        """
        return Rewrite(self, answer)

    def prompts(self, relation: Relation) -> tuple[Prompt, ...]:
        """This fact asked in every template of its relation, in the relation's order."""
        return tuple(
            Prompt(t.replace(SUBJECT, self.subject), self.answer, fact=self, template=i)
            for i, t in enumerate(relation.templates)
        )

    def __str__(self) -> str:
        return f"⟨{self.subject}, {self.relation}, {self.answer}⟩"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A sentence with one blank `[Y]`, and the answer that belongs there.

    `against` is the wrong answer of a contrast (used by the target `logit_difference`); `fact` and `template` say
    where the prompt comes from.

    >>> Prompt("The capital of Ireland is [Y].", "Dublin").blank_last
    True
    """

    text: str
    answer: str
    fact: Fact | None = None
    template: int | None = None
    against: str | None = None

    def __post_init__(self) -> None:
        if (n := self.text.count(BLANK)) != 1:
            raise NotOneBlank(f"a prompt has exactly one blank {BLANK}, this one has {n}: {self.text!r}")

    @property
    def blank_last(self) -> bool:
        """Does nothing but a final mark follow the blank, so that a causal model can be asked?"""
        return not self.text.split(BLANK)[1].strip(FINAL_MARKS)

    def asking_for(self, answer: str) -> Prompt:
        """The same sentence with another answer in question."""
        return replace(self, answer=answer)

    @property
    def finished(self) -> Prompt:
        """The same with a full stop behind the blank, where nothing is: masked models were taught whole sentences.

        >>> Prompt("The capital of Ireland is [Y]", "Dublin").finished.text
        'The capital of Ireland is [Y].'
        """
        return replace(self, text=f"{self.text}.") if self.text.endswith(BLANK) else self


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A wish: this fact, with another answer (None: erased). An editor turns it into an edit.

    >>> wish = Fact("Ireland", "P36", "Dublin").becoming("Cork")
    >>> wish == Rewrite(Fact("Ireland", "P36", "Dublin"), "Cork")
    True
    """

    fact: Fact
    answer: str | None


@dataclass(frozen=True)
class FactSet:
    """A data set: relations and their facts, in the order of its files.

    >>> capital = Relation("P36", "capital", ("The capital of [X] is [Y].", "[Y] is the capital of [X]."))
    >>> facts = FactSet("mine", (capital,), {"P36": (capital.fact("Ireland", "Dublin"), capital.fact("Italy", "Rome"))})
    >>> len(facts), facts.fact("Italy", "capital").answer
    (2, 'Rome')
    >>> [p.text for p in facts.prompts(facts.fact("Italy", "capital"), blank_last=True)]
    ['The capital of Italy is [Y].']

    `own` are the sentences in which a fact is asked in the place of its relation's templates, by the fact's id.

    >>> atlas = FactSet("atlas", (capital,), {"P36": (capital.fact("Ireland", "Dublin", "17"),)}, own={
    ...     "17": (Prompt("Ireland's parliament meets in its capital, [Y].", "Dublin", against="Cork"),)})
    >>> [p.text for p in atlas.prompts(atlas.fact("Ireland", "capital"))]
    ["Ireland's parliament meets in its capital, [Y]."]
    """

    name: str
    relations: tuple[Relation, ...]
    members: dict[str, tuple[Fact, ...]] = field(repr=False)
    source: str = ""
    own: dict[str, tuple[Prompt, ...]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return sum(map(len, self.members.values()))

    def __iter__(self) -> Iterator[Fact]:
        for relation in self.relations:
            yield from self.members.get(relation.id, ())

    def relation(self, name: str) -> Relation:
        """The relation with this id or name. Raises UnknownName."""
        for r in self.relations:
            if name in (r.id, r.name):
                return r
        raise UnknownName("relation", name, {x for r in self.relations for x in (r.id, r.name)})

    def facts(self, relation: str) -> tuple[Fact, ...]:
        """All facts of one relation, by its id or name."""
        return self.members.get(self.relation(relation).id, ())

    def fact(self, subject: str, relation: str) -> Fact:
        """The first fact about this subject in this relation. Raises UnknownName."""
        facts = self.facts(relation)
        for f in facts:
            if f.subject == subject:
                return f
        raise UnknownName(f"subject of {relation!r} in {self.name}", subject, [f.subject for f in facts])

    def prompts(
        self, fact: Fact, *, split: Split | None = None, blank_last: bool = False, limit: int | None = None
    ) -> tuple[Prompt, ...]:
        """The prompts of one fact: all, or those of one split (`split_of`); for causal models those with a last blank.

        `limit` keeps the first so many. A fact that is not of this set counts as fact number 0 of its relation.

        A fact's own sentences are split like templates, by their place. A sentence that stands there a second time, cut
        off behind its blank, stays in the half of the first; and a fact with one sentence has it in the test, and no
        prompt for discovery, for what is found there could only be tested on itself.
        """
        relation, own = self.relation(fact.relation), self.own.get(fact.id)
        if own is None:
            asked, sentences = fact.prompts(relation), list(range(len(relation.templates)))
        else:
            asked, sentences = tuple(replace(p, fact=fact, template=i) for i, p in enumerate(own)), _sentences(own)
        alone = own is not None and len(set(sentences)) == 1
        number = self._number(fact)
        kept = [
            p
            for p, i in zip(asked, sentences, strict=True)
            if (split is None or split == ("test" if alone else split_of(number, i)))
            and (p.blank_last or not blank_last)
        ]
        return tuple(kept[:limit])

    def only(self, relations: Sequence[str]) -> FactSet:
        """The same set with these relations only. Raises UnknownName."""
        kept = tuple(self.relation(r) for r in relations)
        members = {r.id: self.members.get(r.id, ()) for r in kept}
        own = {f.id: self.own[f.id] for facts in members.values() for f in facts if f.id in self.own}
        return FactSet(self.name, kept, members, self.source, own)

    def _number(self, fact: Fact) -> int:
        return self._numbers.get((fact.relation, fact.subject, fact.answer, fact.id), 0)

    @property
    def _numbers(self) -> dict[tuple[str, str, str, str], int]:
        cached: dict[tuple[str, str, str, str], int] | None = self.__dict__.get("_cache")
        if cached is None:
            cached = {}
            for facts in self.members.values():
                for i, f in enumerate(facts):
                    cached.setdefault((f.relation, f.subject, f.answer, f.id), i)
            object.__setattr__(self, "_cache", cached)
        return cached


def _sentences(own: Sequence[Prompt]) -> list[int]:
    """Of each prompt, the first one that asks in the same sentence."""
    return [next(j for j, first in enumerate(own) if j == i or _same(first, p)) for i, p in enumerate(own)]


def _same(one: Prompt, other: Prompt) -> bool:
    """Is one of the two the other, cut off behind the blank?"""
    short, long = sorted((one, other), key=lambda p: len(p.text))
    cut = short.blank_last and long.text.startswith(short.text.rstrip(FINAL_MARKS))
    return cut or short.text == long.text
