"""Do the plug-ins keep the promises of their kinds, and do what they say? Run where the package is installed."""

from __future__ import annotations

import pytest

import engram as eg
from engram.data import data_sets
from engram.editors import editors
from engram.errors import BadData, BadSetting
from engram.experiments import experiments
from engram.locators import locators
from engram.metrics import metrics
from engram.registry import plugins
from engram.selectors import selectors
from engram.testing import (
    check_data_set,
    check_editor,
    check_experiment,
    check_family,
    check_locator,
    check_metric,
    check_selector,
    tiny,
)

KINDS = {kinds.package: kinds for kinds in (locators, selectors, editors, metrics, data_sets, experiments)}


def test_every_entry_point_is_found_by_its_name():
    mine = [p for p in plugins() if p.distribution == "engram-example"]
    assert [p.name for p in mine if p.group in KINDS and KINDS[p.group][p.name].__module__ != p.module] == []
    assert {p.group for p in mine} == {*KINDS, "engram.families"}


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("model_type", ["gpt2", "bert"])
def test_the_locator(relative, model_type):
    check_locator(locators["written"](relative=relative), eg.load(*tiny(model_type)))


def test_the_selector():
    check_selector(selectors["mass"](part=0.8))
    with pytest.raises(BadSetting):
        selectors["mass"](part=0)


def test_the_editor_makes_two_answers_change_places():
    neurons = eg.NeuronSet.parse("L0.1, L2.3")
    check_editor(editors["swapped"](neurons))
    model, wish = eg.load(*tiny("gpt2")), eg.Fact("Ireland", "capital", "Dublin").becoming("Paris")
    prompt = eg.Prompt("The capital of Ireland is [Y]", "Dublin")
    for patch in eg.rewrite(model, wish, by=editors["swapped"](neurons), prompt=prompt).patches:
        assert (patch.after**2).sum() == pytest.approx((patch.before**2).sum())  # a mirror keeps lengths
    for patch in eg.rewrite(model, wish, by=editors["swapped"](neurons, times=2), prompt=prompt).patches:
        assert patch.after == pytest.approx(patch.before)  # and is its own way back


def test_the_metric():
    check_metric(metrics["halved"]())
    with pytest.raises(BadSetting):
        metrics["halved"](part=2)


def test_the_data_set(tmp_path):
    check_data_set(data_sets["moons"]())
    (tmp_path / "moons.tsv").write_text("Io\tJupiter\nTitan\n", encoding="utf-8")
    with pytest.raises(BadData, match="line 2"):
        eg.data.moons(tmp_path)


@pytest.mark.filterwarnings("ignore:.*every row runs the whole network:RuntimeWarning")
@pytest.mark.parametrize("model_type", ["home_made", "starcoder2"])
def test_the_families(model_type):
    check_family(eg.load(*tiny(model_type)))


def test_the_experiment_counts_pairs_that_agree():
    consistency = experiments["consistency"]
    facts = eg.data.shipped().only(["capital"])
    check_experiment(consistency(limit=4, shard=2), eg.load(), facts)
    row = {"relation": "r", "number": 0, "said": ["a", "a", "b"], "right": 0.5, "same": 1 / 3}
    report = consistency().summary([{"rows": [row, {**row, "number": 1, "same": 1.0}], "skipped": []}])
    assert report["consistency"].value == pytest.approx(2 / 3)
