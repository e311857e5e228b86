"""The parts Neurons and Turn: what is shown is what the library says, and its Python runs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import engram as eg
from engram.models.activations import activations

pytest.importorskip("fastapi")

from engram.web import fact, kept, pooling
from engram.web.views import neurons
from engram.web.views.base import views

STATIC = Path(pooling.__file__).parent / "static"
MASKED, CAUSAL = "engram:masked", "engram:causal"
IRELAND = {"prompt": "The capital of Ireland is [Y].", "answer": "Dublin"}
LOUD = "L3.187 L3.242 L3.99"


@pytest.fixture(scope="module", params=[MASKED, CAUSAL])
def model(request: pytest.FixtureRequest) -> eg.Model:
    return eg.load(request.param)


@pytest.fixture(scope="module")
def masked() -> eg.Model:
    return eg.load(MASKED)


def seen(view: str, model: eg.Model, **given: Any) -> dict[str, Any]:
    """What the page gets, through JSON as strict as a browser's."""
    result = views[view](**given).run(model, lambda _done, _total, _says="": None)
    plain: dict[str, Any] = json.loads(json.dumps(result, allow_nan=False))
    return plain


def made(view: str, model: eg.Model, **given: Any) -> dict[str, Any]:
    """What the view's Python leaves behind."""
    left: dict[str, Any] = {}
    exec(views[view](**given).python(model.name), left)
    return left


# -- locating


def test_overview_and_list_are_of_the_mean_over_prompts(model: eg.Model) -> None:
    found = seen("locate", model, **IRELAND, every=True)
    mean = np.mean([a.dense() for a in made("locate", model, **IRELAND, every=True)["scores"]], axis=0)
    assert len(found["prompts"]) == (8 if model.blank_last else 12)  # templates of the relation: those ending in [Y]
    np.testing.assert_allclose(np.array(found["overview"]["values"]), mean, rtol=2e-5, atol=1e-9)
    best = found["best"][0]
    layer, index = eg.Neuron.parse(best["neuron"])
    assert mean[layer, index] == mean.max() == pytest.approx(best["score"], rel=1e-5)
    assert best["low"] <= best["score"] <= best["high"]
    np.testing.assert_allclose([x["absolute"] for x in found["layers"]], abs(mean).sum(1), rtol=1e-4)
    np.testing.assert_allclose(  # completeness: a layer's scores add up to what its silence costs, but for the gap
        [x["sum"] - x["gap"] for x in found["layers"]], [x["change"] for x in found["layers"]], atol=1e-6
    )


def test_a_part_is_not_located_again(masked: eg.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = seen("locate", masked, **IRELAND)["overview"]
    monkeypatch.setattr(neurons, "locate", lambda *_, **__: pytest.fail("the model was asked again"))
    part = seen("part", masked, **IRELAND, first_layer=1, end_layer=3, first_neuron=10, end_neuron=30)
    assert part["values"] == [row[10:30] for row in whole["values"][1:3]]
    assert part["strongest"][0] == list(range(10, 30))
    monkeypatch.undo()
    other = seen("part", masked, prompt="The capital of Italy is [Y].", answer="Rome")
    assert other["values"] != whole["values"]


def test_pooling_keeps_the_strongest_and_its_sign() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 1000))
    found = pooling.pooled(scores, (1000, 1000, 400), (0, 3), (0, 1000), columns=7)
    assert (found["size"], len(found["values"][0])) == (143, 7)
    for i in range(7):
        own = scores[1, 143 * i : 143 * (i + 1)]
        assert abs(found["values"][1][i]) == pytest.approx(abs(own).max(), rel=1e-5)
        assert scores[1, found["strongest"][1][i]] == pytest.approx(found["values"][1][i], rel=1e-5)
    assert found["values"][2][3:] == found["strongest"][2][3:] == [None] * 4  # that layer has 400 neurons
    assert found["strongest"][2][2] < 400
    with pytest.raises(eg.errors.BadSetting, match="layers 0 to 2 of up to 1000 neurons"):
        pooling.pooled(scores, (1000, 1000, 400), (3, 4), (0, 10))


def test_pooling_of_a_large_model_is_small() -> None:
    scores = np.random.default_rng(0).normal(size=(80, 28_672)).astype(np.float32)
    found = pooling.pooled(scores, (28_672,) * 80, (0, 80), (0, 28_672))
    assert len(found["values"][0]) == 256
    assert len(json.dumps(found)) < 600_000


