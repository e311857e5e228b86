"""Causal tracing against the same by plain hooks, cell by cell, and against what must be so."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest
import torch

import engram as eg
from engram.errors import UnsupportedModel
from engram.models import hooks, passes
from engram.models.family import families
from engram.testing import tiny
from engram.testing.networks import SETTINGS
from engram.testing.states import state_of
from engram.traces import KINDS

ONE_STACK = [k for k in SETTINGS if families()[k].asks in ("mask", "next")]
PROMPT = eg.Prompt("The capital of Ireland is [Y]", "Dublin")


@pytest.fixture(scope="module")
def models():
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = eg.load(*tiny(kind))
        return made[kind]

    return get


def rome_noise(model, samples, tokens, size):
    width = model.net.get_input_embeddings()(torch.tensor([[0]])).shape[-1]
    return torch.from_numpy(np.random.RandomState(1).randn(samples, tokens, width)) * size


def modules(model, kind, layer):
    x = model.layers[layer]
    return {"block": x.block, "ffn": x.down, "attention": x.attended}[kind]


def by_hand(model, prompt, span, kind, window, samples, size, *, freeze=None):
    """ROME's way: every cell a forward pass of one clean and all corrupted rows. [token, layer, sample], [sample].

    Networks that apply one block again and again need to count, which hooks on modules do not: not for those.
    `freeze`: modules of that kind keep, above the cell's layer and at its token, what they gave out corrupted.
    """
    (row,) = model.rows(prompt)
    ids = torch.tensor([row.ids] * (1 + samples))
    noise = rome_noise(model, samples, span[1] - span[0], size)
    layers = len(model.layers)

    def corrupt(_m, _a, out):
        out = out.clone()
        out[1:, span[0] : span[1]] += noise.to(out)
        return out

    def restore(token):
        def hook(_m, _a, out):
            x = out if isinstance(out, torch.Tensor) else out[0]
            x = x.clone().reshape(1 + samples, len(row.ids), -1)
            x[1:, token] = x[0, token]
            x = x.reshape((out if isinstance(out, torch.Tensor) else out[0]).shape)
            return x if isinstance(out, torch.Tensor) else (x, *out[1:])

        return hook

    def run(places, frozen=None):
        kept = {}
        with torch.no_grad(), hooks.quiet(model.net), ExitStack() as stack:
            stack.callback(model.net.get_input_embeddings().register_forward_hook(corrupt).remove)
            for layer, token in places:
                handle = modules(model, kind, layer).register_forward_hook(restore(token))
                stack.callback(handle.remove)
            for layer in range(layers):
                part = modules(model, freeze or kind, layer)

                def keep(_m, _a, out, layer=layer):
                    x = out if isinstance(out, torch.Tensor) else out[0]
                    kept[layer] = x.clone()
                    if frozen and layer in frozen[0]:
                        x = x.clone()
                        x[1:, frozen[1]] = frozen[2][layer][1:, frozen[1]]
                        return x if isinstance(out, torch.Tensor) else (x, *out[1:])
                    return None

                stack.callback(part.register_forward_hook(keep).remove)
            extra = {"use_cache": False} if model.blank_last else {}
            logits = model.net(input_ids=ids, attention_mask=torch.ones_like(ids), **extra).logits
        return logits[1:, row.at].double().softmax(-1)[:, row.target].numpy(), kept

    low, corrupted = run([])
    found = np.zeros((len(row.ids), layers, samples))
    for token in range(len(row.ids)):
        for layer in range(layers):
            first, end = max(0, layer - window // 2), min(layers, layer - (-window // 2))
            frozen = (range(layer + 1, layers), token, corrupted) if freeze else None
            found[token, layer] = run([(i, token) for i in range(first, end)], frozen)[0]
    return found - low, low


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", [k for k in ONE_STACK if k != "albert"])
def test_every_family_says_what_hooks_say_cell_by_cell(models, family, kind):
    model = models(family)
    window = 1 if kind == "block" else 2
    by = eg.CausalTracing(kind=kind, window=window, samples=3, noise=0.7, rng="rome")
    try:
        found = eg.trace(model, PROMPT, subject="Ireland", by=by)
    except UnsupportedModel as error:
        pytest.skip(str(error))
    if len(model.rows(PROMPT)) > 1:
        pytest.skip("this tokenizer writes the answer in several tokens")
    effect, low = by_hand(model, PROMPT, found.subject, kind, window, 3, 0.7)
    assert found.corrupted == pytest.approx(low.mean(), abs=1e-7)
    assert found.effect == pytest.approx(effect.mean(-1), abs=1e-6)
    assert found.spread == pytest.approx(effect.std(-1, ddof=1), abs=1e-6)
    assert np.abs(found.effect).max() > 1e-5  # there is something to be seen


@pytest.mark.parametrize("frozen", ["ffn", "attention"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "bert", "bloom"])
def test_severed_paths_are_those_that_hooks_freeze(models, family, frozen):
    model = models(family)
    by = eg.CausalTracing(kind="block", samples=2, noise=0.7, rng="rome", severed=frozen)
    found = eg.trace(model, PROMPT, subject="Ireland", by=by)
    effect, _ = by_hand(model, PROMPT, found.subject, "block", 1, 2, 0.7, freeze=frozen)
    assert found.effect == pytest.approx(effect.mean(-1), abs=1e-6)
    whole = eg.trace(model, PROMPT, subject="Ireland", by=eg.CausalTracing(samples=2, noise=0.7, rng="rome"))
    assert np.abs(found.effect - whole.effect).max() > 1e-5  # something was severed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["albert", "bert", "gpt2", "gemma2"])
def test_a_network_that_is_run_whole_says_the_same(models, family, kind, monkeypatch):
    model = models(family)
    by = eg.CausalTracing(kind=kind, window=1 if kind == "block" else 3, samples=2, noise=0.7)
    fast = eg.trace(model, PROMPT, subject="Ireland", by=by)
    monkeypatch.setitem(passes._whole, model.net, "for a test")
    whole = eg.trace(model, PROMPT, subject="Ireland", by=by)
    assert whole.effect == pytest.approx(fast.effect, abs=1e-6)
    assert np.abs(whole.effect).max() > 1e-5


@pytest.mark.parametrize("family", ["gpt2", "bert", "llama"])
def test_a_small_budget_changes_nothing(models, family):
    by = eg.CausalTracing(kind="ffn", window=2, samples=3)
    small = eg.load(*tiny(family), budget=1000)
    assert eg.trace(small, PROMPT, subject="Ireland", by=by).effect == pytest.approx(
        eg.trace(models(family), PROMPT, subject="Ireland", by=by).effect, abs=1e-6
    )


def test_it_is_the_same_after_other_prompts_and_with_dropout_left_on(models):
    model = models("gpt2")
    by = eg.CausalTracing(kind="attention", samples=3, window=2)
    alone = eg.trace(model, PROMPT, subject="Ireland", by=by)
    model.net.train()
    eg.trace(model, eg.Prompt("A city in France is [Y]", "Paris"), subject="France", by=by)
    again = eg.trace(model, PROMPT, subject="Ireland", by=by)
    assert model.net.training
    model.net.eval()
    assert (again.effect == alone.effect).all()


def test_the_model_is_left_as_it_was(models):
    for family in ("gpt2", "bert"):
        model = models(family)
        before = state_of(model)
        for by in (eg.CausalTracing(kind="ffn"), eg.AttributionPatching(kind="ffn")):
            eg.trace(model, PROMPT, subject="Ireland", by=by)
        eg.mediate(model, PROMPT, subject="Ireland", by=eg.UnitMediation(layer=1, samples=2))
        after = state_of(model)
        assert before.keys() == after.keys()
        for name, x in before.items():
            assert torch.equal(x, after[name]) if isinstance(x, torch.Tensor) else x == after[name], name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["gpt2", "bert", "opt"])
def test_a_condition_at_the_blank_stays_there(models, family, kind, monkeypatch):
    model = models(family)
    by = eg.CausalTracing(kind=kind, window=1 if kind == "block" else 2, samples=2, noise=0.7)
    louder = eg.amplified(eg.NeuronSet.of([(layer, i) for layer in range(3) for i in range(24)]), by=1.5)
    fast = eg.trace(model, PROMPT, subject="Ireland", by=by, under=louder)
    assert np.abs(fast.effect - eg.trace(model, PROMPT, subject="Ireland", by=by).effect).max() > 1e-5
    monkeypatch.setitem(passes._whole, model.net, "for a test")
    whole = eg.trace(model, PROMPT, subject="Ireland", by=by, under=louder)
    assert fast.effect == pytest.approx(whole.effect, abs=1e-6)
