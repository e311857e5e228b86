"""CounterFact: a record a case, in the form that is published. The records in the small files are our own."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engram import data
from engram.cases import CaseSet
from engram.errors import BadData, BadSetting
from engram.facts import BLANK, Prompt

PERU: dict[str, Any] = {
    "case_id": 4, "pararel_idx": 9,
    "requested_rewrite": {
        "prompt": "{} is run from", "relation_id": "P36", "subject": "Peru",
        "target_new": {"str": "Quito", "id": "Q2900"}, "target_true": {"str": "Lima", "id": "Q2868"},
    },
    "paraphrase_prompts": ["It rained. Ministers of Peru meet in", "Peru, led from"],
    "neighborhood_prompts": ["The old viceroyalty was led from"],
    "attribute_prompts": ["Ecuador is run from"],
    "generation_prompts": ["Peru is known for", "Peru is known for"],
}  # fmt: skip
CHESS: dict[str, Any] = {
    "case_id": 2, "requested_rewrite": {
        "prompt": "He met the {} champion,", "relation_id": "P641", "subject": "chess",
        "target_new": {"str": " Tal"}, "target_true": {"str": "Lasker"},
    },
    "paraphrase_prompts": [], "neighborhood_prompts": [], "attribute_prompts": [], "generation_prompts": [],
}  # fmt: skip


def put(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A file of these records in the form that its name says."""
    text = "\n".join(map(json.dumps, rows)) if ".jsonl" in path.name else json.dumps(rows, indent=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def wish(**changed: Any) -> dict[str, Any]:
    return {**PERU, "requested_rewrite": {**PERU["requested_rewrite"], **changed}}


def test_each_kind_of_sentence_has_the_answer_that_is_true_of_it(tmp_path: Path) -> None:
    put(tmp_path / "counterfact.json", [PERU, CHESS])
    cases = data.cases(tmp_path)
    peru, chess = cases.cases
    assert (peru.id, str(peru.fact), peru.new, peru.wish.answer) == ("4", "⟨Peru, P36, Lima⟩", "Quito", "Quito")
    assert peru.prompt == Prompt("Peru is run from [Y]", "Lima", peru.fact)
    assert [(p.text, p.answer, p.fact) for p in peru.paraphrase] == [
        ("It rained. Ministers of Peru meet in [Y]", "Lima", peru.fact),
        ("Peru, led from [Y]", "Lima", peru.fact),
    ]
    assert peru.neighbour == (Prompt("The old viceroyalty was led from [Y]", "Lima"),)
    assert peru.attribute == (Prompt("Ecuador is run from [Y]", "Quito"),)
    assert peru.texts == ("Peru is known for", "Peru is known for")
    assert (chess.new, chess.prompt.text, chess.paraphrase) == ("Tal", "He met the chess champion, [Y]", ())


def test_as_facts_they_are_asked_in_the_edited_sentence_and_its_paraphrases(tmp_path: Path) -> None:
    put(tmp_path / "counterfact.json", [PERU, CHESS])
    facts = data.counterfact(tmp_path)
    assert isinstance(facts, CaseSet)
    assert [(r.id, r.name, r.templates) for r in facts.relations] == [("P36", "capital", ()), ("P641", "sport", ())]
    peru = facts.fact("Peru", "capital")
    assert [p.text[:6] for p in facts.prompts(peru, blank_last=True)] == ["Peru i", "It rai", "Peru, "]


@pytest.mark.parametrize("name", ["counterfact.jsonl.gz", "data/counterfact.json", "mine.json", "mine.jsonl.gz"])
def test_the_list_and_lines_read_the_same_from_the_folder_or_by_the_file(tmp_path: Path, name: str) -> None:
    put(tmp_path / "a" / "counterfact.json", [PERU, CHESS])
    file = put(tmp_path / "b" / name, [PERU, CHESS])
    own = name.startswith("mine")
    cases = data.cases(file if own else tmp_path / "b")
    assert cases.cases == data.cases("counterfact", path=tmp_path / "a").cases
    assert (cases.name, cases.source) == ("mine" if own else "counterfact", str(file))
    assert data.read(file).name == cases.name


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({**PERU, "requested_rewrite": "Peru"}, "'requested_rewrite' is to be an object"),
        (wish(prompt="Peru is run from"), r"has one \{\} for the subject"),
        (wish(target_true="Lima"), "'target_true' is to be an object"),
        (wish(target_new={"str": "Lima"}), "the new answer 'Lima' is the old one"),
        (wish(subject="a [Y]"), "a subject has no"),
        ({**PERU, "paraphrase_prompts": ["[Y] or [Y]"]}, "exactly one blank"),
        ({**PERU, "neighborhood_prompts": "Peru"}, "'neighborhood_prompts' is to be a list of texts"),
        ({**PERU, "attribute_prompts": [""]}, "'attribute_prompts' is to be a list of texts"),
        ({**PERU, "onward_prompts": ["Peru"]}, "'onward_prompts' is to be a list of objects"),
        ({**PERU, "onward_prompts": [{"prompt": "Peru"}]}, "has no 'answer'"),
        ({**PERU, "case_id": 2}, "case_id 2 stands here a second time"),
        ({**PERU, "case_id": None}, "'case_id' is to be a number"),
        ({**PERU, "case_id": True}, "'case_id' is to be a number"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_nothing_is_read(
    tmp_path: Path, row: dict[str, Any], what: str
) -> None:
    put(tmp_path / "counterfact.jsonl", [CHESS, row])
    with pytest.raises(BadData, match=rf"counterfact\.jsonl, line 2: .*{what}"):
        data.cases(tmp_path)
    put(tmp_path / "counterfact.json", [CHESS, row])
    with pytest.raises(BadData, match=rf"counterfact\.json: entry 1: .*{what}"):
        data.cases(tmp_path)


def test_without_a_path_the_error_says_where_the_file_is_had(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"https://rome\.baulab\.info/data/dsets/counterfact\.json"):
        data.cases("counterfact")
    with pytest.raises(BadData, match=r"expected counterfact\.json or counterfact\.jsonl"):
        data.counterfact(tmp_path)
    (tmp_path / "other.json").write_text('[{"a": 1}]', encoding="utf-8")
    with pytest.raises(BadData, match="a file of records with 'requested_rewrite'"):
        data.counterfact(tmp_path / "other.json")


# -- the public file


@pytest.fixture(scope="module")
def rows(shared_data: Path) -> list[dict[str, Any]]:
    with gzip.open(shared_data / "counterfact" / "counterfact.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def published(shared_data: Path) -> CaseSet:
    return data.cases(shared_data / "counterfact")


def test_the_public_file_has_the_published_numbers_of_records_subjects_and_relations(published: CaseSet) -> None:
    assert (published.name, len(published), len(published.relations)) == ("counterfact", 21_919, 34)
    assert len({f.subject for f in published}) == 20_391
    assert sorted(int(c.id) for c in published.cases) == list(range(21_919))
    assert [r.id for r in published.relations if r.name == r.id] == []


def test_every_record_is_what_an_own_reading_of_the_json_says(published: CaseSet, rows: list[dict[str, Any]]) -> None:
    def says(row: dict[str, Any]) -> tuple[Any, ...]:
        w = row["requested_rewrite"]
        old = w["target_true"]["str"]
        asked = (w["prompt"].format(w["subject"]), *row["paraphrase_prompts"], *row["neighborhood_prompts"])
        return str(row["case_id"]), w["relation_id"], w["target_new"]["str"], [(t, old) for t in asked]

    for case, row in zip(published.cases, rows, strict=True):
        asked = [(p.text.removesuffix(f" {BLANK}"), p.answer) for p in (case.prompt, *case.paraphrase, *case.neighbour)]
        assert (case.id, case.fact.relation, case.new, asked) == says(row)
        assert case.texts == tuple(row["generation_prompts"])
        assert case.fact.subject in case.prompt.text


def test_what_was_rebuilt_is_counted_in_the_notes(published: CaseSet, rows: list[dict[str, Any]]) -> None:
    own = Counter[str]()
    for row in rows:
        own.update({k: row[k] for k in ("n_original_paraphrase", "n_original_neighborhood")})
    paraphrases, neighbours, attributes = published.notes
    assert paraphrases.startswith(f"{own['n_original_paraphrase']:,} of 43,838 paraphrase prompts are CounterFact's")
    assert neighbours.startswith(f"{own['n_original_neighborhood']:,} of ")
    assert attributes == "There are no attribute prompts"


def test_a_file_that_says_nothing_of_rebuilding_has_nothing_noted(tmp_path: Path) -> None:
    assert data.cases(put(tmp_path / "counterfact.json", [PERU])).notes == ()
