"""CounterFact (Meng et al. 2022): 21,919 facts that are not true, and what an edit towards each is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ...cases import Case, CaseSet
from ...facts import Relation
from .. import case_form, wikidata
from ..base import data_sets
from ..cases import CaseData
from ..jsonl import Line
from ..records import once, records
from .known_1000 import SPORT

REBUILT = {"paraphrase": "n_original_paraphrase", "neighbour": "n_original_neighborhood"}


@data_sets("counterfact")
@dataclass(frozen=True)
class CounterFact(CaseData):
    """21,919 facts, each with a wrong answer to be written in, and sentences that show what else changes.

    Meng et al. (2022). A fact is asked in the sentence that is to be edited and in its paraphrases, each followed by
    the blank; its relation, which is Wikidata's, has no templates, and its id is its `case_id`. Neighbours are asked
    for the true answer and attributes for the new one; texts begin with the generation prompts. Relations stand in the
    order in which the file first names them.

    Read are `counterfact.json`, one list as it is published, and JSON Lines of the same objects, such as
    `data.save_cases` writes. Files that say how many of their sentences are CounterFact's own have that noted.

    Raises BadData, and BadSetting without a path.

    >>> import engram as eg
    >>> eg.data.counterfact()
    Traceback (most recent call last):
    engram.errors.BadSetting: CounterFact needs a path. Get the files from https://rome.baulab.info/data/dsets/counterfact...
    """

    title: ClassVar[str] = "counterfact"
    files: ClassVar[tuple[str, ...]] = ("counterfact", "counterfact_1k")
    mark: ClassVar[str] = "requested_rewrite"
    origin: ClassVar[str] = "https://rome.baulab.info/data/dsets/counterfact.json (github.com/kmeng01/rome)"
    licence: ClassVar[str] = "none stated for the file; the code beside it is MIT, the facts are Wikidata's (CC0)"
    layout: ClassVar[str] = "counterfact.json or counterfact.jsonl, here or in data/; or give a file of its form"

    def read(self) -> CaseSet:
        file = self.file
        rows = records(file)
        seen: set[str] = set()
        cases = [case_form.case(line, once(line, "case_id", seen)) for line in rows]
        relations = [_relation(id_) for id_ in dict.fromkeys(case.fact.relation for case in cases)]
        return CaseSet.of(self.called(), relations, cases, str(file), (*case_form.notes(rows), *_notes(rows, cases)))


def _relation(id_: str) -> Relation:
    return SPORT if id_ == SPORT.id else wikidata.named(id_)


def _notes(rows: Sequence[Line], cases: Sequence[Case]) -> tuple[str, ...]:
    """What a reader of figures must know: which sentences are not CounterFact's own, and which are missing."""
    notes = []
    for group, key in REBUILT.items():
        own = [n for line in rows if isinstance(n := line.values.get(key), int)]
        every = sum(len(getattr(case, group)) for case in cases)
        if own and sum(own) < every:
            notes.append(
                f"{sum(own):,} of {every:,} {group} prompts are CounterFact's own; the others were rebuilt, so that "
                "figures from them are not those of the published set"
            )
    if not any(case.attribute for case in cases):
        notes.append("There are no attribute prompts")
    return tuple(notes)
