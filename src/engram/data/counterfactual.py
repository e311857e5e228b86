"""Cases made of facts as CounterFact was made of ParaRel (Meng et al. 2022, appendix D)."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

from ..cases import Case, CaseSet, Group
from ..errors import BadSetting
from ..facts import BLANK, Fact, FactSet, Prompt, Rewrite
from .criteria import Follows

T = TypeVar("T")


@dataclass(frozen=True)
class Recipe:
    """How many sentences of each kind a case has at most, and the seed of every draw."""

    seed: int = 0
    paraphrases: int = 2
    neighbours: int = 10
    attributes: int = 10
    texts: int = 10
    masked: bool = False

    def __post_init__(self) -> None:
        for f in fields(self):
            if (value := getattr(self, f.name)) < 0:
                raise BadSetting(f"{f.name} is 0 or more, not {value}")

    def __str__(self) -> str:
        return ", ".join(f"{f.name} {getattr(self, f.name)}" for f in fields(self))


def counterfact_from(
    facts: FactSet,
    *,
    seed: int = 0,
    records: int | None = None,
    relations: Sequence[str] | None = None,
    paraphrases: int = 2,
    neighbours: int = 10,
    attributes: int = 10,
    texts: int = 10,
    masked: bool = False,
) -> CaseSet:
    """Wishes for these facts, and what an edit is judged by, made as CounterFact was (Meng et al. 2022, appendix D).

    * The new answer is another one of the relation, drawn by how many facts have it; never one that is true as well.
    * The edited prompt is one of the fact's sentences, the paraphrases are others. Where there is a choice the former
      is of the discovery half and the latter of the test half (`facts.split_of`): the shipped models were taught their
      facts in the one and never shown them in the other.
    * A neighbour is another subject with the same answer, an attribute one whose answer is the new one, each asked in
      a sentence of its own; subjects for which both are true are left out. A subject comes a second time only when
      there is no further one.
    * Texts begin with what the remaining sentences say before their blank.
    * `reverse` and `synonym` (Niu et al. 2024) and `onward` are there for the relations that `data.criteria` lists.

    Sentences are cut off at their blank, as CounterFact's are, and those with their blank elsewhere are left out;
    `masked` keeps all, whole. Facts asked in sentences of their own are asked in these.

    Cases stand in an order drawn by `seed`: the first 50 are the same whether 50, 100 or all (None) are asked for, and
    `relations` only leaves out others. Ids are places in the order of all, not the facts' own. What could not become a
    case is counted in the notes. Raises BadSetting, also where no case can be made, and UnknownName.

    >>> import engram as eg
    >>> case = counterfact_from(eg.data.shipped(), records=1, relations=["field"]).cases[0]
    >>> str(case.fact), case.new, [p.text for p in case.paraphrase][1]
    ('⟨Plato, field, philosophy⟩', 'mathematics', 'Plato is best known for contributions to [Y]')
    >>> len(case.neighbour), case.neighbour[0].text
    (10, 'In the world of learning, Baruch Spinoza stands for achievements in [Y]')
    """
    recipe = Recipe(seed, paraphrases, neighbours, attributes, texts, masked)
    if records is not None and records < 1:
        raise BadSetting(f"records is 1 or more, or None for all, not {records}")
    chosen = {facts.relation(r).id for r in relations} if relations is not None else {r.id for r in facts.relations}
    kitchen = _Kitchen(facts, recipe)
    kept = [(str(i), fact) for i, fact in enumerate(kitchen.order) if fact.relation in chosen]
    if not kept:
        raise BadSetting(f"no case can be made of {facts.name}: {'; '.join(kitchen.left_out(chosen))}")
    made = [kitchen.case(id_, fact) for id_, fact in kept[:records]]
    first = f"Made of {facts.name} by the recipe of CounterFact, not published: {recipe}"
    there = {case.fact.relation for case in made}
    own = [r for r in facts.relations if r.id in there]
    return CaseSet.of(facts.name, own, made, facts.source, (first, *kitchen.left_out(chosen)))


def case_of(facts: FactSet, wish: Rewrite, *, seed: int = 0, masked: bool = False) -> Case:
    """What an edit to this end is judged by, made of these facts as `counterfact_from` makes it.

    The new answer is the wish's; one that wishes the fact erased gets one drawn, to be compared with. Raises BadSetting
    where the fact cannot become a case.

    >>> import engram as eg
    >>> facts = eg.data.shipped()
    >>> case = case_of(facts, facts.fact("Plato", "field").becoming("mathematics"))
    >>> case.new, case.attribute[0].answer
    ('mathematics', 'mathematics')
    """
    kitchen = _Kitchen(facts, Recipe(seed, masked=masked))
    if wish.fact not in kitchen.order:
        raise BadSetting(f"no case can be made of {wish.fact}: {facts.name} has too few sentences or answers for it")
    return kitchen.case(wish.fact.id or "0", wish.fact, wish.answer)


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    found: bool  # of the discovery half
    last: bool  # its blank is its end


@dataclass
class _Kitchen:
    """What the cases of one set have in common: who has which answer, and how each fact is asked."""

    facts: FactSet
    recipe: Recipe
    sentences: dict[Fact, tuple[_Sentence, ...]] = field(default_factory=dict)
    having: dict[tuple[str, str], list[Fact]] = field(default_factory=lambda: defaultdict(list))
    truths: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    answers: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    why: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    order: list[Fact] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.follows = Follows(self.facts)
        needed = 1 + bool(self.recipe.paraphrases)
        able = []
        for fact in self.facts:
            truths = self.truths[fact.relation, fact.subject]
            if fact.answer in truths:
                self.why["that stand there twice"][fact.relation] += 1
                continue
            truths.add(fact.answer)
            self.answers[fact.relation][fact.answer] += 1
            self.sentences[fact] = self._sentences(fact)
            if self.sentences[fact]:
                self.having[fact.relation, fact.answer].append(fact)
            if len(self.sentences[fact]) < needed:
                self.why[f"with fewer than {needed} sentences"][fact.relation] += 1
            else:
                able.append(fact)
        for fact in able:
            if self.answers[fact.relation].keys() <= self.truths[fact.relation, fact.subject]:
                self.why["without another answer to take"][fact.relation] += 1
            else:
                self.order.append(fact)
        draw = random.Random(f"{self.recipe.seed} order")
        self.order.sort(key=lambda _: draw.random())

    def case(self, id_: str, fact: Fact, new: str | None = None) -> Case:
        """A fact with the sentences that it is judged by; its new answer is drawn where none is given."""
        recipe = self.recipe
        new = self._new(fact) if new is None else new
        mixed = _shuffled(self.sentences[fact], self._draw("sentences", fact))
        edited = next((s for s in mixed if s.found), mixed[0])
        others = sorted((s for s in mixed if s is not edited), key=lambda s: s.found)
        said, rest = others[: recipe.paraphrases], others[recipe.paraphrases :]
        begun = [s for s in rest if s.last] or [edited] * edited.last
        further: dict[Group, list[Prompt]] = defaultdict(list)
        for kind, prompt in self.follows.asked(fact, new):
            further[kind].append(replace(prompt, text=self._as_asked(prompt)))
        named = replace(fact, id=id_)
        return Case(
            id_, named, new, Prompt(edited.text, fact.answer, named),
            paraphrase=tuple(Prompt(s.text, fact.answer, named) for s in said),
            neighbour=self._others("neighbours", fact, fact.answer, new, recipe.neighbours),
            attribute=self._others("attributes", fact, new, fact.answer, recipe.attributes),
            reverse=tuple(further["reverse"]), synonym=tuple(further["synonym"]), onward=tuple(further["onward"]),
            texts=tuple(s.text.split(BLANK)[0].rstrip() for s in begun[: recipe.texts]),
        )  # fmt: skip

    def left_out(self, chosen: set[str]) -> list[str]:
        """What is not among the cases of these relations, or not with them, and why."""
        notes = []
        for why, by_relation in self.why.items():
            found = {r: n for r, n in by_relation.items() if r in chosen}
            if found:
                where = ", ".join(f"{r} {n:,}" for r, n in found.items())
                notes.append(f"Left out: {sum(found.values()):,} facts {why} ({where})")
        alone = [r for r, own in self.answers.items() if r in chosen and all(n == 1 for n in own.values())]
        if alone:
            notes.append(f"No neighbours: each answer has one subject ({', '.join(alone)})")
        return notes

    def _new(self, fact: Fact) -> str:
        true = self.truths[fact.relation, fact.subject]
        other = {answer: n for answer, n in self.answers[fact.relation].items() if answer not in true}
        at = self._draw("answer", fact).random() * sum(other.values())
        ends = itertools.accumulate(other.values())
        return next((answer for answer, end in zip(other, ends, strict=True) if at < end), [*other][-1])

    def _others(self, what: str, fact: Fact, answer: str, but: str, most: int) -> tuple[Prompt, ...]:
        """Sentences about other subjects that have this answer and not that one; each subject once, then once more."""
        draw = self._draw(what, fact)
        apart = [
            f for f in self.having[fact.relation, answer]
            if f.subject != fact.subject and but not in self.truths[f.relation, f.subject]
        ]  # fmt: skip
        rows = (_shuffled(self.sentences[f], draw) for f in _shuffled(apart, draw)[:most])
        turns = (s for turn in itertools.zip_longest(*rows) for s in turn if s is not None)
        return tuple(Prompt(s.text, answer) for s in itertools.islice(turns, most))

    def _sentences(self, fact: Fact) -> tuple[_Sentence, ...]:
        every = self.facts.prompts(fact, blank_last=not self.recipe.masked)
        found = {p.template for p in self.facts.prompts(fact, split="discovery", blank_last=not self.recipe.masked)}
        out: dict[str, _Sentence] = {}
        for p in every:
            text = self._as_asked(p)
            if fact.subject in text.replace(BLANK, "\0"):
                out.setdefault(text, _Sentence(text, p.template in found, p.blank_last))
        return tuple(out.values())

    def _as_asked(self, prompt: Prompt) -> str:
        """The whole sentence of a masked model, else the sentence up to its blank."""
        return prompt.text if self.recipe.masked else f"{prompt.text.split(BLANK)[0]}{BLANK}"

    def _draw(self, what: str, fact: Fact) -> random.Random:
        """Numbers that depend on the seed, the fact and what they are for, and on nothing else."""
        return random.Random("\t".join((str(self.recipe.seed), what, fact.relation, fact.subject, fact.answer)))


def _shuffled(things: Sequence[T], draw: random.Random) -> list[T]:
    """In an order that Python promises to be the same everywhere, which it does for `random()` alone."""
    return sorted(things, key=lambda _: draw.random())
