"""mParaRel's layout: patterns/<language> and tuples/<language>. The facts and templates here are our own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engram import data
from engram.errors import BadData, BadSetting, UnknownName


def put(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def mpararel(tmp_path: Path) -> Path:
    home = tmp_path / "data" / "mpararel_reviewed"
    for language, pattern, country, capital in (
        ("en", "[X] is run from [Y]", "Greece", "Athens"),
        ("de", "[X] wird von [Y] aus regiert", "Griechenland", "Athen"),
    ):
        put(home / "patterns" / language / "P36.jsonl", [{"pattern": pattern, "checked-by-human": True}])
        fact = {"sub_uri": "Q41", "obj_uri": "Q1524", "obj_label": capital, "sub_label": country, "lineid": 0}
        put(home / "tuples" / language / "P36.jsonl", [{**fact, "lineid": 7}, fact])
        put(home / "tuples" / language / "P31.jsonl", [fact])
    put(home / "patterns" / "xx" / "P36.jsonl", [{"pattern": "[X] [Y]"}])
    return tmp_path


def test_each_language_has_its_own_templates_and_facts_and_the_line_matches_them(mpararel: Path) -> None:
    english, german = data.mpararel(mpararel), data.mpararel(mpararel, language="de")
    assert (english.name, german.name) == ("mpararel-en", "mpararel-de")
    assert [(f.answer, f.id) for f in german] == [("Athen", "7"), ("Athen", "0")]
    assert [f.id for f in english] == [f.id for f in german]
    assert german.prompts(german.facts("capital")[0])[0].text == "Griechenland wird von [Y] aus regiert"
    assert data.mpararel(mpararel / "data" / "mpararel_reviewed").members == english.members


def test_a_relation_without_templates_is_left_out(mpararel: Path) -> None:
    assert [r.id for r in data.mpararel(mpararel).relations] == ["P36"]


def test_a_language_that_is_not_there_is_refused_with_those_that_are(mpararel: Path) -> None:
    with pytest.raises(UnknownName, match=r"called 'eng'\. Did you mean en\? Known: de, en\."):
        data.mpararel(mpararel, language="eng")


def test_without_a_path_the_error_says_where_the_files_are_had() -> None:
    with pytest.raises(BadSetting, match=r"https://github\.com/coastalcph/mpararel"):
        data.mpararel()


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="patterns/<language>"):
        data.mpararel(tmp_path)
