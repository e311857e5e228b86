"""Sentences cut off before a mark of punctuation: where a model is asked for . , ! ? or ; and not for a fact."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ...errors import BadData
from ...facts import BLANK, Fact, FactSet, Prompt, Relation
from ..base import DataSet, data_sets
from ..jsonl import Line, lines

MARKS = {".": "full_stop", ",": "comma", "!": "exclamation_mark", "?": "question_mark", ";": "semicolon"}
FILES = ("prompts.jsonl", "punctuation.jsonl")
HERE = Path(__file__).parent.parent / "shipped" / "texts" / "marks"


@data_sets("punctuation")
@dataclass(frozen=True)
class Punctuation(DataSet):
    """Sentences cut off just before . , ! ? or ; whose answer is the mark (Wen & Bai 2022); 300 come with engram.

    A mark is a relation, called by it and with no templates; a sentence is a fact of it, asked in its own words: as a
    whole where it is known how it goes on, and cut off at the mark. Read are `prompts.jsonl` or `punctuation.jsonl`,
    plain or gzipped: a line a sentence, with `mark` and `text` (what stands before the mark) and, if you like, `rest`
    (what stands behind it) and `source`. `limit` keeps the first so many of each mark and source.

    Raises BadData, BadSetting.

    >>> import engram as eg
    >>> sentences = eg.data.punctuation()
    >>> [r.name for r in sentences.relations], sentences.prompts(sentences.facts("?")[0])[0].answer
    (['.', ',', '!', '?', ';'], '?')
    """

    origin: ClassVar[str] = "engram itself, or any file of this form"
    licence: ClassVar[str] = "MIT"
    layout: ClassVar[str] = "prompts.jsonl or punctuation.jsonl"

    limit: int | None = None

    @classmethod
    def fits(cls, folder: Path) -> bool:
        return _file(folder) is not None

    def read(self) -> FactSet:
        file = _file(HERE if self.path is None else self.folder)
        if file is None:
            raise BadData(self.path, None, f"in this folder are expected {self.layout}")
        members: dict[str, list[Fact]] = {id_: [] for id_ in MARKS.values()}
        own: dict[str, tuple[Prompt, ...]] = {}
        counts: dict[tuple[str, str], int] = {}
        for line in lines(file):
            fact, prompts = _fact(line)
            place = fact.relation, line.text("source", "")
            counts[place] = counts.get(place, 0) + 1
            if self.limit is None or counts[place] <= self.limit:
                members[fact.relation].append(fact)
                own[fact.id] = prompts
        relations = tuple(Relation(id_, mark, ()) for mark, id_ in MARKS.items() if members[id_])
        kept = {r.id: tuple(members[r.id]) for r in relations}
        return FactSet("punctuation" if self.path is None else file.parent.name, relations, kept, str(file), own)


def _file(folder: Path) -> Path | None:
    places = (folder / f"{name}{end}" for name in FILES for end in ("", ".gz"))
    return next((path for path in places if path.is_file()), None)


def _fact(line: Line) -> tuple[Fact, tuple[Prompt, ...]]:
    """The sentence of one line: as a whole where there is more of it, and cut off at its mark. Raises BadData."""
    mark, text, rest = line.text("mark"), line.text("text"), line.text("rest", "")
    if mark not in MARKS:
        raise line.bad(f"the mark is one of {' '.join(MARKS)}, not {mark!r}")
    if BLANK in text + rest or text != text.rstrip():
        raise line.bad(f"the text is what stands before the mark, without space at its end or {BLANK}: {text!r}")
    asked = dict.fromkeys((f"{text}{BLANK}{rest}", f"{text}{BLANK}"))
    return Fact(text, MARKS[mark], mark, f"{MARKS[mark]}-{line.number}"), tuple(Prompt(t, mark) for t in asked)