@pytest.mark.parametrize("rule", ["gauss", "right", "trapezoid"])
def test_rules_and_targets_are_those_of_the_library(masked: eg.Model, rule: str) -> None:
    found = seen("locate", masked, **IRELAND, rule=rule, target="logprob")
    steps = {} if rule == "gauss" else {"steps": 20}
    by = eg.IntegratedGradients(rule=rule, target="logprob", **steps)
    ((best, score),) = eg.locate(masked, eg.Prompt(*IRELAND.values()), by=by)[0].best(1)
    assert (found["best"][0]["neuron"], found["unit"]) == (str(best), "nats")
    assert found["best"][0]["score"] == pytest.approx(score, rel=1e-4)


# -- selecting again, in the page


@pytest.fixture(scope="module")
def ireland(masked: eg.Model) -> tuple[dict[str, Any], list[eg.Attribution]]:
    return seen("locate", masked, **IRELAND, every=True), made("locate", masked, **IRELAND, every=True)["scores"]


def test_the_page_selects_by_the_rule_of_shared(ireland: tuple[dict[str, Any], list[eg.Attribution]]) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed: the page's own rule cannot be run outside a browser")
    found, scores = ireland
    grid = [(12, t / 100, s / 100) for t in (5, 13, 20, 35, 50, 99, 100) for s in (0, 25, 50, 58, 75, 99, 100)]
    high = np.sort(scores[0].scores.ravel())  # thresholds that a score is equal to: strictly more is asked for
    grid += [(1, float(x) / scores[0].peak, 0.0) for x in high if x > found["floor"] * scores[0].peak]
    text = (STATIC / "selecting.js").read_text() + (
        "const { prompts, grid } = JSON.parse((await import('node:fs')).readFileSync(0));\n"
        "console.log(JSON.stringify(grid.map(([n, t, s]) => selected(prompts.slice(0, n), t, s))));\n"
    )
    given = json.dumps({"prompts": found["prompts"], "grid": grid})
    ran = subprocess.run(
        ["node", "--input-type=module", "-e", text], input=given, capture_output=True, text=True, timeout=60, check=True
    )
    for (n, threshold, share), names in zip(grid, json.loads(ran.stdout), strict=True):
        chosen = eg.select(scores[:n], by=eg.Shared(threshold=threshold, share=share))
        assert names == [str(x) for x in chosen], (n, threshold, share)
    assert len({len(names) for names in json.loads(ran.stdout)}) > 5


