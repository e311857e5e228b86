"""`engram diff`: what is shown, kept and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import engram as eg
from engram.cli._app import application
from engram.testing.networks import tiny
from test_chapters import Read

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = ("--relation", "capital", "--facts", 3)


def engram(*arguments: object) -> Result:
    return CliRunner().invoke(application(), [str(a) for a in arguments])


@pytest.fixture(scope="module")
def cork(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An edit of the shipped causal model, in a folder."""
    model, facts = eg.load("engram:causal"), eg.data.shipped()
    fact = facts.fact("Ireland", "capital")
    by = eg.ROME(layer=0, covariance=None, token="asked", contexts=())
    edit = eg.rewrite(model, fact.becoming("Cork"), by=by, prompt=facts.prompts(fact, blank_last=True)[0])
    folder = tmp_path_factory.mktemp("edits") / "cork"
    edit.save(folder)
    return folder


def test_an_edit_is_found_by_name(cork: Path, tmp_path: Path) -> None:
    """Without naming a model: the one that the edit was planned on."""
    said = engram("diff", "--under", cork, "--relation", "capital", "--out", tmp_path / "diff")
    assert (said.exit_code, said.stderr) == (0, "")
    lines = said.stdout.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("largest changes"))
    assert lines[first + 1].startswith("⟨Ireland, capital, Dublin⟩")
    assert lines[first + 1].rstrip().endswith("lost")
    assert "McNemar, exact: p = " in said.stdout
    page = Read((tmp_path / "diff" / "report" / "report.html").read_text(encoding="utf-8"))
    assert page.fetched == []
    assert "⟨Ireland, capital, Dublin⟩" in page.cells
    again = engram("diff", "--under", cork, "--relation", "capital", "--out", tmp_path / "diff")
    assert again.stdout == said.stdout


def written(folder: Path, pairs: tuple[tuple[str, str], ...]) -> Path:
    """A data set of one relation, laid out as the shipped one is."""
    files = {
        "relations": [{"relation": "capital", "label": "capital", "type": "1-1", "description": "Capitals."}],
        "patterns/capital": [{"pattern": "The capital of [X] is [Y]."}],
        "facts/capital": [{"sub_label": subject, "obj_label": answer} for subject, answer in pairs],
    }
    for name, rows in files.items():
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return folder


def test_two_checkpoints_as_json(tmp_path: Path) -> None:
    for seed, name in ((0, "one"), (1, "other")):
        net, tokenizer = tiny("gpt2", seed=seed)
        net.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    facts = written(tmp_path / "facts", (("Ireland", "Dublin"), ("France", "Paris"), ("Italy", "Rome")))
    known = eg.data.read(facts)
    said = engram("diff", tmp_path / "one", tmp_path / "other", "--data", facts, "--json")
    assert (said.exit_code, said.stderr) == (0, "")
    found = json.loads(said.stdout)
    one, other = (eg.load(*tiny("gpt2", seed=seed)) for seed in (0, 1))
    by_hand = eg.diff(one, other, known)
    scores = {s["name"]: s["value"] for s in found["report"]["scores"]}
    assert scores["change of log P(answer)"] == pytest.approx(by_hand["change of log P(answer)"].value, abs=1e-5)
    assert len(found["facts"]) == 3
    for fact in found["facts"]:
        assert fact["change"] == pytest.approx(fact["logprob"][1] - fact["logprob"][0])
    assert [abs(f["change"]) for f in found["facts"]] == sorted(
        (abs(f["change"]) for f in found["facts"]), reverse=True
    )


def test_a_model_against_itself_and_the_two_shipped_ones() -> None:
    same = engram("diff", "engram:causal", "engram:causal", *FEW)
    assert same.exit_code == 0
    assert "nothing differs" in same.stdout
    both = engram("diff", "engram:masked", "engram:causal", *FEW)
    assert both.exit_code == 0
    assert "end with their blank" in both.stdout
    assert "perplexity: ratio" not in both.stdout


def test_nothing_to_compare_is_refused() -> None:
    alone = engram("diff", "engram:causal")
    assert alone.exit_code == 2
    assert "two models are compared" in alone.stderr
    other = engram("diff", "engram:causal", "no/such-folder", "--under", "no-edit")
    assert other.exit_code != 0
    assert other.stdout == ""
