"""The recipe of Niu et al. (2024): its runs, its page beside the published numbers, and what it concludes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import engram as eg
from engram.errors import BadSetting, UnknownName
from engram.recipes import Niu2024
from engram.report.beside import published, report_recipe
from engram.report.knowledge import closing, is_it_knowledge
from engram.results import Score
from engram.store import open_run
from test_chapters import Read

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = ["determiners", "profile", "neurons", "localisation", "minimal_pairs", "tracing_agreement", "tracing_facts",
         "criteria"]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs, of two relations and two paradigms, in a folder as `engram reproduce` leaves it."""
    out = tmp_path_factory.mktemp("paper") / "niu"
    pairs = eg.data.pairs().only(["noun_determiner", "subject_be"])
    recipe = Niu2024(facts=1, relations=("capital", "field"), pairs=pairs, place=(1, "asked"), layers=4)
    model, facts = eg.load("engram:masked"), eg.data.shipped()
    steps = list(recipe.steps(out))
    for step in steps:
        assert eg.run(step.experiment, step.data or facts, model, out=out / step.name).complete
    said = {
        "recipe": "niu2024", "steps": [{"name": s.name, "finds": s.finds} for s in steps],
        "settings": {"like": "engram", "facts": 1, "seed": 0, "known_only": False, "data": "shipped"},
        "left_out": list(recipe.left_out),
    }  # fmt: skip
    (out / "recipe.json").write_text(json.dumps(said), encoding="utf-8")
    return out


def test_the_runs_are_those_of_the_paper_and_settings_those_of_whom_it_is_like() -> None:
    ours = {s.name: s for s in Niu2024(facts=1).steps("runs")}
    theirs = {s.name: s for s in Niu2024(facts=1, like="paper", place=(0, "subject"), layers=4).steps("runs")}
    assert list(ours) == list(theirs) == STEPS
    for name in ("determiners", "profile", "minimal_pairs", "localisation"):
        assert ours[name].experiment.locator.rule == "gauss"
        assert (theirs[name].experiment.locator.rule, theirs[name].experiment.locator.steps) == ("linspace", 20)
    assert (ours["neurons"].experiment.held_out, theirs["neurons"].experiment.held_out) == (True, False)
    assert (ours["criteria"].experiment.new, theirs["criteria"].experiment.new) == ("drawn", "previous")
    assert [p.name for p in theirs["criteria"].experiment.by] == ["knowledge surgery", "ROME"]
    assert [t.metric for t in ours["tracing_agreement"].experiment.by] == ["logit_difference"] * 3
    assert set(ours["localisation"].experiment.syntax) == {r.id for r in eg.data.pairs().relations}
    assert Niu2024().left_out[-1].startswith("Edits are by knowledge surgery alone")


def test_a_causal_model_is_asked_what_it_can_be_asked() -> None:
    steps = {s.name: s.experiment for s in Niu2024(facts=1, causal=True).steps("runs")}
    assert (steps["determiners"].asked, steps["profile"].vocabulary.kind) == ("noun", "verb")
    facts = eg.data.shipped().only(["author"])
    recipe = Niu2024(facts=1, data=facts)
    assert [s.name for s in recipe.steps("runs")] == STEPS[:-1]  # nothing to be turned round
    assert recipe.left_out[-1].endswith("table 1 is left out.")


def test_all_runs_end(made) -> None:
    assert all(open_run(made / name).summary() is not None for name in STEPS)


def test_the_page_has_the_published_numbers_beside_ours_and_concludes(made, tmp_path) -> None:
    """Of three of the runs, for pictures take long."""
    for name in ("localisation", "minimal_pairs", "criteria", "recipe.json"):
        (tmp_path / name).symlink_to(made / name)
    text = report_recipe(tmp_path).read_text(encoding="utf-8")
    page = Read(text)
    assert page.fetched == []
    assert page.ids[0] == "beside-the-published-numbers"
    assert "is-it-knowledge-" in page.ids
    beside = json.loads((tmp_path / "report" / "results.json").read_text(encoding="utf-8"))["beside"]
    here = [row for row in beside if row["here"] is not None]
    assert {row["run"] for row in here} == {"criteria", "localisation"}
    assert all(row["here"] is None for row in beside if row.get("kind") == "causal")  # a masked model was asked
    for row in here:
        found = open_run(made / row["run"]).summary()[row["score"]]
        assert (row["here"]["value"], row["here"]["n"]) == (found.value, found.n)
    for words in ("52.35", "P1376", "cannot be judged on this model", "Where does it sit?", "McNemar"):
        assert words in text


