"""What a model is asked is what one would ask `transformers` by hand, with real vocabularies where that matters."""

from __future__ import annotations

import pytest
import torch
from transformers import BertTokenizer, GPT2Tokenizer

import engram as eg
from engram.errors import (
    AnswerNotWritable,
    BadSetting,
    BlankNotLast,
    NotOneBlank,
    PromptTooLong,
    UnaskablePrompt,
    UnsupportedModel,
)
from engram.testing import tiny

torch.set_num_threads(1)  # tiny networks: threads cost more than they save

CAPITAL = "The capital of Ireland is [Y]."
ANSWERS = ("Dublin", "Tallinn", "Cork")  # one token, two, several


@pytest.fixture(scope="module")
def bert(shared_data):
    """BERT's own vocabulary (uncased) on a small random network."""
    tokenizer = BertTokenizer(vocab=str(shared_data / "tokenizers/bert-base-uncased/vocab.txt"))
    return eg.load(tiny("bert", vocab_size=len(tokenizer))[0], tokenizer)


@pytest.fixture(scope="module")
def gpt2(shared_data):
    """GPT-2's own vocabulary on a small random network."""
    folder = shared_data / "tokenizers/gpt2"
    tokenizer = GPT2Tokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    return eg.load(tiny("gpt2", vocab_size=len(tokenizer))[0], tokenizer)


@pytest.fixture(scope="module")
def models():
    """One tiny model for each way of being asked, and for each convention of writing spaces."""
    return {kind: eg.load(*tiny(kind)) for kind in ("bert", "roberta", "albert", "gpt2", "opt", "llama", "t5", "bart")}


def targets(model, text, answer):
    return model.tokenizer.convert_ids_to_tokens([row.target for row in model.rows(eg.Prompt(text, answer))])


# -- how an answer is written


def test_gpt2_writes_an_answer_with_the_space_before_it(gpt2):
    assert targets(gpt2, "The capital of France is [Y].", "Paris") == ["ĠParis"]
    assert targets(gpt2, "The capital of France is [Y]", "paris") == ["Ġpar", "is"]
    assert targets(gpt2, "The capital of France is:[Y]", "Paris") == ["Paris"]
    assert targets(gpt2, "The capital of France is:\n[Y]", "Paris") == ["Paris"]
    assert targets(gpt2, "She[Y]", "'s") == ["'s"]


@pytest.mark.parametrize("answer", [" Paris", "Paris ", " Paris\n"])
def test_spaces_around_an_answer_are_not_written_twice(gpt2, answer):
    assert targets(gpt2, "The capital of France is [Y].", answer) == ["ĠParis"]


def test_an_answer_that_brings_its_own_space_keeps_it(gpt2):
    assert targets(gpt2, "The capital of France is[Y]", " Paris") == ["ĠParis"]


def test_what_stands_before_the_blank_is_the_prompt_s(gpt2):
    (row,) = gpt2.rows(eg.Prompt("Capital:\n[Y]", "Paris"))
    assert list(row.ids) == gpt2.tokenizer("Capital:\n")["input_ids"]
    (row,) = gpt2.rows(eg.Prompt("Capital:  [Y]", "Paris"))  # one of two spaces is the answer's
    assert list(row.ids) == gpt2.tokenizer("Capital: ")["input_ids"]


def test_bert_s_row_is_the_sentence_with_a_mask(bert):
    for text in ("The capital of Ireland is [Y].", "[Y] is in Ireland", "Ireland's ([Y]) capital"):
        (row,) = bert.rows(eg.Prompt(text, "Dublin"))
        assert list(row.ids) == bert.tokenizer(text.replace("[Y]", "[MASK]"))["input_ids"]
        assert row.ids[row.at] == bert.tokenizer.mask_token_id
    assert targets(bert, CAPITAL, "Dublin") == ["dublin"]  # this vocabulary knows no capitals
    assert targets(bert, CAPITAL, "New York") == ["new", "york"]


def test_a_space_that_is_a_token_of_its_own_belongs_to_the_answer(models):
    for kind in ("roberta", "albert", "gpt2", "llama", "t5", "bart"):
        assert len(targets(models[kind], CAPITAL, "Cork")) == 5  # a space, C, o, r, k
        assert len(targets(models[kind], "The capital of Ireland is  [Y].", "Cork")) == 5  # one of two
    assert targets(models["bert"], CAPITAL, "Cork") == ["C", "##o", "##r", "##k"]
    assert targets(models["albert"], "([Y])", "Cork") == ["C", "o", "r", "k"]


def test_answers_are_taken_in_the_case_they_are_given(models):
    assert targets(models["bert"], CAPITAL, "Dublin") == ["Dublin"]
    assert targets(models["bert"], CAPITAL, "dublin") == ["d", "##u", "##b", "##l", "##i", "##n"]


# -- what cannot be asked, and why


def test_an_unknown_word_is_never_asked_in_silence(bert, models):
    for model in (bert, models["bert"], models["llama"], models["t5"], models["albert"]):
        with pytest.raises(AnswerNotWritable, match=r"cannot write '☃': it would become '.*(?i:unk)"):
            eg.ask(model, eg.Prompt(CAPITAL, "☃"))
    assert targets(models["gpt2"], CAPITAL, "☃")  # bytes write everything
    assert targets(bert, CAPITAL, "[UNK]") == ["[UNK]"]  # asked for by name


@pytest.mark.parametrize("text", ["The capital is Dublin.", "[Y] is [Y]."])
def test_a_prompt_has_one_blank(text):
    with pytest.raises(NotOneBlank, match="exactly one blank"):
        eg.Prompt(text, "Dublin")


