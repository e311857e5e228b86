"""The facts shipped with engram keep what their form promises; so do one's own in the same form."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from engram import data
from engram.errors import BadData, UnknownName
from engram.facts import FactSet, Prompt


@pytest.fixture(scope="module")
def shipped() -> FactSet:
    return data.shipped()


def test_there_are_at_least_24_relations_of_all_three_types_each_with_100_facts(shipped: FactSet) -> None:
    assert len(shipped.relations) >= 24
    assert {r.type for r in shipped.relations} == {"1-1", "N-1", "N-M"}
    assert [r.id for r in shipped.relations if len(shipped.facts(r.id)) < 100] == []
    assert all(r.description for r in shipped.relations)


def test_a_relation_is_called_by_its_id_or_name_without_mistaking_it_for_another(shipped: FactSet) -> None:
    names = Counter(name for r in shipped.relations for name in {r.id, r.name})
    assert [name for name, n in names.items() if n > 1] == []


def test_every_relation_has_8_to_14_templates_and_those_for_causal_models_stand_first(shipped: FactSet) -> None:
    for r in shipped.relations:
        last = [Prompt(t, "").blank_last for t in r.templates]
        assert 8 <= len(last) == len(set(r.templates)) <= 14, r.id
        assert sum(last) >= 6, r.id
        assert last == sorted(last, reverse=True), r.id


def test_no_template_gives_the_answer_away_by_an_article(shipped: FactSet) -> None:
    assert [t for r in shipped.relations for t in r.templates if re.search(r"\ban? \[[XY]\]", t, re.IGNORECASE)] == []


def test_a_subject_stands_once_in_its_relation_and_every_answer_is_one_word(shipped: FactSet) -> None:
    subjects = Counter((f.relation, f.subject) for f in shipped)
    assert [key for key, n in subjects.items() if n > 1] == []
    assert [str(f) for f in shipped if not re.fullmatch(r"[^\W\d_]+", f.answer)] == []


def test_a_subject_rarely_holds_its_own_answer(shipped: FactSet) -> None:
    for r in shipped.relations:
        facts = shipped.facts(r.id)
        held = [f for f in facts if re.search(rf"\b{f.answer}\b", f.subject, re.IGNORECASE)]
        assert len(held) <= 0.03 * len(facts), r.id


def test_some_facts_that_everybody_knows_are_right(shipped: FactSet) -> None:
    assert shipped.fact("Ireland", "capital").answer == "Dublin"
    assert shipped.fact("Japan", "capital").answer == "Tokyo"


# --- one's own, in the same form --------------------------------------------------------------------------------------


def put(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    put(
        folder / "relations.jsonl",
        [{"relation": "moon", "label": "moon of"}, {"relation": "anthem", "label": "anthem"}],
    )
    for relation in ("moon", "anthem"):
        put(folder / "patterns" / f"{relation}.jsonl", [{"pattern": "[X] goes with [Y]."}])
        put(folder / "facts" / f"{relation}.jsonl", [{"sub_label": "Io", "obj_label": "Jupiter", "uuid": "1"}])
    return folder


def test_facts_of_ones_own_are_read_from_a_folder_in_the_order_of_relations_jsonl(mine: Path) -> None:
    facts = data.shipped(mine)
    assert (facts.name, [r.id for r in facts.relations], len(facts)) == ("mine", ["moon", "anthem"], 2)
    assert facts.fact("Io", "moon of").id == "1"


def test_a_file_whose_relation_is_not_listed_is_refused(mine: Path) -> None:
    shutil.copy(mine / "facts" / "moon.jsonl", mine / "facts" / "moons.jsonl")
    with pytest.raises(UnknownName, match=r"called 'moons'\. Did you mean moon\?"):
        data.shipped(mine)


def test_a_listed_relation_without_its_file_is_refused_with_the_files_name(mine: Path) -> None:
    (mine / "facts" / "moon.jsonl").unlink()
    with pytest.raises(BadData, match=r"moon\.jsonl: is missing"):
        data.shipped(mine)
