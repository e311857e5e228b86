"""zsRE in MEND's form (Levy et al. 2017; Mitchell et al. 2022): questions, each with an answer to be written in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

from ...cases import Case, CaseSet
from ...errors import BadData, BadSetting
from ...facts import BLANK, Fact, Prompt, Relation
from .. import form
from ..base import data_sets
from ..cases import CaseData
from ..jsonl import Line
from ..records import once, records, texts

Target = Literal["answers", "alt"]
QUESTION = Relation("zsre", "question", ())  # the questions are of many relations, and the files do not say which


@data_sets("zsre")
@dataclass(frozen=True)
class ZsRE(CaseData):
    """Questions about facts, each with a rephrased one, and an unrelated question that should stay as it is.

    zsRE (Levy et al. 2017) with what MEND adds (Mitchell et al. 2022): a case is the question `src`, its paraphrase
    `rephrase`, its neighbour `loc` with a question mark, each followed by the blank. Its answer is `pred`, what a model
    said; its new answer is by `target` the first of `answers`, as in ROME, or `alt`, as in EasyEdit. All facts are of
    one relation, `zsre`; an id is `idx`, or the place in the file.

    Left out, and counted in the notes, are records that cannot be edited: the subject is not once in the question,
    there is no new answer, or it is the old one. ROME edits towards the old one all the same: of its figures, those
    from `answers` are of more records.

    Read are `zsre_mend_eval.json`, one list as it is published, and JSON Lines of the same objects; also of the
    training part. Raises BadData, also where no record can be edited, and BadSetting without a path.

    >>> import engram as eg
    >>> eg.data.zsre("data", target="true")
    Traceback (most recent call last):
    engram.errors.BadSetting: the target of zsRE is answers or alt, not 'true'
    """

    title: ClassVar[str] = "zsre"
    files: ClassVar[tuple[str, ...]] = ("zsre_mend_eval", "zsre_mend_train", "zsre_mend_eval_1k", "zsre_mend_train_1k")
    mark: ClassVar[str] = "loc_ans"
    origin: ClassVar[str] = "https://rome.baulab.info/data/dsets/zsre_mend_eval.json (github.com/kmeng01/rome)"
    licence: ClassVar[str] = "none stated for the file; the code beside it is MIT, neighbours are of Natural Questions"
    layout: ClassVar[str] = (
        "zsre_mend_eval.json or .jsonl, or zsre_mend_train, here or in data/; or give a file of its form"
    )

    target: Target = "answers"

    def __post_init__(self) -> None:
        if self.target not in get_args(Target):
            raise BadSetting(f"the target of zsRE is answers or alt, not {self.target!r}")

    def read(self) -> CaseSet:
        file = self.file
        rows = records(file)
        seen: set[str] = set()
        found: list[Case] = []
        left: Counter[str] = Counter()
        for place, line in enumerate(rows):
            numbered = line if "idx" in line.values else replace(line, values={**line.values, "idx": place})
            case = self._case(line, once(numbered, "idx", seen))
            if isinstance(case, str):
                left[case] += 1
            else:
                found.append(case)
        notes = [f"The new answer is {self.target}{'[0]' if self.target == 'answers' else ''}; the old one is pred"]
        notes += [f"Left out: {n:,} of {len(rows):,} records in which {why}" for why, n in left.items()]
        if not found:
            raise BadData(file, None, f"holds no record that can be edited. {'; '.join(notes)}")
        return CaseSet.of(self.called(), (QUESTION,), found, str(file), notes)

    def _case(self, line: Line, id_: str) -> Case | str:
        """The case of one record, or why there is none. Raises BadData."""
        subject, question = line.text("subject"), line.text("src")
        wanted = (line.text("alt", "") if self.target == "alt" else next(iter(texts(line, "answers")), "")).strip()
        fact = Fact(subject, QUESTION.id, line.text("pred", "").strip(), id_)
        if not fact.answer or not wanted:
            return f"there is no {self.target if fact.answer else 'pred'}"
        if wanted == fact.answer:
            return "the new answer is the old one"
        if question.count(subject) != 1:
            return "the subject is not once in the question"
        loc, answer = line.text("loc", "").strip(), line.text("loc_ans", "").strip()
        asked = _asked(line, loc if loc.endswith("?") else f"{loc}?", answer)
        again = line.text("rephrase", "")
        return Case(
            id_, fact, wanted, replace(_asked(line, question, fact.answer), fact=fact),
            paraphrase=(replace(_asked(line, again, fact.answer), fact=fact),) if again.strip() else (),
            neighbour=(asked,) if loc and answer else (),
        )  # fmt: skip


def _asked(line: Line, question: str, answer: str) -> Prompt:
    return form.prompt(line, f"{question.strip()} {BLANK}", answer)