def test_the_published_numbers_are_those_of_the_paper() -> None:
    paper = published("niu2024")
    rows = {(r["model"], r["relation"]): (r["n"], r["reliability"], r["passed"]) for r in paper["table_1"]["rows"]}
    assert rows == {
        ("GPT-2 XL", "P101"): (568, 99.82, 52.35), ("GPT-2 XL", "P1376"): (234, 96.37, 23.71),
        ("GPT-2 XL", "P36"): (703, 99.79, 25.17), ("LLaMA-2-7B", "P101"): (568, 100, 58.36),
        ("LLaMA-2-7B", "P1376"): (234, 100, 33.40), ("LLaMA-2-7B", "P36"): (703, 100, 33.64),
    }  # fmt: skip
    every = {(r["neurons"], r["score"]): r["value"] for t in paper["tables"] for r in t["rows"]}
    own = [3.94, 1.86, 5.53, 2.45, 8.88, 2.26, 9.79, 2.60]  # table 8, BERT
    assert every["syntax, BERT", "syntax: neurons"] == pytest.approx(sum(own) / 8, abs=1e-3)
    assert every["facts, BERT", "facts: r1"] == 0.517
    assert every["ROME", "symmetry, ROME: passed, paper"] == pytest.approx(0.2517)


def said_of(known: dict[str, dict[str, Score]]) -> dict[str, tuple[str, ...]]:
    """Of each question the verdicts, and what follows."""
    return {s.title: (*s.parts[0].kinds, *s.parts[1:]) for s in is_it_knowledge(known)}


def score(value: float, low: float, high: float, n: int = 40) -> Score:
    return Score("x", value, n, "fraction", interval=(low, high))


def test_what_it_concludes_follows_from_the_numbers() -> None:
    before = {
        "symmetry: answered before": score(0.5, 0.3, 0.7),
        "symmetry, no edit: passed, paper": score(0.4, 0.2, 0.6),
    }
    edited = {"symmetry, ROME: passed, paper": score(0.9, 0.8, 1),
              "symmetry, ROME: reliability, paper": score(1, 0.9, 1),
              "symmetry, ROME: passed, paper, above no edit": score(0.5, 0.3, 0.7)}  # fmt: skip
    beyond = "symmetry, ROME: passed, paper, above random neurons, answered before"
    title = "Does what should follow from an edit follow?"
    found = said_of({"criteria": before | edited | {beyond: score(0.4, 0.2, 0.6, 20)}})
    assert found[title] == ("yes", "yes", "yes", "By symmetry, an edit reaches beyond its own sentence.")
    found = said_of({"criteria": before | edited | {beyond: score(0.1, -0.1, 0.3, 20)}})
    assert found[title] == ("yes", "yes", "no", "By symmetry, no edit is seen to reach beyond its own sentence.")
    unable = {**before, "symmetry: answered before": score(0.0, 0.0, 0.1)}
    found = said_of({"criteria": unable | edited})
    assert found[title] == ("no", "yes", "Of symmetry nothing can be concluded on this model.")
    pairs = {"all pairs: as it is": score(1, 0.9, 1), "all pairs: matching": score(0.9, 0.8, 1)}
    p = "all pairs: matching, change, McNemar's p"
    for value, kind, words in ((0.01, "yes", "carry part of the choice"), (0.5, "no", "No change of choice")):
        (verdict, follows) = said_of({"minimal_pairs": {**pairs, p: Score(p, value, 40, "p-value")}})[
            "What is lost without it?"
        ]
        assert verdict == kind
        assert words in follows
    assert list(closing("dai2022", {})) == []


@pytest.mark.parametrize(("given", "error"), [({"like": "authors"}, UnknownName), ({"facts": 0}, BadSetting)])
def test_a_setting_that_is_not_one_is_refused(given, error) -> None:
    with pytest.raises(error):
        Niu2024(**given)
