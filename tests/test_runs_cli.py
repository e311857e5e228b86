"""`engram run attribution`, `engram verify`, `engram select`: as one types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

import engram as eg
from engram.cli._app import application

CHOICE = ("--relation", "capital", "--limit", 3, "--shard", 1, "--rule", "gauss", "--steps", 3)


def engram(*arguments: object) -> Result:
    return CliRunner().invoke(application(), [str(a) for a in arguments])


def said(*arguments: object) -> dict[str, Any]:
    result = engram(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "capitals"
    done = said("run", "attribution", *CHOICE, "--out", out)
    assert (done["complete"], done["quarantined"], done["skipped"]) == (True, [], [])
    scores = {s["name"]: s["value"] for s in done["report"]["scores"]}
    assert scores["prompts"] == eg.open_run(out).table().num_rows
    return out


def test_a_run_that_is_whole_is_told_again_and_another_is_refused(run: Path) -> None:
    again = engram("run", "attribution", *CHOICE, "--out", run)
    assert again.exit_code == 0
    assert f"written: {run}" in again.stdout
    other = engram("run", "attribution", *CHOICE, "--floor", 0.2, "--out", run)
    assert (other.exit_code, other.stdout) == (2, "")
    assert other.stderr.count("\n") == 1
    assert "settings.floor is 0.1 there, and would be 0.2" in other.stderr


def test_where_there_is_no_terminal_a_run_still_says_how_far_it_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("engram.cli._running.MINUTE", 0.0)
    result = engram("run", "attribution", *CHOICE, "--out", tmp_path / "run")
    assert result.exit_code == 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("attribution: ")]
    assert lines[-1].startswith("attribution: 3 of 3 facts, ")
    assert lines[-1].endswith(" left")
    assert "\x1b" not in result.stderr


def test_an_interrupted_run_says_that_the_same_command_goes_on(tmp_path: Path, monkeypatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("engram.runs.run", stop)
    result = engram("run", "attribution", *CHOICE, "--out", tmp_path / "run")
    assert result.exit_code == 130
    assert f"what is done is kept in {tmp_path / 'run'}, and the same command goes on with it" in result.stderr
    assert "kept" not in engram("run", "attribution", *CHOICE).stderr  # nothing is


def test_verify_ends_with_1_unless_all_is_whole(run: Path, tmp_path: Path) -> None:
    assert said("verify", run)["complete"] is True
    broken = tmp_path / "run"
    for part in run.rglob("*"):
        if part.is_file():
            (broken / part.relative_to(run)).parent.mkdir(parents=True, exist_ok=True)
            (broken / part.relative_to(run)).write_bytes(part.read_bytes())
    shards = broken / "shards"
    (shards / "part-00001.parquet").write_bytes((shards / "part-00001.parquet").read_bytes()[:-1])
    (shards / "part-00002.parquet").unlink()
    (shards / "mine.txt").touch()
    found = engram("verify", broken)
    assert found.exit_code == 1
    for line in ("1 of 3 shards are whole", "damaged: part-00001", "missing: part-00002", "foreign: shards/mine.txt"):
        assert line in found.stdout
    assert "is no run" in engram("verify", tmp_path).stderr


def test_select_names_what_select_names_in_memory(run: Path) -> None:
    model, facts = eg.load(), eg.data.read("shipped")
    found = said("select", run, "--threshold", 0.3, "--share", 0.4)
    assert len(found["facts"]) == 3
    assert found["mean"] == sum(len(f["neurons"]) for f in found["facts"]) / 3 > 0
    for chosen in found["facts"]:
        own = eg.locate(
            model, facts.prompts(facts.fact(chosen["subject"], "capital")),
            by=eg.IntegratedGradients(steps=3, rule="gauss"),
        )  # fmt: skip
        expected = eg.select(own, by=eg.Shared(threshold=0.3, share=0.4))
        assert (chosen["prompts"], chosen["neurons"]) == (len(own), [str(n) for n in expected])
    assert said("select", run, "--threshold", 0.3, "--share", 0.4, "-r", "capital")["facts"] == found["facts"]


def test_what_select_cannot_do_it_says(run: Path, tmp_path: Path) -> None:
    assert "scores are kept from" in engram("select", run, "--threshold", 0.05).stderr
    assert "Did you mean capital, state_capital?" in engram("select", run, "-r", "capitl").stderr
    assert "is no run" in engram("select", tmp_path).stderr


@pytest.mark.parametrize("command", ["select", "verify"])
def test_a_run_is_read_without_torch(run: Path, command: str) -> None:
    code = (
        "import sys\nfrom engram.cli._app import application\n"
        "application()([*sys.argv[1:]], standalone_mode=False)\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(eg.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code, command, run], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_neurons_are_found_in_the_scores_of_the_same_facts(tmp_path: Path) -> None:
    chosen = ("--relation", "capital", "--relation", "currency", "--facts", 2)
    gauss = ("--rule", "gauss", "--steps", 3)
    for name, method in (("scores", gauss), ("active", ("--method", "activation"))):
        assert said("run", "attribution", *chosen, *method, "--out", tmp_path / name)["complete"]
    kept = ("--scores", tmp_path / "scores", "--activations", tmp_path / "active")
    stored = said("run", "neurons", *chosen, *kept, "--out", tmp_path / "stored")
    fresh = said("run", "neurons", *chosen, *gauss, "--out", tmp_path / "fresh")
    assert stored["report"]["scores"] == fresh["report"]["scores"]
