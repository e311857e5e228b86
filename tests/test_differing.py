"""Which facts do two models know differently? By hand, by other code, and with an edit that is known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import engram as eg
from engram.errors import BadSetting
from engram.experiments import Differing
from engram.metrics.differing import STATES, by_relation, changed, counts, scores_of
from engram.report import report_run
from engram.report.chapters import chapter
from engram.report.chapters.differing import probability
from engram.testing.networks import tiny

CAPITALS = eg.data.read("shipped").only(["capital", "symbol"])


def atlas() -> eg.FactSet:
    """Facts in the words of the tiny tokenizers; one answer has several tokens, one blank is not last."""
    capital = eg.Relation("P36", "capital", ("The capital of [X] is [Y].", "[Y] is the capital of [X]."))
    pairs = (("Ireland", "Dublin"), ("France", "Paris"), ("Italy", "Rome"), ("Estonia", "Tallinn"))
    return eg.FactSet("atlas", (capital,), {"P36": tuple(capital.fact(*p) for p in pairs)})


@pytest.fixture(scope="module")
def model() -> eg.Model:
    return eg.load("engram:causal")


@pytest.fixture(scope="module")
def edit(model: eg.Model) -> eg.Edit:
    fact = CAPITALS.fact("Ireland", "capital")
    prompt = CAPITALS.prompts(fact, blank_last=True)[0]
    by = eg.ROME(layer=0, covariance=None, token="asked", contexts=())
    return eg.rewrite(model, fact.becoming("Cork"), by=by, prompt=prompt)


def row(number: int, first: list[float], second: list[float], ranks: tuple[list[int], list[int]]) -> dict[str, Any]:
    return {
        "number": number, "relation": "P36" if number < 6 else "P37", "subject": f"s{number}", "answer": "a",
        "first": first, "second": second, "rank_first": ranks[0], "rank_second": ranks[1],
        "says_first": ["a"] * len(first), "says_second": ["b"] * len(first),
    }  # fmt: skip


# -- by hand


def test_states_means_and_tests_of_planted_numbers() -> None:
    rng = np.random.default_rng(0)
    known, not_ = [1, 1], [2, 2]
    ranks = [(known, not_)] * 5 + [(not_, known)] + [(known, known)] * 3 + [(not_, [1, 3])] * 1 + [(not_, not_)] * 2
    before, after = rng.normal(-2, 1, (12, 2)), rng.normal(-3, 1, (12, 2))
    facts = changed(row(i, before[i].tolist(), after[i].tolist(), r) for i, r in enumerate(ranks))
    assert counts(facts) == {"known to both": 3, "lost": 5, "gained": 2, "known to neither": 2}
    assert [abs(f.change) for f in facts] == sorted((abs(f.change) for f in facts), reverse=True)
    found = {s.name: s for s in scores_of(facts)}
    apart = (after - before).mean(1)
    assert found["change of log P(answer)"].value == pytest.approx(apart.mean())
    low, high = found["change of log P(answer)"].interval or (0, 0)
    assert low < apart.mean() < high
    assert (high - low) / 2 == pytest.approx(1.96 * apart.std() / 12**0.5, rel=0.15)
    flips = stats.permutation_test((apart,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert found["change of log P(answer): p"].value == pytest.approx(flips.pvalue)
    exact = stats.binomtest(2, 7).pvalue
    assert found["change of what is known: p"].value == pytest.approx(exact)
    assert found["change of what is known: p"].n == 7
    assert found["lost"].value == pytest.approx(5 / 12)
    assert found["change of what is known"].value == pytest.approx(-3 / 12)


def test_relations_have_their_own_tests_and_false_discovery_rates() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(-1, 0.5, (12, 1))
    y = x - np.r_[np.full(6, 2.0), np.zeros(6)][:, None] + rng.normal(0, 0.01, (12, 1))
    facts = changed(row(i, x[i].tolist(), y[i].tolist(), ([1], [1])) for i in range(12))
    found = by_relation(facts)
    assert [r.relation for r in found] == ["P36", "P37"]
    ps = [r.p for r in found]
    assert ps[0] == 2 / 2**6  # all six fell: two of 64 patterns of signs are as far from 0
    assert [r.q for r in found] == pytest.approx(stats.false_discovery_control(ps))
    assert found[0].change.value == pytest.approx((y - x)[:6].mean())
    assert found[0].counts["known to both"] == 6
    assert set(found[0].counts) == set(STATES)


# -- two models


def test_a_model_does_not_differ_from_itself(model: eg.Model) -> None:
    report = eg.diff(model, model, CAPITALS, n=3)
    assert report["facts"].value == 6
    for name in ("change of log P(answer)", "change of what is known", "lost", "gained"):
        assert report[name].value == 0
    assert report["change of log P(answer): p"].value == report["change of what is known: p"].value == 1
    assert report["perplexity: ratio"].value == 1
    assert "nothing differs" in " ".join(report.notes)
    assert not [s for s in report.scores if s.name.startswith("⟨")]


def test_an_edited_fact_comes_first(model: eg.Model, edit: eg.Edit) -> None:
    before = {k: v.clone() for k, v in model.net.state_dict().items()}
    report = eg.diff(model, None, CAPITALS, under=edit, relations=["capital"])
    largest = [s for s in report.scores if s.name.startswith("⟨")]
    assert largest[0].name == "⟨Ireland, capital, Dublin⟩"
    assert largest[0].value < -2
    assert len(largest) == 20
    assert [abs(s.value) for s in largest] == sorted((abs(s.value) for s in largest), reverse=True)
    prompts = CAPITALS.prompts(CAPITALS.fact("Ireland", "capital"), blank_last=True)
    says = [eg.ask(model, prompts, under=under) for under in (None, edit)]
    means = [np.mean([a.logprob for a in own]) for own in says]
    assert largest[0].value == pytest.approx(means[1] - means[0])
    assert largest[0].n == len(prompts)
    assert report["lost"].value > 0
    assert "Cork" in report.notes[0]
    assert all(torch.equal(v, before[k]) for k, v in model.net.state_dict().items())


def test_exchanged_models_change_the_sign() -> None:
    one, other = eg.load(*tiny("gpt2")), eg.load(*tiny("gpt2", seed=1))
    there, back = eg.diff(one, other, atlas()), eg.diff(other, one, atlas())
    assert there["change of log P(answer)"].value == -back["change of log P(answer)"].value != 0
    assert there["lost"].value == back["gained"].value
    assert there["log P(answer), first model"].value == back["log P(answer), second model"].value
    assert there["change of log P(answer): p"].value == back["change of log P(answer): p"].value
    assert there["perplexity: ratio"].value == pytest.approx(1 / back["perplexity: ratio"].value)


def test_other_tokens_are_compared_by_the_whole_answer() -> None:
    """Against transformers: the joint log-probability of the answer's tokens, whatever they are."""
    one, other = eg.load(*tiny("gpt2")), eg.load(*tiny("llama", seed=2))
    report = eg.diff(one, other, atlas())
    assert report["facts"].value == 4
    assert "ordinary text was not compared" in " ".join(report.notes)
    assert not [s for s in report.scores if "perplexity" in s.name]
    by_hand = [
        np.mean([joint(m, f"The capital of {f.subject} is", f" {f.answer}") for f in atlas()]) for m in (one, other)
    ]
    assert report["log P(answer), first model"].value == pytest.approx(by_hand[0], abs=1e-5)
    assert report["log P(answer), second model"].value == pytest.approx(by_hand[1], abs=1e-5)


