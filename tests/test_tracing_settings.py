"""What the settings of a trace mean: noise, metrics, answers, subjects, windows; and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import engram as eg
from engram.errors import BadSetting, NoSubject, PromptTooLong, UnaskablePrompt, UnknownName, UnsupportedModel
from engram.models.spans import span_of
from engram.testing import tiny
from engram.tracers.noise import Spread, corruption, drawn

PROMPT = eg.Prompt("The capital of Ireland is [Y]", "Dublin")


@pytest.fixture(scope="module")
def gpt2():
    return eg.load(*tiny("gpt2"))


@pytest.fixture(scope="module")
def bert():
    return eg.load(*tiny("bert"))


def trace(model, prompt=PROMPT, subject="Ireland", **settings):
    return eg.trace(model, prompt, subject=subject, by=eg.CausalTracing(**{"samples": 3, **settings}))


def noise_of(model, noise, *, samples=4000, rng="numpy", seed=0):
    """What is added to the subject's embedding, [sample, token, width]."""
    span = span_of(model, PROMPT, "Ireland", model.rows(PROMPT)[0])
    spread = Spread(model)
    corrupt = drawn(model, PROMPT, "Ireland", span, corruption(noise), samples=samples, rng=rng, seed=seed,
                    spread=spread)  # fmt: skip
    zero = torch.zeros(samples, 6, spread.width, dtype=torch.float64)
    x = corrupt(zero)
    assert (x[:, : span.first] == 0).all()
    assert (x[:, span.end :] == 0).all()
    return x[:, span.first : span.end].numpy()


def table(model):
    return model.net.get_input_embeddings().weight.detach().double().numpy()


def test_sigma_is_that_of_all_embeddings_together(gpt2):
    assert Spread(gpt2).sigma == pytest.approx(table(gpt2).std(ddof=1), rel=1e-6)
    words = ("Ireland is", "France is")
    ids = [i for w in words for i in gpt2.tokenizer(w)["input_ids"]]
    assert Spread(gpt2, words).sigma == pytest.approx(table(gpt2)[ids].std(ddof=1), rel=1e-6)


def test_noise_has_the_size_that_was_asked_for(gpt2):
    sigma = table(gpt2).std(ddof=1)
    assert noise_of(gpt2, "2s").std() == pytest.approx(2 * sigma, rel=0.02)
    assert noise_of(gpt2, 0.25).std() == pytest.approx(0.25, rel=0.02)
    uniform = noise_of(gpt2, "uniform:2s")
    assert np.abs(uniform).max() <= 2 * sigma
    assert uniform.std() == pytest.approx(2 * sigma / np.sqrt(3), rel=0.02)


@pytest.mark.parametrize(("noise", "size"), [("covariance:1", 1), ("covariance:2", 2), ("student:8", 1)])
def test_correlated_noise_has_the_embeddings_covariance(gpt2, noise, size):
    found = np.cov(noise_of(gpt2, noise, samples=20000)[:, 0].T)
    wanted = size**2 * np.cov(table(gpt2).T)
    assert np.abs(found - wanted).max() < 0.08 * np.abs(wanted).max()


def test_students_t_has_heavier_tails(gpt2):
    def kurtosis(x):
        return float(((x / x.std()) ** 4).mean())

    assert kurtosis(noise_of(gpt2, "student:5")) > kurtosis(noise_of(gpt2, "covariance:1")) + 0.5


def test_romes_draw_is_numpys_old_generator_seeded_with_one(gpt2):
    wanted = np.random.RandomState(1).randn(5, 1, Spread(gpt2).width) * 0.3
    assert (noise_of(gpt2, 0.3, samples=5, rng="rome", seed=eg.CausalTracing(rng="rome").luck) == wanted).all()
    other = eg.Prompt("A city in Ireland is [Y]", "Dublin")
    span = span_of(gpt2, other, "Ireland", gpt2.rows(other)[0])
    again = drawn(gpt2, other, "Ireland", span, corruption(0.3), samples=5, rng="rome", seed=1, spread=Spread(gpt2))
    x = again(torch.zeros(5, 6, Spread(gpt2).width, dtype=torch.float64))
    assert (x[:, span.first : span.end].numpy() == wanted).all()  # of every prompt alike


def test_another_subject_makes_it_another_prompt(gpt2, bert):
    for model in (gpt2, bert):
        found = trace(model, noise="replace:France")
        (other,) = eg.ask(model, eg.Prompt("The capital of France is [Y]", "Dublin"))
        assert found.corrupted == pytest.approx(other.probability, abs=1e-7)
        assert found.samples == 1
        assert np.isnan(found.spread).all()
        assert "one was run" in found.notes[0]


