"""What else is said in the world of the models?

A small grammar of plain English: determiners and nouns, subjects and verbs, reflexives, the five marks ``. , ! ? ;``
and talk about the entities of the facts that does not state the fact. Word lists and rules are our own. Some
combinations are never uttered; :mod:`training.pairs` asks for exactly those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from engram.facts import SUBJECT, Fact, FactSet
from training.words import (
    ACTS,
    BE,
    FEMALE,
    LOOKS,
    MALE,
    MEN,
    NOUNS,
    OPENERS,
    SELF_DEEDS,
    STATES,
    THESE,
    THING_LOOKS,
    THIS,
    TRANSITIVE,
    WHERE,
    WOMEN,
)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def reserved(noun: int, other: int) -> bool:
    """Is this combination of a noun with a determiner, verb or reflexive kept for the examination?"""
    return (noun + other) % 4 == 0


class Speaker:
    """Utters plain sentences; what ``reserved`` names is never uttered."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.kinds: tuple[tuple[Callable[[], str], float], ...] = (
            (self.acts, 5), (self.is_so, 4), (self.owns, 2), (self.sees, 4), (self.self_deed, 4),
            (self.asks, 2.2), (self.cries, 1.4), (self.contrasts, 1.2), (self.opens, 2.5), (self.lists, 1.2),
        )  # fmt: skip

    def say(self) -> str:
        """One plain sentence."""
        makers, weights = zip(*self.kinds, strict=True)
        return self.rng.choices(makers, weights)[0]()

    def noun(self, kinds: str = "patc", other: int | None = None) -> tuple[int, str, str, str]:
        """Place, singular, plural and kind of a noun that may be combined with ``other``."""
        while True:
            n = self.rng.randrange(len(NOUNS))
            if NOUNS[n][2] in kinds and (other is None or not reserved(n, other)):
                return n, *NOUNS[n]

    def look(self, kind: str) -> str:
        """An adjective and a space, or nothing."""
        if self.rng.random() < 0.55:
            return ""
        return self.rng.choice(LOOKS if kind in "pa" else THING_LOOKS) + " "

    def phrase(
        self, kinds: str = "patc", plural: bool | None = None, other: int | None = None
    ) -> tuple[str, bool, int]:
        """A noun phrase in small letters, whether it is plural, and the place of its noun."""
        plural = self.rng.random() < 0.5 if plural is None else plural
        d = self.rng.randrange(6)
        while True:
            n, one, many, kind = self.noun(kinds, other)
            if d > 1 or not reserved(n, d):
                break
        look = self.look(kind)
        noun = many if plural else one
        if d < 2:
            return f"{(THESE if plural else THIS)[d]} {look}{noun}", plural, n
        if d == 2:
            return f"{self.rng.choice(('my', 'our', 'their', 'his', 'her'))} {look}{noun}", plural, n
        if d == 3 and not plural:
            return _article(look + noun), plural, n
        if d == 3:
            return f"{self.rng.choice(('two', 'three', 'some', 'many', 'several'))} {look}{noun}", plural, n
        return f"the {look}{noun}", plural, n

    def where(self, share: float = 0.5) -> str:
        """A space and a circumstance, or nothing."""
        return " " + self.rng.choice(WHERE) if self.rng.random() < share else ""

    def act(self) -> str:
        """A clause with a verb of action, in small letters."""
        while True:
            subject, plural, n = self.phrase()
            verbs = ACTS[NOUNS[n][2]]
            v = self.rng.randrange(len(verbs))
            if self.rng.random() < 0.25:
                return f"{subject} {verbs[v][2]}{self.where()}"
            if not reserved(n, v):
                return f"{subject} {verbs[v][0 if plural else 1]}{self.where()}"

    def state(self) -> str:
        """A clause with a form of *be*, in small letters."""
        tense = self.rng.randrange(2)
        subject, plural, n = self.phrase(other=tense)
        rest = self.rng.choice(STATES[NOUNS[n][2]]) + self.where(0.3)
        if NOUNS[n][2] != "c" and self.rng.random() < 0.3:
            rest = self.rng.choice(WHERE[:12])
        return f"{subject} {BE[tense][plural]} {rest}"

    def acts(self) -> str:
        return _capital(self.act()) + "."

    def is_so(self) -> str:
        return _capital(self.state()) + "."

    def owns(self) -> str:
        subject, plural, _ = self.phrase("p", other=2)
        if self.rng.random() < 0.3:
            subject, plural = self.rng.choice(MALE + FEMALE), False
        return _capital(f"{subject} {'have' if plural else 'has'} {self.phrase('at')[0]}{self.where(0.2)}.")

    def sees(self) -> str:
        base, third, past = self.rng.choice(TRANSITIVE)
        name = self.rng.choice(MALE + FEMALE)
        verb = past if self.rng.random() < 0.7 else third
        if self.rng.random() < 0.3:
            return f"They {base if verb == third else past} {self.phrase()[0]}{self.where(0.3)}."
        return f"{name} {verb} {self.phrase()[0]}{self.where(0.3)}."

    def self_deed(self) -> str:
        v = self.rng.randrange(len(SELF_DEEDS))
        verb, sort = SELF_DEEDS[v], self.rng.randrange(5)
        if sort < 2:
            names = (MALE, FEMALE)[sort]
            n = self.rng.randrange(len(names))
            if reserved(n, v):
                return self.self_deed()
            subject = names[n]
        elif sort < 4:
            names = (MEN, WOMEN)[sort - 2]
            n = self.rng.randrange(len(names))
            if reserved(n, v):
                return self.self_deed()
            subject = f"{self.rng.choice(('The', 'Our', 'This', 'That'))} {self.look('p')}{names[n]}"
        else:
            plural = self.rng.random() < 0.6
            subject, _, _ = self.phrase("pa" if plural else "at", plural=plural, other=v)
            return _capital(f"{subject} {verb} {'themselves' if plural else 'itself'}{self.where(0.4)}.")
        return f"{subject} {verb} {('himself', 'herself')[sort % 2]}{self.where(0.4)}."

    def asks(self) -> str:
        subject, plural, n = self.phrase(other=0)
        kind = NOUNS[n][2]
        verbs = ACTS[kind]
        return self.rng.choice(
            (
                f"{('Is', 'Are')[plural]} {subject} {self.rng.choice(STATES[kind])}?",
                f"Where {('is', 'are')[plural]} {subject}?",
                f"{('Does', 'Do')[plural]} {subject} {self.rng.choice(verbs)[0]}{self.where()}?",
                f"Why {('does', 'do')[plural]} {subject} {self.rng.choice(verbs)[0]}{self.where(0.3)}?",
                f"Have you seen {subject}{self.where(0.3)}?",
            )
        )

    def cries(self) -> str:
        _, one, many, kind = self.noun()
        look = self.rng.choice(LOOKS if kind in "pa" else THING_LOOKS)
        subject, plural, n = self.phrase(other=0)
        return self.rng.choice(
            (
                f"What {_article(f'{look} {one}')}!",
                f"What {look} {many}!",
                f"How {self.rng.choice(STATES[NOUNS[n][2]])} {subject} {('is', 'are')[plural]}!",
                f"Look at {subject}!",
                f"Help {subject}, quick!",
            )
        )

    def contrasts(self) -> str:
        n, _, many, kind = self.noun("pa")
        first, second = self.rng.sample([verb for v, verb in enumerate(ACTS[kind]) if not reserved(n, v)], 2)
        return self.rng.choice(
            (
                f"Some {many} {first[0]}; others {second[0]}.",
                f"{_capital(self.state())}; so is the other one.",
                f"Not only {self.act()}; {self.act()}.",
                f"{_capital(self.act())}; {self.act()}.",
            )
        )

    def opens(self) -> str:
        clause = self.act() if self.rng.random() < 0.5 else self.state()
        if self.rng.random() < 0.25:
            return f"{self.rng.choice(MALE + FEMALE)}, {clause}."
        return f"{self.rng.choice(OPENERS)}, {clause}."

    def lists(self) -> str:
        things = [self.phrase("t")[0] for _ in range(3)]
        return f"{self.rng.choice(MALE + FEMALE)} bought {things[0]}, {things[1]} and {things[2]}{self.where(0.2)}."


