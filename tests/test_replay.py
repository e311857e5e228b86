"""Blocks run by themselves from what was recorded say what the whole network says, or the whole network is run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import engram as eg
from engram.models import Model, hooks
from engram.models.batching import by_shape
from engram.models.family import families
from engram.models.questions import Batch
from engram.models.replay import Start, record, replay
from engram.testing import tiny
from engram.testing.contract import PROMPTS

torch.set_num_threads(1)

TWO_STACKS = ("t5", "mt5", "bart")
LONG = eg.Prompt("The capital of Ireland and of France and of Estonia and of Ireland is [Y].", "Dublin")
RECOMMENDED = eg.IntegratedGradients(rule="gauss")


def batch_of(model, prompts=PROMPTS):
    rows = [row for p in prompts for row in model.rows(p)]
    largest = max(by_shape([r.shape for r in rows]), key=len)
    return Batch.of([rows[i] for i in largest])


def whole(model, clean, start):
    """What the network says by itself when the FFN writes something else, by a plain torch hook."""
    layer, batch = model.layers[start.layer], clean.batch.take(start.rows)
    at, turns = batch.asked.at[layer.side], []
    mine = [x.index for x in model.layers if x.down is layer.down]  # several where the weights are shared

    def put(_m, _args, out):
        turns.append(1)
        if mine[len(turns) - 1] != layer.index:
            return None
        x = out.reshape(len(batch), -1, out.shape[-1]).clone()
        x[torch.arange(len(batch)), at] = start.written
        return x.reshape(out.shape)

    handle = layer.down.register_forward_hook(put)
    try:
        return model.net(**batch.inputs).logits[torch.arange(len(batch)), batch.answered_at]
    finally:
        handle.remove()


def altered(model, clean, rows=None):
    rows = torch.arange(len(clean.batch)) if rows is None else rows
    return [Start(x.index, rows, 0.5 * clean.written[x.index][rows] + 0.25) for x in model.layers]


@pytest.mark.parametrize("kind", sorted(families()))
def test_every_family_takes_the_shortest_way_there_is(kind):
    model = Model.wrap(*tiny(kind))
    with hooks.quiet(model.net):
        ways = record(model, batch_of(model)).ways
    if kind in TWO_STACKS:
        assert ways == tuple("network" if x.side == "input" else "suffix" for x in model.layers)
    else:
        assert set(ways) == {"position" if model.blank_last else "suffix"}


@pytest.mark.parametrize("kind", ["gpt2", "gemma3_text", "mistral", "gpt_neo", "modernbert"])
@pytest.mark.parametrize("eager", [False, True])
def test_windows_shorter_than_the_prompt_are_seen(kind, eager):
    window = {"sliding_window": 4} if kind in ("gemma3_text", "mistral") else {}
    model = eg.load(*tiny(kind, **window, **({"attn_implementation": "eager"} if eager else {})))
    with torch.no_grad(), hooks.quiet(model.net):
        clean = record(model, batch_of(model, [LONG]))
        assert clean.batch.ids.shape[1] > 8
        starts = altered(model, clean)
        said = replay(model, clean, starts).split(1)
        for start, ours in zip(starts, said, strict=True):
            torch.testing.assert_close(ours, whole(model, clean, start), atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bloom", "bert"])
def test_a_prompt_of_one_token_is_asked_as_well(kind):
    model = eg.load(*tiny(kind))
    row = model.rows(PROMPTS[0])[0]
    alone = Batch.of([row]).alone
    with torch.no_grad(), hooks.quiet(model.net):
        clean = record(model, alone)
        for start in altered(model, clean):
            torch.testing.assert_close(replay(model, clean, [start]), whole(model, clean, start), atol=2e-5, rtol=0)


@pytest.mark.parametrize("at", ["blank", "everywhere"])
@pytest.mark.parametrize("kind", ["bert", "gpt2", "albert", "opt", "gptj", "t5"])
def test_a_condition_holds_in_blocks_run_by_themselves(kind, at):
    model = eg.load(*tiny(kind))
    silent = eg.NeuronSet.of((x.index, i) for x in model.layers for i in range(0, model.widths[x.index], 2))
    with torch.no_grad(), hooks.quiet(model.net), eg.holding(eg.suppressed(silent, at=at), model):
        clean = record(model, batch_of(model))
        starts = altered(model, clean)
        for start in starts:
            with hooks.asking(clean.batch.take(start.rows).asked):
                full = whole(model, clean, start)
            torch.testing.assert_close(replay(model, clean, [start]), full, atol=2e-5, rtol=0)
    with torch.no_grad(), hooks.quiet(model.net):
        assert not torch.allclose(record(model, batch_of(model)).logits, clean.logits)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_what_a_row_says_does_not_depend_on_the_others(kind):
    model = eg.load(*tiny(kind))
    with torch.no_grad(), hooks.quiet(model.net):
        clean = record(model, batch_of(model))
        alone = record(model, clean.batch.take(torch.tensor([1])))
        among = replay(model, clean, altered(model, clean, torch.tensor([0, 1, 1, 0, 1])))
        by_itself = replay(model, alone, altered(model, alone))
    torch.testing.assert_close(among[1::5], by_itself, atol=1e-6, rtol=1e-6)
    assert torch.equal(among[1::5], among[2::5])


def test_starts_that_are_out_of_order_are_refused():
    model = eg.load(*tiny("bert"))
    with torch.no_grad(), hooks.quiet(model.net):
        clean = record(model, batch_of(model))
        with pytest.raises(ValueError, match="bottom to the top"):
            replay(model, clean, altered(model, clean)[::-1])


# -- where blocks cannot be run by themselves, the whole network is, and that is said


def unnamed(model):
    """The same network with a table that does not name its attention."""
    stacks = tuple(replace(s, attention=()) for s in model.family.stacks)
    return replace(model, family=replace(model.family, stacks=stacks))


def remembering(net):
    """A block that is different every time it is called."""
    block, calls = net.transformer.h[1], []
    plain = block.forward

    def forward(x, *args, **kwargs):
        calls.append(1)
        return plain(x * (1 + 0.1 * len(calls)), *args, **kwargs)

    block.forward = forward


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        ("deberta-v2", {"conv_kernel_size": 3}, "something is done to the hidden states before layer 1"),
        ("gemma3_text", {"use_bidirectional_attention": True}, "other logits"),
    ],
)
def test_a_network_that_cannot_be_replayed_is_run_whole_and_that_is_said(kind, settings, reason):
    model = eg.load(*tiny(kind, **settings))
    with pytest.warns(RuntimeWarning, match=reason):
        found = eg.locate(model, PROMPTS[0], by=eg.IntegratedGradients(steps=4))[0]
    with torch.no_grad(), hooks.quiet(model.net):
        clean = record(model, batch_of(model))  # said once
        for start in altered(model, clean):
            torch.testing.assert_close(replay(model, clean, [start]), whole(model, clean, start), atol=2e-5, rtol=0)
    assert np.abs(found.dense()).max() > 0


@pytest.mark.parametrize("kind", ["bert", "gpt2", "opt"])
def test_without_named_attention_the_scores_are_the_same(kind):
    model = eg.load(*tiny(kind))
    by = eg.IntegratedGradients(steps=4)
    expected = eg.locate(model, PROMPTS, by=by)
    with pytest.warns(RuntimeWarning, match="does not name the attention"):
        found = eg.locate(unnamed(eg.load(*tiny(kind))), PROMPTS, by=by)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.dense(), b.dense(), atol=1e-5 * np.abs(b.dense()).max())
        np.testing.assert_allclose(a.change, b.change, atol=1e-6)


def test_a_block_with_a_memory_of_its_own_is_not_run_by_itself():
    net, tokenizer = tiny("gpt2")
    remembering(net)
    model = eg.load(net, tokenizer)
    with pytest.warns(RuntimeWarning, match="other logits"), torch.no_grad(), hooks.quiet(model.net):
        assert set(record(model, batch_of(model)).ways) == {"network"}


# -- memory


class Saved:
    """How many bytes does autograd keep at most?"""

    def __init__(self):
        self.now = self.most = 0

    def pack(self, x):
        size = x.numel() * x.element_size()
        self.now += size
        self.most = max(self.most, self.now)
        return Kept(x, size, self)


class Kept:
    def __init__(self, x, size, ledger):
        self.x, self.size, self.ledger = x, size, ledger

    def __del__(self):
        self.ledger.now -= self.size


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "modernbert"])
@pytest.mark.parametrize(("words", "prompts"), [(4, 1), (4, 256), (60, 40), (500, 1), (500, 4)])
def test_what_autograd_keeps_stays_within_the_budget(kind, words, prompts):
    budget = 8 * 2**20
    net, tokenizer = tiny(kind, max_position_embeddings=1024)
    tokenizer.model_max_length = 1024
    model = replace(eg.load(net, tokenizer), budget=budget)
    text = " ".join(["capital"] * words) + " is [Y]."
    ledger = Saved()
    with torch.autograd.graph.saved_tensors_hooks(ledger.pack, lambda kept: kept.x):
        eg.locate(model, [eg.Prompt(text, "Dublin")] * prompts, by=eg.IntegratedGradients(steps=4))
    assert (budget / 10 if words * prompts > 1000 else 0) < ledger.most <= budget
