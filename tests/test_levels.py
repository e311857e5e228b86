"""Levels of localisation: R1² by its definition and in cases one knows, and the experiment against its parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import engram as eg
from engram import data
from engram.cli._app import application
from engram.errors import BadSetting, NotFinite, UnknownName
from engram.experiments import Localisation
from engram.metrics.levels import kinds, levels, r1_squared
from engram.report.anchors import anchors
from engram.report.chapters import chapter
from engram.selectors import search_share

FAST = eg.IntegratedGradients(steps=4, rule="gauss")
PARADIGMS = ("reflexive_gender", "noun_determiner", "subject_have")


# -- R1²


@pytest.mark.parametrize("n", [2, 3, 7])
def test_it_is_1_for_parallel_and_0_for_orthogonal_maps(n: int) -> None:
    parallel = np.arange(1, n + 1)[:, None, None] * np.array([[1.0, 2.0, 0.5], [0.0, 3.0, 1.0]])
    assert r1_squared(parallel) == pytest.approx(1)
    assert r1_squared(np.diag(np.arange(1.0, n + 1))) == 0
    assert r1_squared(np.vstack([-parallel[:1], parallel[1:]])) == pytest.approx(1)  # opposite is parallel too


def test_it_is_the_cosine_where_every_two_maps_have_the_same(rng: np.random.Generator) -> None:
    cosine = 0.3
    gram = np.full((6, 6), cosine) + (1 - cosine) * np.eye(6)
    lengths = rng.uniform(0.1, 9, 6)
    assert r1_squared(gram=gram * np.outer(lengths, lengths)) == pytest.approx(cosine)


def test_it_is_what_the_largest_singular_value_says(rng: np.random.Generator) -> None:
    maps = rng.normal(size=(5, 4, 30))
    flat = maps.reshape(5, -1)
    first = np.linalg.svd(flat / np.linalg.norm(flat, axis=1, keepdims=True), compute_uv=False)[0]
    assert r1_squared(maps) == pytest.approx((first**2 - 1) / 4)
    assert r1_squared(gram=flat @ flat.T) == pytest.approx(r1_squared(maps))


def test_one_map_has_none_and_a_map_of_zeros_is_like_no_other() -> None:
    assert r1_squared([[1.0, 2.0]]) is None
    assert r1_squared(np.zeros((3, 4))) is None
    alike = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    assert r1_squared(alike) == pytest.approx((2 - 1) / 2)  # as the published code has it, up to its 1e-15
    code = alike / np.maximum(np.linalg.norm(alike, axis=1, keepdims=True), 1e-15)
    assert r1_squared(alike) == pytest.approx((np.linalg.svd(code)[1][0] ** 2 - 1) / 2)


def test_what_is_no_table_of_numbers_is_refused() -> None:
    with pytest.raises(NotFinite):
        r1_squared([[1.0, np.nan], [1.0, 2.0]])
    for wrong in ({}, {"maps": [[1.0]], "gram": [[1.0]]}, {"maps": [1.0, 2.0]}, {"gram": [[1.0, 2.0]]}):
        with pytest.raises(BadSetting):
            r1_squared(**wrong)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# -- means


def row(relation: str, kind: str, neurons: int, share: float = 0.7, r1: float | None = 0.5) -> dict:
    return {"relation": relation, "kind": kind, "neurons": neurons, "share": share, "r1": r1}


ROWS = [
    *(row("P36", "facts", n, r1=None if n == 9 else n / 10) for n in (1, 2, 9)), row("P19", "facts", 6, 0.5),
    *(row("be", "syntax", n) for n in (5, 7)),
]  # fmt: skip


def test_relations_weigh_the_same_and_sets_without_a_number_are_left_out_of_it() -> None:
    found = kinds(ROWS)
    assert found["facts"]["neurons"].value == pytest.approx((4 + 6) / 2)
    assert (found["facts"]["r1"].value, found["facts"]["r1"].n) == (pytest.approx((0.15 + 0.5) / 2), 3)
    assert found["difference"]["neurons"].value == pytest.approx(6 - 5)
    by_relation = {each.relation: each for each in levels(ROWS)}
    assert (by_relation["P36"].scores["neurons"].value, by_relation["P36"].sets) == (4, 3)


def test_there_is_an_interval_where_every_relation_has_two_sets_and_no_difference_of_one_kind() -> None:
    assert kinds(ROWS)["facts"]["neurons"].interval is None
    low, high = kinds(ROWS)["syntax"]["neurons"].interval or (0, 0)
    assert (low, high) == (5, 7)
    assert "difference" not in kinds(ROWS[:4])
    with pytest.raises(BadSetting):
        kinds([])


def test_sets_of_different_relations_are_drawn_apart() -> None:
    """The mean of k relations with the same numbers has an interval narrower by √k: draws must not go together."""
    numbers = range(20)
    one = kinds([row("a", "facts", n) for n in numbers])["facts"]["neurons"].interval or (0, 0)
    many = kinds([row(f"r{i}", "facts", n) for i in range(9) for n in numbers])["facts"]["neurons"].interval or (0, 0)
    assert (many[1] - many[0]) == pytest.approx((one[1] - one[0]) / 3, rel=0.15)


# -- the experiment


@pytest.fixture(scope="module")
def known() -> eg.FactSet:
    sets = data.sentence_sets(data.pairs().only(PARADIGMS), prompts=5)
    return data.together(data.shipped().only(["capital"]), sets)


@pytest.fixture(scope="module")
def model() -> eg.Model:
    torch.set_num_threads(1)
    return eg.load()


@pytest.fixture(scope="module")
def done(model: eg.Model, known: eg.FactSet, tmp_path_factory: pytest.TempPathFactory) -> eg.Run:
    experiment = Localisation(FAST, prompts=5, syntax=PARADIGMS, facts=2, shard=3)
    return eg.run(experiment, known, model, out=tmp_path_factory.mktemp("run") / "levels")


def test_the_levels_of_a_set_are_those_of_the_scores_of_its_prompts(done: eg.Run, model: eg.Model, known: eg.FactSet):
    rows = [row for result in done.results() for row in result["rows"]]
    assert {(r["relation"], r["kind"]) for r in rows} == {("capital", "facts"), *((p, "syntax") for p in PARADIGMS)}
    searched = [r for r in rows if r["share"] != 0.7]
    for row in rows[:1] + searched[-1:]:
        prompts = [p for p in known.prompts(tuple(known)[row["number"]]) if not p.blank_last or row["kind"] == "facts"]
        prompts = prompts or list(known.prompts(tuple(known)[row["number"]]))
        scores = eg.locate(model, prompts[:5], by=FAST)
        assert row["prompts"] == 5
        assert row["neurons"] == len(eg.select(scores, by=eg.Shared()))
        assert row["r1"] == pytest.approx(r1_squared(np.stack([a.dense() for a in scores])), abs=1e-6)
        assert row["share"] == float(search_share([scores], limit=20).share)


def test_the_chapter_has_the_means_and_the_published_ones_beside(done: eg.Run) -> None:
    report = done.summary()
    assert report is not None
    told = chapter(done)
    assert set(told.figures) == {"localisation"}
    assert len(told.figures["localisation"].axes) == 3
    text = str([str(part) for section in told.sections for part in section.parts])
    assert f"{report['facts: neurons'].value:.2f}" in text
    assert "12.50" in text
    assert report["noun_determiner: kept"].value == 1


def test_a_causal_model_is_asked_what_it_can_be_and_the_rest_is_said(known: eg.FactSet) -> None:
    experiment = Localisation(FAST, syntax=PARADIGMS, facts=1)
    (case,) = experiment.cases(known)
    result = experiment.run(eg.load("engram:causal"), known, case)
    assert {row["relation"] for row in result["rows"]} == {"capital", *PARADIGMS} - {"noun_determiner"}
    assert [s["fact"][1] for s in result["skipped"]] == ["noun_determiner"]


def test_sentences_whose_words_are_several_tokens_are_left_out_and_counted(model: eg.Model) -> None:
    sets = data.determiner_pairs(data.pairs(), "noun", templates=3)
    words = [next(iter(sets)).answer, "houseboats"]
    members = {"determiner_noun": tuple(eg.Fact("these", "determiner_noun", word, word) for word in words)}
    facts = eg.FactSet("two", sets.relations, members)
    experiment = Localisation(FAST, syntax=("determiner_noun",))
    (case,) = experiment.cases(facts)
    result = experiment.run(model, facts, case)
    assert [row["answer"] for row in result["rows"]] == words[:1]
    assert result["kept"] == {"determiner_noun": [3, 6]}
    assert experiment.summary([result])["determiner_noun: kept"].value == 0.5
    assert "0 of 3 sentences" in result["skipped"][0]["reason"]


def test_the_command_takes_facts_and_pairs_together() -> None:
    given = ["run", "localisation", "--relation", "capital", "--facts", "1", "--prompts", "2", "--rule", "gauss"]
    said = CliRunner().invoke(application(), [*given, "--steps", "4", "--json"])
    assert said.exit_code == 0, said.output
    assert '"syntax: neurons"' in said.output
    assert '"capital: r1"' in said.output
    assert CliRunner().invoke(application(), [*given[:-2], "--prompts", "some"]).exit_code != 0


def test_a_prompt_alone_and_a_paradigm_that_is_not_there_are_refused(known: eg.FactSet) -> None:
    with pytest.raises(BadSetting, match="2 up"):
        Localisation(prompts=1)
    with pytest.raises(UnknownName, match="subject_be"):
        Localisation(syntax=("subject_be",)).cases(known)


def test_the_published_means_are_those_of_the_paper(tmp_path: Path) -> None:
    paper = anchors("niu2024", "localisation")
    bert = paper["facts"]["bert-base-cased"]
    assert (bert["neurons"], bert["share"], bert["r1"]) == (5.96, 0.725, 0.517)
    assert paper["syntax"]["gpt2"].keys() < paper["syntax"]["bert-base-cased"].keys()
    with pytest.raises(UnknownName):
        anchors("niu2024", "table 9")
