"""Which pairs of BLiMP are kept, and what their right words are: the published counts, and labels that hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from transformers import BertTokenizerFast, GPT2TokenizerFast

from engram import Fact, FactSet, Prompt, Relation, data
from engram.data.labels import AUXILIARIES, DETERMINERS, gender_of, kind_of, label_of, number_of
from engram.data.one_token import OneTokenPairs, one_token_pairs
from engram.data.sets.blimp import PARADIGMS
from engram.errors import BadData, BadSetting, UnknownName

NAMES = list(PARADIGMS)
KEPT = {  # Niu et al. (2024): pairs that differ in one token, of 1,000 each
    "masked": [1000, 1000, 938, 1000, 659, 1000, 928, 1000, 751, 1000, 915, 895, 896, 906, 868, 921],
    "decoder": [1000, 1000, 927, 1000, 703, 1000, 914, 1000, 818, 1000, 918, 888, 864, 802, 881, 926],
}
VERBS = [p for p in NAMES if kind_of(p) == "verb"]
CUT = {"masked": {"isn", "wasn", "doesn"}, "decoder": {"Ġisn", "Ġwasn", "Ġdoesn", "Ġhasn"}}
MISLABELLED = {"masked": (90, 113), "decoder": (124, 219)}  # of these words, least and most of a paradigm


class Words:
    """A tokenizer of whole words, but for what stands behind an n't."""

    def tokenize(self, text: str) -> list[str]:
        return text.replace("'", " ' ").replace("-", " - ").split()

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return " ".join(tokens)


def pair(paradigm: str, good: str, bad: str, text: str = "The one [Y] it.") -> Prompt:
    return Prompt(text, good, Fact("The one", paradigm, good), against=bad)


# -- by hand


def test_a_pair_is_kept_if_one_token_of_each_is_left_between_what_the_two_have_in_common() -> None:
    relation = Relation(NAMES[0], "", ())
    own = {
        "same": (Prompt("He saw [Y] there.", "himself", against="herself"),),
        "two": (Prompt("He saw [Y].", "him-self", against="herself"),),
        "longer": (Prompt("He saw [Y].", "himself", against="himself himself"),),
    }
    facts = FactSet(
        "mine", (relation,), {relation.id: tuple(Fact("He", relation.id, "x", id_) for id_ in own)}, "", own
    )
    for kind, text in (("masked", "He saw [Y] there."), ("decoder", "He saw [Y]")):
        found = one_token_pairs(facts, Words(), kind)  # type: ignore[arg-type]
        assert (found.counts, found.of) == ({NAMES[0]: 1}, {NAMES[0]: 3})
        (kept,) = found
        assert (kept.id, kept.text, kept.good, kept.bad, kept.words) == (
            "same", text, "himself", "herself", ("himself", "herself"),
        )  # fmt: skip


def test_another_kind_other_facts_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="causal"):
        one_token_pairs(tmp_path, Words(), "causal")  # type: ignore[arg-type]
    with pytest.raises(BadData, match="subject-verb"):
        one_token_pairs(tmp_path, Words())
    with pytest.raises(BadSetting, match="no minimal pairs"):
        one_token_pairs(data.shipped().only(["capital"]), Words())


@pytest.mark.parametrize(
    ("paradigm", "good", "bad", "number", "released"),
    [
        (NAMES[14], "isn", "aren", "singular", "plural"),
        (NAMES[14], "wasn", "weren", "singular", "plural"),
        (NAMES[14], "doesn", "don", "singular", "plural"),
        (NAMES[14], "hasn", "haven", "singular", "singular"),
        (NAMES[14], "haven", "hasn", "plural", "plural"),
        (NAMES[14], "isn't", "aren't", "singular", "plural"),
        (NAMES[14], "aren", "isn", "plural", "plural"),
        (NAMES[14], "don", "doesn", "plural", "plural"),
        (NAMES[10], "was", "were", "singular", "singular"),
        (NAMES[12], "discuss", "discusses", "plural", "singular"),
        (NAMES[12], "carries", "carry", "singular", "singular"),
        ("subject_be", "are", "is", "plural", "plural"),
        (NAMES[15], "bosses", "boss", "plural", None),
        (NAMES[13], "thesis", "theses", "singular", None),
        (NAMES[2], "knife", "knives", "singular", None),
        (NAMES[4], "people", "person", "plural", None),
        (NAMES[3], "those", "that", "plural", "plural"),
        ("noun_determiner", "this", "these", "singular", "singular"),
        (NAMES[1], "themselves", "himself", "plural", "plural"),
        (NAMES[12], "sing", "singing", None, "plural"),
    ],
)
def test_the_number_of_a_right_word(paradigm: str, good: str, bad: str, number: str, released: str) -> None:
    assert number_of(pair(paradigm, good, bad)) == number
    assert number_of(pair(paradigm, good, bad), preset="released") == released


