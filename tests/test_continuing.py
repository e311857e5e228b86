"""Texts that a model continues: against transformers' own generation, and independent of their neighbours."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

import engram as eg
from engram.errors import BadSetting, PromptTooLong, UnsupportedModel
from engram.metrics.entropy import entropies, ngram_entropy, words
from engram.models import continuing, holding
from engram.models.continuing import _drawn, continued, spoken
from engram.models.family import families
from test_many import load, random_edit
from test_scoring import PROMPTS

torch.set_num_threads(1)

TEXTS = ["The capital of Ireland is", "Once upon", "A city in France", "Once upon", "The capital"]
CAUSAL = sorted(k for k, f in families().items() if f.asks == "next")


def generated(model, text, tokens, edit=None):
    """By transformers, greedily, with the edit held; the end of a text is a token like others."""
    ids = torch.tensor([model.tokenizer(text)["input_ids"]])
    if ids[0, -1] in (model.tokenizer.eos_token_id, model.tokenizer.sep_token_id) and ids.shape[1] > 1:
        ids = ids[:, :-1]
    with torch.no_grad(), holding(edit, model):
        while ids.shape[1] < tokens:  # the whole text again for every token: nothing is kept
            ids = torch.cat([ids, model.net(input_ids=ids).logits[:, -1:].argmax(-1)], 1)
    return model.tokenizer.decode(ids[0].tolist(), skip_special_tokens=True)


@pytest.mark.parametrize("kind", CAUSAL)
def test_the_likeliest_tokens_are_those_of_the_whole_network(kind):
    model = load(kind)
    edits = [None, random_edit(model, 0, (0, 1))]
    found = continued(model, TEXTS * 2, tokens=12, top=1, edits=edits, of=[0] * 5 + [1] * 5)
    expected = [generated(model, t, 12, e) for e in edits for t in TEXTS]
    assert found == expected
    assert found[:5] != found[5:]


def test_the_plain_generation_of_transformers_says_the_same():
    model = load("gpt2")
    ids = model.tokenizer(TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        said = model.net.generate(**ids, max_length=15, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert continued(model, [TEXTS[0]], tokens=15, top=1) == [model.tokenizer.decode(said[0].tolist())]


def test_a_text_does_not_depend_on_its_neighbours():
    model = load("gpt2")
    edits = [None, random_edit(model, 0)]
    together = continued(model, TEXTS * 2, tokens=16, edits=edits, of=[0] * 5 + [1] * 5)
    for i in (0, 1, 2, 4):
        for e, edit in enumerate(edits):
            assert continued(model, [TEXTS[i]], tokens=16, edits=[edit]) == [together[5 * e + i]]
    assert together[1] != together[3]  # the same text again is another sample
    assert continued(model, TEXTS, tokens=16, seed=1) != together[:5]
    assert continued(model, TEXTS[::-1], tokens=16)[::-1][2] == together[2]


def test_batches_of_little_memory_say_the_same(monkeypatch):
    model = load("gpt2")
    whole = continued(model, TEXTS, tokens=10)
    monkeypatch.setattr(continuing, "_within", lambda *_: 2)
    told = []
    assert continued(model, TEXTS, tokens=10, progress=lambda *x: told.append(x)) == whole
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_a_text_that_is_long_enough_is_given_back():
    model = load("gpt2")
    found = continued(model, [TEXTS[0], TEXTS[1]], tokens=3)
    assert found[0] == TEXTS[0]
    assert len(model.tokenizer(found[1])["input_ids"]) >= 3
    assert found[1].startswith(TEXTS[1])
    assert continued(model, [TEXTS[0]], tokens=3) == [TEXTS[0]]
    assert continued(model, []) == []


def test_tokens_are_drawn_as_often_as_they_are_likely():
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0, -1.0, 0.5]]).double().repeat(40_000, 1)
    luck = torch.tensor(np.random.default_rng(0).random(40_000))
    counts = np.bincount(_drawn(logits, luck, 3).numpy(), minlength=6)
    shares = np.exp([0, 3, 1, 2, 0, 0]) * [0, 1, 1, 1, 0, 0]
    assert counts[[0, 4, 5]].sum() == 0
    assert stats.chisquare(counts[1:4], 40_000 * (shares / shares.sum())[1:4]).pvalue > 0.001
    assert set(_drawn(logits, luck, 1).tolist()) == {1}
    assert int(_drawn(logits[:1], torch.tensor([1.0]), 99)) == 4  # the least likely, not one behind it


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_what_is_spoken_is_as_long_as_the_answer(kind):
    model = load(kind)
    edits = [None, random_edit(model, 0)]
    of = [0] * len(PROMPTS) + [1] * len(PROMPTS)
    found = spoken(model, PROMPTS * 2, edits=edits, of=of)
    for said, prompt, e in zip(found, PROMPTS * 2, of, strict=True):
        rows = model.rows(prompt)
        ids = list(rows[0].ids)
        with torch.no_grad(), holding(edits[e], model):
            for _ in rows:
                ids.append(int(model.net(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        assert said == model.tokenizer.decode(ids[-len(rows) :], skip_special_tokens=True).strip()
    longer = spoken(model, PROMPTS, tokens=4)
    assert all(x.startswith(y) for x, y in zip(longer, found, strict=False))


def test_a_model_that_says_the_answer_freely_says_it_teacher_forced_too():
    model = eg.load("engram:causal")
    prompt = eg.Prompt("The author of Hamlet is [Y]", "Shakespeare")
    assert spoken(model, [prompt]) == ["Shakespeare"]


def test_what_cannot_be_continued_is_refused():
    with pytest.raises(UnsupportedModel, match="not a causal model"):
        continued(load("bert"), TEXTS)
    model = load("gpt2")
    with pytest.raises(PromptTooLong):
        continued(model, TEXTS, tokens=100_000)
    with pytest.raises(PromptTooLong):
        spoken(model, PROMPTS, tokens=100_000)
    for settings in ({"tokens": 0}, {"top": 0}, {"edits": (None, None)}):
        with pytest.raises(BadSetting):
            continued(model, TEXTS, **settings)
    with pytest.raises(BadSetting):
        spoken(model, PROMPTS, tokens=0)


# -- entropy


def test_a_word_again_and_again_has_no_entropy():
    assert ngram_entropy(["word " * 50, "no no no", "", "two words"]) == 0


def test_entropy_is_the_weighted_mean_of_pairs_and_triples():
    """a b a b a c: pairs ab ba ab ba ac, triples aba bab aba bac."""
    pairs, triples = stats.entropy([2, 2, 1], base=2), stats.entropy([2, 1, 1], base=2)
    assert float(entropies(["a b a b a c"])[0]) == pytest.approx((2 / 3 * pairs + 4 / 3 * triples) / 2)


def test_all_different_words_have_the_most():
    text = " ".join(f"w{i}" for i in range(34))
    assert ngram_entropy([text]) == pytest.approx((2 / 3 * math.log2(33) + 4 / 3 * 5) / 2)
    assert ngram_entropy([text, "x x x"]) == pytest.approx(ngram_entropy([text]) / 2)


def test_words_and_signs():
    assert words("Don't stop — 1,000 well-known U.S. words...") == [
        "Don't", "stop", "—", "1,000", "well-known", "U", ".", "S", ".", "words", ".", ".", ".",
    ]  # fmt: skip


def test_no_text_has_no_entropy():
    with pytest.raises(BadSetting):
        ngram_entropy([])
