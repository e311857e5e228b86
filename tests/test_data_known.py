"""known_1000: a fact a line, each with its own sentence. The facts in the small files are our own."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from engram import data
from engram.errors import BadData, BadSetting
from engram.facts import BLANK, FactSet
from test_cli import engram

ROWS: list[dict[str, Any]] = [
    {
        "known_id": 0, "subject": "Peru", "attribute": "Lima", "template": "{} is run", "relation_id": "P36",
        "prediction": " from Lima, by the sea", "prompt": "Peru is run from",
    },
    {
        "known_id": 1, "subject": "chess", "attribute": "Lasker", "template": "{} champion,", "relation_id": "P641",
        "prediction": " Lasker, who", "prompt": "He met the chess champion,",
    },
    {
        "known_id": 2, "subject": "Mali", "attribute": "Bamako", "template": "{} is run", "relation_id": "P36",
        "prediction": " from Bamako", "prompt": "Mali is run from",
    },
]  # fmt: skip


def put(path: Path, rows: list[dict[str, Any]], **changed: Any) -> Path:
    """A file of these rows in the form that its name says; `changed` is what the last row has instead."""
    rows = [*rows[:-1], {key: value for key, value in {**rows[-1], **changed}.items() if value is not None}]
    text = "\n".join(map(json.dumps, rows)) if ".jsonl" in path.name else json.dumps(rows, indent=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_each_fact_is_asked_in_its_prompt_as_published_and_in_nothing_else(tmp_path: Path) -> None:
    put(tmp_path / "known_1000.jsonl", ROWS)
    facts = data.known_1000(tmp_path)
    assert [(r.id, r.name, r.templates) for r in facts.relations] == [("P36", "capital", ()), ("P641", "sport", ())]
    assert [(f.subject, f.relation, f.answer, f.id) for f in facts] == [
        ("Peru", "P36", "Lima", "0"),
        ("Mali", "P36", "Bamako", "2"),
        ("chess", "P641", "Lasker", "1"),
    ]
    chess = facts.fact("chess", "sport")
    (prompt,) = facts.prompts(chess, blank_last=True)
    assert (prompt.text, prompt.answer, prompt.fact) == ("He met the chess champion, [Y]", "Lasker", chess)


@pytest.mark.parametrize("name", ["known_1000.json", "known_1000.jsonl.gz", "data/known_1000.json"])
def test_the_published_list_gzipped_lines_and_romes_data_folder_read_the_same(tmp_path: Path, name: str) -> None:
    put(tmp_path / "a" / "known_1000.jsonl", ROWS)
    put(tmp_path / "b" / name, ROWS)
    lines, other = data.read(tmp_path / "a"), data.read(tmp_path / "b")
    assert (other.name, other.members, other.own) == ("known_1000", lines.members, lines.own)
    assert other.source == str(tmp_path / "b" / name)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"prompt": "Malian cities are run from"}, "the subject 'Mali' is not in the prompt"),
        ({"prompt": "Mali is run from [Y]"}, "exactly one blank"),
        ({"attribute": None}, "has no 'attribute'"),
        ({"subject": 7}, "'subject' is to be a text"),
        ({"known_id": 0}, "known_id 0 stands here a second time"),
        ({"known_id": None}, "'known_id' is to be a number"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_nothing_is_read(
    tmp_path: Path, changed: dict[str, Any], what: str
) -> None:
    put(tmp_path / "known_1000.jsonl", ROWS, **changed)
    with pytest.raises(BadData, match=rf"known_1000\.jsonl, line 3: .*{what}"):
        data.known_1000(tmp_path)
    (tmp_path / "known_1000.jsonl").unlink()
    put(tmp_path / "known_1000.json", ROWS, **changed)
    with pytest.raises(BadData, match=rf"known_1000\.json: entry 2: .*{what}"):
        data.known_1000(tmp_path)


@pytest.mark.parametrize(
    ("text", "what"), [("{}", "a list of objects"), ("[{}, 3]", "entry 1: .*not 3"), ("[{", "JSON")]
)
def test_a_file_that_holds_no_list_of_objects_is_refused(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "known_1000.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadData, match=what):
        data.known_1000(tmp_path)


def test_without_a_path_the_error_says_where_the_file_is_had(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"https://rome\.baulab\.info/data/dsets/known_1000\.json"):
        data.known_1000()
    with pytest.raises(BadData, match=r"expected known_1000\.json or known_1000\.jsonl"):
        data.known_1000(tmp_path)


# -- the published file


@pytest.fixture(scope="module")
def known(shared_data: Path) -> FactSet:
    return data.read(shared_data / "known_1000")


def test_the_published_file_has_1209_facts_whose_subjects_stand_in_their_prompts(known: FactSet) -> None:
    assert (known.name, len(known), len(known.own), len(known.relations)) == ("known_1000", 1209, 1209, 33)
    assert sorted(int(f.id) for f in known) == list(range(1209))
    assert [f for f in known if len(p := known.prompts(f, blank_last=True)) != 1 or f.subject not in p[0].text] == []
    assert [r.id for r in known.relations if r.name == r.id] == []


def test_the_answers_are_what_gpt2_xl_went_on_with(known: FactSet, shared_data: Path) -> None:
    rows = map(json.loads, (shared_data / "known_1000" / "known_1000.jsonl").read_text(encoding="utf-8").splitlines())
    wrote = {str(r["known_id"]): r["template"].format(r["subject"]) + r["prediction"] for r in rows}
    said = {f.id: known.prompts(f)[0].text.replace(BLANK, f.answer) for f in known}
    assert len([id_ for id_ in said if not wrote[id_].startswith(said[id_])]) == 1


def test_the_command_line_counts_own_sentences_only_where_there_are_any(tmp_path: Path) -> None:
    put(tmp_path / "known_1000.jsonl", ROWS)
    relations = json.loads(engram("data", tmp_path, "--json").stdout)["relations"]
    assert [(r["id"], r["templates"], r["facts"], r["own"]) for r in relations] == [
        ("P36", [], 2, 2),
        ("P641", [], 1, 1),
    ]
    shown = engram("data", tmp_path).stdout.splitlines()
    assert shown[3].split() == ["P36", "capital", "1-1", "0", "0", "2", "2", "Peru:", "Lima"]
    assert shown[-1].startswith("own ")
    assert not any(line.startswith("own ") for line in engram("data", "shipped").stdout.splitlines())
