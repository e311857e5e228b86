"""An answer's probability is what one would work out with `transformers` by hand, whatever the way of asking."""

from __future__ import annotations

import math

import pytest
import torch

import engram as eg
from engram.testing import check_family, tiny

torch.set_num_threads(1)  # tiny networks: threads cost more than they save

CAPITAL = "The capital of Ireland is [Y]."
ANSWERS = ("Dublin", "Tallinn", "Cork")  # one token, two, several


@pytest.fixture(scope="module")
def models():
    """One tiny model for each way of being asked, and for each convention of writing spaces."""
    return {kind: eg.load(*tiny(kind)) for kind in ("bert", "roberta", "albert", "gpt2", "opt", "llama", "t5", "bart")}


@pytest.mark.parametrize("kind", ["gpt2", "opt", "llama"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_causal_answer_is_the_teacher_forced_sum_of_its_tokens(models, kind, answer):
    model = models[kind]
    net, tokenizer = model.net, model.tokenizer
    start = len(tokenizer("The capital of Ireland is")["input_ids"])
    ids = tokenizer(f"The capital of Ireland is {answer}", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logprobs = net(input_ids=ids).logits[0, :-1].log_softmax(-1)
    expected = sum(float(logprobs[i, ids[0, i + 1]]) for i in range(start - 1, ids.shape[1] - 1))
    ranks = [int((logprobs[i] > logprobs[i, ids[0, i + 1]]).sum()) + 1 for i in range(start - 1, ids.shape[1] - 1)]
    (said,) = eg.ask(model, eg.Prompt(CAPITAL, answer))
    assert said.logprob == pytest.approx(expected, abs=1e-5)
    assert said.probability == pytest.approx(math.exp(expected), rel=1e-4)
    assert said.rank == max(ranks)
    assert list(said.tokens) == tokenizer.convert_ids_to_tokens(ids[0, start:])
    assert said.top[0][1] == pytest.approx(float(logprobs[start - 1].max().exp()), rel=1e-5)


@pytest.mark.parametrize("kind", ["bert", "roberta", "albert"])
@pytest.mark.parametrize("masks", ["left_to_right", "together"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_masked_answer_has_one_mask_per_token(models, kind, masks, answer):
    net, tokenizer = models[kind].net, models[kind].tokenizer
    model = eg.load(net, tokenizer, masks=masks)
    gold = tokenizer(CAPITAL.replace("[Y]", answer))["input_ids"]
    plain = tokenizer(CAPITAL.replace("[Y]", tokenizer.mask_token))["input_ids"]
    first, width = plain.index(tokenizer.mask_token_id), len(gold) - len(plain) + 1
    expected = 0.0
    for i in range(first, first + width):
        ids = torch.tensor([gold])
        ids[0, i if masks == "left_to_right" else first : first + width] = tokenizer.mask_token_id
        with torch.no_grad():
            expected += float(net(input_ids=ids).logits[0, i].log_softmax(-1)[gold[i]])
    (said,) = eg.ask(model, eg.Prompt(CAPITAL, answer))
    assert said.logprob == pytest.approx(expected, abs=1e-5)
    assert len(said.tokens) == width
    if width == 1:
        assert list(model.rows(eg.Prompt(CAPITAL, answer))[0].ids) == plain


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_t5_says_behind_the_sentinel_what_belongs_there(models, answer):
    net, tokenizer = models["t5"].net, models["t5"].tokenizer
    read = tokenizer("The capital of Ireland is <extra_id_0>.", return_tensors="pt")
    labels = tokenizer(f"<extra_id_0> {answer}", return_tensors="pt")["input_ids"][:, :-1]  # without </s>
    with torch.no_grad():
        logits = net(**{k: read[k] for k in ("input_ids", "attention_mask")}, labels=labels).logits[0]
    expected = logits.log_softmax(-1).gather(1, labels[0][:, None])[1:].sum()
    (said,) = eg.ask(models["t5"], eg.Prompt(CAPITAL, answer))
    assert said.logprob == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_bart_writes_the_sentence_again(models, answer):
    net, tokenizer = models["bart"].net, models["bart"].tokenizer
    read = tokenizer("The capital of Ireland is <mask>.", return_tensors="pt")["input_ids"]
    gold = tokenizer(f"The capital of Ireland is {answer}.", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logprobs = net(input_ids=read, labels=gold).logits[0].log_softmax(-1)
    first = read[0].tolist().index(tokenizer.mask_token_id)
    width = gold.shape[1] - read.shape[1] + 1
    expected = sum(float(logprobs[i, gold[0, i]]) for i in range(first, first + width))
    (said,) = eg.ask(models["bart"], eg.Prompt(CAPITAL, answer))
    assert said.logprob == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5", "bart"])
def test_the_answers_come_in_the_order_of_the_prompts(models, kind):
    prompts = [eg.Prompt(text, a) for a in ANSWERS for text in (CAPITAL, "Limerick is a city in the state of [Y].")]
    together = eg.ask(models[kind], prompts)
    assert [a.prompt for a in together] == prompts
    for prompt, answer in zip(prompts, together, strict=True):
        assert eg.ask(models[kind], prompt)[0].logprob == pytest.approx(answer.logprob, abs=1e-5)


# -- a real checkpoint


@pytest.fixture(scope="module")
def stories(shared_models):
    return eg.load(shared_models / "stories260K")


def test_a_real_model_knows_how_stories_begin(stories):
    (said,) = eg.ask(stories, eg.Prompt("Once upon a [Y]", "time"))
    assert said.knows
    assert said.top[0][0] == "time"
    ids = stories.tokenizer("Once upon a", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        plain = stories.net(input_ids=ids).logits[0, -1].softmax(-1)
    assert said.probability == pytest.approx(float(plain.max()), rel=1e-5)
    assert stories.tokenizer.convert_ids_to_tokens(int(plain.argmax())) == said.tokens[0]


def test_a_real_model_keeps_the_contract(stories):
    prompts = [
        eg.Prompt(f"Once upon a time, there was a {x} [Y]", a) for x in ("little", "big") for a in ("girl", "dog")
    ]
    check_family(stories, [*prompts, eg.Prompt("Her name was [Y]", "Dublin")])
