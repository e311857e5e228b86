"""scripts/quadrature: its figures are those of a direct computation, and its page says all of them."""

from __future__ import annotations

import doctest
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import engram as eg
from engram.metrics import Resampling, percentile

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from study import page, quadrature, words  # noqa: E402
from study.judge import jaccard, median_interval  # noqa: E402
from study.plan import NAMES, SETTINGS  # noqa: E402
from study.sample import Known, few, known_facts  # noqa: E402

FACTS, PROMPTS = 2, 2


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """The command itself, on two prompts of three facts that the causal model knows: these, and its folder."""
    drawn: list[Known] = []

    def sparing(model, facts, each, seed):
        drawn.extend(replace(k, prompts=k.prompts[:PROMPTS]) for k in known_facts(model, few(facts, FACTS), each, seed))
        return drawn

    docs = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quadrature, "known_facts", sparing)
        quadrature.main(["--quick", "--model", "causal=engram:causal", "--docs", str(docs)])
    return drawn, docs


@pytest.fixture(scope="module")
def figures(tried):
    return json.loads((tried[1] / "quadrature.json").read_text(encoding="utf-8"))["models"]["causal"]


@pytest.fixture(scope="module")
def direct(tried):
    """Scores of the same prompts by the locator's own calls: the reference and the settings that are looked at."""
    model, prompts = eg.load("engram:causal"), [p for k in tried[0] for p in k.prompts]
    by = {
        "reference": eg.IntegratedGradients(rule="gauss", steps=64),
        "right 20": eg.IntegratedGradients(rule="right", steps=20),
        "gauss 3": eg.IntegratedGradients(rule="gauss", steps=3),
        "adaptive 0.01": eg.IntegratedGradients(rule="gauss"),
        "paper, compressed": eg.IntegratedGradients(preset="paper", grid="compressed"),
    }
    return {name: eg.locate(model, prompts, by=b) for name, b in by.items()}


def found_as(figures, name, part="settings"):
    (found,) = [s for s in figures[part] if s["name"] == name]
    return found


def off(ours, truth):
    return [float(np.abs(a.scores - t.scores).max() / np.abs(t.scores).max()) for a, t in zip(ours, truth, strict=True)]


# -- figures


@pytest.mark.parametrize("name", ["right 20", "gauss 3", "adaptive 0.01", "paper, compressed"])
def test_errors_and_sets_are_those_of_a_direct_computation(name, figures, direct):
    found, ours, truth = found_as(figures, name), direct[name], direct["reference"]
    each = off(ours, truth)
    assert [found["error"][x] for x in ("median", "worst")] == pytest.approx([np.median(each), max(each)], rel=1e-2)
    sides = [[a.above(0.2 * a.peak) for a in side] for side in (ours, truth)]
    assert found["coarse"] == pytest.approx(
        np.mean([len(a & b) / len(a | b) for a, b in zip(*sides, strict=True)]), 1e-3
    )
    facts = [slice(i * PROMPTS, (i + 1) * PROMPTS) for i in range(FACTS)]
    refined = [[set(eg.select(side[f], by=eg.Shared())) for f in facts] for side in (ours, truth)]
    assert found["other sets"] == sum(a != b for a, b in zip(*refined, strict=True))
    same = [len(a & b) / len(a | b) if a | b else 1 for a, b in zip(*refined, strict=True)]
    assert found["refined"] == pytest.approx(np.mean(same), 1e-3)
    gaps = [float(np.abs(a.gap).max() / np.abs(t.scores).max()) for a, t in zip(ours, truth, strict=True)]
    assert found["gap"]["worst"] == pytest.approx(max(gaps), rel=1e-2)
    assert found["evaluations"] == pytest.approx(np.mean([a.points for a in ours]), rel=1e-3)


def test_evaluations_are_counted_with_both_ends(figures):
    asked = {"right 20": 21, "left 20": 21, "linspace 20": 20, "midpoint 20": 22, "gauss 3": 5, "lobatto 4": 4}
    assert {name: found_as(figures, name)["evaluations"] for name in asked} == asked


def test_the_estimate_is_the_locators_own_and_is_held_against_the_true_error(figures, direct):
    ours, truth = direct["adaptive 0.01"], direct["reference"]
    found = found_as(figures, "adaptive 0.01")["estimate"]
    unit = np.array([np.abs(t.scores).max() for t in truth])
    believed = np.array([a.error for a in ours]) / unit[:, None]
    assert found["worst"] == pytest.approx(believed.max(), rel=1e-2)
    each = np.array([np.abs(a.scores - t.scores).max(1) for a, t in zip(ours, truth, strict=True)]) / unit[:, None]
    assert found["layers"] == each.size
    assert found["layers above the estimate"] <= int((each > believed).sum())
    assert found["prompts above the tolerance"] == int((each.max(1) > 0.01).sum())
    assert found_as(figures, "right 20")["estimate"] is None


