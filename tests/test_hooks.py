"""Hooks see every layer where it is, change nothing that they are not asked to, and are gone afterwards."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

import engram as eg
from engram.errors import HookDidNotFire, UnsupportedModel
from engram.models import detours, hooks, watching
from engram.models.questions import Batch
from engram.testing import tiny

torch.set_num_threads(1)  # tiny networks: threads cost more than they save

PROMPTS = [eg.Prompt(f"The capital of {x} is [Y].", "Dublin") for x in ("Ireland", "France", "Italy")]


def asked(kind, **settings):
    model = eg.load(*tiny(kind, **settings))
    return model, Batch.of([row for p in PROMPTS for row in model.rows(p)])


def given(seen):
    """What the blocks gave out, as they gave it."""
    return [x if rest is None else (x, *rest) for x, rest in zip(seen.left, seen.rest, strict=True)]


def inputs_of(model, batch):
    """What goes into each second map, call by call, by torch's own hooks."""
    seen = []
    handles = [
        down.register_forward_pre_hook(lambda m, args: seen.append((m, args[0].detach().clone())))
        for down in {layer.down: None for layer in model.layers}
    ]
    with torch.no_grad():
        model.net(**batch.inputs)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("kind", ["bert", "opt", "albert", "falcon", "t5", "bart"])
def test_reading_gives_what_goes_into_each_second_map(kind):
    model, batch = asked(kind)
    expected = inputs_of(model, batch)
    with torch.no_grad(), watching.recording(model.net, model.layers) as seen:
        model.net(**batch.inputs)
    assert [down for down, _ in expected] == [layer.down for layer in model.layers]
    for (_, x), y in zip(expected, seen.neurons, strict=True):
        assert y.ndim == 3
        assert y.shape[0] == len(batch)
        assert torch.equal(x.reshape(y.shape), y)


@pytest.mark.parametrize("kind", ["bert", "llama", "falcon", "gpt2"])
def test_what_blocks_give_out_is_what_transformers_calls_hidden_states(kind):
    model, batch = asked(kind)
    with torch.no_grad():
        expected = model.net(**batch.inputs, output_hidden_states=True).hidden_states
        with watching.recording(model.net, model.layers) as seen:
            model.net(**batch.inputs)
    for i, out in enumerate(seen.left[:-1]):  # behind the last block comes a norm
        assert torch.equal(out, expected[i + 1])


def test_what_was_recorded_is_not_overwritten_by_a_block_that_works_in_place():
    model, batch = asked("gpt2")
    block = model.layers[1].block
    plain = block.forward
    block.forward = lambda x, *args, **kwargs: plain(x.mul_(2), *args, **kwargs)
    with torch.no_grad():
        expected = model.net(**batch.inputs).logits
        with watching.recording(model.net, model.layers) as seen:
            model.net(**batch.inputs)
        with detours.skipping(model.net, model.layers, 1, given(seen)):
            assert torch.equal(model.net(**batch.inputs).logits, expected)


def test_a_change_gets_a_copy_and_what_it_gives_back_is_used():
    model, batch = asked("gpt2")
    before = inputs_of(model, batch)[1][1]
    kept = []

    def change(x):
        kept.append(x)
        return torch.zeros_like(x)

    seen = []
    handle = model.layers[1].down.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    with torch.no_grad(), hooks.rewriting(model.net, model.layers, {1: change}):
        late = model.layers[1].down.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
        model.net(**batch.inputs)
    handle.remove()
    late.remove()
    assert torch.equal(kept[0], before)
    assert torch.equal(seen[0], before)
    assert not seen[1].any()
    kept[0].zero_()
    assert torch.equal(seen[0], before)


def test_a_shared_layer_is_counted_anew_after_a_pass_that_failed():
    model, batch = asked("albert")
    expected = inputs_of(model, batch)[0][1]
    seen = []

    def fail(_x):
        raise ZeroDivisionError

    with torch.no_grad(), hooks.rewriting(model.net, model.layers, {1: fail}), pytest.raises(ZeroDivisionError):
        model.net(**batch.inputs)
    with torch.no_grad(), hooks.rewriting(model.net, model.layers, {0: lambda x: seen.append(x) or x}):
        handle = model.layers[0].block.attention.register_forward_pre_hook(_stop_at_second_call())
        with pytest.raises(KeyboardInterrupt):
            model.net(**batch.inputs)
        handle.remove()
        model.net(**batch.inputs)
    assert len(seen) == 2  # once in the pass that was stopped, once in the whole one
    assert torch.equal(seen[1], expected)


