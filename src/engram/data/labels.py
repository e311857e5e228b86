"""Which number, or which gender, has the right word of a minimal pair? For all paradigms of agreement.

Niu et al.'s released code calls a verb singular if it ends in -s, but for hasn and haven: isn, wasn and doesn (what
tokenizers leave of isn't, wasn't and doesn't) become plural. That labelling is kept, as the preset "released".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from ..errors import BadSetting, UnknownName
from ..facts import Prompt
from .sets.blimp import NOT
from .sets.blimp import PARADIGMS as OF_BLIMP
from .sets.pairs import PARADIGMS as OF_PAIRS

Number = Literal["singular", "plural"]
Gender = Literal["feminine", "masculine", "neuter"]

PRESETS = ("engram", "released")
GENDERS: Mapping[str, Gender] = {"herself": "feminine", "himself": "masculine", "itself": "neuter"}
ANAPHORS: Mapping[str, Number] = {**dict.fromkeys(GENDERS, "singular"), "themselves": "plural", "ourselves": "plural"}
DETERMINERS: Mapping[str, Number] = {"this": "singular", "that": "singular", "these": "plural", "those": "plural"}
_NUMBERS: tuple[Number, Number] = ("singular", "plural")
_FORMS = (("is", "are"), ("was", "were"), ("has", "have"), ("does", "do"))
AUXILIARIES: Mapping[str, Number] = {
    word + end: number
    for one, many in _FORMS
    for word, number in zip((one, many), _NUMBERS, strict=True)
    for end in ("", NOT[0], NOT)
}
IRREGULAR = {"person": "people", "mouse": "mice", "louse": "lice", "child": "children", "ox": "oxen", "die": "dice"}
KINDS = {  # what is asked, by what decides
    "antecedent": "anaphor", "determiner": "noun", "noun": "determiner", "head of a noun": "verb",
    "head of a clause": "verb", "subject": "verb", "verb": "noun",
}  # fmt: skip


class Labelled(Protocol):
    """A minimal pair outside a prompt: what its paradigm is, its two words, and the piece that is the right answer."""

    @property
    def paradigm(self) -> str: ...

    @property
    def words(self) -> tuple[str, str]: ...

    @property
    def good(self) -> str: ...


def number_of(pair: Prompt | Labelled, *, preset: str = "engram") -> Number | None:
    """Is the right word of this pair singular or plural?

    `pair` is a prompt of a fact of BLiMP or of the shipped pairs, with its wrong answer, or what `one_token_pairs`
    kept. "engram" (the default) knows auxiliaries and what is left of them before n't; of other verbs and of nouns it
    compares the two words, of which the plural of a noun, or the singular of a verb, has the ending. "released" labels
    as the published code does, from the right token alone: -s is singular, all else plural, but for hasn and haven
    (for GPT-2, whose tokens begin with a space, not even these); it has no label where a noun is asked. None where
    there is no label. Raises BadSetting for another paradigm, UnknownName.

    >>> from engram.facts import Fact
    >>> fact = Fact("The bread tins", "regular_plural_subject_verb_agreement_1", "weren")
    >>> pair = Prompt("The bread tin [Y]'t gone.", "wasn", fact, against="weren")
    >>> number_of(pair), number_of(pair, preset="released")
    ('singular', 'plural')
    """
    if preset not in PRESETS:
        raise UnknownName("preset of labels", preset, PRESETS)
    paradigm, good, bad, token = _parts(pair)
    kind = kind_of(paradigm)
    if preset == "released":
        return _released(kind, token)
    if kind == "verb":
        return AUXILIARIES.get(good) or _by_ending(good, bad, "plural", "singular", _is_third)
    if kind == "noun":
        return _by_ending(good, bad, "singular", "plural", _is_plural)
    return (ANAPHORS if kind == "anaphor" else DETERMINERS).get(good)


def gender_of(pair: Prompt | Labelled) -> Gender | None:
    """Which gender has the -self that belongs here? None for themselves. Raises BadSetting for another paradigm.

    >>> from engram.facts import Fact
    >>> gender_of(Prompt("Anna saw [Y].", "herself", Fact("Anna", "anaphor_gender_agreement", "herself"), against="x"))
    'feminine'
    """
    paradigm, good, _, _ = _parts(pair)
    return GENDERS.get(good) if kind_of(paradigm) == "anaphor" else None


def label_of(pair: Prompt | Labelled, *, preset: str = "engram") -> Number | Gender | None:
    """The property that decides this pair: the gender where the paradigm is of gender, else the number.

    Raises as `number_of`.

    >>> from engram.facts import Fact
    >>> label_of(Prompt("Anna saw [Y].", "herself", Fact("Anna", "anaphor_gender_agreement", "herself"), against="x"))
    'feminine'
    """
    return gender_of(pair) if "gender" in _parts(pair)[0] else number_of(pair, preset=preset)


def kind_of(paradigm: str) -> str:
    """What a paradigm asks for: anaphor, determiner, noun or verb. Raises BadSetting.

    >>> kind_of("determiner_noun_agreement_1"), kind_of("subject_be")
    ('noun', 'verb')
    """
    if (decided := {**OF_BLIMP, **OF_PAIRS}.get(paradigm)) is None:
        raise BadSetting(
            f"{paradigm!r} is no paradigm of agreement: labels are of the {len(OF_BLIMP)} of BLiMP and of "
            f"{', '.join(OF_PAIRS)}"
        )
    return KINDS[decided]


def _parts(pair: Prompt | Labelled) -> tuple[str, str, str, str]:
    """The paradigm, the right and the wrong word, and the right one as a token."""
    if not isinstance(pair, Prompt):
        return pair.paradigm, *pair.words, pair.good
    if pair.fact is None or pair.against is None:
        raise BadSetting(f"a label needs the paradigm and the wrong word of a prompt: {pair.text!r} has not both")
    return pair.fact.relation, pair.answer, pair.against, pair.answer


def _released(kind: str, token: str) -> Number | None:
    if kind == "noun":
        return None
    if kind != "verb":
        return (ANAPHORS if kind == "anaphor" else DETERMINERS).get(token.lstrip("Ġ"))
    if token in ("hasn", "haven"):
        return "singular" if token == "hasn" else "plural"
    return "singular" if token.endswith("s") else "plural"


def _by_ending(good: str, bad: str, bare: Number, ended: Number, has: Callable[[str, str], bool]) -> Number | None:
    """By which of the two is the other with an ending: `bare` if the right word is the one without."""
    if has(bad, good):
        return bare
    return ended if has(good, bad) else None


def _is_third(word: str, base: str) -> bool:
    """Is this the third person singular of that?"""
    return AUXILIARIES.get(word) == "singular" or word in (f"{base}s", f"{base}es", f"{base[:-1]}ies")


def _is_plural(word: str, singular: str) -> bool:
    """Is this the plural of that?"""
    regular = (f"{singular}s", f"{singular}es", f"{singular[:-1]}ies", f"{singular[:-1]}ves", f"{singular[:-2]}ves")
    if word in regular or IRREGULAR.get(singular) == word:
        return True
    endings = (("is", "es"), ("us", "i"), ("on", "a"), ("um", "a"), ("man", "men"), ("us", "era"), ("ex", "ices"))
    if any(singular.endswith(a) and word == singular.removesuffix(a) + b for a, b in endings):
        return True
    return "oo" in singular and word == singular.replace("oo", "ee")
