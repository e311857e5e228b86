"""Table 6 on models whose neurons are planted, so that what must come out is known beforehand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import engram as eg
from engram import Fact, FactSet, NeuronSet, Relation
from engram.errors import BadSetting, UnknownName
from engram.experiments import Neurons, Updating, experiments
from engram.store import shards
from engram.testing import tiny
from planted import CAPITAL, FACTS, LANDS, WRITER, Given, done, only, planted, weights

torch.set_num_threads(1)


def given(**arms):
    """The same neurons for Ireland, of which alone the planted model knows the capital."""
    return Given(named={"Ireland": {"attribution": WRITER, **arms}})


# -- what must come out


def test_surgery_on_the_neuron_that_writes_the_answer_changes_it_to_the_new_one_and_chance_does_not():
    model = planted()
    before = weights(model)
    experiment = Updating(given())
    result = done(experiment, model)
    report = experiment.summary([result])
    assert (result["tried"], result["unknown"], result["without_neurons"]) == (5, 4, 0)
    assert report["attribution: edits"].value == report["chance: edits"].value == 1
    assert report["activation: edits"].value == 0
    for place in ("", ", paraphrases"):
        assert report[f"attribution: change rate{place}"].value == 1
        assert report[f"attribution: success rate{place}"].value == 1
        assert report[f"attribution: success@5{place}"].value == 1
        assert report[f"chance: change rate{place}"].value == 0
        assert report[f"chance: success rate{place}"].value == 0
        assert report[f"attribution: Δ log P(new){place}"].value > 5
        assert report[f"attribution: Δ log P(old){place}"].value < -5
    assert all(torch.equal(x, before[name]) for name, x in model.net.state_dict().items())


def test_every_number_is_what_asking_under_the_edit_says():
    model = planted()
    result = done(Updating(given(activation=NeuronSet.of([(0, 1), (1, 2)]))), model)
    for arm in ("attribution", "activation", "chance"):
        (asked,) = only(result, arm=arm, place="asked")
        fact = FACTS.fact("Ireland", "capital")
        by = eg.KnowledgeSurgery(NeuronSet.parse(" ".join(asked["neurons"])))
        edit = eg.rewrite(model, fact.becoming(asked["new_answer"]), by=by)
        for place in ("asked", "paraphrases"):
            (row,) = only(result, arm=arm, place=place)
            prompts = [FACTS.prompts(fact)[t] for t in row["templates"]]
            for key, about, under in (
                ("before", prompts, None), ("after", prompts, edit),
                ("new_before", [p.asking_for(row["new_answer"]) for p in prompts], None),
                ("new_after", [p.asking_for(row["new_answer"]) for p in prompts], edit),
            ):  # fmt: skip
                said = eg.ask(model, about, under=under)
                assert row[key] == pytest.approx([a.logprob for a in said], abs=1e-5)
                rank = key.replace("before", "rank_before").replace("after", "rank_after")
                assert row[rank] == [a.rank for a in said]
    sizes = {r["arm"]: len(r["neurons"]) for r in only(result, place="asked")}
    assert sizes == {"attribution": 1, "activation": 2, "chance": 1}


def test_the_prompt_of_choice_is_not_among_the_paraphrases_and_those_are_held_out():
    experiment = Updating(given())
    result = done(experiment, planted())
    (asked,), (others,) = (only(result, arm="attribution", place=p) for p in ("asked", "paraphrases"))
    assert asked["templates"][0] in (1, 2)  # of fact number 0, templates 0 and 3 are for the test
    assert others["templates"] == [0, 3]
    whole = done(replace(experiment, neurons=replace(experiment.neurons, held_out=False)), planted())
    (asked,), (others,) = (only(whole, arm="attribution", place=p) for p in ("asked", "paraphrases"))
    assert sorted([*asked["templates"], *others["templates"]]) == [0, 1, 2, 3]


def test_where_nothing_is_removed_and_nothing_added_nothing_changes():
    experiment = Updating(given(), remove=0, add=0)
    result = done(experiment, planted())
    assert only(result, place="same relation")
    assert only(result, place="other relation")
    for row in result["rows"]:
        for key in ("before", "rank_before", "new_before", "new_rank_before"):
            assert row[key] == row[key.replace("before", "after")]
    report = experiment.summary([result])
    for arm in ("attribution", "chance"):
        for name in ("change rate", "success rate", "Δ log P(old)", "Δ log P(new)", "ΔPPL intra", "ΔPPL inter"):
            assert report[f"{arm}: {name}"].value == 0


def test_the_change_of_perplexity_is_between_exponentials_of_means_over_edits():
    experiment = Updating(given())
    result = done(experiment, planted())

    def edit(number, before, after):
        (row,) = only(result, arm="attribution", place="same relation")
        return {**row, "number": number, "before": before, "after": after}

    first, second = edit(0, [-1.0, -3.0], [-2.0, -4.0]), edit(1, [-4.0], [-1.0])  # means 2 → 3 and 4 → 1
    (own,) = only(result, arm="attribution", place="asked")
    report = experiment.summary([{**result, "rows": [own, first, second]}])
    score = report["attribution: ΔPPL intra"]
    assert score.value == pytest.approx(math.exp(2) - math.exp(3))
    assert score.n == 2
    low, high = score.interval
    assert (low, high) == pytest.approx((math.exp(1) - math.exp(4), math.exp(3) - math.exp(2)))


def test_a_change_counts_only_where_the_old_answer_was_first():
    result = done(Updating(given()), planted())
    (row,) = only(result, arm="attribution", place="paraphrases")
    row = {**row, "rank_before": [1, 1, 3, 9], "rank_after": [2, 1, 4, 1], "new_rank_after": [1, 6, 5, 2]}
    (own,) = only(result, arm="attribution", place="asked")
    report = Updating(given()).summary([{**result, "rows": [own, row]}])
    assert report["attribution: change rate, paraphrases"].value == 0.5
    assert report["attribution: success rate, paraphrases"].value == 0.25
    assert report["attribution: success@5, paraphrases"].value == 0.75


# -- who is edited


def sets(*texts):
    return tuple(NeuronSet.parse(t) for t in texts)


@pytest.mark.parametrize(
    ("counting", "exclusive", "kept"),
    [
        ("others", "0.25", "L0.1 L0.2"),  # L0.2 in 1 of the 4 others, L0.3 in 2, L0.4 in all
        ("others", 0, "L0.1"),
        ("others", 1, "L0.1 L0.2 L0.3 L0.4"),
        ("paper", "0.4", "L0.1"),  # of 5, fewer than 2: L0.1 in 1, L0.2 in 2
        ("hunter", "0.4", "L0.1"),  # of 5, at most 2, and one more is counted: 2, 3, 4, 6
        ("hunter", "0.6", "L0.1 L0.2"),
        ("hunter", None, "L0.1 L0.2 L0.3 L0.4"),
    ],
)
def test_neurons_of_too_many_facts_are_left_out(counting, exclusive, kept):
    among = sets("L0.1 L0.2 L0.3 L0.4", "L0.2 L0.3 L0.4", "L0.3 L0.4", "L0.4", "L0.4")
    named = {land: {"attribution": own} for land, own in zip(LANDS, among, strict=True)}
    experiment = Updating(Given(named=named), counting=counting, exclusive=exclusive, facts=None, known_only=False)
    result = done(experiment, planted())
    (row,) = only(result, subject="Ireland", arm="attribution", place="asked")
    assert row["neurons"] == kept.split()
    (control,) = only(result, subject="Ireland", arm="chance", place="asked")
    assert len(control["neurons"]) == len(row["neurons"])
    assert {n.split(".")[0] for n in control["neurons"]} == {"L0"}
    assert not set(control["neurons"]) & set(row["neurons"])
    edited = {r["subject"] for r in result["rows"]}
    assert result["without_neurons"] == 5 - len(edited)


def test_as_many_facts_are_edited_as_asked_for_and_each_once():
    named = {land: {"attribution": NeuronSet.of([(0, i)])} for i, land in enumerate(LANDS)}
    for n in (1, 3, None):
        result = done(Updating(Given(named=named), facts=n, known_only=False), planted())
        assert len(only(result, arm="attribution", place="asked")) == (n or 5)
    first = set()
    for seed in range(6):
        result = done(Updating(Given(named=named, seed=seed), facts=1, known_only=False), planted())
        first |= {r["subject"] for r in result["rows"]}
    assert len(first) > 1


def test_the_new_answer_is_as_frequent_as_in_the_relation_and_never_the_old_one():
    land = Relation("in", "country", ("[X] is in [Y].", "The city [X] is in [Y].", "[X] was in [Y]."))
    answers = ["Ireland", *["France"] * 6, *["Italy"] * 3]
    places = tuple(Fact(f"city {c}", "in", a) for c, a in zip("abcdefghij", answers, strict=True))
    facts = FactSet("many", (land,), {"in": places})
    model, drawn = eg.load(*tiny("bert")), []
    for seed in range(60):
        named = {"city a": {"attribution": NeuronSet.of([(0, 1)])}}
        result = done(Updating(Given(named=named, seed=seed), known_only=False, others=0), model, "in", facts)
        drawn += [r["new_answer"] for r in only(result, arm="attribution", place="asked")]
    assert set(drawn) == {"France", "Italy"}
    assert len(drawn) == 60
    assert 0.5 < np.mean([a == "France" for a in drawn]) < 0.83  # 6 of 9; beyond 2.6 standard deviations


def test_random_neurons_may_come_from_anywhere_as_the_authors_draw_them():
    named = {land: {"attribution": NeuronSet.of([(0, i), (0, i + 6)])} for i, land in enumerate(LANDS)}
    result = done(Updating(Given(named=named), facts=None, known_only=False, chance="anywhere"), planted())
    drawn = [n for r in only(result, arm="chance", place="asked") for n in r["neurons"]]
    assert len(drawn) == 10
    assert len({n.split(".")[0] for n in drawn}) > 1


def test_an_answer_of_several_tokens_is_left_out_with_its_reason():
    tallinn = Fact("Estonia", "capital", "Tallinn")
    long = FactSet("long", (CAPITAL,), {"capital": (tallinn, *FACTS.facts("capital")[:2])})
    experiment = Updating(Given(named={x: {"attribution": WRITER} for x in LANDS}), known_only=False, exclusive=None)
    result = done(experiment, planted(), "capital", long)
    assert [(x["fact"], x["reason"].split(":")[0]) for x in result["skipped"]] == [(str(tallinn), "AnswerNotWritable")]
    assert {r["new_answer"] for r in result["rows"]} == {"Dublin", "Paris"}


def test_results_do_not_depend_on_the_other_relations():
    alone = Updating(given()).cases(FACTS.only(["capital"]))
    both = Updating(given()).cases(FACTS)
    assert alone == [c for c in both if c["relation"] == "capital"]
    model, experiment = planted(), Updating(given(), others=0)
    assert done(experiment, model) == experiment.run(model, FACTS.only(["capital"]), alone[0])


# -- as a value


def test_presets_give_what_is_left_out():
    chosen = {p: Updating(preset=p) for p in (None, "engram", "paper", "hunter")}
    assert {p: (e.remove, e.add, e.scaled, e.counting, e.chance) for p, e in chosen.items()} == {
        None: (1, 8, True, "others", "layers"), "engram": (1, 8, True, "others", "layers"),
        "paper": (1, 8, False, "paper", "anywhere"), "hunter": (1, 8, True, "hunter", "anywhere"),
    }  # fmt: skip
    assert Updating(preset="paper", scaled=True).scaled
    assert experiments["updating"] is Updating


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"facts": 0}, BadSetting), ({"others": -1}, BadSetting), ({"exclusive": 1.5}, BadSetting),
        ({"exclusive": "many"}, BadSetting), ({"counting": "twice"}, UnknownName), ({"chance": "luck"}, UnknownName),
        ({"preset": "dai"}, UnknownName), ({"embedding": "both"}, UnknownName), ({"add": float("inf")}, BadSetting),
    ],
)  # fmt: skip
def test_a_setting_that_is_not_one_is_refused(settings, error):
    with pytest.raises(error):
        Updating(**settings)


def test_a_result_survives_the_store_and_says_so_where_nothing_was_edited():
    experiment = Updating(given())
    result = done(experiment, planted())
    assert shards.result_of(*shards.decoded(shards.encoded("run", 0, result, experiment.columns))) == result
    with pytest.raises(BadSetting, match="5 facts are not known in the prompt drawn"):
        experiment.summary([done(experiment, eg.load(*tiny("gpt2", seed=3)))])


def test_on_the_shipped_model_found_neurons_change_more_than_random_ones():
    facts = eg.data.read("shipped").only(["currency", "sport"])
    experiment = Updating(Neurons(facts=6), facts=3, others=1)
    model = eg.load("engram:causal")
    report = experiment.summary([experiment.run(model, facts, case) for case in experiment.cases(facts)])
    own, chance = (report[f"{arm}: Δ log P(new), paraphrases"] for arm in ("attribution", "chance"))
    assert own.interval[0] > chance.interval[1]
    assert report["attribution: success rate"].value > report["chance: success rate"].value
