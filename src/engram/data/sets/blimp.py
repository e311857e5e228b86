"""BLiMP's pairs for agreement (Warstadt et al. 2020), asked as Niu et al. (2024) do: which of two words belongs here?

A pair is two sentences that differ in one word. The word is the blank, the right one is the answer, the wrong one what
it is measured against, and the subject is the words elsewhere in the sentence that decide between the two:

    paradigm                                          asked        decided by
    anaphor_{gender,number}_agreement                 -self        the antecedent: what stands before the auxiliary, or
                                                                   where there is none before the verb
    determiner_noun_agreement_*1                      noun         the determiner: the last this, that, these or those
    determiner_noun_agreement_*2                      determiner   the noun, behind the blank (`two_prefix_word`)
    distractor_agreement_relational_noun              verb         the head: what stands before the first of or about
    distractor_agreement_relative_clause              verb         the head: what stands before the first who or that
    {irregular,regular}_plural_subject_verb_*1        verb         the whole of what stands before it
    {irregular,regular}_plural_subject_verb_*2        noun         the verb, behind the blank (`two_prefix_word`)

Of a compound the part that differs is asked ("store" or "stores" behind "that grocery"), and of hasn't and haven't what
stands before the apostrophe, as tokenizers divide them: a contrast needs words of one token, and models refuse others.

A subject has its determiner ("A lot of children"). Of the 16,000 published pairs 13 are left out: in 11 the noun that
decides stands earlier in the sentence too, where it would be taken for the subject ("That waitress does embarrass that
waitress."), and in 2 the verb ends in -ing, which goes with either noun. All 16 paradigms can be asked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ...facts import BLANK, FINAL_MARKS, Fact, FactSet, Prompt, Relation
from .. import form
from ..base import DataSet, data_sets
from ..jsonl import Line, existing, lines

DETERMINERS = ("this", "that", "these", "those")
PREPOSITIONS = ("about", "at", "by", "for", "from", "in", "like", "of", "on", "over", "through", "to", "with")
_AUXILIARIES = (
    "is", "are", "was", "were", "has", "have", "had", "does", "do", "did", "can", "could", "will", "would", "shall",
    "should", "may", "might", "must",
)  # fmt: skip
NOT = "n't"
AUXILIARIES = frozenset([*_AUXILIARIES, *(word + NOT for word in _AUXILIARIES), "can't", "won't"])

TWICE = "whose deciding words stand earlier too"
UNTOLD = "whose deciding words cannot be told"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sentences that differ in one word: what stands before it, the right and the wrong one, what stands behind."""

    before: str
    good: str
    bad: str
    after: str

    @classmethod
    def of(cls, line: Line) -> Pair:
        """The pair of one line. Raises BadData."""
        good, bad = line.text("sentence_good"), line.text("sentence_bad")
        ours, theirs = good.rstrip(FINAL_MARKS), bad.rstrip(FINAL_MARKS)
        words, others = ours.split(" "), theirs.split(" ")
        apart = [i for i, (one, other) in enumerate(zip(words, others, strict=False)) if one != other]
        if len(words) != len(others) or len(apart) != 1 or good[len(ours) :] != bad[len(theirs) :]:
            raise line.bad(f"the two sentences are to differ in one word: {good!r}, {bad!r}")
        at = apart[0]
        after = "".join(f" {word}" for word in words[at + 1 :]) + good[len(ours) :]
        right, wrong = words[at], others[at]
        if right.endswith(NOT) and wrong.endswith(NOT):
            right, wrong, after = right.removesuffix(NOT) + "n", wrong.removesuffix(NOT) + "n", NOT[1:] + after
        return cls(" ".join(words[:at]), right, wrong, after)

    @property
    def cut(self) -> str:
        """The sentence up to its blank: what a causal model continues."""
        return f"{self.before} {BLANK}".lstrip()


Place = tuple[int, str]  # where in the sentence with its blank the deciding words begin, and what they are
Rule = Callable[[Line, Pair], Place | None]


