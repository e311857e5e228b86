"""`engram data counterfact-from`, and cases as `engram data` shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engram import data
from test_cli import engram


def test_cases_are_made_shown_and_written(tmp_path: Path) -> None:
    out = tmp_path / "cases.jsonl"
    made = engram("data", "counterfact-from", "shipped", "--records", 30, "--out", out)
    assert made.exit_code == 0, made.output
    assert data.cases(out).cases == data.cases("shipped", records=30).cases
    assert made.stdout.splitlines()[0].startswith("shipped: 30 cases in ")
    assert f"Written to {out}." in made.stdout
    assert "Made of shipped by the recipe of CounterFact, not published: seed 0" in made.stdout


def test_the_same_seed_writes_the_same_bytes_and_fewer_records_their_beginning(tmp_path: Path) -> None:
    for name, *options in (("a", 20), ("b", 20), ("c", 8), ("d", 20, "--seed", 1)):
        engram("data", "counterfact-from", "shipped", "-o", tmp_path / f"{name}.jsonl", "--records", *options)
    a, b, c, d = ((tmp_path / f"{name}.jsonl").read_bytes() for name in "abcd")
    assert a == b
    assert a.startswith(c)
    assert a != d


def test_one_relation_and_other_numbers_of_sentences() -> None:
    options = ("--relation", "field of work", "--neighbours", 3, "--attributes", 0, "--texts", 1, "--masked", "--json")
    said = json.loads(engram("data", "counterfact-from", "shipped", *options).stdout)
    (field,) = said["cases"].values()
    assert (field["cases"], field["neighbour"], field["attribute"], field["texts"]) == (149, 3 * 149, 0, 149)
    assert said["first"]["rewrite"].endswith(".")
    assert said["out"] is None


def test_data_shows_what_edits_of_its_facts_are_judged_by(tmp_path: Path) -> None:
    out = tmp_path / "mine.jsonl"
    engram("data", "counterfact-from", "shipped", "--records", 30, "--out", out)
    shown, said = engram("data", out).stdout, json.loads(engram("data", out, "--json").stdout)
    assert shown.startswith("mine: 30 facts in ")
    assert "paraphrase  the fact in other words" in shown
    assert sum(r["paraphrase"] for r in said["cases"].values()) == 60
    assert said["facts"] == 30
    assert "cases" not in json.loads(engram("data", "shipped", "--json").stdout)


def test_a_word_that_is_no_command_is_a_data_set() -> None:
    assert engram("data", "shipped").stdout == engram("data", "show", "shipped").stdout
    assert engram("data").stdout == engram("data", "show").stdout
    assert "counterfact-from" in engram("data", "--help").stdout


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (["shiped"], "Did you mean shipped"),
        (["shipped", "--relation", "capitol"], "Did you mean capital"),
        (["shipped", "--out", "cases.txt"], "written as .jsonl"),
        (["shipped", "--out", "no/where/cases.jsonl"], "there is no folder"),
        (["shipped", "--records", "0"], "--records"),
    ],
)
def test_what_the_user_got_wrong_is_said_in_a_line_and_ends_with_2(args: list[str], what: str) -> None:
    result = engram("data", "counterfact-from", *args)
    assert result.exit_code == 2
    assert what in result.stderr


def test_a_file_that_cannot_be_read_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "counterfact.jsonl").write_text('{"requested_rewrite": 1, "case_id": 0}', encoding="utf-8")
    result = engram("data", tmp_path)
    assert result.exit_code == 1
    assert "line 1" in result.stderr
