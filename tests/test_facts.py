"""Facts that are asked in sentences of their own, in the place of their relation's templates."""

from __future__ import annotations

from dataclasses import replace

import pytest

import engram as eg
from engram.facts import Fact, FactSet, Prompt, Relation, Split, split_of
from engram.files import checksum
from engram.store import canonical, data_key

CAPITAL = Relation("P36", "capital", ("The capital of [X] is [Y].", "[Y] is the capital of [X].", "[X]'s seat is [Y]."))
RIVER = Relation("river", "flows through", ())
PERU, MALI, RHINE = (
    Fact("Peru", "P36", "Lima", "p"),
    Fact("Mali", "P36", "Bamako", "m"),
    Fact("Rhine", "river", "Basel"),
)
SENTENCES = (
    Prompt("Peru is run from [Y], by the sea.", "Lima", against="Cusco"),
    Prompt("Peru is run from [Y]", "Lima", against="Cusco"),
    Prompt("The parliament of Peru meets in [Y].", "Lima"),
    Prompt("[Y] is where Peru is run from.", "Lima"),
)
FACTS = FactSet("own", (CAPITAL, RIVER), {"P36": (MALI, PERU), "river": (RHINE,)}, own={"p": SENTENCES})


def texts(fact: Fact, facts: FactSet = FACTS, **settings: object) -> list[str]:
    return [p.text for p in facts.prompts(fact, **settings)]


def test_a_fact_with_sentences_of_its_own_is_asked_in_them_and_another_in_the_templates() -> None:
    asked = FACTS.prompts(PERU)
    assert [(p.text, p.answer, p.against) for p in asked] == [(p.text, p.answer, p.against) for p in SENTENCES]
    assert [(p.fact, p.template) for p in asked] == [(PERU, i) for i in range(4)]
    assert FACTS.prompts(MALI) == MALI.prompts(CAPITAL)
    assert texts(RHINE) == []


def test_own_sentences_can_be_asked_for_with_a_last_blank_and_up_to_a_limit() -> None:
    assert texts(PERU, blank_last=True) == [SENTENCES[1].text, SENTENCES[2].text]
    assert texts(PERU, blank_last=True, limit=1) == [SENTENCES[1].text]


def test_own_sentences_are_split_as_templates_are_and_a_sentence_cut_off_stays_with_the_whole_one() -> None:
    number = FACTS.facts("capital").index(PERU)
    halves: list[Split] = [split_of(number, i) for i in (0, 0, 2, 3)]
    assert set(halves) == {"discovery", "test"}
    for half in set(halves):
        assert texts(PERU, split=half) == [p.text for p, own in zip(SENTENCES, halves, strict=True) if own == half]
    turned = replace(FACTS, own={"p": (SENTENCES[1], SENTENCES[0], *SENTENCES[2:])})
    assert [set(texts(PERU, turned, split=half)) for half in halves] == [
        set(texts(PERU, split=half)) for half in halves
    ]


@pytest.mark.parametrize("own", [SENTENCES[:1], SENTENCES[:2], (SENTENCES[3], SENTENCES[3])])
def test_what_is_asked_in_one_sentence_is_for_the_test_whatever_its_number(own: tuple[Prompt, ...]) -> None:
    for number in range(3):
        facts = replace(FACTS, members={"P36": (*[MALI] * number, PERU)}, own={"p": own})
        assert texts(PERU, facts, split="test") == [p.text for p in own]
        assert texts(PERU, facts, split="discovery") == []


def test_a_part_of_a_set_keeps_the_sentences_of_its_facts_and_no_others() -> None:
    assert FACTS.only(["capital"]).prompts(PERU) == FACTS.prompts(PERU)
    assert FACTS.only(["river"]).own == {}


def test_own_sentences_are_part_of_what_a_data_set_says() -> None:
    def key(**own: tuple[Prompt, ...]) -> str:
        return data_key(replace(FACTS, own=own))["checksum"]

    assert key() == data_key(FactSet("x", FACTS.relations, FACTS.members))["checksum"] == key(z=SENTENCES)
    others = (replace(SENTENCES[0], against="Quito"), SENTENCES[1])
    assert len({key(), key(p=SENTENCES), key(p=SENTENCES[::-1]), key(p=SENTENCES[:2]), key(p=others)}) == 5
    plain = [[[CAPITAL.id, CAPITAL.name, CAPITAL.templates, ""], [RIVER.id, RIVER.name, (), ""]]]
    plain.append([[f.relation, f.subject, f.answer, f.id] for f in FACTS])
    assert key() == checksum(canonical(plain))  # as runs were kept before facts had sentences


def test_a_model_is_asked_a_fact_in_its_own_sentence() -> None:
    asked = FACTS.prompts(PERU, blank_last=True, limit=1)
    (answer,) = eg.ask(eg.load("engram:causal"), [replace(p, against=None) for p in asked])
    assert answer.prompt.text == "Peru is run from [Y]"
