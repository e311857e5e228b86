"""What a rewritten fact is judged by: the wish, and the sentences that should change with it, or should not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from .errors import BadSetting, UnknownName
from .facts import Fact, FactSet, Prompt, Relation, Rewrite

Group = Literal["paraphrase", "neighbour", "attribute", "reverse", "synonym", "onward"]
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True, slots=True)
class Case:
    """One record of CounterFact (Meng et al. 2022), or of a set like it.

    `fact` has the answer that is true, and is to get the answer `new`; `prompt` asks for it in the sentence that is
    edited. The other sentences, each with the answer that is true of it:

    * `paraphrase`: the same fact in other words. It should change too.
    * `neighbour`: another subject with the same true answer. It should stay.
    * `attribute`: another subject whose true answer is `new`.
    * `reverse`: the other way round, asked from the new answer for the subject (symmetry; Niu et al. 2024).
    * `synonym`: the fact through a word of the same meaning, answered in such a word (Niu et al. 2024); `against` is
      the word for the new answer.
    * `onward`: what follows from the fact, one step further (portability); `against` is what follows from the new one.

    `texts` are beginnings of texts about the subject, for the model to go on.

    >>> ireland = Fact("Ireland", "capital", "Dublin")
    >>> case = Case("17", ireland, "Cork", Prompt("The capital of Ireland is [Y].", "Dublin"))
    >>> case.wish.answer, case.asked("rewrite")[0].text
    ('Cork', 'The capital of Ireland is [Y].')
    """

    id: str
    fact: Fact
    new: str
    prompt: Prompt
    paraphrase: tuple[Prompt, ...] = ()
    neighbour: tuple[Prompt, ...] = ()
    attribute: tuple[Prompt, ...] = ()
    reverse: tuple[Prompt, ...] = ()
    synonym: tuple[Prompt, ...] = ()
    onward: tuple[Prompt, ...] = ()
    texts: tuple[str, ...] = ()

    @property
    def wish(self) -> Rewrite:
        """What an editor is asked for."""
        return self.fact.becoming(self.new)

    @property
    def finished(self) -> Case:
        """The same with a full stop behind every sentence that ends at its blank, as masked models want it."""
        every = {group: tuple(p.finished for p in self.asked(group)) for group in GROUPS}
        return replace(self, prompt=self.prompt.finished, **every)  # type: ignore[arg-type]

    def asked(self, group: Group | Literal["rewrite"]) -> tuple[Prompt, ...]:
        """The sentences of one group; "rewrite" is the sentence that is edited."""
        found: tuple[Prompt, ...] = (self.prompt,) if group == "rewrite" else getattr(self, group)
        return found


@dataclass(frozen=True)
class CaseSet(FactSet):
    """A data set whose facts are to get other answers: a `Case` for each fact, with the same id.

    Whatever runs on facts runs on it: a fact is asked in its case's own sentences, the edited one and the paraphrases.
    `notes` say what a reader of figures must know.

    >>> ireland = Fact("Ireland", "capital", "Dublin", "17")
    >>> case = Case("17", ireland, "Cork", Prompt("The capital of Ireland is [Y].", "Dublin"))
    >>> cases = CaseSet.of("mine", (Relation("capital", "capital", ()),), [case])
    >>> len(cases), cases.case("17").new, [p.text for p in cases.prompts(ireland)]
    (1, 'Cork', ['The capital of Ireland is [Y].'])
    """

    cases: tuple[Case, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        name: str,
        relations: Sequence[Relation],
        cases: Sequence[Case],
        source: str = "",
        notes: Sequence[str] = (),
    ) -> CaseSet:
        """The set of these cases, each relation's in their order. Raises BadSetting for an id that is there twice."""
        members: dict[str, list[Fact]] = {r.id: [] for r in relations}
        own: dict[str, tuple[Prompt, ...]] = {}
        for c in cases:
            if c.id != c.fact.id or c.id in own:
                raise BadSetting(f"a case has its fact's id, and no other case has it: {c.id!r}, {c.fact.id!r}")
            members[c.fact.relation].append(c.fact)
            own[c.id] = (c.prompt, *c.paraphrase)
        kept = {r: tuple(facts) for r, facts in members.items()}
        return cls(name, tuple(relations), kept, source, own, tuple(cases), tuple(notes))

    def case(self, id: str) -> Case:  # noqa: A002
        """The case of this id. Raises UnknownName."""
        known: dict[str, Case] | None = self.__dict__.get("_cases")
        if known is None:
            known = {c.id: c for c in self.cases}
            object.__setattr__(self, "_cases", known)
        if id not in known:
            raise UnknownName(f"case of {self.name}", id, known)
        return known[id]

    def only(self, relations: Sequence[str]) -> CaseSet:
        """The same set with these relations only. Raises UnknownName."""
        kept = tuple(self.relation(r) for r in relations)
        ids = {r.id for r in kept}
        return CaseSet.of(self.name, kept, [c for c in self.cases if c.fact.relation in ids], self.source, self.notes)
