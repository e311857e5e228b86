"""`engram judge`, `engram suggest-layer`, `engram run editing` and `in_turn`: beside the library, and how they fail."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import engram as eg
from engram.edits import Edit
from engram.facts import Prompt
from test_cli import engram, refused
from test_cli_commands import said

torch.set_num_threads(1)

CAUSAL = ("--model", "engram:causal")
EDITED = ("run", "editing", *CAUSAL, "--relation", "field", "--limit", 2, "--token", "asked", "--layer", 0)
QUICK = ("--by", "p-rome", "--set", "contexts=[]", "--set", "search.steps=6")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An edit of a shipped fact that has neighbours."""
    model, facts = eg.load("engram:causal"), eg.data.shipped()
    fact = facts.fact("Plato", "field")
    by = eg.ROME(layer=0, covariance=None, token="asked", contexts=(), preset="p-rome")
    prompt = facts.prompts(fact, blank_last=True)[0]
    folder = tmp_path_factory.mktemp("edits") / "plato"
    eg.rewrite(model, fact.becoming("mathematics"), by=by, prompt=prompt).save(folder)
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Two cases edited by one editor, kept, with its document."""
    out = tmp_path_factory.mktemp("runs") / "editing"
    return out, said(*EDITED, *QUICK, "--shard", 1, "--out", out)


def scores(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {s["name"]: s for s in document["report"]["scores"]}


# -- judge


def test_judge_says_what_the_library_says(saved: Path) -> None:
    told = said("judge", saved, "--others", 4, "--seed", 3)
    report = eg.judge(eg.load("engram:causal"), Edit.load(saved), eg.data.shipped(), others=4, seed=3)
    known = scores(told)
    assert set(known) == {s.name for s in report.scores}
    for s in report.scores:
        assert known[s.name]["value"] == pytest.approx(s.value, rel=1e-6, abs=1e-9)
        assert known[s.name]["n"] == s.n
    assert told["model"]["name"] == "engram:causal"
    assert told["report"]["settings"]["seed"] == 3


def test_judge_shows_each_score_beside_its_controls(saved: Path) -> None:
    result = engram("judge", saved, "--others", 4)
    assert result.exit_code == 0
    title, on, _, head, first, *_ = result.stdout.splitlines()
    assert title.startswith("rome of ⟨Plato,")
    assert on == "judged on engram:causal; sentences (%)"
    assert head.split("  ")[-1].strip() == "n"
    assert "random neurons" in head
    assert first.split("(ES)")[1].split() == ["0", "100", "0", "0", "1"]
    assert "neighbours: the old answer stays likelier (NS)" in result.stdout
    assert "ordinary text    perplexity " in result.stdout
    assert "has no neighbours" not in result.stdout


def test_judge_says_where_a_fact_has_no_neighbours(tmp_path: Path) -> None:
    fact = eg.data.shipped().fact("Ireland", "capital")
    prompt = Prompt("The capital of Ireland is [Y]", "Dublin", fact)
    by = eg.ROME(layer=0, covariance=None, token="asked", contexts=(), preset="p-rome")
    eg.rewrite(eg.load("engram:causal"), fact.becoming("Paris"), by=by, prompt=prompt).save(tmp_path / "e")
    result = engram("judge", tmp_path / "e", "--others", 0)
    assert result.exit_code == 0
    assert "note: shipped has no neighbours of this fact, so there is no NS, and no S" in result.stdout
    assert "other relations" not in result.stdout


def test_judge_of_minimal_pairs_takes_pairs_only(saved: Path, shared_data: Path) -> None:
    told = said("judge", saved, "--others", 0, "--syntax", shared_data / "blimp", "--pairs", 1)
    assert 1 <= scores(told)["no edit: syntax"]["n"] <= 16
    assert "minimal pairs are BLiMP's" in refused(2, "judge", saved, "--syntax", "shipped")


def test_judge_refuses_data_that_are_none_and_another_model(saved: Path) -> None:
    assert "nowhere" in refused(2, "judge", saved, "--data", "nowhere")
    assert "was planned on engram:causal" in refused(1, "judge", saved, "--model", "engram:masked")


def test_judge_of_data_without_the_subject_names_it(tmp_path: Path) -> None:
    fact = eg.Fact("Ireland", "capital", "Limerick")
    by = eg.ROME(layer=0, covariance=None, token="asked", contexts=(), preset="p-rome")
    prompt = Prompt("The capital of Ireland is [Y]", "Limerick", fact)
    eg.rewrite(eg.load("engram:causal"), fact.becoming("Paris"), by=by, prompt=prompt).save(tmp_path / "e")
    line = refused(2, "judge", tmp_path / "e")
    assert "shipped has nothing to say of 'Ireland' with the answer 'Limerick'" in line


def test_judge_of_a_folder_without_an_edit(tmp_path: Path) -> None:
    assert str(tmp_path) in refused(1, "judge", tmp_path)


# -- suggest-layer


def test_suggest_layer_says_what_the_library_says() -> None:
    told = said("suggest-layer", "engram:causal", "--relation", "field", "--facts", 2)
    cases = eg.data.cases("shipped", relations=["field"])
    found = eg.suggest_layer(eg.load("engram:causal"), cases, n=2)
    assert (told["layer"], told["token"], told["sure"]) == (found.layer, found.token, found.sure)
    assert told["facts"] == [str(f) for f in found.facts]
    for token, bands in found.effects.items():
        assert np.allclose(told["effects"][token]["mean"], bands.mean, atol=1e-6)
    assert (told["tried"], told["tried_best"]) == ({}, None)


def test_suggest_layer_shows_every_layer_and_what_is_suggested() -> None:
    result = engram("suggest-layer", "engram:causal", "-r", "field", "--facts", 1, "--try", "ft")
    assert result.exit_code == 0
    head, *rows = [line for line in result.stdout.splitlines()[2:] if line]
    assert head.index("edits at subject: ES (%)") < head.index("edits at asked: ES (%)")
    assert [row.split()[0] for row in rows[:4]] == ["0", "1", "2", "3"]
    assert "trying did best in layer" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--try", "spells"), "There is no editor called 'spells'"),
        (("--relation", "spells"), "spells"),
        (("--data", "nowhere"), "nowhere"),
    ],
)
def test_suggest_layer_refuses_before_a_model_is_loaded(
    arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eg.models, "load", pytest.fail)
    assert words in refused(2, "suggest-layer", "engram:causal", *arguments)


# -- run editing


def test_run_editing_keeps_what_the_experiment_says(done: tuple[Path, dict[str, Any]]) -> None:
    out, told = done
    known = scores(told)
    assert (told["experiment"], told["complete"], told["quarantined"]) == ("editing", True, [])
    assert known["cases"]["value"] == 2
    assert known["no edit: ES"]["value"] == 0
    assert known["p-rome: ES"]["n"] == 2
    summary = eg.open_run(out).summary()
    assert summary is not None
    assert {s.name: s.value for s in summary.scores if np.isfinite(s.value)} == {
        name: s["value"] for name, s in known.items() if s["value"] is not None
    }
    (by,) = summary.settings["by"]
    assert (by["layer"], by["token"], by["search"]["steps"], by["covariance"]) == (0, "asked", 6, "none: the identity")
    assert summary.settings["controls"] == ["random neurons", "random layer", "toward the truth"]
    assert (out / "report" / "report.html").is_file()


def test_a_run_that_lost_a_shard_does_that_one_again(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    whole, told = done
    out = shutil.copytree(whole, tmp_path / "run")
    first, second = sorted((out / "shards").glob("*.parquet"))
    kept = first.stat().st_mtime_ns
    was = second.read_bytes()
    second.unlink()
    assert scores(said(*EDITED, *QUICK, "--shard", 1, "--out", out)) == scores(told)
    assert second.read_bytes() == was
    assert first.stat().st_mtime_ns == kept
    line = refused(2, *EDITED, *QUICK, "--shard", 1, "--out", out, "--control", "none")
    assert "settings.controls" in line


def test_the_page_of_a_run_shows_editors_before_their_controls(done: tuple[Path, dict[str, Any]]) -> None:
    out, _ = done
    page = (out / "report" / "report.html").read_text(encoding="utf-8")
    assert page.index("What editors do") < page.index("What p-rome does") < page.index("Controls in numbers")
    assert {p.stem for p in (out / "report").glob("*.svg")} == {"editors", "scores-0"}


def test_erasure_is_told_by_what_is_left_of_the_answer(tmp_path: Path) -> None:
    out = tmp_path / "erased"
    by = ("--by", "erasure most=20 threshold=0.1", "--silent", "--control", "none")
    told = scores(said(*EDITED[:8], *by, "--out", out))
    assert told["erasure: rewrite: P(old answer)"]["value"] < told["no edit: rewrite: P(old answer)"]["value"]
    assert not [name for name in told if "spoken" in name or "random" in name or "toward" in name]
    assert {p.stem for p in (out / "report").glob("*.svg")} == {"erased-0"}
    page = (out / "report" / "report.html").read_text(encoding="utf-8")
    assert "What is left of an erased answer?" in page
    assert "What editors do" not in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--by", "spells"), "There is no editor called 'spells'"),
        (("--by", "rome depth=3"), "depth"),
        (("--by", "surgery depth=3"), "depth"),
        (("--by", "surgery most=many"), "most is a number"),
        (("--control", "spells"), "spells"),
        (("--relation", "spells"), "spells"),
        (("--data", "nowhere"), "nowhere"),
    ],
)
def test_run_editing_refuses(arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(2, "run", "editing", *CAUSAL, "--relation", "field", "--limit", 1, *arguments)


# -- run in_turn


def test_edits_in_turn_are_checked_where_it_was_asked(tmp_path: Path) -> None:
    out = tmp_path / "turn"
    told = said("run", "in_turn", *EDITED[2:], *QUICK, "--check", 1, "--check", 2, "--go-on", "--out", out)
    known = scores(told)
    assert told["experiment"] == "in_turn"
    assert [known[f"p-rome, after {n}: ES"]["n"] for n in (1, 2)] == [1, 2]
    assert known["p-rome, after 1: perplexity, ratio"]["value"] > 0
    assert known["p-rome, after 2: largest change of a layer"]["value"] > 0
    assert {p.name for p in (out / "report").glob("*.png")} == {"in-turn-0.png"}
    page = (out / "report" / "report.html").read_text(encoding="utf-8")
    assert "p-rome: all cases edited so far" in page


@pytest.mark.parametrize(
    ("arguments", "words"), [(("--alarm", "1"), "growth is above 1"), (("--by", "spells"), "no editor called 'spells'")]
)
def test_in_turn_refuses(arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(2, "run", "in_turn", *CAUSAL, "--relation", "field", "--limit", 1, *arguments)


def test_the_documents_are_json_without_nan(done: tuple[Path, dict[str, Any]]) -> None:
    text = json.dumps(done[1], allow_nan=False)
    assert json.loads(text)["engram"] == eg.__version__
