"""Table 5 on models whose neurons are planted, and the perplexities by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import engram as eg
from engram import NeuronSet
from engram.errors import BadSetting, UnknownName
from engram.experiments import Erasing, experiments
from engram.models.perplexity import surprise
from engram.store import shards
from engram.testing import tiny
from planted import FACTS, LANDS, WRITER, Given, done, only, planted, weights

torch.set_num_threads(1)

TEXTS = ("The capital of Ireland is Dublin", "A city in France")


def given(*own, **more):
    """Neurons for the capital of each land, by attribution."""
    return Given(named={land: {"attribution": NeuronSet.parse(x), **more} for land, x in zip(LANDS, own, strict=True)})


WRITING = given("L2.3", "L2.3", "L2.3", "L2.3", "L2.3")


def perplexity(nats):
    return math.exp(np.mean(nats))


def test_erasing_the_neuron_that_writes_the_answers_makes_them_surprising_and_chance_does_not():
    model = planted()
    before = weights(model)
    experiment = Erasing(WRITING, texts=TEXTS)
    result = done(experiment, model)
    assert result["erased"]["attribution"] == ["L2.3"]
    assert "activation" not in result["erased"]
    (own,) = only(result, arm="attribution", place="own", subject="Ireland")
    assert own["prompts"] == own["right_before"] == 2
    assert own["right_after"] == 0
    assert own["after"] > own["before"] + 1
    (control,) = only(result, arm="chance", place="own", subject="Ireland")
    assert control["right_after"] == 2
    assert control["after"] == pytest.approx(control["before"], abs=0.1)
    report = experiment.summary([result])
    assert report["attribution: accuracy before, own relation"].value == pytest.approx(2 / 7)  # tests: 2 1 1 2 1
    assert all(torch.equal(x, before[name]) for name, x in model.net.state_dict().items())


@pytest.mark.parametrize("make", [planted, lambda: eg.load(*tiny("bert"))])
def test_every_number_is_what_asking_with_the_neurons_silent_everywhere_says(make):
    model = make()
    experiment = Erasing(given("L0.1 L1.2", "L0.1", "L2.3", "", "L2.5"), texts=TEXTS)
    result = done(experiment, model)
    table = experiment.by_relation([result])
    for arm in ("attribution", "chance"):
        silent = eg.suppressed(NeuronSet.parse(" ".join(result["erased"][arm])), at="everywhere")
        for when, under in (("before", None), ("after", silent)):
            for place, relation in (("own", "capital"), ("other", "born")):
                nats = []
                for fact in FACTS.facts(relation):
                    answers = eg.ask(model, FACTS.prompts(fact, split="test", blank_last=model.blank_last), under=under)
                    (row,) = only(result, arm=arm, place=place, subject=fact.subject)
                    assert row[when] == pytest.approx(-np.mean([a.logprob for a in answers]), abs=1e-4)
                    assert row[f"right_{when}"] == sum(a.rank == 1 for a in answers)
                    nats += [-a.logprob for a in answers]
                name = {"own": "own relation", "other": "other relations"}[place]
                score = table[f"capital, {arm}: {name} {when}"]
                assert score.value == pytest.approx(perplexity(nats), rel=1e-3)
                assert score.interval[0] <= score.value <= score.interval[1]
            nats = [x for own in surprise(model, TEXTS, under=under) for x in own]
            assert table[f"capital, {arm}: text {when}"].value == pytest.approx(perplexity(nats), rel=1e-3)
    measure = "perplexity" if model.blank_last else "pseudo-perplexity"
    assert table["capital, attribution: text before"].unit == result["text_measure"] == measure


def test_the_most_frequent_neurons_are_erased_and_of_equal_ones_those_met_first():
    neurons = given("L1.9 L2.1", "L0.5 L2.1", "L0.4 L2.7", "L2.7 L0.0", "")
    frequent = {1: "L2.1", 2: "L2.1 L2.7", 3: "L1.9 L2.1 L2.7", 4: "L0.5 L1.9 L2.1 L2.7", 5: "L0.4 L0.5 L1.9 L2.1 L2.7"}
    for n, expected in frequent.items():
        result = done(Erasing(neurons, neurons_erased=n, texts=(), others=0, own=1), planted())
        assert result["erased"]["attribution"] == expected.split()
        chance = result["erased"]["chance"]
        assert [x.split(".")[0] for x in chance] == [x.split(".")[0] for x in expected.split()]
        assert not set(chance) & set(expected.split())


def test_each_erased_relation_counts_once_and_a_fact_by_its_prompts():
    experiment = Erasing(WRITING, texts=())
    result = done(experiment, planted())

    def row(relation, number, prompts, change, right):
        (first,) = only(result, arm="attribution", place="own", subject="Ireland")
        return {**first, "relation": relation, "asked_relation": relation, "number": number, "prompts": prompts,
                "before": 1.0, "after": 1.0 + change, "right_before": prompts, "right_after": right}  # fmt: skip

    one = [row("one", 0, 3, math.log(4), 0), row("one", 1, 1, 0.0, 1)]  # mean change ¾ ln 4, accuracy ¼
    two = [row("two", 0, 10, 0.0, 5)]  # mean change 0, accuracy ½
    results = [{**result, "relation": r[0]["relation"], "rows": r} for r in (one, two)]
    report = experiment.summary(results)
    growth = report["attribution: growth of perplexity, own relation"]
    assert growth.value == pytest.approx(4**0.375 - 1)
    assert growth.n == 3
    assert report["attribution: accuracy after, own relation"].value == pytest.approx(0.375)
    assert experiment.by_relation(results)["one, attribution: own relation after"].value == pytest.approx(
        math.e * 4**0.75
    )


def test_how_many_are_asked_and_that_the_same_others_are_asked_whatever_is_erased():
    model = planted()
    few = done(Erasing(WRITING, own=2, others=3, texts=TEXTS), model)
    places = [(r["place"], r["asked_relation"]) for r in only(few, arm="attribution")]
    assert places == [("own", "capital")] * 2 + [("other", "born")] * 3 + [("text", None)] * 2
    born = Given(named={x: {"attribution": WRITER} for x in ("Once", "time")})
    other = done(Erasing(born, own=3, others=2, texts=()), model, "born")
    own = {r["number"] for r in only(few, place="own", arm="attribution")}
    assert {r["number"] for r in only(other, place="other", arm="attribution")} == own


def test_only_the_relations_named_are_erased():
    assert [c["relation"] for c in Erasing(WRITING).cases(FACTS)] == ["capital", "born"]
    assert [c["relation"] for c in Erasing(WRITING, relations=("place of birth",)).cases(FACTS)] == ["born"]
    with pytest.raises(UnknownName, match="Did you mean capital"):
        Erasing(WRITING, relations=("capitol",)).cases(FACTS)


def test_an_arm_without_enough_neurons_is_left_out_with_its_reason():
    all_of_a_layer = " ".join(f"L0.{i}" for i in range(20))
    result = done(Erasing(given(*[all_of_a_layer] * 5), texts=(), others=0), planted())
    assert set(result["erased"]) == {"attribution"}
    assert [(x["fact"], "too few" in x["reason"]) for x in result["skipped"]] == [("the arm chance", True)]


def test_without_neurons_there_is_nothing_to_say():
    experiment = Erasing(given("", "", "", "", ""), texts=())
    result = done(experiment, planted())
    assert result["rows"] == []
    with pytest.raises(BadSetting, match="no fact was tried"):
        experiment.summary([result])


def test_a_result_survives_the_store():
    experiment = Erasing(WRITING, texts=TEXTS)
    result = done(experiment, planted())
    assert shards.result_of(*shards.decoded(shards.encoded("run", 0, result, experiment.columns))) == result
    assert experiments["erasing"] is Erasing


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"neurons_erased": 0}, BadSetting), ({"own": 0}, BadSetting), ({"others": -1}, BadSetting),
        ({"to": "nothing"}, UnknownName), ({"texts": "One text."}, BadSetting), ({"relations": "capital"}, BadSetting),
    ],
)  # fmt: skip
def test_a_setting_that_is_not_one_is_refused(settings, error):
    with pytest.raises(error):
        Erasing(**settings)