def test_sparse_scores_are_exact_and_end_at_the_floor(
    ireland: tuple[dict[str, Any], list[eg.Attribution]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, scores = ireland
    for prompt, a in zip(found["prompts"], scores, strict=True):
        assert prompt["peak"] == a.peak
        assert {eg.Neuron(*place) for *place, _ in prompt["scores"]} == a.above(found["floor"] * a.peak)
    monkeypatch.setattr(neurons, "MOST", 5)
    few = neurons._sparse(scores[0])
    assert len(few["scores"]) == 5
    assert few["floor"] * scores[0].peak == pytest.approx(scores[0].best(5)[-1][1])


# -- one neuron


def test_a_slot_says_what_it_adds_to_the_logits() -> None:
    """GPT-2's unembedding is linear: the same words come of the difference that the slot makes in its logits."""
    model = eg.load(CAUSAL)
    found = seen("slot", model, neuron="L2.62", words=5)
    slot = model.net.transformer.h[2].mlp.c_proj.weight[62]
    with torch.no_grad():
        state = torch.randn(1, 1, len(slot))
        added = (model.net.lm_head(state + slot) - model.net.lm_head(state))[0, 0]
    for key, sign in (("top", 1), ("bottom", -1)):
        best = (sign * added).topk(5)
        assert [w for w, _ in found[key]] == [model.tokenizer.decode([i]).strip() for i in best.indices.tolist()]
        np.testing.assert_allclose([x for _, x in found[key]], sign * best.values.numpy(), atol=1e-5)


def test_the_most_activating_prompts(model: eg.Model) -> None:
    found = seen("activating", model, neuron="L2.195", each=3)
    facts = eg.data.shipped()
    assert found["n"] == 3 * len(facts.relations)
    values = [p["value"] for p in found["prompts"]]
    assert values == sorted(values, reverse=True)
    first = eg.Prompt(found["prompts"][0]["text"], found["prompts"][0]["answer"])
    ((value,),) = activations(model, [first], [eg.NeuronSet.parse("L2.195")])
    assert value == pytest.approx(values[0], rel=1e-4)
    assert {r["relation"] for r in found["relations"]} == {r.id for r in facts.relations}
    assert all(low <= r["mean"] <= high for r in found["relations"] for low, high in [r["interval"]])


# -- turning


@pytest.mark.parametrize("by", [0, 0.5, 1, 2, 8])
def test_turning_is_scaling(model: eg.Model, by: float) -> None:
    found = seen("turn", model, **IRELAND, neurons=LOUD, by=by)
    prompt, chosen = eg.Prompt(*IRELAND.values()), eg.NeuronSet.parse(LOUD)
    under = eg.suppressed(chosen) if by == 0 else eg.amplified(chosen, by=by)
    (before,), (after,) = eg.ask(model, prompt), eg.ask(model, prompt, under=under)
    assert found["before"]["probability"] == pytest.approx(before.probability, rel=1e-6)
    assert found["after"]["probability"] == pytest.approx(after.probability, rel=1e-6)
    said = {row["word"]: row for row in found["words"]}
    assert said["Dublin"]["after"] == pytest.approx(after.probability, rel=1e-5)
    if by == 1:
        assert found["before"] == found["after"]
        assert all(row["before"] == row["after"] for row in found["words"])
    else:
        assert found["before"] != found["after"]


def test_specificity_is_seen_on_other_prompts(masked: eg.Model) -> None:
    chosen = seen("locate", masked, **IRELAND)["best"][:6]
    found = seen("turn", masked, **IRELAND, neurons=" ".join(x["neuron"] for x in chosen), others=True)
    groups = {g["name"]: g for g in found["groups"]}
    assert [len(g["rows"]) for g in groups.values()] == [1, 11, 24, 28]
    assert not {"Ireland", "Dublin"} & {
        w for g in list(groups.values())[2:] for r in g["rows"] for w in (r["answer"], *r["text"].split())
    }
    change = {name: next(s for s in g["scores"] if s["name"] == "absolute") for name, g in groups.items()}
    for name, g in groups.items():
        mean = np.mean([r["after"] - r["before"] for r in g["rows"]])
        assert change[name]["value"] == pytest.approx(mean)
    assert change["its other templates"]["value"] < -0.1  # the fact's neurons carry it in other words, too
    assert change["other relations"]["interval"][0] > -0.1
    assert change["this prompt"]["interval"] is None


def test_other_facts_have_other_answers(masked: eg.Model) -> None:
    own = eg.data.shipped().facts("continent")[0]
    prompt = eg.data.shipped().prompts(own)[0]
    given = {"prompt": prompt.text, "answer": prompt.answer, "neurons": LOUD, "others": True}
    (same,) = (g for g in seen("turn", masked, **given)["groups"] if g["name"].startswith("same relation"))
    answers = {row["answer"] for row in same["rows"]}
    assert len(same["rows"]) == 24
    assert own.answer not in answers


def test_a_sentence_of_no_shipped_fact_is_asked_alone(masked: eg.Model) -> None:
    found = seen("turn", masked, prompt="The capital of Ireland is [Y].", answer="London", neurons=LOUD, others=True)
    assert found["fact"] is None
    assert [g["name"] for g in found["groups"]] == ["this prompt"]


def test_which_fact_a_sentence_asks_for() -> None:
    assert str(fact.fact_of(eg.Prompt("It is [Y] that governs Ireland.", "Dublin"))) == "⟨Ireland, capital, Dublin⟩"
    assert fact.fact_of(eg.Prompt("The capital of Ireland is [Y].", "Dublin"), "France") is None
    for relation in ("birthplace", "death_place"):  # of two relations with this answer, the sentence's own
        own = next(f for f in eg.data.shipped().facts(relation) if f.subject == "Franz Schubert")
        prompt = eg.data.shipped().prompts(own)[2]
        assert fact.fact_of(eg.Prompt(prompt.text, prompt.answer)) == own


# -- errors, edits, Python


@pytest.mark.parametrize(
    ("view", "given", "why"),
    [
        ("turn", {**IRELAND, "neurons": ""}, "no neuron is selected"),
        ("turn", {**IRELAND, "neurons": "L9.1"}, "layers 0 to 3 of 256"),
        ("turn", {**IRELAND, "neurons": "nine"}, "written like L9.2141"),
        ("slot", {"neuron": "L3.256"}, "has no neuron"),
        ("activating", {"neuron": "L3"}, "written like"),
        ("locate", {"prompt": "No blank", "answer": "x"}, "exactly one blank"),
        ("locate", {**IRELAND, "under": ["edit-99"]}, "edit-99"),
    ],
)
def test_mistakes_are_named(masked: eg.Model, view: str, given: dict[str, Any], why: str) -> None:
    with pytest.raises(eg.errors.EngramError, match=why):
        seen(view, masked, **given)


@pytest.mark.parametrize(
    ("view", "field", "value"),
    [("turn", "by", 9), ("turn", "by", float("nan")), ("turn", "neurons", "L1.1 " * 9000), ("locate", "rule", "gaus")],
)
def test_sizes_and_names_are_bounded(view: str, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        views[view](**{**IRELAND, **({"neurons": LOUD} if view == "turn" else {}), field: value})


@pytest.fixture
def planned(masked: eg.Model) -> Iterator[tuple[str, eg.Edit]]:
    lines = (
        "ireland = eg.data.shipped().fact('Ireland', 'capital')\n"
        f"neurons = eg.NeuronSet.parse({LOUD!r})\n"
        "edit = eg.rewrite(model, ireland.becoming(None), by=eg.Erasure(neurons))\n"
    )
    left: dict[str, Any] = {"eg": eg, "model": masked}
    exec(lines, left)
    name = kept.kept.keep(masked.name, left["edit"], "without Dublin", lines)
    yield name, left["edit"]
    kept.kept.forget(name)


def test_under_an_edit(masked: eg.Model, planned: tuple[str, eg.Edit], capsys: pytest.CaptureFixture[str]) -> None:
    name, edit = planned
    prompt = eg.Prompt(*IRELAND.values())
    found = seen("turn", masked, **IRELAND, neurons="L2.195", by=2, under=[name])
    (before,) = eg.ask(masked, prompt, under=edit)
    (after,) = eg.ask(masked, prompt, under=[edit, eg.amplified(eg.NeuronSet.parse("L2.195"))])
    assert found["before"]["probability"] == pytest.approx(before.probability, rel=1e-6)
    assert found["after"]["probability"] == pytest.approx(after.probability, rel=1e-6)
    (bare,) = eg.ask(masked, prompt)
    assert found["bare"]["probability"] == pytest.approx(bare.probability, rel=1e-6)
    left = made("turn", masked, **IRELAND, neurons="L2.195", by=2, under=[name])
    assert [p for p, _, _ in left["rows"]] == pytest.approx([before.probability, after.probability], rel=1e-6)
    said = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in said] == [f"({p}" for p, _, _ in left["rows"]]
    located = seen("locate", masked, **IRELAND, under=[name])
    (again,) = made("locate", masked, **IRELAND, under=[name])["scores"]
    assert located["prompts"][0]["peak"] == pytest.approx(again.peak, rel=1e-5)
    assert located["prompts"][0]["peak"] != seen("locate", masked, **IRELAND)["prompts"][0]["peak"]


def test_python_says_what_the_page_says(model: eg.Model, capsys: pytest.CaptureFixture[str]) -> None:
    given = {**IRELAND, "neurons": LOUD, "by": 0.0, "others": True}
    found = seen("turn", model, **given)
    left = made("turn", model, **given)
    groups = {name: asked for name, asked in left["groups"].items() if asked}
    assert {g["name"]: [r["text"] for r in g["rows"]] for g in found["groups"]} == {
        name: [p.text for p in asked] for name, asked in groups.items()
    }
    assert capsys.readouterr().out.count("absolute") == len(groups)
    made("slot", model, neuron="L2.62", words=4)
    found_words = seen("slot", model, neuron="L2.62", words=4)
    printed = capsys.readouterr().out.splitlines()
    for line, end in zip(printed, ("top", "bottom"), strict=True):
        assert [w.strip() for w in eval(line)] == [w for w, _ in found_words[end]]
    made("activating", model, neuron="L2.62", each=2)
    first = seen("activating", model, neuron="L2.62", each=2)["prompts"][0]
    assert first["text"] in capsys.readouterr().out.splitlines()[0]
    part = {**IRELAND, "first_layer": 1, "end_layer": 2, "first_neuron": 5, "end_neuron": 9}
    np.testing.assert_allclose(
        made("part", model, **part)["mean"][1:2, 5:9], seen("part", model, **part)["values"], rtol=1e-4
    )
