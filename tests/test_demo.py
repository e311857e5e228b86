"""`engram run` and `engram demo`, as one uses them: on small networks, into fresh folders."""

from __future__ import annotations

import json
import re

import pytest
import torch
from typer.testing import CliRunner

import engram as eg
from engram import data
from engram.cli._app import application
from engram.testing import tiny

TEMPLATES = (
    "The capital of [X] is [Y] .", "the capital city of [X] is [Y] .", "[Y] is the capital of [X] .",
    "the city of [X] is [Y] .", "[X] has the capital [Y] .", "a city in [X] is [Y] .",
)  # fmt: skip
FACTS = {"P36": [("Ireland", "Dublin"), ("France", "Paris")], "P19": [("Italy", "Rome"), ("Estonia", "Ж")]}


def engram(*arguments, code=0):
    """`engram` with these arguments, in this process; a bug is raised here."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    result = CliRunner().invoke(application(), [str(a) for a in arguments])
    torch.set_num_threads(threads)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A model and a data set on disk, as options."""
    home = tmp_path_factory.mktemp("toy")
    net, tokenizer = tiny("bert")
    net.save_pretrained(home / "model")
    tokenizer.save_pretrained(home / "model")
    for part in ("patterns", "facts"):
        (home / "data" / part).mkdir(parents=True)
    rows = {"relations": [{"relation": r, "label": f"name of {r}"} for r in FACTS]}
    for r, facts in FACTS.items():
        rows[f"patterns/{r}"] = [{"pattern": t} for t in TEMPLATES]
        rows[f"facts/{r}"] = [{"sub_label": s, "obj_label": a} for s, a in facts]
    for name, lines in rows.items():
        (home / "data" / f"{name}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines), encoding="utf-8")
    return ["--model", home / "model", "--data", home / "data", "--steps", 4, "--rule", "gauss"]


def test_a_run_is_shown_and_written(toy, tmp_path) -> None:
    shown = engram("run", "suppression", *toy, "--out", tmp_path / "out").stdout
    report = {f.name for f in (tmp_path / "out/report").iterdir()}
    assert {"report.html", "conditions.svg", "conditions.png", "layers.svg"} <= report
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    by_name = {s["name"]: s for s in summary["scores"]}
    assert by_name["facts"]["value"] == 3
    assert any(line.startswith(f"  suppressed  {by_name['suppressed']['value']:+.4f}") for line in squeezed(shown))
    change = f"{100 * by_name['suppressed']['value']:+.1f}".replace("-", "−")
    assert change in (tmp_path / "out/report/report.html").read_text()
    assert "note: P19: 1 of 2 facts left out (1 AnswerNotWritable)" in shown
    assert f"written: {tmp_path / 'out'}" in shown


def squeezed(text: str) -> list[str]:
    return [re.sub(r"(?<=\S) {2,}", "  ", line) for line in text.splitlines()]


def test_a_run_says_in_json_what_it_writes(toy, tmp_path) -> None:
    document = json.loads(engram("run", "suppression", *toy, "--out", tmp_path / "out", "--json").stdout)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert (document["command"], document["experiment"]) == ("run", "suppression")
    assert document["report"] == summary
    assert summary["settings"]["neurons"]["locator"]["steps"] == 4


def test_without_a_folder_the_numbers_are_the_same_and_nothing_is_kept(toy, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = engram("run", "suppression", *toy, "--out", tmp_path / "out", "--json").stdout
    shown = engram("run", "suppression", *toy, "--json").stdout
    assert json.loads(shown) == {**json.loads(kept), "out": None}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_one_relation_alone_keeps_the_others_as_its_control(toy, tmp_path) -> None:
    engram("run", "suppression", *toy, "--relation", "name of P36", "--out", tmp_path / "one")
    engram("run", "suppression", *toy, "--out", tmp_path / "all")
    one, every = (list(eg.open_run(tmp_path / x).results()) for x in ("one", "all"))
    assert [r["relation"] for r in one] == ["P36"]
    assert one[0] == every[0]
    other = next(row for row in one[0]["rows"] if row["condition"] == "other relation")
    assert [other[f"asked_{x}"] for x in ("subject", "relation", "answer")] == ["Italy", "P19", "Rome"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["--relation", "P3"], "There is no relation called 'P3'. Did you mean P36"),
        (["--preset", "huntr"], "Did you mean hunter"),
        (["--like", "papr"], "Did you mean paper"),
        (["--method", "activation"], "There is no setting of activation called 'steps'"),
        (["--share", "2"], "between 0 and 1"),
        (["--by", "-1"], "amplified by a factor from 0 up, not -1"),
        (["--facts", "0"], "Invalid value for '--facts'"),
        (["--data", "nowhere"], "There is no data set called 'nowhere'"),
        (["--on", "the moon"], "There is no place to run on called 'the moon'"),
        (["--neurons", "runs/none"], "a run of neurons has its own settings: leave out"),
    ],
)
def test_misuse_leaves_with_2_and_without_a_folder(toy, tmp_path, wrong, says) -> None:
    refused = engram("run", "suppression", *toy, "--out", tmp_path / "out", *wrong, code=2)
    assert says in " ".join(refused.stderr.split())
    assert not (tmp_path / "out").exists()


