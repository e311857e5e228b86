"""Scores of edits against their definitions, and against a published table whose rows do and do not add up."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engram.errors import BadSetting
from engram.metrics.collapse import alarm, told
from engram.metrics.judged import Judged, against, agrees, harmonic_mean, judged, of_sentences, summaries

# S, ES, PS, NS of table 3 of Wen & Bai, and whether S is the harmonic mean of the other three
TABLE_3 = [
    ("GPT-2", 36.1, (28.1, 30.1, 70.8), True), ("ROME", 80.8, (100.0, 98.6, 63.9), False),
    ("ROME last", 73.8, (99.7, 95.5, 49.6), True), ("KN", 50.5, (70.7, 66.0, 33.2), True),
    ("M ROME last", 33.4, (25.1, 26.3, 75.5), False), ("M KN", 50.3, (51.7, 47.3, 52.1), True),
]  # fmt: skip


def row(group="rewrite", number=0, arm="edited", **said):
    given = {"nll_new": [1.0], "nll_old": [2.0], "hits_new": [1.0], "hits_old": [0.0], "wanted": ["Cork"], **said}
    who = {"relation": "capital", "number": number, "editor": "" if arm == "no edit" else "rome", "arm": arm}
    return {**who, "group": group, "spoken": [], **given}


@pytest.mark.parametrize(("name", "s", "parts", "whole"), TABLE_3)
def test_rows_of_a_published_table_add_up_or_do_not(name, s, parts, whole):
    assert agrees(s, parts) is whole, f"{name}: {harmonic_mean(parts)}"


def test_ties_fail_either_way_and_have_no_magnitude():
    """A model to which all words are the same: −ln P = ln V."""
    flat = [math.log(8000)] * 2
    for group in ("rewrite", "neighbour"):
        found = of_sentences(row(group, nll_new=flat, nll_old=flat, hits_new=[0, 0], hits_old=[0, 0]))
        letter = group[0].upper().replace("R", "E")
        assert (found[f"{letter}S"], found[f"{letter}M"]) == (0.0, 0.0)


def test_answers_exchanged_turn_success_over():
    luck = np.random.default_rng(0)
    new, old = luck.exponential(size=(2, 50))
    one = of_sentences(row(nll_new=new, nll_old=old, hits_new=new < 1, hits_old=old < 1))
    other = of_sentences(row(nll_new=old, nll_old=new, hits_new=old < 1, hits_old=new < 1))
    assert one["ES"] == pytest.approx(1 - other["ES"])
    assert one["EM"] == pytest.approx(-other["EM"])


def test_neighbours_should_keep_the_old_answer():
    found = of_sentences(row("neighbour", hits_old=[1.0]))
    assert found["NS"] == 0
    assert found["NM"] < 0
    assert found["neighbour: exact"] == 1


def test_where_there_is_no_other_answer_there_is_no_comparison():
    found = of_sentences(row("reverse", nll_old=[math.nan], hits_old=[math.nan]))
    assert found["reverse: exact"] == 1
    assert not any("success" in name for name in found)


def test_what_is_said_freely_counts_by_itself():
    assert of_sentences(row(spoken=["Cork"]))["rewrite: spoken"] == 1
    assert of_sentences(row(spoken=["Dublin"]))["rewrite: spoken"] == 0


def test_means_are_over_cases_not_sentences():
    nine = {"nll_new": [1.0] * 9, "nll_old": [2.0] * 9, "hits_new": [1] * 9, "hits_old": [0] * 9, "wanted": ["x"] * 9}
    rows = [row("paraphrase", **nine), row("paraphrase", 1, nll_new=[3.0])]
    (found,) = judged(rows)
    scores = {s.name: s for s in summaries(found, seed=0)}
    assert scores["rome: PS"].value == 0.5
    assert scores["rome: PS"].n == 2
    assert scores["rome: PS, sd over cases"].value == 0.5
    assert scores["rome: PS"].interval == (0.0, 1.0)


def test_s_is_the_harmonic_mean_of_the_means():
    rows = [row(), row("paraphrase"), row("neighbour"), row(number=1), row("paraphrase", 1),
            row("neighbour", 1, nll_new=[3.0])]  # fmt: skip
    (found,) = judged(rows)
    scores = {s.name: s.value for s in summaries(found, seed=0)}
    assert scores["rome: S"] == pytest.approx(3 / (1 + 1 + 1 / 0.5))
    assert scores["rome: NS"] == 0.5  # the mean of the cases' own harmonic means is 0.5 too, but not this


def test_a_case_that_one_editor_could_not_edit_is_missing_there_alone():
    rows = [row(arm="no edit", nll_new=[3.0]), row(arm="no edit", number=1), row(number=1)]
    plain, edited = judged(rows)
    assert math.isnan(edited.scores["ES"][0])
    assert edited.scores["ES"][1] == 1
    apart = against(edited, plain, "ES", seed=0)
    assert apart.n == 1
    assert apart.value == 0
    assert apart.interval is None


def test_nothing_judged_is_said():
    with pytest.raises(BadSetting, match="no case"):
        judged([])
    assert against(*(Judged("a", arm, {}) for arm in ("edited", "no edit")), "ES", seed=0) is None


def test_ordinary_text_that_surprises_more_gives_an_alarm():
    before, after = [[1.0, 1.0], [2.0]], [[1.0, 1.0], [2.0 + math.log(8)]]
    _, _, grown = told(before, after, "perplexity")
    assert grown.value == pytest.approx(2.0)
    assert grown.n == 2
    assert alarm(grown.value)
    assert not alarm(1.0)
    assert "as large as the weight" in alarm(1.0, 2.5)