def _stop_at_second_call():
    calls = []

    def stop(_module, _args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    return stop


# -- what cannot be read is said


def test_an_ffn_that_goes_around_its_second_map_is_told():
    model, batch = asked("gpt2")
    mlp = model.net.transformer.h[1].mlp
    mlp.forward = lambda x: F.linear(mlp.act(mlp.c_fc(x)), mlp.c_proj.weight.T, mlp.c_proj.bias)
    with pytest.raises(HookDidNotFire, match=r"transformer.h.1.mlp.c_proj \(layer 1\)"), torch.no_grad():
        eg.ask(model, PROMPTS, under=eg.suppressed(eg.NeuronSet.parse("L1.0")))
    with torch.no_grad(), hooks.rewriting(model.net, model.layers, {0: lambda x: x, 2: lambda x: x}):
        model.net(**batch.inputs)  # the others are met


def test_a_layer_that_was_dropped_is_told():
    model, batch = asked("bart", encoder_layerdrop=1.0)
    everywhere = eg.suppressed(eg.NeuronSet.parse("L0.0"), at="everywhere")
    model.net.train()
    with eg.holding(everywhere, model), pytest.raises(HookDidNotFire, match=r"model\.encoder\.layers\.0\.fc2"):
        model.net(**batch.inputs)


def test_an_ffn_that_works_in_chunks_is_told():
    model, batch = asked("bert", chunk_size_feed_forward=3)
    with (
        watching.recording(model.net, model.layers),
        pytest.raises(UnsupportedModel, match=r"gets \(3, 3, 24\), not the 3 rows × 9 positions"),
    ):
        model.net(**batch.inputs)


def test_a_head_that_is_passed_by_is_told():
    net, tokenizer = tiny("gpt2")
    body, weight = net.transformer, net.lm_head.weight

    def forward(input_ids, attention_mask, **_settings):
        hidden = body(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)[0]
        return SimpleNamespace(logits=F.linear(hidden, weight))

    net.forward = forward
    with pytest.raises(HookDidNotFire, match="lm_head of GPT2LMHeadModel was passed by"):
        eg.ask(eg.load(net, tokenizer), PROMPTS)


# -- skipping


@pytest.mark.parametrize("kind", ["gpt2", "albert", "t5"])
def test_no_block_below_is_run(kind):
    model, batch = asked(kind)
    with torch.no_grad(), watching.recording(model.net, model.layers) as seen:
        expected = model.net(**batch.inputs).logits
    for below in range(len(model.layers) + 1):
        with torch.no_grad(), detours.skipping(model.net, model.layers, below, given(seen)):
            ran = inputs_of(model, batch)
            with hooks.rewriting(model.net, model.layers, {x.index: lambda x: x for x in model.layers}):
                again = model.net(**batch.inputs).logits  # no hook is missed where no block was to run
        assert [down for down, _ in ran] == [layer.down for layer in model.layers[below:]]
        assert torch.equal(again, expected)


def test_skipping_puts_back_a_forward_that_somebody_else_put_there():
    model, batch = asked("gpt2")
    block = model.layers[0].block
    plain = block.forward

    def theirs(*args, **kwargs):
        return plain(*args, **kwargs)

    block.forward = theirs
    with torch.no_grad(), watching.recording(model.net, model.layers) as seen:
        model.net(**batch.inputs)
    for _ in range(2):
        outputs = given(seen)
        with (
            detours.skipping(model.net, model.layers, 2, outputs),
            detours.skipping(model.net, model.layers, 1, outputs),
        ):
            pass
        assert block.__dict__["forward"] is theirs
        assert "forward" not in model.layers[1].block.__dict__


# -- quiet


@pytest.mark.parametrize("failing", [False, True])
def test_quiet_gives_every_module_its_mode_and_every_weight_its_wish_back(failing):
    model, _ = asked("bert")
    net = model.net
    net.train()
    net.bert.encoder.layer[1].eval()
    net.requires_grad_(True)
    net.cls.predictions.transform.requires_grad_(False)
    modes = {name: m.training for name, m in net.named_modules()}
    wishes = {name: p.requires_grad for name, p in net.named_parameters()}
    assert len(set(modes.values())) == len(set(wishes.values())) == 2
    try:
        with hooks.quiet(net):
            assert not any(m.training for m in net.modules())
            assert not any(p.requires_grad for p in net.parameters())
            if failing:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert failing
    assert {name: m.training for name, m in net.named_modules()} == modes
    assert {name: p.requires_grad for name, p in net.named_parameters()} == wishes


def test_where_the_blank_is_is_known_within_a_question_only():
    model, batch = asked("t5")
    seen = []

    def look(x):
        seen.append(hooks.asked.get())
        return x

    with torch.no_grad(), hooks.rewriting(model.net, model.layers, {0: look, 4: look}):
        model.logits(batch)
    for about in seen:
        assert torch.equal(about.at["input"], batch.at)
        assert about.at["output"].tolist() == [1, 1, 1]  # behind the start and the sentinel
        assert torch.equal(about.ids, batch.ids)
    assert hooks.asked.get() is None


def test_no_hook_is_left_behind():
    model, batch = asked("albert")
    with torch.no_grad(), watching.recording(model.net, model.layers):
        model.logits(batch)
    with pytest.raises(ZeroDivisionError), hooks.rewriting(model.net, model.layers, {1: lambda x: x}):
        raise ZeroDivisionError
    left = [m for m in model.net.modules() if m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__]
    assert left == []
