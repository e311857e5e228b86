"""BLiMP's agreement paradigms as blanks: what is asked, what decides, what is left out. The small files are our own."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from transformers import BertTokenizerFast

from engram import data
from engram.data.sets.blimp import PARADIGMS
from engram.errors import BadData, BadSetting
from engram.facts import BLANK, FactSet

NAMES = list(PARADIGMS)


def row(paradigm: str, good: str, bad: str, number: int = 0, **fields: Any) -> dict[str, Any]:
    """A pair as the files have it. Where BLiMP's prefix ends is marked with a bar: "Anna saw| herself."."""
    prefix, _, rest = good.partition("|")
    told = dict(
        zip(("two_prefix_prefix_good", "two_prefix_word"), (prefix, rest.strip(" .").split(" ")[0]), strict=True)
    )
    told["one_prefix_prefix"] = prefix
    kept = {key: value for key, value in {**told, **fields}.items() if value is not None}
    sentences = {"sentence_good": good.replace("|", ""), "sentence_bad": bad}
    return {**sentences, **kept, "UID": fields.get("UID", paradigm), "pairID": str(number)}


def put(folder: Path, paradigm: str, *pairs: tuple[str, str], **fields: Any) -> Path:
    rows = [row(paradigm, good, bad, i, **fields) for i, (good, bad) in enumerate(pairs)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{paradigm}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return folder


def asked(facts: FactSet) -> list[tuple[str, list[str], str, str | None]]:
    every = [(f.subject, facts.prompts(f)) for f in facts]
    return [(subject, [p.text for p in own], own[0].answer, own[0].against) for subject, own in every]


@pytest.mark.parametrize(
    ("paradigm", "good", "bad", "subject", "texts", "answer", "against"),
    [
        ("anaphor_gender_agreement", "Our queen's aunt won't hurt| herself.", "Our queen's aunt won't hurt itself.",
         "Our queen's aunt", ["Our queen's aunt won't hurt [Y]."], "herself", "itself"),
        ("anaphor_number_agreement", "Two bakers dreamt about| themselves!", "Two bakers dreamt about himself!",
         "Two bakers", ["Two bakers dreamt about [Y]!"], "themselves", "himself"),
        ("anaphor_number_agreement", "Bakers know| themselves.", "Bakers know himself.",
         "Bakers", ["Bakers know [Y]."], "themselves", "himself"),
        ("determiner_noun_agreement_1", "That baker says this oven heats those| bread tins.",
         "That baker says this oven heats those bread tin.", "those",
         ["That baker says this oven heats those bread [Y]."], "tins", "tin"),
        ("determiner_noun_agreement_with_adjective_1", "We sold these very old| ovens.", "We sold these very old oven.",
         "these", ["We sold these very old [Y]."], "ovens", "oven"),
        ("determiner_noun_agreement_with_adj_2", "We sold that old| oven.", "We sold those old oven.",
         "oven", ["We sold [Y] old oven."], "that", "those"),
        ("distractor_agreement_relational_noun", "A lot of recipes of this baker| aren't long.",
         "A lot of recipes of this baker isn't long.", "A lot of recipes",
         ["A lot of recipes of this baker [Y]'t long.", "A lot of recipes of this baker [Y]"], "aren", "isn"),
        ("distractor_agreement_relative_clause", "That baker that knows that cooks lie| sings.",
         "That baker that knows that cooks lie sing.", "That baker", ["That baker that knows that cooks lie [Y]."],
         "sings", "sing"),
        ("regular_plural_subject_verb_agreement_1", "The bread tins| haven't gone.", "The bread tins hasn't gone.",
         "The bread tins", ["The bread tins [Y]'t gone.", "The bread tins [Y]"], "haven", "hasn"),
        ("irregular_plural_subject_verb_agreement_2", "The mice| sing aloud.", "The mouse sing aloud.",
         "sing", ["The [Y] sing aloud."], "mice", "mouse"),
    ],
)  # fmt: skip
def test_the_word_that_differs_is_asked_and_the_words_that_decide_are_the_subject(
    tmp_path: Path, paradigm: str, good: str, bad: str, subject: str, texts: list[str], answer: str, against: str
) -> None:
    facts = data.blimp(put(tmp_path, paradigm, (good, bad)))
    assert asked(facts) == [(subject, texts, answer, against)]
    assert [(f.relation, f.id, f.answer) for f in facts] == [(paradigm, f"{paradigm}.0", answer)]
    assert facts.relations[0].description.startswith("which ")
    assert facts.source == str(tmp_path)


def test_a_causal_model_is_asked_once_and_not_at_all_where_what_decides_stands_behind(tmp_path: Path) -> None:
    put(tmp_path, NAMES[12], ("The mice| sing aloud.", "The mice sings aloud."))
    put(tmp_path, NAMES[13], ("The mice| sing aloud.", "The mouse sing aloud."))
    verb, noun = data.blimp(tmp_path)
    facts = data.blimp(tmp_path)
    assert [p.text for p in facts.prompts(verb, blank_last=True)] == ["The mice [Y]"]
    assert facts.prompts(noun, blank_last=True) == ()


@pytest.mark.parametrize(
    ("paradigm", "good", "bad", "why"),
    [
        (NAMES[3], "Those ovens bake in these| ovens.", "Those ovens bake in this ovens.", "stand earlier too"),
        (NAMES[13], "The mice| singing.", "The mouse singing.", "cannot be told"),
        (NAMES[2], "We sold both| ovens.", "We sold both oven.", "cannot be told"),
        (NAMES[10], "The recipes for bread| are long.", "The recipes for bread is long.", "cannot be told"),
        (NAMES[0], "Know| thyself.", "Know myself.", "cannot be told"),
    ],
)
def test_a_pair_whose_deciding_words_are_not_to_be_found_is_left_out_and_counted(
    tmp_path: Path, paradigm: str, good: str, bad: str, why: str
) -> None:
    put(tmp_path, paradigm, (good, bad), (good, bad))
    facts = data.blimp(tmp_path)
    assert (len(facts), facts.own) == (0, {})
    assert facts.source == f"{tmp_path} (without 2 pairs whose deciding words {why})"


def test_a_clone_of_the_repository_reads_as_its_data_folder_in_the_paradigms_order(tmp_path: Path) -> None:
    put(tmp_path / "data", NAMES[12], ("The mice| sing.", "The mice sings."))
    put(tmp_path / "data", NAMES[0], ("Anna saw| herself.", "Anna saw himself."))
    (tmp_path / "data" / "wh_island.jsonl").write_text("another paradigm", encoding="utf-8")
    facts = data.read(tmp_path)
    assert (facts.name, [r.id for r in facts.relations]) == ("blimp", [NAMES[0], NAMES[12]])
    assert data.blimp(tmp_path / "data").own == facts.own


@pytest.mark.parametrize(
    ("paradigm", "good", "bad", "fields", "what"),
    [
        (NAMES[0], "Anna saw| herself.", "Anna saw herself.", {}, "differ in one word"),
        (NAMES[0], "Anna saw| herself.", "Eva saw himself.", {}, "differ in one word"),
        (NAMES[0], "Anna saw| herself.", "Anna saw himself too.", {}, "differ in one word"),
        (NAMES[0], "Anna saw| herself.", "Anna saw himself!", {}, "differ in one word"),
        (NAMES[0], "Anna saw| herself.", "Anna saw himself.", {"one_prefix_prefix": "Anna sa"}, "'one_prefix_prefix'"),
        (NAMES[0], "Anna saw| herself.", "Anna saw himself.", {"one_prefix_prefix": None}, "has no 'one_prefix"),
        (NAMES[3], "We sold this| oven.", "We sold these oven.", {"two_prefix_word": "bread"}, "'two_prefix_word'"),
        (NAMES[3], "We sold this| oven.", "We sold these oven.", {"two_prefix_prefix_good": "We"}, "'two_prefix_word'"),
        (NAMES[0], "Anna saw| herself.", "Anna saw himself.", {"UID": NAMES[1]}, "'UID' is to be the file's"),
        (NAMES[0], "Anna saw [Y] and| herself.", "Anna saw [Y] and himself.", {}, "exactly one blank"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_nothing_is_read(
    tmp_path: Path, paradigm: str, good: str, bad: str, fields: dict[str, Any], what: str
) -> None:
    put(tmp_path, NAMES[12], ("The mice| sing.", "The mice sings."))
    put(tmp_path, paradigm, (good, bad), **fields)
    with pytest.raises(BadData, match=rf"{paradigm}\.jsonl, line 1: .*{re.escape(what)}"):
        data.blimp(tmp_path)


def test_a_pair_that_stands_there_twice_and_a_folder_without_a_paradigm_are_refused(tmp_path: Path) -> None:
    twice = json.dumps(row(NAMES[0], "Anna saw| herself.", "Anna saw himself."))
    (tmp_path / f"{NAMES[0]}.jsonl").write_text(f"{twice}\n{twice}\n", encoding="utf-8")
    with pytest.raises(BadData, match=r"line 2: 'pairID'"):
        data.blimp(tmp_path)
    (tmp_path / f"{NAMES[0]}.jsonl").unlink()
    with pytest.raises(BadData, match="subject-verb, determiner-noun or anaphor"):
        data.blimp(tmp_path)
    with pytest.raises(BadSetting, match=r"https://github\.com/alexwarstadt/blimp"):
        data.blimp()


# -- the published files

LEFT_OUT = dict(zip(NAMES, [0, 0, 0, 3, 0, 3, 0, 3, 0, 2, 0, 0, 0, 1, 0, 1], strict=True))
# pairs that differ in one wordpiece of bert-base-uncased: the rule by which Niu et al. keep a pair
ONE_PIECE = dict(
    zip(NAMES, [1000, 1000, 938, 1000, 659, 1000, 928, 1000, 751, 1000, 915, 895, 896, 906, 868, 921], strict=True)
)
SINGULAR, PLURAL = r"(An?|This|That|Every) (?!lot)", r"(These|Those|Many|Most|All|A lot of) "


@pytest.fixture(scope="module")
def published(shared_data: Path) -> FactSet:
    return data.read(shared_data / "blimp")


def test_the_16_published_paradigms_have_1000_pairs_each_and_13_are_left_out(published: FactSet) -> None:
    assert {r.id: 1000 - len(published.facts(r.id)) for r in published.relations} == LEFT_OUT
    assert re.findall(r"(\d+) pairs", published.source) == ["2", "11"]
    assert len(published) == len(published.own) == 16_000 - 13


def test_every_subject_stands_in_its_sentence_once_before_the_blank_or_behind_it(published: FactSet) -> None:
    for fact in published:
        for prompt in published.prompts(fact):
            first = re.search(rf"(?<!\w){re.escape(fact.subject)}(?!\w)", prompt.text)
            assert first, prompt
            behind = PARADIGMS[fact.relation] in ("noun", "verb")
            assert (first.start() > prompt.text.index(BLANK)) == behind, prompt
        assert bool(published.prompts(fact, blank_last=True)) != behind


def test_a_sentence_with_its_answer_is_the_good_one_and_with_the_other_the_bad_one(
    published: FactSet, shared_data: Path
) -> None:
    for paradigm in NAMES:
        text = gzip.decompress((shared_data / "blimp" / f"{paradigm}.jsonl.gz").read_bytes()).decode()
        rows = map(json.loads, text.splitlines())
        pairs = {f"{paradigm}.{r['pairID']}": (r["sentence_good"], r["sentence_bad"]) for r in rows}
        for fact in published.facts(paradigm):
            whole = published.prompts(fact)[0]
            assert (whole.text.replace(BLANK, whole.answer), whole.text.replace(BLANK, whole.against or "")) == pairs[
                fact.id
            ]


def test_as_many_pairs_differ_in_one_wordpiece_as_niu_et_al_keep(published: FactSet, shared_data: Path) -> None:
    tokenizer = BertTokenizerFast(str(shared_data / "tokenizers" / "bert-base-uncased" / "vocab.txt"))
    for paradigm, theirs in ONE_PIECE.items():
        own = [published.prompts(f)[0] for f in published.facts(paradigm)]
        good = tokenizer([p.text.replace(BLANK, p.answer) for p in own])["input_ids"]
        bad = tokenizer([p.text.replace(BLANK, p.against or "") for p in own])["input_ids"]
        kept = sum(_middle(a, b) == _middle(b, a) == 1 for a, b in zip(good, bad, strict=True))
        assert theirs - LEFT_OUT[paradigm] <= kept <= theirs, paradigm


def _middle(one: list[int], other: list[int]) -> int:
    """How many tokens stand between what the two begin and end with alike?"""
    begin = next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    end = next(i for i, (a, b) in enumerate(zip(one[::-1], other[::-1], strict=False)) if a != b)
    return len(one) - begin - end


def test_the_head_and_not_the_distractor_has_the_number_of_the_verb(published: FactSet) -> None:
    verbs = {"has", "hasn", "is", "isn", "was", "wasn"}, {"have", "haven", "are", "aren", "were", "weren"}
    told = 0
    for paradigm in (*NAMES[10:13], NAMES[14]):
        for fact in published.facts(paradigm):
            number = [bool(re.match(rule, fact.subject)) for rule in (SINGULAR, PLURAL)]
            if True in number and fact.answer in verbs[0] | verbs[1]:
                told += 1
                assert fact.answer in verbs[number.index(True)], fact
    assert told > 500


def test_an_antecedent_is_plural_where_themselves_is_right(published: FactSet) -> None:
    told = [f for f in published.facts("anaphor number agreement") if " " in f.subject and "fish" not in f.subject]
    assert len(told) > 300
    for fact in told:
        plural = re.search(r"([^s]s|men|people|children)$", fact.subject) and not fact.subject.endswith("woman")
        assert (fact.answer == "themselves") == bool(plural), fact


def test_a_determiner_has_the_number_of_its_noun(published: FactSet, shared_data: Path) -> None:
    lexicon = json.loads((shared_data / "blimp" / "determiner_noun_lexicon.json").read_text(encoding="utf-8"))
    singular = {noun["singular"].split(" ")[-1] for noun in lexicon["nouns"]}
    plural = {noun["plural"].split(" ")[-1] for noun in lexicon["nouns"]}
    for paradigm in NAMES[2:10]:
        for fact in published.facts(paradigm):
            noun, determiner = (
                (fact.subject, fact.answer) if fact.relation.endswith("2") else (fact.answer, fact.subject)
            )
            known = singular if determiner in ("this", "that") else plural
            assert noun.split(" ")[-1] in known, fact