def joint(model: eg.Model, text: str, answer: str) -> float:
    net: Any = model.net
    before, whole = (model.tokenizer(t)["input_ids"] for t in (text, text + answer))
    with torch.no_grad():
        said = net(torch.tensor([whole])).logits[0].log_softmax(-1)
    return float(sum(said[i - 1, whole[i]] for i in range(len(before), len(whole))))


def test_masked_and_causal_meet_where_the_blank_is_last() -> None:
    masked, causal = eg.load(*tiny("bert")), eg.load(*tiny("gpt2"))
    report = eg.diff(masked, causal, atlas())
    assert report["prompts"].value == report["facts"].value == 4  # one of two templates ends with its blank
    assert "end with their blank" in " ".join(report.notes)
    assert not [s for s in report.scores if "perplexity" in s.name]
    same = eg.diff(masked, eg.load(*tiny("bert", seed=3)), atlas())
    assert same["prompts"].value == 8
    assert same["pseudo-perplexity: ratio"].value > 0


def test_what_one_of_them_cannot_be_asked_is_left_out_and_counted(model: eg.Model) -> None:
    capital = eg.Relation("P36", "capital", ("The capital of [X] is [Y].",))
    facts = (capital.fact("Ireland", "Dublin"), capital.fact("Ireland", "Ж"))
    known = eg.FactSet("atlas", (capital,), {"P36": facts})
    report = eg.diff(model, eg.load(*tiny("bert")), known)
    assert report["facts"].value == 1
    assert report["left out"].value == 1
    assert any("model, AnswerNotWritable" in note for note in report.notes)
    with pytest.raises(BadSetting, match="no fact could be asked of both"):
        eg.diff(model, model, eg.FactSet("last", (capital,), {"P36": ()}))


def test_bad_settings_are_refused() -> None:
    with pytest.raises(BadSetting, match="from 0 up"):
        Differing(largest=-1)
    with pytest.raises(BadSetting, match="tuple of edits"):
        Differing(under=("edits/cork",))  # type: ignore[arg-type]


# -- kept and told


@pytest.fixture(scope="module")
def done(model: eg.Model, edit: eg.Edit, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("runs") / "differing"
    return eg.run(Differing(under=(edit,), facts=8, shard=5), CAPITALS, model, out=out)


def test_a_run_says_what_the_function_says(done: Any, model: eg.Model, edit: eg.Edit) -> None:
    alone = eg.diff(model, None, CAPITALS, under=edit, n=8)
    kept = done.summary()
    assert [s.name for s in kept.scores] == [s.name for s in alone.scores]
    assert [s.value for s in kept.scores] == pytest.approx([s.value for s in alone.scores], abs=1e-5)
    said = json.dumps(done.manifest["settings"])
    assert "rank 1 in layer 0" in said
    assert Differing(under=(edit,), facts=8).settings() != Differing(facts=8).settings()


def test_its_page_shows_the_runs_numbers(done: Any) -> None:
    told, report = chapter(done), done.summary()
    assert set(told.figures) == {"facts", "relations"}
    text = report_run(done).read_text(encoding="utf-8")
    lost = report["lost"]
    assert f"{100 * lost.value:.1f}" in text
    assert "McNemar, exact" in text
    assert "log P(answer), fact by fact" in text


def test_probabilities_are_written_short() -> None:
    assert [probability(p) for p in (0.5, 1.0, 0.00123, 0.0009)] == [".5", "1", ".0012", "< .001"]