def test_a_causal_model_is_asked_at_the_end_only(models):
    with pytest.raises(BlankNotLast, match=r"' is in Ireland\.' follows the blank"):
        eg.ask(models["gpt2"], eg.Prompt("[Y] is in Ireland.", "Dublin"))
    eg.ask(models["bert"], eg.Prompt("[Y] is in Ireland.", "Dublin"))


@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5", "bart"])
@pytest.mark.parametrize("answer", ["", " ", "\n"])
def test_an_empty_answer_is_refused(models, kind, answer):
    with pytest.raises(AnswerNotWritable, match=r"the answer of 'The capital of Ireland is \[Y\]\.' is empty"):
        eg.ask(models[kind], eg.Prompt(CAPITAL, answer))


def test_a_prompt_longer_than_the_network_is_refused(models):
    long = "the " * 40
    with pytest.raises(PromptTooLong, match="83 tokens, and this model has 64 positions"):
        eg.ask(models["bert"], eg.Prompt(long * 2 + "[Y]", "Dublin"))
    fits = "the " * (64 - 3) + "[Y]"  # 61 words, a mask, [CLS] and [SEP]
    assert len(models["bert"].rows(eg.Prompt(fits, "Dublin"))[0].ids) == 64
    eg.ask(models["bert"], eg.Prompt(fits, "Dublin"))


def test_rows_of_positions_that_no_text_reaches_do_not_count():
    net, tokenizer = tiny("roberta")
    tokenizer.model_max_length = 10**9
    model = eg.load(net, tokenizer)
    eg.ask(model, eg.Prompt(" the" * 61 + " [Y]", "Dublin"))  # 64 with the frame, of 66 positions
    with pytest.raises(PromptTooLong, match="65 tokens, and this model has 64 positions"):
        eg.ask(model, eg.Prompt(" the" * 62 + " [Y]", "Dublin"))


def test_bart_s_table_of_positions_brings_its_own_reserve():
    net, tokenizer = tiny("bart")
    tokenizer.model_max_length = 10**9
    eg.ask(eg.load(net, tokenizer), eg.Prompt(" the" * 61 + " [Y]", "Dublin"))
    with pytest.raises(PromptTooLong, match="65 tokens"):
        eg.ask(eg.load(net, tokenizer), eg.Prompt(" the" * 62 + " [Y]", "Dublin"))


def test_an_answer_that_the_tokenizer_merges_with_its_neighbours_is_refused(gpt2, bert):
    with pytest.raises(AnswerNotWritable, match="merges '97' with the text before it: 'It was 19"):
        gpt2.rows(eg.Prompt("It was 19[Y]", "97"))
    for text, answer in (("un[Y]able", "believ"), ("un[Y] now", "able"), ("[Y]able now", "un")):
        with pytest.raises(AnswerNotWritable, match=f"merges '{answer}' with its neighbours in 'un"):
            bert.rows(eg.Prompt(text, answer))


def test_a_causal_blank_at_the_very_start_needs_a_first_token(models, gpt2):
    (row,) = models["llama"].rows(eg.Prompt("[Y].", "Dublin"))
    assert row.ids == (models["llama"].tokenizer.bos_token_id,)
    eg.ask(models["opt"], eg.Prompt("[Y]", "Dublin"))
    for model in (models["gpt2"], gpt2):
        with pytest.raises(UnaskablePrompt, match="nothing before the blank to continue: '\\[Y\\]'"):
            model.rows(eg.Prompt("[Y]", "Dublin"))


def test_a_second_sentinel_is_refused(models):
    with pytest.raises(UnaskablePrompt, match="one of its own"):
        models["t5"].rows(eg.Prompt("<extra_id_0> is [Y]", "Dublin"))


def test_a_contrast_needs_answers_of_one_token(models):
    (row,) = models["bert"].rows(eg.Prompt(CAPITAL, "Dublin", against="Paris"))
    assert models["bert"].tokenizer.convert_ids_to_tokens(row.against) == "Paris"
    with pytest.raises(AnswerNotWritable, match="'Tallinn' has 2"):
        models["bert"].rows(eg.Prompt(CAPITAL, "Dublin", against="Tallinn"))


def test_a_tokenizer_of_another_network_is_noticed():
    net, tokenizer = tiny("bert", vocab_size=20)
    with pytest.raises(UnaskablePrompt, match=r"as token \d+; the network has 20: is this the network's own"):
        eg.load(net, tokenizer).rows(eg.Prompt(CAPITAL, "Dublin"))


def test_a_tokenizer_that_cannot_mark_the_blank_is_refused():
    for kind, other, message in (("bert", "gpt2", "no mask token"), ("t5", "llama", "no <extra_id_0>")):
        net, tokenizer = tiny(kind, convention=other, pad_token_id=0, eos_token_id=0)
        with pytest.raises(UnsupportedModel, match=message):
            eg.load(net, tokenizer).rows(eg.Prompt(CAPITAL, "Dublin"))


def test_a_seq2seq_network_without_a_first_decoder_token_is_refused():
    net, tokenizer = tiny("t5")
    net.config.decoder_start_token_id = None
    with pytest.raises(BadSetting, match="decoder_start_token_id"):
        eg.load(net, tokenizer).rows(eg.Prompt(CAPITAL, "Dublin"))


def test_masks_are_filled_in_one_of_two_ways():
    with pytest.raises(BadSetting, match="'left_to_right' or 'together', not 'at once'"):
        eg.load(*tiny("bert"), masks="at once")
