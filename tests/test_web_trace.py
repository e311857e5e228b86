"""The page's trace: the same numbers as `eg.trace`, in plain values, under edits beside the model as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("pydantic", reason="the page needs the extra engram[web]")

import numpy as np
from pydantic import ValidationError

import engram as eg
from engram.errors import EngramError, NoSubject
from engram.web.kept import kept
from engram.web.views.base import views

QUESTION = {"prompt": "The capital of Ireland is [Y].", "answer": "Dublin", "subject": "Ireland"}


@pytest.fixture(scope="module")
def causal() -> eg.Model:
    return eg.load("engram:causal")


def _nothing(done: int, total: int, says: str = "") -> None:
    assert 0 <= done <= total


def test_the_numbers_are_those_of_trace(causal):
    asked = views["trace"](**QUESTION, kinds=["ffn", "block"], samples=3, seed=5)
    (arm,) = asked.run(causal, _nothing)["arms"]
    assert [t["kind"] for t in arm["traces"]] == ["ffn", "block"]
    for own in arm["traces"]:
        by = eg.CausalTracing(kind=own["kind"], samples=3, seed=5)
        found = eg.trace(causal, asked.asked(), subject="Ireland", by=by)
        assert np.array_equal(own["effect"], found.effect)
        assert np.array_equal(own["spread"], found.spread)
        assert own["figure"]["data"][0]["z"] == own["effect"]
        assert (own["clean"], own["total"]) == (found.clean, found.total)
        largest = own["largest"]
        assert largest["effect"] == found.effect.max() == found.effect[largest["token"], largest["layer"]]
        assert [t.endswith("*") for t in own["tokens"]] == [i == found.subject[0] for i in range(len(found.tokens))]


def test_what_hangs_under_the_mouse_says_the_spread(causal):
    (arm,) = views["trace"](**QUESTION, kinds=["block"], samples=3).run(causal, _nothing)["arms"]
    assert "(sd, 3 samples)" in arm["traces"][0]["figure"]["data"][0]["customdata"][-1][0]
    (alone,) = views["trace"](**QUESTION, kinds=["block"], samples=1).run(causal, _nothing)["arms"]
    assert alone["traces"][0]["spread"][0][0] is None
    assert json.dumps(alone, allow_nan=False)


def test_a_window_is_of_ffns_and_attention_alone(causal):
    (arm,) = views["trace"](**QUESTION, window=3, samples=2).run(causal, _nothing)["arms"]
    widths = {t["kind"]: max(end - first for first, end in t["windows"]) for t in arm["traces"]}
    assert widths == {"block": 1, "ffn": 3, "attention": 3}


def test_noise_is_a_number_or_a_name(causal):
    said = [views["trace"](**QUESTION, kinds=["block"], samples=2, noise=n) for n in ("0.1", "3s", "zero")]
    low = [v.run(causal, _nothing)["arms"][0]["traces"][0]["corrupted"] for v in said]
    assert len(set(low)) == 3
    with pytest.raises(EngramError, match="loud"):
        views["trace"](**QUESTION, noise="loud").run(causal, _nothing)


def test_progress_runs_from_nothing_to_the_whole_once(causal):
    told: list[float] = []
    views["trace"](**QUESTION, samples=2).run(causal, lambda done, total, says="": told.append(done / total))
    assert told == sorted(told)
    assert told[-1] == 1
    assert len(told) > 3


def test_under_an_edit_the_model_as_it_is_stands_beside(causal):
    neurons = eg.NeuronSet.parse("L0.1 L0.2 L0.5 L0.6 L0.138 L0.209 L0.220")
    edit = eg.rewrite(causal, eg.Fact("Ireland", "capital", "Dublin").becoming(None), by=eg.Erasure(neurons))
    name = kept.keep(causal.name, edit, "erased", "edit = None\n")
    try:
        asked = views["trace"](**QUESTION, kinds=["ffn"], samples=2, under=[name])
        bare, edited = asked.run(causal, _nothing)["arms"]
        found = eg.trace(
            causal, asked.asked(), subject="Ireland", by=eg.CausalTracing(kind="ffn", samples=2, seed=0), under=[edit]
        )
        assert edited["traces"][0]["clean"] == found.clean < bare["traces"][0]["clean"]
        assert np.array_equal(edited["traces"][0]["effect"], found.effect)
        assert "under.append(edit)" in asked.python("engram:causal")
    finally:
        kept.forget(name)


def test_what_cannot_be_traced_is_refused(causal):
    with pytest.raises(NoSubject, match="Wales"):
        views["trace"](**{**QUESTION, "subject": "Wales"}).run(causal, _nothing)
    for wrong in ({"samples": 0}, {"samples": 101}, {"kinds": []}, {"kinds": ["head"]}, {"noise": "x" * 300},
                  {"code": "1"}):  # fmt: skip
        with pytest.raises(ValidationError):
            views["trace"](**{**QUESTION, **wrong})


def test_its_python_makes_the_picture(causal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = views["trace"](**QUESTION, kinds=["block", "attention"], samples=2, window=2, noise="0.2")
    there: dict[str, object] = {}
    exec(asked.python("engram:causal"), there)
    assert (Path(tmp_path) / "trace.png").stat().st_size > 10_000
    (arm,) = asked.run(causal, _nothing)["arms"]
    for own, found in zip(arm["traces"], there["traces"], strict=True):  # type: ignore[arg-type]
        assert np.array_equal(own["effect"], found.effect)
