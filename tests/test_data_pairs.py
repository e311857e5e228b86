"""The minimal pairs shipped with engram: their form, that both shipped models can be asked them, and know them."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import engram as eg
from engram import Prompt, data
from engram.data.labels import label_of
from engram.data.sets.pairs import HERE, PARADIGMS
from engram.errors import BadData, BadSetting
from engram.facts import BLANK

NOT_CAUSAL = {"noun_determiner"}
CORPUS = Path(__file__).parent.parent / "scripts"


@pytest.fixture(scope="module")
def pairs() -> eg.FactSet:
    return data.pairs()


def test_there_are_seven_paradigms_each_with_both_labels(pairs: eg.FactSet) -> None:
    assert [r.id for r in pairs.relations] == list(PARADIGMS)
    for relation in pairs.relations:
        labels = Counter(label_of(pairs.prompts(f)[0]) for f in pairs.facts(relation.id))
        assert len(labels) == 2
        assert min(labels.values()) >= 20, relation.id


def test_a_sentence_is_asked_once_and_its_subject_stands_on_the_side_that_decides(pairs: eg.FactSet) -> None:
    texts = Counter((f.relation, pairs.prompts(f)[0].text, f.answer) for f in pairs)
    assert max(texts.values()) == 1
    for fact in pairs:
        whole = pairs.prompts(fact)[0]
        before, after = whole.text.split(BLANK)
        side = after if fact.relation in NOT_CAUSAL else before
        assert side.replace(".", " ").split().count(fact.subject.split()[-1]) == 1
        assert whole.against not in (None, whole.answer)
        assert bool(pairs.prompts(fact, blank_last=True)) == (fact.relation not in NOT_CAUSAL)


def test_they_are_what_the_script_makes_and_the_grammar_never_says(pairs: eg.FactSet, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(CORPUS))
    from training import shipped_pairs
    from training.pairs import minimal_pairs

    drawn = {p.good for p in minimal_pairs(shipped_pairs.SEED, shipped_pairs.DRAWN)}
    for paradigm in PARADIGMS:
        lines = (HERE / f"{paradigm}.jsonl").read_text(encoding="utf-8").splitlines()
        assert {json.loads(line)["sentence_good"] for line in lines} <= drawn
    for name in [m for m in sys.modules if m.split(".")[0] == "training"]:
        del sys.modules[name]


@pytest.mark.parametrize(("name", "asked"), [("engram:masked", 7), ("engram:causal", 6)])
def test_the_shipped_models_find_the_right_word_the_likelier_one(pairs: eg.FactSet, name: str, asked: int) -> None:
    model = eg.load(name)
    right: dict[str, list[bool]] = {}
    prompts = [p for f in pairs for p in pairs.prompts(f, blank_last=model.blank_last)[:1]][::3]
    for prompt in prompts:
        assert len(model.rows(prompt)) == 1  # both words are one token
    alone = [replace(p, against=None) for p in prompts]
    good = eg.ask(model, alone)
    bad = eg.ask(model, [replace(p, answer=q.against or "") for p, q in zip(alone, prompts, strict=True)])
    for prompt, one, other in zip(prompts, good, bad, strict=True):
        assert prompt.fact is not None
        right.setdefault(prompt.fact.relation, []).append(one.logprob > other.logprob)
    assert len(right) == asked
    assert {r: sum(hits) / len(hits) for r, hits in right.items() if sum(hits) < 0.9 * len(hits)} == {}


def test_a_folder_of_ones_own_reads_alike_and_what_is_wrong_is_named(tmp_path: Path) -> None:
    line = {"sentence_good": "The mice run.", "sentence_bad": "The mice runs.", "subject": "The mice", "pairID": 7}
    file = tmp_path / "subject_verb.jsonl"
    file.write_text(json.dumps(line) + "\n", encoding="utf-8")
    facts = data.read(tmp_path)
    (fact,) = facts
    assert (fact.subject, fact.answer, fact.id) == ("The mice", "run", "subject_verb.7")
    assert facts.prompts(fact) == (Prompt("The mice [Y].", "run", fact, 0, "runs"),)
    for wrong, what in (
        ({"subject": "The rats"}, "'subject' is to stand before"),
        ({"pairID": None}, "'pairID'"),
        ({"sentence_bad": "The mice run."}, "differ in one word"),
    ):
        file.write_text(json.dumps({**line, **wrong}) + "\n", encoding="utf-8")
        with pytest.raises(BadData, match=what):
            data.pairs(tmp_path)


# -- sets of sentences


def test_sets_of_sentences_have_one_label_each_and_share_no_sentence(pairs: eg.FactSet) -> None:
    sets = data.sentence_sets(pairs, prompts=10)
    be = sets.facts("subject_be")
    texts = [p.text for f in be for p in sets.prompts(f) if not p.blank_last]
    assert {len(sets.prompts(f, blank_last=True)) for f in be} == {10}
    assert len(texts) == len(set(texts)) == 10 * len(be)
    for fact in be:
        assert {label_of(p) for p in sets.prompts(fact)} == {fact.answer}
    own = {p.text for f in pairs.facts("subject_be") for p in pairs.prompts(f)}
    assert set(texts) <= own


def test_sets_of_determiners_are_pairs_in_drawn_sentences(pairs: eg.FactSet) -> None:
    sets = data.sentence_sets(pairs, prompts=4)
    assert {len(sets.prompts(f)) for f in sets.facts("noun_determiner")} == {4}
    assert {f.answer for f in sets.facts("noun_determiner")} == {"this", "that", "these", "those"}
    assert [r.id for r in sets.relations] == list(PARADIGMS)
    assert data.sentence_sets(pairs, prompts=4, seed=1).own != sets.own


def test_what_is_drawn_of_a_paradigm_does_not_depend_on_the_others(pairs: eg.FactSet) -> None:
    alone = data.sentence_sets(pairs.only(["noun_determiner", "subject_be"]))
    among = data.sentence_sets(pairs)
    assert alone.relation("noun_determiner") == among.relation("noun_determiner")
    assert all(among.own[id_] == own for id_, own in alone.own.items())


def test_data_sets_stand_together_unless_they_share_a_relation(pairs: eg.FactSet) -> None:
    both = data.together(data.shipped(), pairs)
    assert len(both) == len(data.shipped()) + len(pairs)
    assert both.prompts(pairs.facts("subject_be")[3]) == pairs.prompts(pairs.facts("subject_be")[3])
    with pytest.raises(BadSetting, match="reflexive_gender"):
        data.together(pairs, pairs)
    with pytest.raises(BadSetting, match="from 1 up"):
        data.sentence_sets(pairs, prompts=0)