def test_a_folder_of_others_is_refused_and_left_as_it_is(toy, tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    refused = engram("run", "suppression", *toy, "--out", tmp_path, code=2)
    assert "holds files that are not a run's, such as mine.txt; name another" in refused.stderr
    assert "--force" in engram("demo", "--out", tmp_path, code=2).stderr
    assert [f.name for f in tmp_path.iterdir()] == ["mine.txt"]


def test_of_nothing_known_nothing_is_said(toy, tmp_path) -> None:
    document = json.loads(engram("run", "suppression", *toy, "--known-only", "--out", tmp_path, "--json").stdout)
    assert (document["complete"], document["report"]) == (True, None)
    assert "none of them could be tried" in engram("run", "suppression", *toy, "--known-only", "--out", tmp_path).stdout


@pytest.mark.parametrize(
    ("experiment", "more"),
    [
        ("activation_by_prompt", ["--slot", "entity"]), ("trigger_prompts", ["--k", 1]),
        ("updating", ["--edited", 1, "--add", 4]), ("erasing", ["--erased", 3, "--others", 1, "--relation", "capital"]),
    ],
)  # fmt: skip
def test_every_experiment_runs_on_neurons_that_were_found_once(experiment, more, tmp_path) -> None:
    choice = ["--relation", "capital", "--facts", 3, "--steps", 3, "--rule", "gauss"]
    engram("run", "neurons", *choice, "--out", tmp_path / "neurons")
    said = engram("run", experiment, "--neurons", tmp_path / "neurons", *more, "--out", tmp_path / "run", "--json")
    document = json.loads(said.stdout)
    assert document["complete"]
    assert document["report"]["settings"]["neurons"]["run"] == eg.open_run(tmp_path / "neurons").manifest["id"]
    assert (tmp_path / "run/report/report.html").is_file()


@pytest.fixture
def short(monkeypatch):
    """A demo of two relations and a handful of facts."""
    from engram.cli import _story

    monkeypatch.setattr(_story, "WELL_KNOWN", _story.WELL_KNOWN[:2])
    monkeypatch.setattr(_story, "ASKED", 3)
    some = data.read("shipped").only([relation for relation, _ in _story.WELL_KNOWN])
    monkeypatch.setattr(data, "read", lambda _name: some)


def test_the_demo_tells_its_story_in_order(short, tmp_path) -> None:
    shown = engram("demo", "--out", tmp_path / "out", "--facts", 3).stdout
    marks = (
        "1. Does engram:masked know them?", "Ireland", "first word is right", "2. Which neurons carry a fact?", "L3.",
        "3. The neurons of up to 3 facts", "suppressed", "falls by 15 % or more: ", "The report: ",
    )  # fmt: skip
    places = [shown.index(mark) for mark in marks]
    assert places == sorted(places)
    html = (tmp_path / "out" / "report.html").read_text()
    for title in ("Does it know the facts?", "The neurons of a few facts", "What one sees", "Each relation"):
        assert f"<h2>{title}</h2>" in html
    assert json.loads((tmp_path / "out/results.json").read_text())["kind"] == "demo"


def test_the_demo_says_so_where_an_aim_is_missed(short, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(
        eg.experiments.suppression, "Scaled", lambda neurons, _by: eg.interventions.Scaled(neurons, 1.0)
    )
    shown = engram("demo", "--out", tmp_path / "out", "--facts", 6).stdout
    assert "not met  without its own neurons, P(answer) falls by 15 % or more: 0.0 [0.0, 0.0] %" in shown
    assert "met      without as many random neurons" in shown
