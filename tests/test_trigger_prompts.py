"""Table 3: the texts that activate a fact's neurons most and least."""

from __future__ import annotations

import numpy as np
import pytest

import engram as eg
from engram.errors import BadSetting, UnknownName
from engram.experiments import Neurons, TriggerPrompts
from engram.models import Model
from engram.testing import tiny
from engram.texts import Mentions, Texts
from test_activation_by_prompt import CASE, FACTS, IRELAND, Given, read

PLACES = ("Ireland", "the Ireland", "a city of Ireland", "Ireland and a city", "the time of Ireland")
MANY = tuple(f"Dublin is in {place}" for place in PLACES)
TEXTS = Texts("mine", {"P36": (Mentions(MANY), Mentions())})


@pytest.fixture(scope="module")
def bert() -> Model:
    return eg.load(*tiny("bert"))


def of(result, arm="attribution"):
    return [r for r in result["rows"] if r["arm"] == arm]


def test_the_lists_are_those_of_scores_read_by_hand(bert):
    result = TriggerPrompts(TEXTS, Given()).run(bert, FACTS, CASE)
    scores = {}
    for text in MANY:
        values = read(bert, text.replace("Dublin", "[MASK]"))
        scores[text] = np.mean([values["L0.1"], values["L2.5"]])
    order = sorted(MANY, key=lambda t: -scores[t])
    rows = of(result)
    expected = [("top", 1, order[0]), ("top", 2, order[1]), ("bottom", 1, order[4]), ("bottom", 2, order[3])]
    assert [(r["end"], r["rank"], r["text"]) for r in rows] == expected
    assert [r["score"] for r in rows] == pytest.approx([scores[r["text"]] for r in rows], rel=1e-5)
    assert {(r["n"], tuple(r["neurons"])) for r in rows} == {(5, ("L0.1", "L2.5"))}
    assert all(list(r) == list(TriggerPrompts.columns) for r in result["rows"])
    assert {r["arm"] for r in result["rows"]} == {"attribution", "activation", "chance"}
    assert result["skipped"] == [{"fact": "⟨France, P36, Paris⟩", "reason": "NoTexts: it has none for T1"}]


def test_a_sum_is_the_mean_times_the_neurons_and_ranks_alike(bert):
    mean, total = (of(TriggerPrompts(TEXTS, Given(), score=s).run(bert, FACTS, CASE)) for s in ("mean", "sum"))
    assert [r["text"] for r in mean] == [r["text"] for r in total]
    assert [r["score"] for r in total] == pytest.approx([2 * r["score"] for r in mean], rel=1e-6)


def test_no_text_is_in_both_lists(bert):
    ranked = of(TriggerPrompts(TEXTS, Given(), k=4).run(bert, FACTS, CASE))
    assert [(r["end"], r["rank"]) for r in ranked] == [("top", 1), ("top", 2), ("top", 3), ("top", 4), ("bottom", 1)]
    assert len({r["text"] for r in ranked}) == 5


def test_the_summary_is_the_mean_of_the_differences(bert):
    experiment = TriggerPrompts(TEXTS, Given(), k=1)
    result = experiment.run(bert, FACTS, CASE)
    top, bottom = (r["score"] for r in of(result))
    report = experiment.summary([result])
    assert report["attribution: top − bottom"].value == pytest.approx(top - bottom)
    assert report["attribution: top − bottom"].n == report["attribution: facts"].value == 1
    assert any("1 of 2 facts left out (1 NoTexts)" in note for note in report.notes)


def test_texts_that_mention_the_answer_again_are_ranked_only_if_asked_for(bert):
    texts = Texts("mine", {"P36": (IRELAND,)})
    case = {"relation": "P36", "facts": [0]}
    said = {clean: of(TriggerPrompts(texts, Given(), clean=clean).run(bert, FACTS, case)) for clean in (True, False)}
    assert {clean: rows[0]["n"] for clean, rows in said.items()} == {True: 1, False: 2}


def test_presets_and_settings():
    hunter = TriggerPrompts(TEXTS, Given(), preset="hunter")
    assert hunter.settings() == {
        "neurons": {"seed": 0}, "texts": TEXTS.settings(), "score": "sum", "k": 20, "clean": False,
    }  # fmt: skip
    assert TriggerPrompts(TEXTS, Given(), preset="paper", k=3).k == 3


@pytest.mark.parametrize(
    ("chosen", "error"), [({"score": "max"}, UnknownName), ({"k": 0}, BadSetting), ({"preset": "x"}, UnknownName)]
)
def test_a_setting_that_means_nothing_is_refused(chosen, error):
    with pytest.raises(error):
        TriggerPrompts(TEXTS, Given(), **chosen)


def test_nothing_ranked_is_said(bert):
    experiment = TriggerPrompts(TEXTS, Given({"attribution": ""}))
    with pytest.raises(BadSetting, match="no fact was tried"):
        experiment.summary([experiment.run(bert, FACTS, CASE)])


def test_a_run_keeps_what_was_found(tmp_path):
    facts = eg.data.read("shipped").only(["capital"])
    experiment = TriggerPrompts(eg.data.texts("shipped", facts), Neurons(facts=2), k=1)
    model = eg.load()
    run = eg.run(experiment, facts, model, out=tmp_path / "run")
    (kept,) = run.results()
    said = experiment.run(model, facts, experiment.cases(facts)[0])
    assert list(kept["rows"]) == said["rows"]
    assert len(said["rows"]) == 2 * 3 * 2  # facts, arms, ends