def test_a_gender_is_told_of_antecedents_and_is_what_their_paradigm_is_labelled_by() -> None:
    assert [gender_of(pair(NAMES[0], f"{x}self", "x")) for x in ("her", "him", "it")] == [
        "feminine", "masculine", "neuter",
    ]  # fmt: skip
    assert label_of(pair("reflexive_gender", "himself", "herself")) == "masculine"
    assert label_of(pair("reflexive_number", "themselves", "itself")) == "plural"
    assert gender_of(pair(NAMES[1], "themselves", "himself")) is None
    assert gender_of(pair(NAMES[3], "this", "these")) is None


def test_a_label_needs_a_paradigm_a_wrong_word_and_a_preset_there_is() -> None:
    with pytest.raises(BadSetting, match="no paradigm of agreement"):
        number_of(pair("P36", "Dublin", "Cork"))
    with pytest.raises(BadSetting, match="wrong word"):
        number_of(Prompt("The one [Y].", "is"))
    with pytest.raises(UnknownName, match="published"):
        number_of(pair(NAMES[14], "is", "are"), preset="published")


# -- the published files


@pytest.fixture(scope="module", params=["masked", "decoder"])
def found(request: pytest.FixtureRequest, shared_data: Path) -> tuple[str, OneTokenPairs]:
    home = shared_data / "tokenizers"
    if request.param == "masked":
        tokenizer = BertTokenizerFast(str(home / "bert-base-uncased" / "vocab.txt"))
    else:
        tokenizer = GPT2TokenizerFast(str(home / "gpt2" / "vocab.json"), str(home / "gpt2" / "merges.txt"))
    return request.param, one_token_pairs(shared_data / "blimp", tokenizer, request.param)


def test_as_many_pairs_of_each_paradigm_are_kept_as_published(found: tuple[str, OneTokenPairs]) -> None:
    kind, pairs = found
    assert pairs.counts == dict(zip(NAMES, KEPT[kind], strict=True))
    assert pairs.of == dict.fromkeys(NAMES, 1000)


def test_the_text_is_the_sentence_with_a_blank_and_for_decoders_ends_there(found: tuple[str, OneTokenPairs]) -> None:
    kind, pairs = found
    for kept in pairs:
        assert Prompt(kept.text, kept.good).blank_last or kind == "masked"
        assert kept.text.count("[Y]") == 1
    texts = {kept.id: kept.text for kept in pairs}
    first = {"masked": "raymond is selling this [Y].", "decoder": "Raymond is selling this [Y]"}
    assert texts["determiner_noun_agreement_1.0"] == first[kind]


def test_the_released_labels_are_wrong_as_often_as_published_and_ours_tell_all_but_one(
    found: tuple[str, OneTokenPairs],
) -> None:
    kind, pairs = found
    untold = [k.words for k in pairs if label_of(k) is None]
    assert untold == [("sing", "singing")]
    wrong = {
        p: [k for k in pairs.kept[p] if number_of(k) and number_of(k) != number_of(k, preset="released")] for p in VERBS
    }
    counts = {p: sum(k.good in CUT[kind] for k in own) for p, own in wrong.items()}
    assert (min(counts.values()), max(counts.values())) == MISLABELLED[kind]
    others = Counter(k.good.lstrip("Ġ#") for own in wrong.values() for k in own if k.good not in CUT[kind])
    assert all(word.endswith("s") for word in others)  # plurals such as discuss, of which there are a few more


def test_a_label_agrees_with_the_words_that_decide(shared_data: Path) -> None:
    facts = data.blimp(shared_data / "blimp")
    told: Counter[str] = Counter()
    for fact in facts:
        number = number_of(facts.prompts(fact)[0])
        decides = PARADIGMS[fact.relation]
        if decides == "determiner":
            assert number == DETERMINERS[fact.subject], fact
        elif decides == "noun":
            assert number == DETERMINERS[fact.answer], fact
        elif decides == "verb" and fact.subject.removesuffix("'t") in AUXILIARIES:
            assert number == AUXILIARIES[fact.subject.removesuffix("'t")], fact
        else:
            continue
        told[decides] += 1
    assert told["verb"] > 500
    assert told["determiner"] == 4000
