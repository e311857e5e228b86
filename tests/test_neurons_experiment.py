"""The neurons of facts: by hand from their definition, from stored scores, from a stored run, and in numbers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

import engram as eg
from engram.errors import BadData, BadSetting, OtherRun, UnknownName
from engram.experiments import Attributions, Neurons, StoredNeurons, Suppression
from engram.experiments.neurons import sets_of
from engram.metrics.outcomes import ARMS
from engram.metrics.overlaps import overlaps
from engram.testing import tiny
from test_suppression import CAPITAL, FACTS, FAST


@pytest.fixture(scope="module")
def model() -> eg.Model:
    return eg.load(*tiny("bert"))


@pytest.fixture(scope="module")
def done(model: eg.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return eg.run(Neurons(FAST), FACTS, model, out=tmp_path_factory.mktemp("run") / "neurons").path


# -- the sets


@pytest.mark.parametrize("held_out", [True, False])
def test_neurons_are_those_of_the_prompts_that_may_find_them(model: eg.Model, held_out: bool) -> None:
    experiment = Neurons(FAST, held_out=held_out)
    result = experiment.run(model, FACTS, {"relation": "P36", "facts": [0, 1, 2]})
    for arm, by in (("attribution", FAST), ("activation", eg.Activation())):
        selector = eg.Shared(share=result["shares"][arm]["share"])
        for fact, found in zip(FACTS.facts("P36"), sets_of(result, arm), strict=True):
            prompts = FACTS.prompts(fact, split="discovery" if held_out else None)
            assert found == eg.select(eg.locate(model, prompts, by=by), by=selector)


def test_chance_has_as_many_of_the_same_layers_and_none_of_the_facts_own(model: eg.Model) -> None:
    result = Neurons(FAST).run(model, FACTS, {"relation": "P36", "facts": [0, 1, 2]})
    for own, chance in zip(sets_of(result, "attribution"), sets_of(result, "chance"), strict=True):
        assert not own & chance
        assert [n.layer for n in own] == [n.layer for n in chance]


def test_a_preset_gives_what_is_left_out_and_a_setting_wins() -> None:
    paper, code = Neurons(preset="paper"), Neurons(preset="hunter", held_out=True)
    assert (paper.locator.rule, paper.selector.strict, paper.baseline.threshold, paper.held_out) == (
        "right", True, 0.2, False,
    )  # fmt: skip
    assert (code.locator.rule, code.selector.floor, code.baseline.threshold, code.held_out) == ("left", 3, 0.5, True)
    with pytest.raises(UnknownName, match="eleuther"):
        Neurons(preset="eleuther")


@pytest.mark.parametrize("wrong", [{"facts": 0}, {"seed": -1}])
def test_settings_outside_what_is_defined_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(BadSetting):
        Neurons(**wrong)


# -- found once


def test_stored_neurons_are_those_found_and_serve_another_experiment_as_these_do(model: eg.Model, done: Path) -> None:
    fresh, stored = Neurons(FAST), StoredNeurons(done)
    for case in fresh.cases(FACTS):
        here, there = (by.sets(model, FACTS, case) for by in (fresh, stored))
        assert dict(here.arms) == dict(there.arms)
        assert (here.facts, here.numbers, here.about) == (there.facts, there.numbers, there.about)
        assert Suppression(fresh).run(model, FACTS, case) == Suppression(stored).run(model, FACTS, case)
    assert set(here.arms) == set(ARMS)


def test_neurons_of_another_model_or_of_other_facts_are_refused(model: eg.Model, done: Path) -> None:
    case = {"relation": "P36", "facts": [0]}
    other = eg.load(*tiny("bert", seed=1))
    with pytest.raises(OtherRun, match="weights are not those"):
        StoredNeurons(done).sets(other, FACTS, case)
    with pytest.raises(OtherRun, match="other facts"):
        StoredNeurons(done).cases(FACTS.only(["P36"]))


def test_a_run_of_something_else_holds_no_neurons(model: eg.Model, tmp_path: Path) -> None:
    eg.run(Attributions(FAST, limit=1), FACTS, model, out=tmp_path)
    with pytest.raises(OtherRun, match="a run of attribution, not of neurons"):
        StoredNeurons(tmp_path).cases(FACTS)


def test_stored_scores_give_the_neurons_that_locating_gives(model: eg.Model, done: Path, tmp_path: Path) -> None:
    scores = eg.run(Attributions(FAST, shard=2), FACTS, model, out=tmp_path / "scores").path
    active = eg.run(Attributions(eg.Activation(), shard=3), FACTS, model, out=tmp_path / "active").path
    again = Neurons(scores=scores, activations=active)
    for case, before in zip(again.cases(FACTS), eg.open_run(done).results(), strict=True):
        assert again.run(model, FACTS, case)["rows"] == before["rows"]


def test_a_prompt_without_stored_scores_is_named(model: eg.Model, tmp_path: Path) -> None:
    eg.run(Attributions(FAST, limit=1), FACTS, model, out=tmp_path)
    with pytest.raises(BadData, match="holds no scores of ⟨France, P36, Paris⟩"):
        Neurons(scores=tmp_path).run(model, FACTS, {"relation": "P36", "facts": [0, 1]})


# -- in numbers


def test_intersections_are_those_counted_pair_by_pair() -> None:
    rng = np.random.default_rng(0)
    groups = {
        r: [eg.NeuronSet.of((int(x), int(y)) for x, y in rng.integers(3, size=(k, 2))) for k in rng.integers(6, size=n)]
        for r, n in (("P1", 5), ("P2", 3), ("P3", 4))
    }
    found = overlaps(groups, 3, n=50)
    within = {r: [len(a & b) for i, a in enumerate(own) for b in own[:i]] for r, own in groups.items()}
    pooled = [x for pairs in within.values() for x in pairs]
    assert found["shared within"].value == pytest.approx(np.mean(pooled))
    assert found["shared within"].n == len(pooled)
    assert found["shared within, mean over relations"].value == pytest.approx(
        np.mean([np.mean(x) for x in within.values()])
    )
    across = [
        np.mean([np.mean([len(a & b) for b in there]) for other, there in groups.items() if other != r])
        for r, own in groups.items()
        for a in own
    ]
    assert found["shared across"].value == pytest.approx(np.mean(across))
    low, high = found["shared across"].interval
    assert low < found["shared across"].value < high


def test_intervals_are_those_of_facts_drawn_anew() -> None:
    groups = {r: [eg.NeuronSet.parse("L0.1" if i % 2 else "L0.2") for i in range(40)] for r in ("P1", "P2")}
    found = overlaps(groups, 1, n=2000)
    low, high = found["shared within"].interval
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(4000):
        shared = pairs = 0.0
        for _ in range(2):
            w = np.bincount(rng.integers(40, size=40), minlength=40)
            odd, total = w[1::2].sum(), w.sum()
            shared += (odd**2 + (total - odd) ** 2 - (w**2).sum()) / 2
            pairs += (total**2 - (w**2).sum()) / 2
        drawn.append(shared / pairs)
    assert (low, high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.004)


def test_the_published_neurons_of_a_replication_give_its_published_numbers(shared_data: Path) -> None:
    with gzip.open(shared_data / "kn_bert_base_uncased" / "neurons.jsonl.gz") as file:
        rows = [json.loads(line) for line in file]
    sets: dict[str, list[eg.NeuronSet]] = {}
    for r in rows:
        sets.setdefault(r["relation"], []).append(eg.NeuronSet.of(map(tuple, r["neurons"])))
    found = overlaps(sets, 12, n=20)
    assert round(found["neurons per fact"].value, 2) == 11.04
    assert round(found["shared within"].value, 2) == 3.03
    assert round(found["shared within, mean over relations"].value, 2) == 3.23
    assert round(found["shared across"].value, 2) == 0.39
    assert [round(s.value, 3) for s in found.layers] == [
        0.005, 0.003, 0.004, 0.010, 0.009, 0.015, 0.013, 0.101, 0.137, 0.206, 0.257, 0.240,
    ]  # fmt: skip


def test_the_summary_has_table_2_and_figure_3_of_both(model: eg.Model, done: Path) -> None:
    report = Neurons(FAST).summary(eg.open_run(done).results())
    results = list(eg.open_run(done).results())
    for arm in ("attribution", "activation"):
        sizes = [len(s) for r in results for s in sets_of(r, arm)]
        assert report[f"{arm}: neurons per fact"].value == pytest.approx(np.mean(sizes))
        assert sum(report[f"{arm}: layer {i}"].value for i in range(len(model.widths))) == pytest.approx(1)


def test_of_facts_that_cannot_be_asked_nothing_is_said(model: eg.Model) -> None:
    odd = eg.FactSet("odd", (CAPITAL,), {"P36": (CAPITAL.fact("Estonia", "Ж"),)})
    experiment = Neurons(FAST)
    with pytest.raises(BadSetting, match="no fact was tried: 1 were drawn, of which 0 can be asked"):
        experiment.summary([experiment.run(model, odd, case) for case in experiment.cases(odd)])