def test_nothing_and_the_mean_are_put_in_place_of_the_subject(gpt2):
    assert (noise_of(gpt2, "zero", samples=2) == 0).all()
    assert noise_of(gpt2, "mean", samples=2)[1, 0] == pytest.approx(table(gpt2).mean(0), abs=1e-6)
    words = noise_of(gpt2, "resample", samples=30)[:, 0]
    assert all((np.abs(table(gpt2) - w).max(-1) < 1e-6).any() for w in words)
    assert len(np.unique(words.round(5), axis=0)) > 10


def test_the_clean_answer_is_what_asking_says(gpt2, bert):
    for model in (gpt2, bert):
        for prompt in (PROMPT, eg.Prompt("The capital of Ireland is [Y]", "Cork")):  # one token, and several
            (answer,) = eg.ask(model, prompt)
            assert trace(model, prompt).clean == pytest.approx(answer.probability, rel=1e-5)
            assert trace(model, prompt, metric="logprob").clean == pytest.approx(answer.logprob, rel=1e-5)
            assert trace(model, prompt, metric="rank").clean == answer.rank
    assert len(gpt2.rows(eg.Prompt("The capital of Ireland is [Y]", "Cork"))) > 1


def test_an_answer_of_several_tokens_is_the_product_of_theirs(gpt2):
    settings = {"samples": 1, "noise": 0.5, "rng": "rome"}
    whole = trace(gpt2, eg.Prompt("The capital of Ireland is [Y]", "Dublins"), **settings)
    first = trace(gpt2, PROMPT, **settings)
    second = trace(gpt2, eg.Prompt("The capital of Ireland is Dublin[Y]", "s"), **settings)
    assert len(second.tokens) == len(first.tokens) + 1
    assert whole.clean == pytest.approx(first.clean * second.clean, rel=1e-5)
    assert whole.restored == pytest.approx(first.restored * second.restored[: len(first.tokens)], rel=1e-4)
    assert whole.effect.shape == first.effect.shape


def test_what_the_model_says_first_can_be_the_answer(gpt2):
    found = trace(gpt2, answers="argmax")
    (answer,) = eg.ask(gpt2, PROMPT, top=1)
    assert found.clean == pytest.approx(answer.top[0][1], rel=1e-5)
    assert found.answer == answer.top[0][0]


def test_a_contrast_is_measured_in_logits(gpt2):
    prompt = eg.Prompt("The capital of Ireland is [Y]", "Dublin", against="Paris")
    found = trace(gpt2, prompt, metric="logit_difference")
    right, wrong = eg.ask(gpt2, [prompt, eg.Prompt(prompt.text, "Paris")])
    assert found.clean == pytest.approx(right.logprob - wrong.logprob, abs=1e-4)
    with pytest.raises(BadSetting, match="wrong answer"):
        trace(gpt2, metric="logit_difference")


def test_effects_are_normalised_where_there_is_a_total(gpt2):
    found = trace(gpt2)
    if found.total > 0:
        assert found.normalised[found.at, -1] == pytest.approx(1)
    else:
        assert found.normalised is None
        assert "no total effect" in " ".join(found.notes)


def test_the_window_is_clipped_at_the_ends_and_says_so(gpt2):
    assert trace(gpt2, kind="ffn", window=2).windows == ((0, 1), (0, 2), (1, 3))
    assert eg.CausalTracing(kind="ffn", window=10).windows(12)[0] == (0, 5)
    assert eg.CausalTracing(kind="ffn", window=10).windows(12)[11] == (6, 12)
    assert eg.CausalTracing(kind="ffn", window=5).windows(12)[5] == (3, 8)


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert", "albert", "opt"])
def test_the_subject_is_found_by_its_letters(family):
    model = eg.load(*tiny(family))
    prompt = eg.Prompt("The city of Zürich in Ireland is [Y]", "Dublin")
    span = span_of(model, prompt, "Zürich", model.rows(prompt)[0])
    tokens = model.rows(prompt)[0].ids[span.first : span.end]
    if model.tokenizer.unk_token_id not in tokens:
        assert len(tokens) > 1
        assert "rich" in model.tokenizer.decode(list(tokens)).lower()
    behind = model.tokenizer.decode([model.rows(prompt)[0].ids[span.end]]).strip()
    assert behind.startswith("in") or behind == "i"


def test_letters_of_several_bytes_are_whole(gpt2):
    prompt = eg.Prompt("東京 is in [Y]", "Dublin")
    span = span_of(gpt2, prompt, "東京", gpt2.rows(prompt)[0])
    assert (span.first, len(span)) == (0, 6)  # three bytes each
    second = span_of(gpt2, prompt, "京", gpt2.rows(prompt)[0])
    assert (second.first, len(second)) == (3, 3)


