"""Do methods point to the same layers and neurons? Rank correlations by another implementation, and by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects
import pytest
from click.testing import Result
from scipy import stats
from typer.testing import CliRunner

import engram as eg
from engram.cli._app import application
from engram.errors import BadSetting, NotFinite, UnknownName
from engram.experiments import Agreement
from engram.experiments.agreement import LOCATED, MEDIATED, TRACED, _profiles
from engram.metrics import bootstrap
from engram.metrics.changes import average
from engram.metrics.likeness import compared, likenesses, spearman
from engram.report import report_run
from engram.report.bars import number
from engram.report.chapters import chapter
from engram.report.matrix import Matrix
from engram.results import Score
from engram.tracers import CausalTracing
from test_chapters import Read

SHIPPED = eg.data.read("shipped").only(["capital"])
FFN = CausalTracing(kind="ffn", window=1, samples=2)
FAST = Agreement(eg.IntegratedGradients(steps=3, rule="gauss"), FFN, (5, 20), known_only=False, facts=2, shard=1)
METHODS = (*LOCATED, *MEDIATED, *TRACED)


@pytest.fixture(scope="module")
def model() -> eg.Model:
    return eg.load("engram:causal")


@pytest.fixture(scope="module")
def done(model: eg.Model, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return eg.run(FAST, SHIPPED, model, out=tmp_path_factory.mktemp("runs") / "agreement")


# -- by hand


def test_ranks_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for x, y in ((rng.normal(size=50), rng.normal(size=50)), (rng.integers(4, size=50), rng.integers(4, size=50))):
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert spearman(np.arange(5.0), np.arange(5.0) ** 3) == 1.0
    assert spearman(np.arange(5.0), -np.arange(5.0)) == -1.0


def test_a_method_agrees_with_itself_and_shares_what_both_name() -> None:
    scores = {"a": np.array([5.0, 4, 3, 0, 0, 0]), "b": np.array([0.0, 9, 8, 7, 0, 0])}
    profiles = {"a": np.array([1.0, 2, 3]), "b": np.array([3.0, 2, 9]), "c": np.zeros(3)}
    found = {(a, b): alike for a, b, alike in likenesses(profiles, scores, (1, 3))}
    assert list(found) == [("a", "a"), ("a", "b"), ("a", "c"), ("b", "b"), ("b", "c"), ("c", "c")]
    for name in "ab":
        own = found[name, name]
        assert (own.layers, own.same_peak, own.neurons, own.shared) == (1.0, True, 1.0, (1.0, 1.0))
    both = found["a", "b"]
    assert (both.layers, both.same_peak, both.shared) == (0.5, True, (0.0, 2 / 3))
    assert (found["a", "c"].layers, found["a", "c"].neurons, found["a", "c"].shared) == (None, None, ())
    with pytest.raises(BadSetting, match="the best 7 of 6 neurons"):
        list(likenesses(profiles, scores, (1, 7)))
    with pytest.raises(NotFinite, match="numbers by c"):
        list(likenesses({**profiles, "c": np.array([np.nan, 0, 0])}, scores, (1,)))


def test_a_fact_counts_once_and_what_cannot_be_compared_is_left_out() -> None:
    values = np.array([0.1, 0.7, -0.2, 0.5])
    rows = [
        {"a": "x", "b": "y", "number": i, "layer_correlation": None if i == 3 else v, "same_peak": i == 0,
         "neuron_correlation": v, "shared": [v / 2]}
        for i, v in enumerate(values.tolist())
    ]  # fmt: skip
    (pair,) = compared(rows, (10,), seed=5)
    assert (pair.neurons.value, pair.neurons.n) == (pytest.approx(values.mean()), 4)
    assert pair.neurons.interval == pytest.approx(bootstrap(average, [values], range(4), seed=5))
    assert (pair.layers.value, pair.layers.n) == (pytest.approx(values[:3].mean()), 3)
    assert (pair.same_peak.value, pair.shared[0].value) == (0.25, pytest.approx(values.mean() / 2))
    assert pair.shared[0].name == "best 10 neurons: x ~ y"
    nothing = [{**r, "neuron_correlation": None, "shared": []} for r in rows]
    assert (compared(nothing, (10,))[0].neurons, compared(nothing, (10,))[0].shared) == (None, ())


# -- the run


def test_the_numbers_of_a_fact_are_those_of_its_methods_by_another_implementation(model: eg.Model, done: Any) -> None:
    rows = list(done.result(0)["rows"])
    assert [(r["a"], r["b"]) for r in rows] == [(a, b) for i, a in enumerate(METHODS) for b in METHODS[i:]]
    said = {(r["a"], r["b"]): r for r in rows}
    (prompt,) = SHIPPED.prompts(list(SHIPPED)[rows[0]["number"]], blank_last=True, limit=1)
    assert prompt.text == rows[0]["prompt"]
    silent = eg.locate(model, prompt, by=eg.Ablation())[0].dense()
    units = [eg.UnitMediation(layer=i, token="last", samples=2, best=()) for i in range(4)]
    loud = np.stack([eg.mediate(model, prompt, by=by).effect for by in units])
    pair = said["ablation", "mediation"]
    assert pair["neuron_correlation"] == pytest.approx(
        stats.spearmanr(silent.ravel(), loud.ravel()).statistic, abs=1e-3
    )
    best = [{int(i) for i in np.argsort(-x.ravel())[:20]} for x in (silent, loud)]
    assert pair["shared"][1] == len(best[0] & best[1]) / 20
    profiles = [np.clip(x, 0, None).sum(1) for x in (silent, loud)]
    assert said["ablation", "ablation"]["profile"] == pytest.approx(profiles[0], rel=1e-4)
    assert pair["layer_correlation"] == pytest.approx(stats.spearmanr(*profiles).statistic)
    assert pair["same_peak"] == (profiles[0].argmax() == profiles[1].argmax())
    trace = eg.trace(model, prompt, by=FFN)
    assert said["ffn, asked token", "ffn, asked token"]["profile"] == pytest.approx(trace.effect[trace.at], abs=1e-7)
    assert said["ffn, any token", "ffn, any token"]["profile"] == pytest.approx(trace.effect.max(0), abs=1e-7)
    block = eg.trace(model, prompt, by=CausalTracing(samples=2))
    assert said["block, any token", "block, any token"]["profile"] == pytest.approx(block.effect.max(0), abs=1e-7)
    other = replace(trace, effect=np.array([[0.5, 0.1], [0.2, 0.3]]), at=1)
    assert [x.tolist() for x in _profiles(other)] == [[0.2, 0.3], [0.5, 0.3]]
    assert pair["profile"] == []
    assert said["ablation", "ffn, asked token"]["neuron_correlation"] is None


def test_every_method_agrees_with_itself_in_a_run(done: Any) -> None:
    own = [r for result in done.results() for r in result["rows"] if r["a"] == r["b"]]
    assert len(own) == 2 * len(METHODS)
    for r in own:
        assert (r["layer_correlation"], r["same_peak"]) == (1.0, True)
        if r["a"] not in TRACED:
            assert (r["neuron_correlation"], r["shared"]) == (1.0, [1.0, 1.0])


def test_the_summary_says_n_intervals_chance_and_how_coarse_it_is(done: Any) -> None:
    report = done.summary()
    rows = [r for result in done.results() for r in result["rows"]]
    score = report["neurons: integrated gradients ~ ablation"]
    own = [r["neuron_correlation"] for r in rows if (r["a"], r["b"]) == ("integrated gradients", "ablation")]
    assert (score.value, score.n, score.unit) == (pytest.approx(np.mean(own)), 2, "rank correlation")
    assert score.interval == pytest.approx((min(own), max(own)))
    assert report["best 5 neurons: by chance"].value == 5 / 1024
    assert report["facts"].value == 2
    assert any("4 layers" in note and "0.58" in note for note in report.notes)
    assert len({s.name for s in report.scores}) == len(report.scores)
    assert not any(name.split(": ")[1].split(" ~ ")[0] == name.split(" ~ ")[1] for name in
                   (s.name for s in report.scores) if " ~ " in name)  # fmt: skip


def test_what_is_not_known_is_left_out_and_nothing_is_said_of_nobody(model: eg.Model, tmp_path: Path) -> None:
    wrong = SHIPPED.relation("capital").fact("Ireland", "Rome")
    facts = eg.FactSet("wrong", (SHIPPED.relation("capital"),), {wrong.relation: (wrong,)})
    run = eg.run(Agreement(FAST.locator, FFN), facts, model, out=tmp_path)
    assert [s["reason"].partition(":")[0] for s in run.skipped()] == ["not known"]
    assert run.summary() is None
    with pytest.raises(BadSetting, match="no fact was compared: 1 could be asked; not known"):
        FAST.summary(run.results())


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [({"by": CausalTracing()}, BadSetting, "kind='ffn'"), ({"tops": ()}, BadSetting, "from 1 up"),
     ({"tops": (0, 3)}, BadSetting, "from 1 up"),
     ({"by": CausalTracing(kind="ffn", metric="rank")}, UnknownName, "no target called 'rank'"),
     ({"by": CausalTracing(kind="ffn", metric="logprob")}, BadSetting, "explain one number"),
     ({"by": CausalTracing(kind="ffn", answers="argmax")}, BadSetting, "gold")],
)  # fmt: skip
def test_settings_outside_what_is_defined_are_refused(wrong: dict[str, Any], kind: type, words: str) -> None:
    with pytest.raises(kind, match=words):
        Agreement(**wrong)


def test_more_best_neurons_than_there_are_is_said(model: eg.Model) -> None:
    with pytest.raises(BadSetting, match="the best 2000 of 1024 neurons"):
        Agreement(FAST.locator, FFN, (2000,), known_only=False).run(model, SHIPPED, {"shard": 0, "facts": [0]})


# -- what people see


def engram(*arguments: object) -> Result:
    return CliRunner().invoke(application(), [str(a) for a in arguments])


def test_the_page_has_both_matrices_and_their_numbers(done: Any, tmp_path: Path) -> None:
    told = chapter(done)
    assert set(told.figures) == {"neurons", "layers"}
    page = Read(report_run(done, tmp_path).read_text(encoding="utf-8"))
    assert page.fetched == []
    assert len(page.charts) == 2
    for chart in page.charts:
        plotly.graph_objects.Figure(chart)
    report = done.summary()
    for name, scale, digits in (
        ("neurons: ablation ~ mediation", 1, 2),
        ("best 20 neurons: ablation ~ mediation", 100, 1),
    ):
        assert number(report[name], scale, digits, signs=scale == 1) in page.cells
    texts = [t.get_text() for t in told.figures["neurons"].axes[0].texts]
    assert len(texts) == 15
    assert texts[0] == f"{report['neurons: integrated gradients ~ ablation'].value:+.2f}".replace("-", "−")


def test_a_matrix_has_each_pair_once_below_the_diagonal() -> None:
    scores = {
        ("a", "b"): Score("a ~ b", 0.25, 3, "rank correlation", interval=(0.1, 0.5)),
        ("c", "a"): Score("c ~ a", -0.75, 3, "rank correlation"),
    }
    matrix = Matrix("t", "c", ("a", "b", "c"), scores)
    (chart,) = matrix.chart()["data"]
    assert (chart["x"], chart["y"]) == (["a", "b"], ["b", "c"])
    assert chart["z"] == [[0.25, None], [-0.75, None]]
    assert chart["customdata"][0] == ["b ~ a: +0.25 [+0.10, +0.50] (n = 3)", ""]
    texts = {t.get_text(): t.get_position() for t in matrix.figure().axes[0].texts}
    assert texts == {"+0.25": (0.5, 0.5), "−0.75": (0.5, 1.5)}


def test_the_command_compares_and_goes_on(tmp_path: Path) -> None:
    command = ("run", "agreement", "-m", "engram:causal", "-r", "capital", "--limit", 1, "--samples", 2, "--metric",
               "logprob", "--out", tmp_path / "run", "--json")  # fmt: skip
    said = json.loads(engram(*command).stdout)
    assert said["complete"]
    assert said["report"]["settings"]["locator"]["target"] == "logprob"
    assert json.loads(engram(*command).stdout)["report"] == said["report"]
    wrong = engram("run", "agreement", "--noise", "replace")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "for tracing" in wrong.stderr
