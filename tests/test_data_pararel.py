"""ParaRel in both of its layouts against the counts that were published, and against a third copy of the data."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from engram import data
from engram.data import wikidata
from engram.data.sets.pararel import ParaRel
from engram.errors import BadData, BadSetting, UnknownName
from engram.facts import FactSet, Prompt

# relation, type, templates, templates whose blank is last, facts of Dai et al., facts of EleutherAI's package
TABLE = """
P17 N-1 3 3 0 912       P19 N-1 13 7 944 779    P20 N-1 8 8 953 817     P27 N-M 9 7 966 958     P30 N-1 4 4 975 959
P36 1-1 14 8 703 471    P37 N-1 9 1 966 900     P39 N-M 6 6 892 485     P47 N-M 9 5 922 649     P101 N-M 13 10 696 571
P103 N-1 4 2 977 919    P106 N-M 11 7 958 821   P108 N-M 4 4 383 378    P127 N-1 4 2 687 616    P131 N-1 3 3 0 775
P136 N-1 6 2 931 859    P138 N-1 20 15 645 461  P140 N-1 4 1 473 432    P159 N-1 10 7 967 801   P176 N-1 12 7 982 925
P178 N-M 16 12 592 588  P190 N-M 4 1 995 671    P264 N-1 17 14 429 53   P276 N-1 2 2 0 764      P279 N-1 4 4 964 900
P361 N-1 2 2 0 746      P364 N-1 6 4 856 756    P407 N-1 18 4 877 857   P413 N-1 6 2 952 952    P449 N-1 11 6 881 801
P463 N-M 5 3 225 203    P495 N-1 17 17 909 905  P530 N-M 9 4 996 950    P740 N-1 14 14 936 843  P937 N-M 5 5 954 853
P1001 N-M 1 1 0 664     P1303 N-M 4 2 949 513   P1376 1-1 14 6 234 179  P1412 N-M 8 2 969 924
"""
ROWS = {r: (t, *map(int, n)) for r, t, *n in (re.split(r" +", row) for row in re.split(r" {2,}|\n", TABLE.strip()))}


@pytest.fixture(scope="module")
def dai(shared_data: Path) -> FactSet:
    return data.pararel(shared_data / "upstream" / "hunter", preset="dai")


@pytest.fixture(scope="module")
def eleuther(shared_data: Path) -> FactSet:
    return data.pararel(shared_data / "upstream" / "pararel", preset="eleuther")


def prompts(facts: FactSet) -> int:
    return sum(len(facts.facts(r.id)) * len(r.templates) for r in facts.relations)


def blank_last(templates: tuple[str, ...]) -> list[str]:
    return [t for t in templates if Prompt(t, "").blank_last]


def flat(path: Path) -> Iterator[dict[str, str]]:
    raw = path.read_bytes()
    yield from map(json.loads, (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines())


def test_the_facts_and_prompts_of_dai_et_al_are_as_many_as_they_published(dai: FactSet) -> None:
    assert (len(dai), prompts(dai), len(dai.relations)) == (27_738, 253_448, 34)


def test_the_facts_and_prompts_of_eleutherai_are_as_many_as_their_package_reads(eleuther: FactSet) -> None:
    assert (len(eleuther), prompts(eleuther), len(eleuther.relations)) == (27_610, 224_674, 39)
    assert len({fact.id for fact in eleuther}) == 27_610


def test_every_relation_has_the_type_templates_and_facts_of_the_published_table(
    dai: FactSet, eleuther: FactSet
) -> None:
    found = {
        r.id: (
            r.type,
            len(r.templates),
            len(blank_last(r.templates)),
            len(dai.members.get(r.id, ())),
            len(eleuther.facts(r.id)),
        )
        for r in eleuther.relations
    }
    assert found == ROWS


def test_the_templates_of_dai_et_al_are_9_35_on_average_and_not_8_63(dai: FactSet) -> None:
    counts = [len(r.templates) for r in dai.relations]
    assert sum(counts) == 318
    assert round(sum(counts) / len(counts), 2) == 9.35
    assert min(counts) == 4


def test_causal_models_can_be_asked_203_of_the_318_templates(dai: FactSet) -> None:
    last = {r.id: len(blank_last(r.templates)) for r in dai.relations}
    enough = [r for r, n in last.items() if n >= 4]
    assert sum(last.values()) == 203
    assert len(enough) == 24
    assert sum(len(dai.facts(r)) for r in enough) == 19_614
    assert sum(len(dai.facts(r)) * last[r] for r in enough) == 146_895


def test_the_facts_of_dai_et_al_split_by_type_as_in_their_files(dai: FactSet) -> None:
    facts = Counter[str]()
    for r in dai.relations:
        facts[r.type] += len(dai.facts(r.id))
    assert facts == {"1-1": 937, "N-1": 16_304, "N-M": 10_497}
    assert Counter(r.type for r in dai.relations) == {"1-1": 2, "N-1": 19, "N-M": 13}


def test_the_21_pairs_that_stand_twice_are_kept_and_told_apart_by_their_position(dai: FactSet) -> None:
    pairs = Counter((f.relation, f.subject, f.answer) for f in dai)
    assert sum(n - 1 for n in pairs.values()) == 21
    assert len({f.id for f in dai}) == len(dai)
    assert [f.id for f in dai.facts("P36")[:2]] == ["P36.0", "P36.1"]


def test_both_layouts_agree_with_a_flat_copy_fact_by_fact(dai: FactSet, eleuther: FactSet, shared_data: Path) -> None:
    kn34 = flat(shared_data / "pararel" / "facts_kn34.jsonl.gz")
    assert [(f.relation, f.subject, f.answer) for f in dai] == [
        (f["relation"], f["subject"], f["object"]) for f in kn34
    ]
    vocab = [
        (f["relation"], f["subject"], f["object"], f["uuid"])
        for f in flat(shared_data / "pararel" / "facts_lms_vocab.jsonl.gz")
        if f["relation"] not in ("P31", "P527")  # they have facts and no templates
    ]
    assert [(f.relation, f.subject, f.answer, f.id) for f in eleuther] == vocab


def test_both_layouts_hold_the_templates_of_a_flat_copy_but_for_runs_of_spaces(
    dai: FactSet, eleuther: FactSet, shared_data: Path
) -> None:
    patterns: dict[str, list[str]] = {}
    for row in flat(shared_data / "pararel" / "patterns.jsonl"):
        patterns.setdefault(row["relation"], []).append(row["pattern"])
    one_space = {r.id: [re.sub(" +", " ", t) for t in r.templates] for r in eleuther.relations}
    assert one_space == patterns
    assert {r.id: list(r.templates) for r in dai.relations} == {r.id: patterns[r.id] for r in dai.relations}
    assert "[X],  a type of [Y]." in eleuther.relation("P279").templates


def test_wikidatas_names_and_lamas_types_are_those_of_relations_jsonl(shared_data: Path) -> None:
    rows = flat(shared_data / "upstream" / "hunter" / "data" / "LAMA" / "raw_data" / "relations.jsonl")
    theirs = {row["relation"]: (row["label"], row["type"]) for row in rows}
    assert {id_: (r.name, r.type) for id_, r in wikidata.RELATIONS.items()} == {id_: theirs[id_] for id_ in ROWS}


def test_a_fact_is_found_by_the_name_of_its_relation_in_both_layouts(dai: FactSet, eleuther: FactSet) -> None:
    for facts in (dai, eleuther):
        assert facts.fact("Ireland", "capital").answer == "Dublin"
    assert "primary city" in dai.relation("capital").description
    with pytest.raises(UnknownName, match="capital"):
        dai.facts("capitol")


# --- a small tree of our own, in both layouts -------------------------------------------------------------------------


def put(path: Path, rows: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    many = isinstance(rows, list)
    path.write_text("\n".join(map(json.dumps, rows)) if many else json.dumps(rows), encoding="utf-8")  # type: ignore[arg-type]


CAPITALS = [{"pattern": "[X] is run from [Y]."}, {"pattern": "[Y] is where [X] is run."}]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    put(tmp_path / "data/pattern_data/graphs_json/P36.jsonl", CAPITALS)
    put(tmp_path / "data/pattern_data/graphs_json/P999.jsonl", CAPITALS[:1])
    put(tmp_path / "data/pattern_data/graphs_json/P30.jsonl", CAPITALS)
    for relation in ("P36", "P999", "P31"):
        put(tmp_path / f"data/trex_lms_vocab/{relation}.jsonl", [{"sub_label": "Peru", "obj_label": "Lima"}])
    put(tmp_path / "data/PARAREL/raw_data/patterns/P36.jsonl", CAPITALS)
    put(tmp_path / "data/PARAREL/query_pairs.json", {"P36": [["Chad", "N'Djamena"]], "P31": [["a", "b"]]})
    put(tmp_path / "data/LAMA/raw_data/relations.jsonl", [{"relation": "P36", "label": "seat", "type": "1-1"}])
    return tmp_path


def test_a_relation_without_templates_or_without_facts_is_left_out(tree: Path) -> None:
    assert [r.id for r in data.pararel(tree).relations] == ["P36", "P999"]
    assert [r.id for r in data.pararel(tree, facts="trex").relations] == ["P36"]
    assert [r.id for r in data.pararel(tree, min_templates=2).relations] == ["P36"]


def test_names_come_from_relations_jsonl_else_from_wikidata_else_from_the_id(tree: Path) -> None:
    assert [r.name for r in data.pararel(tree).relations] == ["capital", "P999"]
    assert data.pararel(tree, facts="trex").fact("Chad", "seat").id == "P36.0"


def test_the_repository_and_its_data_folder_and_gzipped_files_read_the_same(tree: Path) -> None:
    plain = data.pararel(tree)
    assert data.pararel(tree / "data").members == plain.members
    for file in [p for p in tree.rglob("*.json*") if p.is_file()]:
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert data.pararel(tree).members == plain.members
    assert len(data.pararel(tree, facts="trex")) == 1


def test_settings_that_contradict_each_other_or_do_not_exist_are_refused(tree: Path) -> None:
    with pytest.raises(BadSetting, match="already"):
        data.pararel(tree, preset="dai", min_templates=1)
    with pytest.raises(UnknownName, match="dai"):
        data.pararel(tree, preset="day")
    with pytest.raises(UnknownName, match="trex"):
        data.pararel(tree, facts="t-rex")
    with pytest.raises(BadSetting, match="at least 1"):
        ParaRel(tree, min_templates=0).read()
    with pytest.raises(UnknownName, match="min_templates"):
        data.pararel(tree, minimum=3)


def test_a_folder_that_holds_something_else_says_what_was_expected(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"trex_lms_vocab.*query_pairs\.json"):
        data.pararel(tree / "data" / "LAMA")
    with pytest.raises(BadData, match="no such folder"):
        data.pararel(tree / "nowhere")
    (tree / "data/PARAREL").rename(tree / "elsewhere")
    with pytest.raises(BadData, match="'trex'"):
        data.pararel(tree, preset="dai")


@pytest.mark.parametrize("name", ["LAMA/raw_data/relations.jsonl", "PARAREL/query_pairs.json"])
def test_a_file_that_is_missing_in_dais_layout_is_named(tree: Path, name: str) -> None:
    (tree / "data" / name).unlink()
    with pytest.raises(BadData, match="is missing") as caught:
        data.pararel(tree, facts="trex")
    assert str(caught.value.path) == str(tree / "data" / name)


@pytest.mark.parametrize("pairs", [["P36"], {"P36": {"Peru": "Lima"}}, {"P36": [["Peru"]]}, {"P36": [["Peru", 1]]}])
def test_pairs_of_another_form_are_refused(tree: Path, pairs: object) -> None:
    (tree / "data/PARAREL/query_pairs.json").write_text(json.dumps(pairs), encoding="utf-8")
    with pytest.raises(BadData, match=r"query_pairs\.json.* is to be"):
        data.pararel(tree, facts="trex")
