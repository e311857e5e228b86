"""LAMA's layout: relations.jsonl with one template each, and TREx/P*.jsonl. The facts here are our own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engram import data
from engram.errors import BadData, BadSetting

RELATIONS = [
    {"relation": "P36", "template": "[X] is run from [Y] .", "label": "capital", "description": "seat", "type": "1-1"},
    {"relation": "P69", "template": "[X] went to school at [Y] .", "label": "educated at", "type": "N-M"},
    {"relation": "P30", "template": "[X] lies in [Y] .", "label": "continent", "description": "", "type": "N-1"},
]
PERU = {
    "uuid": "u-1", "obj_uri": "Q2868", "obj_label": "Lima", "sub_uri": "Q419", "sub_label": "Peru",
    "predicate_id": "P36", "evidences": [{"sub_surface": "Peru", "masked_sentence": "Peru is run from [MASK]."}],
}  # fmt: skip


def put(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def lama(tmp_path: Path) -> Path:
    put(tmp_path / "data/relations.jsonl", RELATIONS)
    put(tmp_path / "data/TREx/P36.jsonl", [PERU, PERU])
    put(tmp_path / "data/TREx/P30.jsonl", [{**PERU, "uuid": "u-2", "obj_label": "America"}])
    return tmp_path


def test_a_relation_has_the_one_template_of_relations_jsonl_and_the_facts_of_its_file(lama: Path) -> None:
    facts = data.lama(lama)
    assert [(r.id, r.name, r.type, r.templates) for r in facts.relations] == [
        ("P36", "capital", "1-1", ("[X] is run from [Y] .",)),
        ("P30", "continent", "N-1", ("[X] lies in [Y] .",)),
    ]
    assert [(f.subject, f.relation, f.answer, f.id) for f in facts] == [
        ("Peru", "P36", "Lima", "u-1"),
        ("Peru", "P36", "Lima", "u-1"),
        ("Peru", "P30", "America", "u-2"),
    ]
    assert [p.text for p in facts.prompts(facts.fact("Peru", "capital"))] == ["Peru is run from [Y] ."]


def test_lamas_data_folder_reads_like_its_repository(lama: Path) -> None:
    assert data.lama(lama / "data").members == data.lama(lama).members


def test_without_a_path_the_error_says_where_the_files_are_had() -> None:
    with pytest.raises(BadSetting, match=r"https://dl\.fbaipublicfiles\.com/LAMA/data\.zip.*TREx"):
        data.lama()


def test_a_template_without_its_marks_is_named_with_its_line(lama: Path) -> None:
    put(lama / "data/relations.jsonl", [RELATIONS[0], {**RELATIONS[2], "template": "[X] lies in [MASK] ."}])
    with pytest.raises(BadData, match=r"relations\.jsonl, line 2: a template has"):
        data.lama(lama)


def test_a_tree_without_relations_jsonl_or_without_common_relations_is_refused(lama: Path) -> None:
    put(lama / "data/relations.jsonl", RELATIONS[1:2])
    with pytest.raises(BadData, match="no relation"):
        data.lama(lama)
    (lama / "data/relations.jsonl").unlink()
    with pytest.raises(BadData, match=r"relations\.jsonl: is missing"):
        data.lama(lama)