def _prefix(line: Line, pair: Pair) -> str:
    """What BLiMP's one-prefix method continues: less than stands before the word, if that is part of a compound."""
    prefix, before = line.text("one_prefix_prefix"), f"{pair.before} "
    if not before.startswith(f"{prefix} "):
        raise line.bad(f"'one_prefix_prefix' is to begin the two sentences, and not before the word: {prefix!r}")
    return prefix


def _all_before(line: Line, pair: Pair) -> Place:
    return 0, _prefix(line, pair)


def _determiner(line: Line, pair: Pair) -> Place | None:
    words = _prefix(line, pair).split(" ")
    found = [i for i, word in enumerate(words) if word in DETERMINERS]
    return (sum(len(word) + 1 for word in words[: found[-1]]), words[found[-1]]) if found else None


def _antecedent(line: Line, pair: Pair) -> Place | None:
    words = _prefix(line, pair).split(" ")
    verb = len(words) - 1 - (words[-1] in PREPOSITIONS)
    verb = next((i for i, word in enumerate(words) if word in AUXILIARIES), verb)
    return (0, " ".join(words[:verb])) if verb > 0 else None


def _head(*ends: str) -> Rule:
    def rule(line: Line, pair: Pair) -> Place | None:
        words = _prefix(line, pair).split(" ")
        start = 3 if words[:3] == ["A", "lot", "of"] else 1
        end = next((i for i, word in enumerate(words) if i >= start and word in ends), None)
        return None if end is None else (0, " ".join(words[:end]))

    return rule


def _behind(line: Line, pair: Pair) -> Place:
    """What both sentences of BLiMP's two-prefix method end in."""
    prefix, word = line.text("two_prefix_prefix_good"), line.text("two_prefix_word")
    sentence = f"{pair.before} {pair.good}".lstrip()
    if not f"{prefix} ".startswith(f"{sentence} ") or not f"{sentence}{pair.after}".startswith(f"{prefix} {word}"):
        raise line.bad(f"'two_prefix_prefix_good' and 'two_prefix_word' are to begin the good sentence: {prefix!r}")
    return len(prefix) + 1 + len(pair.cut) - len(sentence), word


def _verb_behind(line: Line, pair: Pair) -> Place | None:
    place = _behind(line, pair)
    return None if re.search(r"[aeiouy]\w*ing$", place[1]) else place  # singing, but not sing


ASKED: dict[str, tuple[str, Rule]] = {
    "antecedent": ("which -self goes with the antecedent before it?", _antecedent),
    "determiner": ("which noun goes with the determiner before it?", _determiner),
    "noun": ("which determiner goes with the noun behind it?", _behind),
    "head of a noun": ("which verb goes with the head of the noun phrase before it?", _head("of", "about")),
    "head of a clause": ("which verb goes with the head of the relative clause before it?", _head("who", "that")),
    "subject": ("which verb goes with the subject before it?", _all_before),
    "verb": ("which noun goes with the verb behind it?", _verb_behind),
}
PARADIGMS = {  # by what decides
    "anaphor_gender_agreement": "antecedent",
    "anaphor_number_agreement": "antecedent",
    "determiner_noun_agreement_1": "determiner",
    "determiner_noun_agreement_2": "noun",
    "determiner_noun_agreement_irregular_1": "determiner",
    "determiner_noun_agreement_irregular_2": "noun",
    "determiner_noun_agreement_with_adjective_1": "determiner",  # so it is called; the others are called with_adj
    "determiner_noun_agreement_with_adj_2": "noun",
    "determiner_noun_agreement_with_adj_irregular_1": "determiner",
    "determiner_noun_agreement_with_adj_irregular_2": "noun",
    "distractor_agreement_relational_noun": "head of a noun",
    "distractor_agreement_relative_clause": "head of a clause",
    "irregular_plural_subject_verb_agreement_1": "subject",
    "irregular_plural_subject_verb_agreement_2": "verb",
    "regular_plural_subject_verb_agreement_1": "subject",
    "regular_plural_subject_verb_agreement_2": "verb",
}


