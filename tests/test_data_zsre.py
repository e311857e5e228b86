"""zsRE in MEND's form: which answer is written in, and which records cannot be edited."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from engram import data
from engram.errors import BadData, BadSetting
from engram.facts import Prompt

MILL: dict[str, Any] = {
    "subject": "Old Mill", "src": "Who built Old Mill?", "pred": "Ann", "rephrase": "Old Mill was built by whom?",
    "alt": "Bob", "answers": ["Cleo", "Cleo Day"], "loc": "nq question: who sings hey there", "loc_ans": "Dora",
    "cond": "Ann >> Bob || Who built Old Mill?",
}  # fmt: skip


def read(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> Any:
    (folder / "zsre_mend_eval.json").write_text(json.dumps(rows), encoding="utf-8")
    return data.cases("zsre", path=folder, **settings)


def test_a_record_is_a_question_its_rephrasing_and_an_unrelated_one(tmp_path: Path) -> None:
    (case,) = read(tmp_path, [MILL]).cases
    assert (case.id, str(case.fact), case.new) == ("0", "⟨Old Mill, zsre, Ann⟩", "Cleo")
    assert case.prompt == Prompt("Who built Old Mill? [Y]", "Ann", case.fact)
    assert case.paraphrase == (Prompt("Old Mill was built by whom? [Y]", "Ann", case.fact),)
    assert case.neighbour == (Prompt("nq question: who sings hey there? [Y]", "Dora"),)
    assert (case.attribute, case.texts) == ((), ())


def test_the_new_answer_is_the_first_true_one_or_the_alternative(tmp_path: Path) -> None:
    assert read(tmp_path, [MILL]).cases[0].new == "Cleo"
    assert read(tmp_path, [MILL], target="alt").cases[0].new == "Bob"
    assert read(tmp_path, [{**MILL, "loc": "is it?"}]).cases[0].neighbour[0].text == "is it? [Y]"
    with pytest.raises(BadSetting, match="answers or alt, not 'true'"):
        data.zsre(tmp_path, target="true")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"src": "Who built it?"}, "the subject is not once in the question"),
        ({"src": "Is Old Mill Old Mill?"}, "the subject is not once in the question"),
        ({"answers": []}, "there is no answers"),
        ({"answers": ["Ann "]}, "the new answer is the old one"),
        ({"pred": ""}, "there is no pred"),
    ],
)
def test_what_cannot_be_edited_is_left_out_and_counted(tmp_path: Path, changed: dict[str, Any], why: str) -> None:
    cases = read(tmp_path, [{**MILL, **changed}, MILL])
    assert ([c.id for c in cases.cases], cases.notes[1:]) == (["1"], (f"Left out: 1 of 2 records in which {why}",))
    with pytest.raises(BadData, match=f"no record that can be edited.*{why}"):
        read(tmp_path, [{**MILL, **changed}])


@pytest.mark.parametrize(
    ("changed", "what"), [({"src": None}, "has no 'src'"), ({"answers": "Ann"}, "'answers' is to be a list of texts")]
)
def test_a_record_of_another_form_is_bad_data(tmp_path: Path, changed: dict[str, Any], what: str) -> None:
    with pytest.raises(BadData, match=rf"zsre_mend_eval\.json: entry 1: .*{what}"):
        read(tmp_path, [MILL, {**MILL, **changed}])


@pytest.mark.parametrize("target", ["answers", "alt"])
def test_the_public_thousand_are_what_an_own_reading_says(shared_data: Path, target: str) -> None:
    (file,) = (shared_data / "zsre").glob("zsre_mend_train_1k.jsonl.gz")
    rows = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    new = {r["idx"]: r["answers"][0] if target == "answers" else r["alt"] for r in rows}
    able = [r for r in rows if new[r["idx"]].strip() not in ("", r["pred"].strip())]
    cases = data.cases(shared_data / "zsre", target=target)
    assert [(c.id, c.new, c.fact.answer) for c in cases.cases] == [
        (str(r["idx"]), new[r["idx"]].strip(), r["pred"].strip()) for r in able
    ]
    assert [c.prompt.text for c in cases.cases] == [f"{r['src']} [Y]" for r in able]
    assert [c.neighbour[0].text for c in cases.cases] == [f"{r['loc']}? [Y]" for r in able]
    assert len(cases) == {"answers": 429, "alt": 998}[target]
    assert (cases.name, [r.id for r in cases.relations]) == ("zsre", ["zsre"])
    assert f"Left out: {1000 - len(able)} of 1,000 records" in cases.notes[1]
