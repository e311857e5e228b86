"""Does an edit reach the fact the other way round, and in another word? And what does the model say to that before?

Niu et al. (2024), section 4.3 and table 1: after "the capital of Ireland is Rome", Rome should be the capital of
Ireland (symmetry); who works in physics is a physicist (synonymy). Their rates stand here beside those of the model as
it is, of random changes of the same size and of edits toward the truth, and beside the cases in which the model answers
such a sentence at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, get_args

from ..cases import Case as Record
from ..cases import CaseSet
from ..data.criteria import Follows
from ..data.previous import previous, with_criteria
from ..errors import BadSetting, EngramError, UnaskablePrompt, UnknownName
from ..facts import Fact, FactSet, Prompt
from ..metrics.criteria import (
    FROM_NEW,
    FROM_NEW_OTHER,
    FROM_OLD,
    FROM_OLD_OTHER,
    MEASURES,
    NEW,
    OLD,
    WORD_NEW,
    WORD_OLD,
    Compared,
    Criterion,
    columns,
    passed,
    scores,
)
from ..models import Model
from ..models.batching import Progress
from ..models.scoring import score
from ..results import Report, Score
from .base import Case, Result, experiments, halves
from .drawn import Drawn, LeftOut, Rows, Skipped, left_out
from .judging import UNEDITED, Condition, sentences
from .planning import ARMS, TOWARD, ByNeurons, Planner
from .plans import Plans

New = Literal["drawn", "previous"]
_String = tuple[Criterion, str, Prompt]


@experiments("criteria")
@dataclass(frozen=True, slots=True)
class Criteria(Drawn):
    """Edit each case by every planner of `by`, and ask what should follow from the edit, before and after.

    `new` is the new answer: "drawn" is the case's own, "previous" that of the fact before it (`data.previous`), as in
    the published code; with "previous", facts without cases will do. `measures` are "paper" (is what follows from the
    edit more probable than what was true?) and "code" (which part of the tokens of each published string comes first?).
    `compared` says how the paper's probabilities are taken: by "tokens" (geometric means, so that long names are not at
    a loss) or of the "whole" answer. `controls` are those of `Editing`. Which cases are drawn, of those that have such
    a sentence, is a setting of `Drawn`. Nothing is written to the weights. Raises BadSetting, UnknownName.

    >>> Criteria(facts=5).new, Criteria().controls
    ('drawn', ('random neurons', 'toward the truth'))
    """

    name: ClassVar[str] = "criteria"
    columns: ClassVar[Mapping[str, str]] = columns()
    by: tuple[Planner, ...] = field(default_factory=lambda: (ByNeurons(),))
    controls: tuple[str, ...] = (ARMS[0], TOWARD)
    new: New = "drawn"
    measures: tuple[str, ...] = MEASURES
    compared: Compared = "tokens"
    shard: int = field(default=8, kw_only=True)

    def __post_init__(self) -> None:
        Drawn.__post_init__(self)
        names = [p.name for p in self.by]
        if not names or len(set(names)) < len(names):
            raise BadSetting(f"criteria take at least one editor, each under a name of its own, not {names}")
        for what, given, known in (
            ("control", self.controls, ARMS), ("measure", self.measures, MEASURES),
            ("new answer", (self.new,), get_args(New)), ("comparison", (self.compared,), get_args(Compared)),
        ):  # fmt: skip
            for name in given:
                if name not in known:
                    raise UnknownName(what, name, known)
        if not self.measures:
            raise BadSetting("criteria take at least one measure: paper, code, or both")

    def cases(self, facts: FactSet) -> list[Case]:
        """The numbers of the facts of each shard, of those alone that can be judged so. Raises BadSetting."""
        able, every = with_criteria(facts), tuple(facts)
        if not able:
            raise BadSetting(
                f"{facts.name} has no fact that can be turned round or said in another word; data.criteria lists the "
                "relations that have"
            )
        members = {r.id: tuple(every[i] for i in able if every[i].relation == r.id) for r in facts.relations}
        shards = Drawn.cases(self, FactSet(facts.name, facts.relations, members))
        return [{**shard, "facts": [able[i] for i in shard["facts"]]} for shard in shards]

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for each string of each case under each condition; `edits` say how each was planned."""
        planning, judging = halves(progress)
        skipped: Skipped = []
        plans = Plans(self.by, self.controls, self.seed, skipped)
        told: list[tuple[int, Record, list[_String], list[Condition]]] = []
        follows, every = Follows(facts), tuple(facts)
        for done, number in enumerate(case["facts"], 1):
            try:
                record = self._record(model, facts, every[number], follows)
                strings = list(_strings(model, record))
            except EngramError as error:
                skipped.append(left_out(number, every[number], None, error))
            else:
                told.append((number, record, strings, [UNEDITED, *plans.conditions(model, number, record)]))
            planning(done, len(case["facts"]))
        return {"rows": _rows(model, told, judging), "edits": plans.edits, "skipped": skipped, "asked": len(told)}

    def summary(self, results: Iterable[Result]) -> Report:
        """Every measure of every condition, of each criterion; of each of its relations, which cases pass.

        Means over cases, 95 % bootstraps over cases; differences case by case. Raises BadSetting where nothing was
        judged.
        """
        done = list(results)
        found = passed((row for r in done for row in r["rows"]), self.compared)
        left = LeftOut.of(done)
        if not found:
            raise left.nothing("case was judged")
        n = sum(r["asked"] for r in done)
        told = [Score("cases", n, n, "cases"), left.score(n, "records")]
        for each in found:
            chosen: dict[str, Any] = {"measures": self.measures, "seed": self.seed}
            told += scores(each, each.criterion, **chosen)
            for relation in dict.fromkeys(each.relations):
                told += scores(each.of(relation), f"{each.criterion} of {relation}", brief=True, **chosen)
        return Report("criteria", tuple(told), self.settings(), tuple(left.notes()))

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        by = [{"called": p.name, **p.settings()} for p in self.by]
        own = {"controls": list(self.controls), "new": self.new, "measures": list(self.measures)}
        return {"by": by, **own, "compared": self.compared, **self.drawing()}

    def _record(self, model: Model, facts: FactSet, fact: Fact, follows: Follows) -> Record:
        if self.new == "drawn":
            if not isinstance(facts, CaseSet):
                raise BadSetting(
                    f"{facts.name} has facts without new answers: make cases of them with data.counterfact_from, or "
                    "take new='previous'"
                )
            record = facts.case(fact.id)
        elif isinstance(facts, CaseSet):
            record = previous(facts, fact, facts.case(fact.id).prompt, follows)
        else:
            prompts = facts.prompts(fact, blank_last=model.blank_last)
            if not prompts:
                raise UnaskablePrompt(f"no template of {fact.relation!r} can be asked of this model")
            record = previous(facts, fact, prompts[0], follows)
        return record if model.blank_last else record.finished


