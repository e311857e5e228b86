"""known_1000 (Meng et al. 2022): the 1,209 facts that causal tracing was first shown on, each in its own sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ...errors import BadData
from ...facts import BLANK, Fact, FactSet, Prompt, Relation
from .. import form, wikidata
from ..base import DataSet, data_sets
from ..jsonl import Line, entries, lines

FILES = ("known_1000.json", "known_1000.jsonl")
SPORT = Relation("P641", "sport", ())  # the one relation that ParaRel does not have


@data_sets("known_1000")
@dataclass(frozen=True)
class Known1000(DataSet):
    """1,209 facts that GPT-2 XL knows, each in a sentence of its own (Meng et al. 2022).

    A fact is asked in its `prompt` alone, as it was published, followed by the blank; its relation, which is
    Wikidata's, has no templates. Its id is its `known_id`. Relations stand in the order in which the file first names
    them, each with its facts in the file's order. `template` and `prediction` (what GPT-2 XL wrote) are not read.

    Read are `known_1000.json`, one list as it is published, and JSON Lines of the same objects.
    Raises BadData, and BadSetting without a path.

    >>> import engram as eg
    >>> eg.data.known_1000()
    Traceback (most recent call last):
    engram.errors.BadSetting: Known1000 needs a path. Get the files from https://rome.baulab.info/data/dsets/known_1000...
    """

    origin: ClassVar[str] = "https://rome.baulab.info/data/dsets/known_1000.json (github.com/kmeng01/rome)"
    licence: ClassVar[str] = "none stated for the file; the code beside it is MIT, the facts are Wikidata's (CC0)"
    layout: ClassVar[str] = "known_1000.json or known_1000.jsonl, here or in data/"
    needs_path: ClassVar[bool] = True

    @classmethod
    def fits(cls, folder: Path) -> bool:
        return _file(folder) is not None

    def read(self) -> FactSet:
        folder = self.folder
        if (file := _file(folder)) is None:
            raise BadData(folder, None, f"in this folder are expected {self.layout}")
        members: dict[str, list[Fact]] = {}
        own: dict[str, tuple[Prompt, ...]] = {}
        for line in entries(file) if ".jsonl" not in file.name else lines(file):
            fact, prompt = _fact(line)
            if fact.id in own:
                raise line.bad(f"known_id {fact.id} stands here a second time")
            members.setdefault(fact.relation, []).append(fact)
            own[fact.id] = (prompt,)
        relations = tuple(SPORT if id_ == SPORT.id else wikidata.named(id_) for id_ in members)
        return FactSet("known_1000", relations, {id_: tuple(facts) for id_, facts in members.items()}, str(file), own)


def _file(folder: Path) -> Path | None:
    places = (home / f"{name}{end}" for home in (folder, folder / "data") for name in FILES for end in ("", ".gz"))
    return next((path for path in places if path.is_file()), None)


def _fact(line: Line) -> tuple[Fact, Prompt]:
    """The fact of one line, and the sentence it is asked in. Raises BadData."""
    id_, text = line.values.get("known_id"), line.text("prompt")
    if not isinstance(id_, int | str):
        raise line.bad(f"'known_id' is to be a number, not {id_!r}")
    fact = Fact(line.text("subject"), line.text("relation_id"), line.text("attribute"), str(id_))
    if not re.search(rf"(?<!\w){re.escape(fact.subject)}(?!\w)", text):
        raise line.bad(f"the subject {fact.subject!r} is not in the prompt {text!r}")
    return fact, form.prompt(line, f"{text} {BLANK}", fact.answer)
