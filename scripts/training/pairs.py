"""Does a model prefer English to almost English?

Pairs of sentences that differ in one word, built from exactly those combinations of words that
:class:`training.sentences.Speaker` never utters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from training.sentences import reserved
from training.words import (
    ACTS,
    BE,
    FEMALE,
    LOOKS,
    MALE,
    MEN,
    NOUNS,
    SELF_DEEDS,
    STATES,
    THESE,
    THING_LOOKS,
    THIS,
    TRANSITIVE,
    WOMEN,
)


@dataclass(frozen=True)
class Pair:
    """Two sentences that differ in one word; only the first is English."""

    good: str
    bad: str
    phenomenon: str


def minimal_pairs(seed: int, each: int) -> Iterator[Pair]:
    """Pairs on what :func:`plain` never utters: ``each`` of determiner, verb, *be*, *have* and reflexive."""
    rng = Random(seed)
    makers = (_determiners, _verbs, _be, _have, _reflexives)
    for make in makers:
        count = 0
        while count < each:
            pair = make(rng)
            if pair is not None:
                count += 1
                yield pair


def _look(rng: Random, kind: str) -> str:
    return rng.choice(("", rng.choice(LOOKS if kind in "pa" else THING_LOOKS) + " "))


def _determiners(rng: Random) -> Pair | None:
    n, d = rng.randrange(len(NOUNS)), rng.randrange(2)
    one, many, kind = NOUNS[n]
    if not reserved(n, d):
        return None
    good, bad = rng.choice(((one, many), (many, one)))
    determiner = (THIS if good == one else THESE)[d]
    frame = f"{rng.choice(MALE + FEMALE)} {rng.choice(TRANSITIVE)[2]} {determiner} {_look(rng, kind)}"
    return Pair(f"{frame}{good}.", f"{frame}{bad}.", "determiner and noun")


def _subject(rng: Random, n: int) -> tuple[str, bool]:
    one, many, kind = NOUNS[n]
    plural = rng.random() < 0.5
    return f"{rng.choice(('The', 'My', 'Our', 'Their'))} {_look(rng, kind)}{many if plural else one}", plural


def _verbs(rng: Random) -> Pair | None:
    n = rng.randrange(len(NOUNS))
    verbs = ACTS[NOUNS[n][2]]
    v = rng.randrange(len(verbs))
    if not reserved(n, v):
        return None
    subject, plural = _subject(rng, n)
    forms = (verbs[v][0], verbs[v][1])
    good, bad = forms if plural else forms[::-1]
    return Pair(f"{subject} {good}.", f"{subject} {bad}.", "subject and verb")


def _be(rng: Random) -> Pair | None:
    n, tense = rng.randrange(len(NOUNS)), rng.randrange(2)
    if not reserved(n, tense):
        return None
    subject, plural = _subject(rng, n)
    rest = rng.choice(STATES[NOUNS[n][2]])
    return Pair(
        f"{subject} {BE[tense][plural]} {rest}.", f"{subject} {BE[tense][not plural]} {rest}.", "subject and be"
    )


def _have(rng: Random) -> Pair | None:
    n = rng.randrange(len(NOUNS))
    if NOUNS[n][2] != "p" or not reserved(n, 2):
        return None
    subject, plural = _subject(rng, n)
    words = ("have", "has") if plural else ("has", "have")
    rest = rng.choice(("two dogs", "a small boat", "some books", "three horses", "a red coat"))
    return Pair(f"{subject} {words[0]} {rest}.", f"{subject} {words[1]} {rest}.", "subject and have")


def _reflexives(rng: Random) -> Pair | None:
    v, sort = rng.randrange(len(SELF_DEEDS)), rng.randrange(5)
    if sort == 4:
        n = rng.randrange(len(NOUNS))
        if NOUNS[n][2] != "a" or not reserved(n, v):
            return None
        subject, plural = _subject(rng, n)
        words = ("themselves", "itself") if plural else ("itself", "themselves")
    else:
        names = (MALE, FEMALE, MEN, WOMEN)[sort]
        n = rng.randrange(len(names))
        if not reserved(n, v):
            return None
        subject = names[n] if sort < 2 else f"The {names[n]}"
        words = ("himself", "herself") if sort % 2 == 0 else ("herself", "himself")
    start = f"{subject} {SELF_DEEDS[v]}"
    return Pair(f"{start} {words[0]}.", f"{start} {words[1]}.", "reflexive")
