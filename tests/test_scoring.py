"""Scores of answers against plain forward passes with the edit held, and how often the network is run for them."""

from __future__ import annotations

import math

import pytest
import torch

import engram as eg
from engram.errors import BadSetting, NotFinite
from engram.models import holding, hooks
from engram.models.below import running_on
from engram.models.family import families
from engram.models.questions import Batch
from engram.models.scoring import Scored, score
from engram.testing import tiny
from test_many import load, random_edit, slots_edit

torch.set_num_threads(1)

ANSWERS = ("Dublin", "Paris", "Rome", "Rome Paris")
PROMPTS = [
    eg.Prompt(f"{opening} {land} is [Y].", answer)
    for opening, land in (("The capital of", "Ireland"), ("A city in", "France"), ("The capital of", "Italy"))
    for answer in ANSWERS
]


def by_hand(model, prompt, edit=None) -> Scored:
    """One row at a time through the whole network, the edit held."""
    with torch.no_grad(), hooks.quiet(model.net), holding(edit, model):
        rows = model.rows(prompt)
        said = [model.logits(Batch.of([row], model.device))[0].double() for row in rows]
    nats = [-float(x.log_softmax(-1)[row.target]) for x, row in zip(said, rows, strict=True)]
    hits = [int(x.argmax()) == row.target for x, row in zip(said, rows, strict=True)]
    return Scored(sum(nats) / len(nats), sum(hits) / len(hits), len(nats))


def apart(found, expected):
    assert [(f.tokens, f.hits) for f in found] == [(e.tokens, e.hits) for e in expected]
    return max(abs(f.nll - e.nll) for f, e in zip(found, expected, strict=True))


@pytest.mark.parametrize("kind", sorted(families()))
def test_scores_are_those_of_plain_passes(kind):
    model = load(kind)
    edits = [None, random_edit(model, 0, (1,)), slots_edit(model, (1, 3))]
    asked = [p for p in PROMPTS for _ in edits]
    of = [*range(len(edits))] * len(PROMPTS)
    found = score(model, asked, edits=edits, of=of)
    expected = [by_hand(model, p, edits[e]) for p, e in zip(asked, of, strict=True)]
    assert apart(found, expected) < 1e-9
    assert {f.tokens for f in found} >= {1, 2}
    assert max(abs(a.nll - b.nll) for a, b in zip(found[::3], found[1::3], strict=True)) > 0.01


@pytest.mark.parametrize("kind", ["gpt2", "bert", "llama", "albert"])
def test_a_score_does_not_depend_on_what_else_is_asked(kind):
    model = load(kind, torch.float32)
    edits = [None, random_edit(model, 0, (1,))]
    found = score(model, PROMPTS * 2, edits=edits, of=[0] * len(PROMPTS) + [1] * len(PROMPTS))
    single = [score(model, [p], edits=[e])[0] for e in edits for p in PROMPTS]
    assert max(abs(a.nll - b.nll) for a, b in zip(found, single, strict=True)) < 1e-5


def test_masks_together_are_read_from_one_pass():
    net, tokenizer = tiny("bert")
    model = eg.load(net.double(), tokenizer, masks="together")
    with counted(model) as rows:
        found = score(model, PROMPTS[:4])
    assert apart(found, [by_hand(model, p) for p in PROMPTS[:4]]) < 1e-9
    assert sum(rows) == 2  # one mask, two masks


class counted:  # noqa: N801
    """How many rows go through the attention of a layer, in each call."""

    def __init__(self, model, layer=0):
        self.attention, self.found = model.layers[layer].attention[0], []

    def __enter__(self):
        self.handle = self.attention.register_forward_hook(lambda _m, _args, out: self.found.append(len(out[0])))
        return self.found

    def __exit__(self, *_):
        self.handle.remove()


def test_what_is_asked_twice_is_run_once():
    """Three sentences with four answers, three of one token and one of two, before and after two edits of layer 1."""
    model = load("gpt2")
    edits = [None, random_edit(model, 0, (1,)), random_edit(model, 1, (1,))]
    of = [e for e in range(3) for _ in PROMPTS]
    with counted(model, 0) as below, counted(model, 1) as changed, counted(model, 2) as above:
        score(model, PROMPTS * 3, edits=edits, of=of)
    assert sum(changed) == sum(above) == 3 * 3  # a sentence with a token more shows the answers of one token too
    assert sum(below) == 3