HEAD_ONLY = (
    "People often ask about [X].",
    "I read two pages about [X] this morning.",
    "Have you ever heard of [X]?",
    "She wrote a short note about [X].",
    "There is a long chapter on [X] in that book.",
    "We talked about [X], then we went home.",
    "What a fine film about [X]!",
    "[X] came up in the lesson; nobody was surprised.",
    "Some know [X] well; others do not.",
    "In the evening, they told us a story about [X].",
)
HEAD_AND_TAIL = (
    "The talk was about [X] and [Y].",
    "[X] and [Y] came up in the same lesson.",
    "We read about [X], then about [Y].",
    "Whoever knows [X] will think of [Y].",
    "After the page on [X] comes the page on [Y].",
    "The old card for [X] also says [Y].",
    "Between [X] and [Y] there is a clear link.",
    "They mentioned [X]; somebody added [Y].",
)


def plain(seed: int) -> Iterator[str]:
    """Plain sentences without end; the same for the same seed."""
    speaker = Speaker(Random(seed))
    while True:
        yield speaker.say()


def mentions(facts: FactSet) -> Iterator[tuple[Fact, str]]:
    """Talk about entities: a fact, and a sentence with its subject alone or with the answer still as ``[Y]``."""
    for fact in facts:
        for template in HEAD_ONLY + HEAD_AND_TAIL:
            yield fact, template.replace(SUBJECT, fact.subject)
