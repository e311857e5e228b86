"""Noise in word embeddings: against networks whose weights were written, by family; curves by hand; runs and pages."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import engram as eg
from engram.cli._app import application
from engram.errors import BadSetting, HookDidNotFire, UnknownName
from engram.experiments import Perturbation
from engram.interventions.perturbed import Perturbed, published, tables
from engram.metrics.tried import Tried, behind, perturbed
from engram.models.questions import Batch
from engram.report.chapters import chapter
from engram.report.curves import Line, curves
from engram.testing.networks import SETTINGS, tiny

SHIPPED = eg.data.read("shipped").only(["capital", "symbol"])
PROMPT = eg.Prompt("The capital of Ireland is [Y].", "Dublin")


def noise(shape: tuple[int, ...], seed: int = 0, draw: int = 0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng([seed, draw]).standard_normal(shape, dtype=np.float32))


def written(net: nn.Module, where: str, sd: float) -> nn.Module:
    """A copy of the network with the noise written into its weights; what was tied is apart where only one gets it."""
    net = copy.deepcopy(net)
    own, scored = net.get_input_embeddings().weight, net.get_output_embeddings()
    readers = [m for m in net.modules() if isinstance(m, nn.Embedding) and m.weight is own]
    if where in ("output", "both"):
        scored.weight = nn.Parameter(scored.weight.detach() + sd * noise(tuple(scored.weight.shape)))
    if where in ("input", "both"):
        noisy = nn.Parameter(own.detach() + sd * noise(tuple(own.shape)))
        for module in readers:
            module.weight = noisy
    return net


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_held_perturbation_says_what_a_network_with_the_noise_in_its_weights_says(kind: str) -> None:
    model = eg.load(*tiny(kind))
    before = {k: v.clone() for k, v in model.net.state_dict().items()}
    for where in ("input", "output", "both"):
        other = eg.load(written(model.net, where, 0.1), model.tokenizer)
        (here,) = eg.ask(model, PROMPT, under=Perturbed(0.1, where, "absolute"))  # type: ignore[arg-type]
        (there,) = eg.ask(other, PROMPT)
        assert here.probability == pytest.approx(there.probability, rel=2e-5), where
        assert abs(here.logprob - eg.ask(model, PROMPT)[0].logprob) > 1e-5, where
    assert all(torch.equal(v, before[k]) for k, v in model.net.state_dict().items())
    assert not any("forward" in m.__dict__ for m in model.net.modules())


@pytest.mark.parametrize(("name", "ends"), [("engram:masked", " [MASK]."), ("engram:causal", "")])
def test_shipped_models_with_one_table_say_what_transformers_says_of_the_written_one(name: str, ends: str) -> None:
    model = eg.load(name)
    net = copy.deepcopy(model.net)
    table = net.get_input_embeddings().weight
    assert table is net.get_output_embeddings().weight
    with torch.no_grad():
        table += 0.03 * noise(tuple(table.shape), 5, 2)
        ids = model.tokenizer("The capital of Ireland is" + ends, return_tensors="pt")["input_ids"]
        at = -3 if ends else -1
        chances = net(input_ids=ids).logits[0, at].softmax(-1)
    answer = model.tokenizer.convert_tokens_to_ids("Dublin" if ends else "ĠDublin")
    (said,) = eg.ask(model, PROMPT, under=Perturbed(0.03, "both", "absolute", seed=5, draw=2))
    assert said.probability == pytest.approx(float(chances[answer]), abs=1e-6)


def test_a_head_of_its_own_gets_the_same_noise_in_units_of_its_own_spread() -> None:
    net, tokenizer = tiny("gpt2", tie_word_embeddings=False)
    with torch.no_grad():
        net.get_output_embeddings().weight *= 3
    model = eg.load(net, tokenizer)
    own = tables(model)
    assert own["output"].sigma == pytest.approx(float(own["output"].weight.detach().std()))
    other = copy.deepcopy(net)
    with torch.no_grad():
        for module in (other.get_input_embeddings(), other.get_output_embeddings()):
            module.weight += 0.5 * module.weight.std() * noise(tuple(module.weight.shape), 1)
    (here,), (there,) = eg.ask(model, PROMPT, under=Perturbed(0.5, seed=1)), eg.ask(eg.load(other, tokenizer), PROMPT)
    assert here.probability == pytest.approx(there.probability, rel=1e-5)


def test_noise_of_twice_the_size_in_the_output_moves_logits_twice_as_far() -> None:
    model = eg.load(*tiny("bert"))
    batch = Batch.of(model.rows(PROMPT))
    said = []
    for size in (0.0, 1.0, 2.0):
        with torch.no_grad(), eg.holding(Perturbed(size, "output"), model):
            said.append(model.logits(batch))
    assert torch.allclose(said[2] - said[0], 2 * (said[1] - said[0]), atol=1e-4)


def test_sizes_as_published_are_those_of_gpt2_and_bert() -> None:
    assert [published(mean) for mean in (0.1132, 0.0408)] == [0.03, 0.01]
    assert published(0.02) == pytest.approx(0.02 / 3)


def test_a_network_that_passes_its_table_by_is_an_error_not_a_zero() -> None:
    model = eg.load(*tiny("gpt2"))
    with pytest.raises(HookDidNotFire, match="input table"), eg.holding(Perturbed(1.0), model):
        model.net(inputs_embeds=torch.zeros(1, 2, 16))


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"sizes": ()}, BadSetting), ({"sizes": (0.0, 1.0)}, BadSetting), ({"sizes": (2.0, 1.0)}, BadSetting),
        ({"where": ()}, BadSetting), ({"where": ("input", "input")}, BadSetting), ({"where": ("head",)}, UnknownName),
        ({"unit": "percent"}, UnknownName), ({"samples": 0}, BadSetting), ({"prompts": 0}, BadSetting),
        ({"tables": "each"}, UnknownName), ({"preset": "paper"}, UnknownName),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(given: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Perturbation(**given)


@pytest.fixture(scope="module")
def model() -> eg.Model:
    return eg.load("engram:causal")


def done(model: eg.Model, **settings: Any) -> list[Any]:
    experiment = Perturbation(**{"sizes": (0.5, 1.0), "samples": 2, "prompts": 2, "facts": 2, **settings})
    return [experiment.run(model, SHIPPED, case) for case in experiment.cases(SHIPPED)]


def test_rows_are_the_answers_under_each_place_size_and_draw(model: eg.Model) -> None:
    rows = [row for result in done(model) for row in result["rows"]]
    assert len(rows) == 8  # two relations, two facts, two prompts
    for row in rows[::3]:
        prompt = eg.Prompt(row["prompt"], row["answer"])
        expected = []
        for draw in (0, 1):
            expected += [eg.ask(model, prompt)[0]]
            for where in ("input", "output", "both"):
                for size in (0.5, 1.0):
                    expected += eg.ask(model, prompt, under=Perturbed(size, where, draw=draw))  # type: ignore[arg-type]
        assert row["logprob"] == pytest.approx([a.logprob for a in expected], abs=1e-4)
        assert row["rank"] == [a.rank for a in expected]


@pytest.mark.parametrize("drawn", ["shared", "own"])
def test_a_fact_has_the_same_numbers_in_whatever_shard_it_is(model: eg.Model, drawn: str) -> None:
    together, apart = (
        {
            (row["number"], row["template"]): row["logprob"]
            for r in done(model, tables=drawn, shard=n, sizes=(0.5,))
            for row in r["rows"]
        }
        for n in (4, 1)
    )
    assert together.keys() == apart.keys()
    assert all(together[key] == pytest.approx(apart[key], abs=1e-4) for key in together)


def test_tables_of_their_own_differ_from_fact_to_fact_and_shared_ones_do_not(model: eg.Model) -> None:
    row = next(row for r in done(model, tables="own", prompts=1, samples=1) for row in r["rows"] if row["number"])
    prompt, where = eg.Prompt(row["prompt"], row["answer"]), "input"
    (own,) = eg.ask(model, prompt, under=Perturbed(0.5, where, draw=row["number"]))  # type: ignore[arg-type]
    (shared,) = eg.ask(model, prompt, under=Perturbed(0.5, where))  # type: ignore[arg-type]
    assert row["logprob"][1] == pytest.approx(own.logprob, abs=1e-4)
    assert row["logprob"][1] != pytest.approx(shared.logprob, abs=1e-4)


def test_the_summary_is_what_the_rows_say_by_hand(model: eg.Model) -> None:
    results = done(model)
    report = Perturbation(sizes=(0.5, 1.0), samples=2).summary(results)
    p = np.exp([np.reshape(row["logprob"], (2, 7)).tolist() for r in results for row in r["rows"]])
    clean, noisy = p[:, :, 0].mean(), p[:, :, 4].mean()  # every fact has two prompts: means over facts are plain means
    assert report["clean: P(answer)"].value == pytest.approx(clean)
    assert report["output, 1 σ: change"].value == pytest.approx(noisy - clean)
    assert report["output, 1 σ: relative change"].value == pytest.approx(noisy / clean - 1)
    assert report["output, 1 σ: change, mean over relations"].value == pytest.approx(noisy - clean)
    assert report["output, 1 σ minus input: P(answer)"].value == pytest.approx(noisy - p[:, :, 2].mean())
    between = p.mean(0)
    spread = np.std([between[0, 6] - between[0, 0], between[1, 6] - between[1, 0]], ddof=1)
    assert report["both, 1 σ: standard deviation of the change over draws"].value == pytest.approx(spread)
    assert report["facts"].n == 4
    with pytest.raises(BadSetting, match="no prompt was asked"):
        Perturbation().summary([{"rows": [], "skipped": []}])


def test_what_was_published_is_one_size_in_both_with_a_draw_for_each_fact(model: eg.Model) -> None:
    experiment = Perturbation(preset="published", facts=1, prompts=1)
    results = [experiment.run(model, SHIPPED, case) for case in experiment.cases(SHIPPED)]
    assert experiment.settings()["where"] == ["both"]
    assert experiment.tables == "own"
    mean = float(model.net.get_input_embeddings().weight.abs().mean())
    assert results[0]["sizes"]["input"] == [published(mean)] == [0.04]
    assert results[0]["tied"]
    assert any("cut off, 0.04" in note for note in experiment.summary(results).notes)


def test_numbers_over_facts_count_each_fact_and_each_relation_once() -> None:
    said = np.log([[0.8, 0.4], [0.6, 0.2], [0.4, 0.1], [0.2, 0.2]])
    ranks = np.array([[1, 1], [1, 2], [2, 2], [3, 3]])
    tried = Tried(("clean", "noisy"), said, ranks, ("a", "a", "b", "c"), ("r", "r", "r", "s"))
    assert tried.change("noisy").value == pytest.approx((-0.4 - 0.3 + 0.0) / 3)
    assert tried.over_relations("noisy").value == pytest.approx(((-0.4 - 0.4 - 0.3) / 3 + 0.0) / 2)
    assert tried.relative("noisy").value == pytest.approx((0.3 + 0.1 + 0.2) / (0.7 + 0.4 + 0.2) - 1)
    assert tried.accuracy().mean.tolist() == pytest.approx([1 / 3, 0.5 / 3])
    assert tried.p_value("noisy").value == pytest.approx(0.5)  # of two facts that change, alike in 2 of 4 sign patterns
    assert tried.over_relations("noisy").interval is None
    assert tried.change("noisy").interval is not None
    with pytest.raises(BadSetting):
        Tried.of([{"rows": []}], ("clean",))


def test_conditions_are_called_by_place_size_and_unit() -> None:
    assert [perturbed("both", 2, "absolute"), perturbed("both", 2, "published")] == [
        "both, 2",
        "both, 2 × as published",
    ]
    assert behind((0, 3)) == ("alone", "behind 3")


def test_lines_are_as_long_as_what_they_lie_over() -> None:
    y = np.array([0.1, 0.2])
    with pytest.raises(BadSetting, match="every point"):
        Line("x", "#000000", (0, 1, 2), y, y, y)
    with pytest.raises(BadSetting, match="no line"):
        curves([], "t", "c", x="x", y="y")
    nothing = np.full(2, np.nan)
    figure = curves([Line("x", "#000000", (0, 1), y, nothing, nothing)], "t", "c", x="x", y="y")
    assert any("one fact says nothing" in t.get_text() for t in figure.texts)


def test_the_command_makes_a_run_whose_page_has_every_number(tmp_path: Path) -> None:
    out = tmp_path / "noise"
    given = ["run", "perturbation", "-m", "engram:causal", "-r", "capital", "-r", "symbol", "--facts", "2", "--prompts",
             "1", "--size", "1", "--size", "0.5", "--samples", "1", "--out", str(out)]  # fmt: skip
    said = CliRunner().invoke(application(), given)
    assert said.exit_code == 0, said.output
    run = eg.open_run(out)
    report = run.summary()
    assert report is not None
    assert report.settings["sizes"] == [0.5, 1.0]
    told = chapter(run)
    assert set(told.figures) == {"perturbation"}
    page = (out / "report" / "report.html").read_text(encoding="utf-8")
    change = report["both, 1 σ: change"].value
    assert f"{100 * change:.1f}".replace("-", "−") in page
    assert "−9.51" in page
    assert "0.1411" in page
    more = ["run", "perturbation", "--like", "published", "-m", "engram:causal", "-r", "capital", "--facts", "2",
            "--demonstrations", "1"]  # fmt: skip
    again = CliRunner().invoke(application(), more)
    assert again.exit_code == 0, again.output
    assert "both, as published: change" in again.output