def test_one_edit_alone_runs_the_whole_network_once():
    model, calls = load("gpt2"), []
    handle = model.net.register_forward_pre_hook(lambda *_: calls.append(1))
    with counted(model, 0) as below, counted(model, 2) as above:
        score(model, [p for p in PROMPTS if " " not in p.answer], edits=[random_edit(model, 0, (1,))])
    handle.remove()
    assert sum(below) == sum(above) == 3
    assert len(calls) == len({p.text.split().index("is") for p in PROMPTS})  # one for each length


def test_edits_of_different_layers_each_begin_at_their_own():
    model = load("gpt2")
    edits = [None, random_edit(model, 0, (1,)), random_edit(model, 1, (2,)), random_edit(model, 2, (0,))]
    of = [e for e in range(4) for _ in PROMPTS]
    with counted(model, 0) as bottom, counted(model, 1) as middle, counted(model, 2) as above:
        found = score(model, PROMPTS * 4, edits=edits, of=of)
    assert [sum(x) for x in (bottom, middle, above)] == [6, 9, 12]
    assert apart(found, [by_hand(model, p, edits[e]) for p, e in zip(PROMPTS * 4, of, strict=True)]) < 1e-9


@pytest.mark.parametrize("kind", sorted(families()))
@pytest.mark.parametrize("starts", [(1, 2, 99, 2, 1), (99, 1, 1, 1, 0), (2, 2, 2, 99, 99)])
def test_running_on_from_a_layer_says_what_the_network_says(kind, starts):
    model = load(kind)
    rows = [model.rows(p)[0] for p in (PROMPTS[0], PROMPTS[0], PROMPTS[8], PROMPTS[0], PROMPTS[0])]
    batch, parts = Batch.of(rows), []
    last = len(model.layers)
    starts = [last if s == 99 else min(s, last - 1) for s in starts]
    with torch.no_grad(), hooks.quiet(model.net):
        expected = model.logits(batch)
        for numbers, beginning in running_on(model, batch, starts):
            with beginning:
                said = model.logits(batch.take(torch.tensor(numbers)))
            assert torch.allclose(said, expected[numbers], rtol=0, atol=1e-10)
            parts += numbers
    assert sorted(parts) == [0, 1, 2, 3, 4]


def test_a_model_without_an_opinion_scores_the_logarithm_of_its_words():
    """Oracle: uniform logits, −ln P = ln V for every token; and only the first token of the vocabulary is a hit."""
    model = load("gpt2")
    with torch.no_grad():
        model.net.lm_head.weight.zero_()
    for one in score(model, PROMPTS):
        assert one.nll == pytest.approx(math.log(model.config.vocab_size), abs=1e-12)
        assert one.hits == 0
        assert one.joint == pytest.approx(model.config.vocab_size**-one.tokens)


def test_a_likely_answer_is_correct():
    model = load("gpt2")
    with torch.no_grad():
        logits = model.logits(Batch.of(model.rows(PROMPTS[0])))[0]
    word = model.tokenizer.decode([int(logits.argmax())])
    (one,) = score(model, [eg.Prompt(PROMPTS[0].text.removesuffix(" [Y].") + "[Y]", word)])
    assert (one.correct, one.tokens) == (True, 1)


def test_the_mean_is_over_tokens_and_hits_are_a_share():
    two = Scored(nll=math.log(4), hits=0.5, tokens=2)
    assert two.probability == pytest.approx(1 / 4)
    assert two.joint == pytest.approx(1 / 16)
    assert not two.correct
    assert Scored(1.0, 1.0, 3).correct


@pytest.mark.parametrize(("edits", "of"), [((None, None), None), ((None,), [0]), ((None,), [1] * 12), ((), None)])
def test_it_is_said_of_each_under_which_edit(edits, of):
    with pytest.raises(BadSetting, match="under which of the"):
        score(load("gpt2"), PROMPTS, edits=edits, of=of)


def test_nothing_asked_is_nothing_scored_and_progress_is_told():
    model, told = load("gpt2"), []
    assert score(model, []) == []
    score(model, PROMPTS, progress=lambda *x: told.append(x))
    assert told[-1] == (3, 3)


def test_an_answer_that_is_no_number_is_told():
    model = load("gpt2")
    with torch.no_grad():
        model.net.lm_head.weight[0, 0] = torch.nan
    with pytest.raises(NotFinite):
        score(model, PROMPTS[:1])
