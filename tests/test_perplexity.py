"""The surprise of ordinary text is what transformers' own loss, or a loop by hand, says it is."""

from __future__ import annotations

import pytest
import torch

import engram as eg
from engram.errors import PromptTooLong, UnaskablePrompt
from engram.models.perplexity import kind_of_perplexity, surprise
from engram.testing import tiny

torch.set_num_threads(1)

TEXTS = ["The capital of Ireland is Dublin", "A city in France", "The capital of Italy is Rome", "Once upon a time"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["gpt2", "llama", "opt"])
def test_of_a_causal_model_it_is_the_loss(kind):
    model = eg.load(*tiny(kind))
    for text, nats in zip(TEXTS, surprise(model, TEXTS), strict=True):
        ids = model.tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            logprob = model.net(ids).logits[0, :-1].log_softmax(-1)
        assert nats == pytest.approx((-logprob.gather(1, ids[0, 1:, None])[:, 0]).tolist(), abs=1e-5)
    assert kind_of_perplexity(model) == "perplexity"


@pytest.mark.parametrize("kind", ["bert", "albert", "roberta"])
def test_of_a_masked_model_every_token_is_masked_in_turn(kind):
    model = eg.load(*tiny(kind))
    for text, nats in zip(TEXTS, surprise(model, TEXTS), strict=True):
        ids = model.tokenizer(text, return_tensors="pt").input_ids
        expected = []
        for i in range(1, ids.shape[1] - 1):
            masked = ids.clone()
            masked[0, i] = model.tokenizer.mask_token_id
            with torch.no_grad():
                expected.append(-float(model.net(masked).logits[0, i].log_softmax(-1)[ids[0, i]]))
        assert nats == pytest.approx(expected, abs=1e-5)
    assert kind_of_perplexity(model) == "pseudo-perplexity"


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_of_two_stacks_it_is_what_asking_for_each_word_says(kind):
    model = eg.load(*tiny(kind))
    words = TEXTS[0].split()
    answers = []
    for i, word in enumerate(words):
        before, after = " ".join(words[:i]), " ".join(words[i + 1 :])
        answers.append(eg.Prompt(f"{before} [Y] {after}".strip(), word))
    asked = [-a.logprob for a in eg.ask(model, answers[1:])]
    assert surprise(model, TEXTS[:1])[0][1:] == pytest.approx(asked, abs=1e-5)


def test_it_does_not_depend_on_the_other_texts_and_conditions_hold():
    for kind in ("gpt2", "bert"):
        model = eg.load(*tiny(kind))
        together = surprise(model, TEXTS)
        alone = [surprise(model, [t])[0] for t in TEXTS]
        assert [len(x) for x in together] == [len(x) for x in alone]
        for a, b in zip(together, alone, strict=True):
            assert a == pytest.approx(b, abs=1e-5)
        silent = eg.suppressed(eg.NeuronSet.parse("L0.1 L1.5"), at="everywhere")
        assert surprise(model, TEXTS, under=silent)[0] != pytest.approx(together[0], abs=1e-3)
        assert surprise(model, TEXTS) == together


def test_a_text_that_cannot_be_asked_is_refused():
    for kind in ("gpt2", "bert", "t5"):
        model = eg.load(*tiny(kind))
        with pytest.raises(UnaskablePrompt, match="no token to ask for"):
            surprise(model, [""])
        with pytest.raises(PromptTooLong):
            surprise(model, ["The city " * 60])
