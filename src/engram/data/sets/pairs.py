"""Minimal pairs written for engram, which come with it: agreement of nouns, determiners, verbs and reflexives.

They are made by a small grammar of our own (`scripts/training/shipped_pairs.py`) of just those combinations of words
that the shipped models were never shown. They are asked as BLiMP's are (see `blimp`), and stand in for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ...facts import FINAL_MARKS, Fact, FactSet, Prompt, Relation
from .. import form
from ..base import DataSet, data_sets
from ..jsonl import existing, lines
from .blimp import ASKED, Pair

HERE = Path(__file__).parent.parent / "shipped" / "pairs"
PARADIGMS = {  # by what decides
    "determiner_noun": "determiner",
    "noun_determiner": "noun",
    "subject_verb": "subject",
    "subject_be": "subject",
    "subject_have": "subject",
    "reflexive_gender": "antecedent",
    "reflexive_number": "antecedent",
}


@data_sets("pairs")
@dataclass(frozen=True)
class Pairs(DataSet):
    """Minimal pairs for agreement written for engram, 7 paradigms, each pair as a blank; or your own in the same form.

    A relation is a paradigm, without templates: the noun after a determiner (`determiner_noun`), the determiner before
    a noun (`noun_determiner`), the verb, a form of be or of have after a subject (`subject_verb`, `subject_be`,
    `subject_have`), and the -self after an antecedent (`reflexive_gender`, `reflexive_number`). Each fact is asked in
    its own sentence, where something follows the blank also cut off behind it; its answer is the right word, its
    prompts' `against` the wrong one, its subject the words that decide. A causal model can be asked all but
    `noun_determiner`.

    The folder holds a file `<paradigm>.jsonl` for each, or for some of them: a line a pair, with `sentence_good` and
    `sentence_bad`, which differ in one word, `subject`, and `pairID`. Raises BadData.

    >>> import engram as eg
    >>> pairs = eg.data.pairs()
    >>> len(pairs), [r.id for r in pairs.relations][:2]
    (540, ['determiner_noun', 'noun_determiner'])
    """

    origin: ClassVar[str] = "engram itself"
    licence: ClassVar[str] = "MIT"
    layout: ClassVar[str] = f"<paradigm>.jsonl of {', '.join(PARADIGMS)}"

    @classmethod
    def fits(cls, folder: Path) -> bool:
        return any((folder / f"{p}.jsonl{end}").is_file() for p in PARADIGMS for end in ("", ".gz"))

    def read(self) -> FactSet:
        folder = HERE if self.path is None else self.folder
        relations: list[Relation] = []
        members: dict[str, tuple[Fact, ...]] = {}
        own: dict[str, tuple[Prompt, ...]] = {}
        for paradigm, decides in PARADIGMS.items():
            file = folder / f"{paradigm}.jsonl"
            if not file.is_file() and not file.with_name(f"{file.name}.gz").is_file():
                continue
            relations.append(Relation(paradigm, paradigm.replace("_", " "), (), "", ASKED[decides][0]))
            found = _paradigm(paradigm, existing(file))
            members[paradigm] = tuple(fact for fact, _ in found)
            own |= {fact.id: prompts for fact, prompts in found}
        return FactSet("pairs" if self.path is None else folder.name, tuple(relations), members, str(folder), own)


def _paradigm(paradigm: str, file: Path) -> list[tuple[Fact, tuple[Prompt, ...]]]:
    """The facts of one file, each with the sentences it is asked in. Raises BadData."""
    found, seen = [], set()
    behind = PARADIGMS[paradigm] in ("noun", "verb")
    for line in lines(file):
        pair, subject, id_ = Pair.of(line), line.text("subject"), line.values.get("pairID")
        if not isinstance(id_, int | str) or id_ in seen:
            raise line.bad(f"'pairID' is to be a number of its own, not {id_!r}")
        seen.add(id_)
        if f" {subject} " not in f" {pair.after if behind else pair.before} ".replace(".", " "):
            raise line.bad(f"'subject' is to stand {'behind' if behind else 'before'} the word: {subject!r}")
        fact = Fact(subject, paradigm, pair.good, f"{paradigm}.{id_}")
        whole = f"{pair.cut}{pair.after}"
        texts = [whole, pair.cut] if pair.after.strip(FINAL_MARKS) and not behind else [whole]
        found.append((fact, tuple(form.prompt(line, text, pair.good, pair.bad) for text in texts)))
    return found