def test_a_compressed_sum_is_compared_with_the_sum_it_stands_for(figures, direct):
    found = found_as(figures, "paper, compressed", "sums")
    each = off(direct["paper, compressed"], direct["right 20"])
    assert found["error"]["worst"] == pytest.approx(max(each), rel=1e-2)
    assert (found["sum"], found["evaluations of the sum"]) == ("right 20", 21)
    assert {s["sum"]: s["name"].partition(",")[0] for s in figures["sums"]} == NAMES


def test_bfloat16_is_compared_with_the_same_rule_in_float32(figures, direct, tried):
    half = eg.load("engram:causal", dtype="bfloat16")
    ours = eg.locate(half, [p for k in tried[0] for p in k.prompts], by=eg.IntegratedGradients(rule="gauss"))
    each = off(ours, direct["adaptive 0.01"])
    assert figures["rounding"]["error"]["worst"] == pytest.approx(max(each), rel=1e-2)
    assert figures["rounding"]["error"]["median"] > 1e-3  # its numbers have 8 bits


# -- what they rest on


def test_facts_are_known_drawn_by_seed_and_asked_in_all_their_discovery_prompts():
    model, facts = eg.load("engram:causal"), few(eg.data.shipped(), 2)
    drawn = known_facts(model, facts, 2, seed=1)
    assert [k.fact.relation for k in drawn] == [r.id for r in facts.relations for _ in range(2)]
    assert drawn == known_facts(model, facts, 2, seed=1) != known_facts(model, facts, 2, seed=2)
    for k in drawn:
        assert k.prompts == facts.prompts(k.fact, split="discovery", blank_last=True)
        answers = eg.ask(model, k.prompts)
        assert sum(a.knows for a in answers) >= len(answers) / 2


def test_a_fact_that_the_model_would_answer_otherwise_is_not_drawn():
    model, facts = eg.load("engram:causal"), few(eg.data.shipped(), 1)
    right = [k.fact for k in known_facts(model, facts, 5)]
    wrong = [replace(a, answer=b.answer) for a in right for b in right if a.answer != b.answer]
    mixed = replace(facts, members={facts.relations[0].id: (*wrong, *right)})
    assert len(wrong) > 0
    assert not {k.fact for k in known_facts(model, mixed, 5)} & set(wrong)


def test_the_interval_is_that_of_medians_of_facts_drawn_again():
    rng = np.random.default_rng(3)
    values, facts = rng.random(11), [0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3]
    drawn = Resampling.of(facts)
    slowly = [np.median(np.repeat(values, t[drawn.row])) for t in drawn.times]
    assert median_interval(values, facts) == pytest.approx(percentile(np.array(slowly)))
    assert median_interval(values, [0] * 11) is None


def test_two_empty_sets_are_the_same():
    assert (jaccard(set(), set()), jaccard({1}, set()), jaccard({1, 2}, {2, 3})) == (1, 0, 1 / 3)


def test_numbers_are_written_as_the_examples_say():
    assert doctest.testmod(words).failed == 0


# -- the page


def test_the_page_names_every_setting_and_how_many_were_tried(tried, figures):
    text = (tried[1] / "quadrature.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| \**(.+?)\**(?: \(\w+\))? \|", text, re.MULTILINE)
    assert [s.name for s in SETTINGS if s.name not in lines] == []
    assert (figures["facts"], figures["prompts"]) == (FACTS, FACTS * PROMPTS)
    assert f"n = {FACTS} facts, {FACTS * PROMPTS} prompts" in text
    assert not re.search(r"\d{4}-\d\d|nan|None", text)
    assert (tried[1] / "images" / "quadrature-causal.png").stat().st_size > 10_000


def test_page_only_measures_nothing_and_writes_the_same_page(tried, tmp_path, monkeypatch):
    monkeypatch.setattr(quadrature, "study", None)
    monkeypatch.setattr(quadrature, "load", None)
    kept = (tried[1] / "quadrature.json").read_text(encoding="utf-8")
    (tmp_path / "quadrature.json").write_text(kept, encoding="utf-8")
    quadrature.main(["--page-only", "--docs", str(tmp_path)])
    assert (tmp_path / "quadrature.json").read_text(encoding="utf-8") == kept
    assert (tmp_path / "quadrature.md").read_bytes() == (tried[1] / "quadrature.md").read_bytes()


def test_the_page_in_the_documentation_is_that_of_its_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(page.picture, "errors", lambda *_: None)
    monkeypatch.setattr(page, "save", lambda *_: None)
    found = json.loads((ROOT / "docs" / "quadrature.json").read_text(encoding="utf-8"))
    page.write(found, tmp_path)
    assert (tmp_path / "quadrature.md").read_bytes() == (ROOT / "docs" / "quadrature.md").read_bytes()
    assert set(found["models"]) == {"masked", "causal"}
    for name in found["models"]:
        assert (ROOT / "docs" / "images" / f"quadrature-{name}.png").is_file()
