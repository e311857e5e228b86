"""Texts about facts: those shipped are what they say they are, BingRel's lie where they should, a copy is cheap."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from transformers import AutoTokenizer

import engram
from engram import data
from engram.errors import BadData, UnknownName
from engram.experiments.prompt_types import entities, mentioned, without
from engram.facts import BLANK, SUBJECT, FactSet, Relation
from engram.texts import Mentions, Texts

MODELS = Path(engram.__file__).parent / "models" / "shipped"
FRAMES = Path(engram.__file__).parent / "data" / "shipped" / "texts"
CAPITAL = Relation("P36", "capital", ("The capital of [X] is [Y].",))
MINE = FactSet("mine", (CAPITAL,), {"P36": (CAPITAL.fact("Ireland", "Dublin"), CAPITAL.fact("Italy", "Rome"))})


@pytest.fixture(scope="module")
def facts() -> FactSet:
    return data.read("shipped")


@pytest.fixture(scope="module")
def shipped(facts: FactSet) -> Texts:
    return data.texts("shipped", facts)


@pytest.fixture(scope="module")
def dai(shared_data: Path) -> FactSet:
    return data.pararel(shared_data / "upstream" / "hunter", preset="dai")


def _frames(relation: str) -> list[str]:
    lines = (FRAMES / f"{relation}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def test_every_relation_has_six_texts_with_the_answer_and_six_without_and_there_are_60_ordinary_ones(facts, shipped):
    assert list(shipped.members) == [r.id for r in facts.relations]
    for r in facts.relations:
        own = shipped.members[r.id]
        assert len(own) == len(facts.facts(r.id))
        assert min(len(m.both) for m in own) >= 6 <= min(len(m.head) for m in own), r.id
    assert len(set(shipped.neither)) == len(shipped.neither) >= 60


def test_a_shipped_text_mentions_its_subject_and_the_answer_once_or_never(facts, shipped):
    for r in facts.relations:
        for number, fact in enumerate(facts.facts(r.id)):
            for texts, wanted in zip(shipped.of(r.id, number), (1, 0), strict=True):
                for text in texts:
                    hidden, heads = without(text, fact.subject)
                    assert (len(heads), len(mentioned(hidden, fact.answer))) == (1, wanted), text


def test_most_texts_with_the_answer_have_it_behind_the_subject_so_that_a_causal_model_can_be_asked(facts):
    for r in facts.relations:
        both = [t for t in _frames(r.id) if BLANK in t]
        assert sum(t.index(SUBJECT) < t.index(BLANK) for t in both) >= 6, r.id


def test_an_ordinary_text_mentions_no_subject_and_no_answer_and_has_a_name_to_hide(facts, shipped):
    names = {name for f in facts for name in (f.subject, f.answer)}
    assert [(t, n) for t in shipped.neither for n in names if n in t and mentioned(t, n)] == []
    assert [t for t in shipped.neither if not entities(t)] == []


def test_no_shipped_text_is_a_template_or_said_in_training_and_no_article_gives_a_name_away(facts):
    said = (Path(__file__).parent.parent / "scripts" / "training" / "sentences.py").read_text(encoding="utf-8")
    for r in facts.relations:
        own = _frames(r.id)
        assert len(set(own)) == len(own)
        for text in own:
            first = text.split(".")[0]
            assert not any(first in t or t.rstrip(".") in text for t in r.templates), text
            assert text not in said
            assert not re.search(r"\ban? \[[XY]\]", text, re.IGNORECASE), text
            if r.id in {"animal_class", "river_country", "food_origin", "symbol"}:  # their subjects begin small
                assert not re.search(r"(^|[.!?] )\[X\]", text), text


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_the_shipped_models_can_write_every_shipped_text_and_the_answer_is_one_token_there(kind, facts, shipped):
    tokenizer = AutoTokenizer.from_pretrained(MODELS / kind)
    every = [*shipped.everything, *shipped.neither]
    words = sorted({word for text in every for word in text.split()})
    if kind == "masked":  # the other one writes bytes
        assert [
            w for w, ids in zip(words, tokenizer(words)["input_ids"], strict=True) if tokenizer.unk_token_id in ids
        ] == []
    longest = sorted(every, key=len)[-3000:]
    assert max(map(len, tokenizer(longest)["input_ids"])) <= 64
    for r in facts.relations:
        fact, own = facts.facts(r.id)[0], shipped.of(r.id, 0)
        for text in own.both:
            (start, end), *_ = mentioned(without(text, fact.subject)[0], fact.answer)
            spans = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
            assert [s for s in spans if s[0] < end and s[1] > start] in ([(start, end)], [(start - 1, end)]), text


def test_the_sample_of_bingrel_has_its_counts_and_about_the_published_share_of_blurred_texts(dai, shared_data):
    texts = data.texts(shared_data / "upstream" / "hunter", dai)
    assert (texts.name, len(texts.members), {len(m) for m in texts.members.values()}) == ("bingrel", 34, {20})
    counts = Counter[str]()
    for relation, own in texts.members.items():
        for fact, m in zip(dai.facts(relation), own, strict=False):
            counts += Counter(th=len(m.both), h=len(m.head), also=sum(t in m.both for t in m.head))
            counts["tail"] += sum(bool(mentioned(t, fact.answer)) for t in m.head)
            counts["again"] += sum(len(mentioned(without(t, fact.subject)[0], fact.answer)) > 1 for t in m.both)
    assert (
        (counts["th"], counts["h"]) == (5355, 6526) == (_listed(shared_data, "th_bags"), _listed(shared_data, "h_bags"))
    )
    shares = [
        100 * counts["also"] / counts["h"],
        100 * counts["tail"] / counts["h"],
        100 * counts["again"] / counts["th"],
    ]
    assert shares == pytest.approx([5.4, 18.2, 12.3], abs=1)  # of all 476,237 texts
    assert texts.of("P36", 500) == Mentions()


def _listed(shared_data: Path, key: str) -> int:
    folder = shared_data / "upstream" / "hunter" / "data" / "BingDistantTREx" / "final"
    return sum(len(entry[key]) for file in folder.iterdir() for entry in json.loads(file.read_text()))


def _bag(folder: Path, entries: object, name: str = "P36") -> Path:
    path = folder / f"final_distant_allbags_{name}_new.json"
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return path


def _entry(*subjects: str) -> dict[str, list[str]]:
    return {"th_bags": [f"Much is said of {s}." for s in subjects], "h_bags": []}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([_entry("Italy"), _entry("Ireland")], r"not aligned.*entry 0 is to be about ⟨Ireland.*2 of 2"),
        ([_entry("Ireland"), _entry("Italy"), _entry("Spain")], "3 entries for 2 facts"),
        ('[{"th_bags": ["Ireland', "line 1.*cut off"),
        ([{"th_bags": ["Ireland"]}], "entry 0.*h_bags"),
        ([_entry("Ireland"), {"th_bags": "Italy", "h_bags": []}], "entry 1.*list of texts"),
        ({"P36": []}, "list with an entry"),
    ],
)
def test_a_bad_file_of_bingrel_is_named_with_its_place(tmp_path, entries, words):
    path = _bag(tmp_path, entries)
    with pytest.raises(BadData, match=words) as told:
        data.texts(tmp_path, MINE)
    assert str(told.value).startswith(str(path))


def test_a_file_of_bingrel_may_end_before_the_facts_and_have_facts_without_texts(tmp_path):
    _bag(tmp_path, [_entry()])
    texts = data.texts(tmp_path, MINE)
    assert texts.of("P36", 0) == texts.of("P36", 1) == Mentions()


def test_texts_of_other_relations_or_nowhere_are_refused(tmp_path, facts):
    _bag(tmp_path, [_entry("Ireland")])
    with pytest.raises(BadData, match="no texts for a relation of shipped"):
        data.texts(tmp_path, facts)
    with pytest.raises(UnknownName, match=r"set of texts.*shipped"):
        data.texts("shiped", facts)


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [("P36", "We like it.", r"P36.jsonl, line 1.*one \[X\]"), ("neither", "We like [X].", "neither.jsonl, line 1")],
)
def test_a_sentence_of_ones_own_that_does_not_fit_is_named_with_its_line(tmp_path, name, line, words):
    (tmp_path / "P36.jsonl").write_text('{"text": "We like [X]."}\n')
    (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": line}) + "\n")
    with pytest.raises(BadData, match=words):
        data.texts(tmp_path, MINE)


def test_ones_own_sentences_speak_of_ones_own_facts(tmp_path):
    (tmp_path / "P36.jsonl").write_text('{"text": "We like [X]."}\n{"text": "[Y] is far; so is [X]."}\n')
    texts = data.texts(tmp_path, MINE)
    assert texts.of("P36", 1) == Mentions(("Rome is far; so is Italy.",), ("We like Italy.",))
    assert texts.everything[:2] == ("Dublin is far; so is Ireland.", "We like Ireland.")


def test_a_copy_for_another_process_reads_the_same_texts_again(facts, shipped):
    packed = pickle.dumps(shipped)
    assert len(packed) < len(pickle.dumps(facts)) + 1000 < len("".join(shipped.everything)) / 10
    assert pickle.loads(packed) == shipped
    plain = Texts("mine", {"P36": (Mentions(("a",), ("b",)),)}, ("c",))
    assert pickle.loads(pickle.dumps(plain)) == plain


def test_a_copy_whose_files_have_changed_since_is_refused(tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(FRAMES, folder)
    facts = data.read("shipped").only(["capital"])
    packed = pickle.dumps(data.texts(folder, facts))
    (folder / "neither.jsonl").write_text('{"text": "It rains."}\n')
    with pytest.raises(BadData, match="other texts than it did"):
        pickle.loads(packed)


def test_the_checksum_tells_texts_apart():
    one = Texts("x", {"P36": (Mentions(("a",), ("b",)),)})
    others = [Texts("x", {"P36": (Mentions(("a", "b")),)}), Texts("x", {"P37": one.members["P36"]}),
              Texts("x", one.members, ("c",))]  # fmt: skip
    assert len({t.checksum for t in (one, *others)}) == 4
    assert Texts("y", dict(one.members), source="elsewhere").checksum == one.checksum