@data_sets("blimp")
@dataclass(frozen=True)
class BLiMP(DataSet):
    """Pairs of sentences for agreement, 16 paradigms, each pair as a blank (Warstadt et al. 2020; Niu et al. 2024).

    A relation is a paradigm, called as its file is, without templates. Each fact is asked in its own sentence with the
    blank in place; where something follows the word and what decides stands before it, also cut off behind the blank,
    for causal models. Where the noun or verb behind the blank decides (`_2`), a causal model cannot be asked. A fact's
    answer is the right word, its prompts' `against` the wrong one, its subject the words that decide; its id is
    paradigm and `pairID`. A pair whose deciding words cannot be told, or stand before their place too, is left out and
    counted in `source` (of the 16,000 published pairs 13). Files of other paradigms are not read; of the 16, those that
    are there.

    Raises BadData, and BadSetting without a path.

    >>> import engram as eg
    >>> eg.data.blimp()
    Traceback (most recent call last):
    engram.errors.BadSetting: BLiMP needs a path. Get the files from https://github.com/alexwarstadt/blimp ...
    """

    origin: ClassVar[str] = "https://github.com/alexwarstadt/blimp"
    licence: ClassVar[str] = "CC BY 4.0"
    layout: ClassVar[str] = "<paradigm>.jsonl of subject-verb, determiner-noun or anaphor agreement, here or in data/"
    needs_path: ClassVar[bool] = True

    @classmethod
    def fits(cls, folder: Path) -> bool:
        return bool(files_of(folder))

    def read(self) -> FactSet:
        folder = self.folder
        relations: list[Relation] = []
        members: dict[str, tuple[Fact, ...]] = {}
        own: dict[str, tuple[Prompt, ...]] = {}
        left_out: Counter[str] = Counter()
        for paradigm, file in files_of(folder).items():
            relations.append(Relation(paradigm, paradigm.replace("_", " "), (), "", ASKED[PARADIGMS[paradigm]][0]))
            found = _paradigm(paradigm, file, left_out)
            members[paradigm] = tuple(fact for fact, _ in found)
            own |= {fact.id: prompts for fact, prompts in found}
        counted = ", ".join(f"{n} pairs {why}" for why, n in sorted(left_out.items()))
        source = f"{folder} (without {counted})" if counted else str(folder)
        return FactSet("blimp", tuple(relations), members, source, own)


def files_of(folder: Path) -> dict[str, Path]:
    """The files of the paradigms that are there, in this folder or in its `data`."""
    for home in (folder, folder / "data"):
        paths = {p: home / f"{p}.jsonl" for p in PARADIGMS}
        if there := {p: f for p, f in paths.items() if f.is_file() or f.with_name(f"{f.name}.gz").is_file()}:
            return {p: existing(f) for p, f in there.items()}
    return {}


def _paradigm(paradigm: str, file: Path, left_out: Counter[str]) -> list[tuple[Fact, tuple[Prompt, ...]]]:
    """The facts of one file, each with the sentences it is asked in. Raises BadData."""
    rule, found, seen = ASKED[PARADIGMS[paradigm]][1], [], set()
    for line in lines(file):
        pair, name, id_ = Pair.of(line), line.text("UID"), line.values.get("pairID")
        if name != paradigm:
            raise line.bad(f"'UID' is to be the file's, {paradigm!r}, not {name!r}")
        if not isinstance(id_, int | str) or id_ in seen:
            raise line.bad(f"'pairID' is to be a number of its own, not {id_!r}")
        seen.add(id_)
        whole = f"{pair.cut}{pair.after}"
        place = rule(line, pair)
        if place is None or _stands(place[1], whole[: place[0]]):
            left_out[UNTOLD if place is None else TWICE] += 1
            continue
        fact = Fact(place[1], paradigm, pair.good, f"{paradigm}.{id_}")
        texts = [whole, pair.cut] if pair.after.strip(FINAL_MARKS) and place[0] < len(pair.cut) else [whole]
        found.append((fact, tuple(form.prompt(line, text, pair.good, pair.bad) for text in texts)))
    return found


def _stands(words: str, text: str) -> bool:
    """Are these words in the text, as words of their own?"""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None