def _strings(model: Model, case: Record) -> Iterator[_String]:
    """What a case is asked, string by string. Raises UnaskablePrompt where its own sentence cannot be asked."""
    old, new = (Prompt(case.prompt.text, answer) for answer in (case.fact.answer, case.new))
    for prompt in (old, new):
        model.rows(prompt)
    asked = [*_symmetry(model, case), *_synonymy(case)]
    if not asked:
        raise BadSetting(f"nothing follows from {case.fact} as {case.new!r} that could be asked")
    for criterion in dict.fromkeys(criterion for criterion, *_ in asked):
        own = [(criterion, OLD, old), (criterion, NEW, new), *(s for s in asked if s[0] == criterion)]
        yield from (string for string in own if _can(model, string[2]))


def _symmetry(model: Model, case: Record) -> Iterator[_String]:
    """The reverse from the new answer and from the old one, each for both subjects."""
    if not case.reverse:
        return
    p = case.reverse[0]
    alone = Record(case.id, case.fact, case.new, case.prompt, reverse=(replace(p, against=None),))
    told = {s.group: s.prompt for s in sentences(model, alone)}
    for group, mine, other in (("reverse", FROM_NEW, FROM_NEW_OTHER), ("reverse of the old", FROM_OLD, FROM_OLD_OTHER)):
        if group in told:
            yield "symmetry", mine, Prompt(told[group].text, p.answer)
            if p.against is not None:
                yield "symmetry", other, Prompt(told[group].text, p.against)


def _synonymy(case: Record) -> Iterator[_String]:
    for p in case.synonym[:1]:
        yield "synonymy", WORD_OLD, Prompt(p.text, p.answer)
        if p.against is not None:
            yield "synonymy", WORD_NEW, Prompt(p.text, p.against)


def _can(model: Model, prompt: Prompt) -> bool:
    try:
        model.rows(prompt)
    except UnaskablePrompt:
        return False
    return True


def _rows(
    model: Model, told: Sequence[tuple[int, Record, Sequence[_String], Sequence[Condition]]], progress: Progress
) -> Rows:
    """All strings under all conditions, in as few passes as memory allows."""
    plan = [(number, case, under, s) for number, case, strings, own in told for under in own for s in strings]
    edits = [under.edit for _, _, _, own in told for under in own]
    of = [i for i, strings in enumerate(s for _, _, s, own in told for _ in own) for _ in strings]
    found = score(model, [prompt for *_, (_, _, prompt) in plan], edits=edits or (None,), of=of, progress=progress)
    return [
        {
            "relation": case.fact.relation, "number": number, "subject": case.fact.subject,
            "answer": case.fact.answer, "new_answer": case.new, "criterion": criterion, "editor": under.editor,
            "arm": under.arm, "string": string, "prompt": prompt.text, "said": prompt.answer, "nll": said.nll,
            "hits": said.hits, "tokens": said.tokens,
        }
        for (number, case, under, (criterion, string, prompt)), said in zip(plan, found, strict=True)
    ]  # fmt: skip