def test_behind_the_blank_too(bert):
    prompt = eg.Prompt("[Y] is the capital of Ireland.", "Dublin")
    found = trace(bert, prompt)
    assert found.tokens[found.subject[0]] == "Ireland"
    assert found.tokens[found.at] == "[MASK]"
    long = eg.Prompt("[Y] is the capital of Ireland.", "Cork")  # several masks before it
    assert trace(bert, long).tokens[trace(bert, long).subject[0]] == "Ireland"


def test_an_unusual_subject_is_said(gpt2):
    twice = trace(gpt2, eg.Prompt("Ireland is Ireland in [Y]", "Dublin"))
    assert "".join(twice.tokens[slice(*twice.subject)]) == "Ireland"
    assert "stands 2 times" in twice.notes[0]
    last = trace(gpt2, eg.Prompt("The capital of Ireland [Y]", "Dublin"))
    assert "ends the prompt" in last.notes[0]
    with pytest.raises(NoSubject, match="'Estonia' is not in"):
        trace(gpt2, subject="Estonia")
    with pytest.raises(NoSubject, match="no letters"):
        trace(gpt2, subject=" ")
    with pytest.raises(NoSubject, match="name the subject"):
        eg.trace(gpt2, PROMPT, by=eg.CausalTracing())
    fact = eg.Prompt(PROMPT.text, "Dublin", fact=eg.Fact("Ireland", "capital", "Dublin"))
    assert eg.trace(gpt2, fact, by=eg.CausalTracing(samples=1)).subject == trace(gpt2).subject


def test_part_of_a_word_is_taken_where_no_whole_word_is_there(gpt2):
    prompt = eg.Prompt("Irelands and Ireland is [Y]", "Dublin")
    assert "times" not in " ".join(trace(gpt2, prompt).notes)  # the whole word, once
    assert trace(gpt2, eg.Prompt("The capital of Irelands is [Y]", "Dublin")).subject[0] == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"noise": -1.0}, "from 0 up"),
        ({"noise": "-1s"}, "from 0 up"),
        ({"noise": "nan"}, "noise"),
        ({"noise": "3t"}, "noise is a number"),
        ({"noise": "student:2"}, "more than 2 degrees"),
        ({"noise": "replace:"}, "names another subject"),
        ({"samples": 0}, "at least 1 sample"),
        ({"window": 0, "kind": "ffn"}, "at least 1 layer"),
        ({"window": 3}, "its window is 1"),
        ({"seed": -1}, "not negative"),
        ({"severed": "ffn", "kind": "ffn"}, "above a restored block"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, said):
    with pytest.raises((BadSetting, UnknownName), match=said):
        eg.CausalTracing(**settings)


@pytest.mark.parametrize("name", ["kind", "noise", "rng", "metric", "answers", "severed"])
def test_unknown_names_are_told(name):
    with pytest.raises(UnknownName, match="nothing"):
        eg.CausalTracing(**{name: "nothing"})


def test_what_has_no_gradient_has_no_first_order():
    with pytest.raises(BadSetting, match="no gradient"):
        eg.AttributionPatching(metric="rank")
    with pytest.raises(BadSetting, match="no gradient"):
        eg.UnitMediation(layer=0, metric="rank")
    assert eg.UnitMediation(layer=0, metric="rank", first_order=False).exact


def test_sites_that_are_not_there_are_refused(gpt2):
    with pytest.raises(BadSetting, match="layers 0 to 2"):
        eg.mediate(gpt2, PROMPT, subject="Ireland", by=eg.UnitMediation(layer=3))
    with pytest.raises(BadSetting, match="tokens 0 to 4"):
        eg.mediate(gpt2, PROMPT, subject="Ireland", by=eg.UnitMediation(layer=0, token=9))
    with pytest.raises(BadSetting, match="name the layer"):
        eg.UnitMediation()
    with pytest.raises(UnknownName, match="first"):
        eg.UnitMediation(layer=0, token="first")


def test_prompts_that_cannot_be_traced_are_told(gpt2):
    long = eg.Prompt("Ireland " * 70 + "is [Y]", "Dublin")
    with pytest.raises(PromptTooLong):
        trace(gpt2, long)
    with pytest.raises(UnaskablePrompt, match="as long"):
        trace(gpt2, noise="replace:Once upon a time")
    with pytest.raises(UnsupportedModel, match="two stacks"):
        trace(eg.load(*tiny("t5")))


def test_progress_is_told_to_the_end(gpt2):
    heard = []
    eg.trace(
        gpt2, PROMPT, subject="Ireland", by=eg.CausalTracing(samples=2), progress=lambda a, b: heard.append((a, b))
    )
    assert heard[-1][0] == heard[-1][1] > 0
