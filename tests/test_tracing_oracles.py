"""What must be so of a trace, whatever the network: the checks that the reference of the method lists."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import engram as eg
from engram.models import hooks
from engram.models.passes import runs
from engram.models.patching import Cell, patched
from engram.testing import tiny
from engram.traces import KINDS
from planted import told_at_the_subject, told_at_the_subjects_place

PROMPT = eg.Prompt("The capital of Ireland is [Y]", "Dublin")


@pytest.fixture(scope="module")
def gpt2():
    return eg.load(*tiny("gpt2"))


@pytest.fixture(scope="module")
def bert():
    return eg.load(*tiny("bert"))


@pytest.fixture(params=["gpt2", "bert", "llama"])
def model(request, gpt2, bert):
    return {"gpt2": gpt2, "bert": bert}.get(request.param) or eg.load(*tiny(request.param))


def trace(model, prompt=PROMPT, **settings):
    return eg.trace(model, prompt, subject="Ireland", by=eg.CausalTracing(**{"samples": 3, "noise": 0.7, **settings}))


def prepared(model, samples=3):
    """The runs of the prompt, its token, and what reads P(answer)."""
    (row,) = model.rows(PROMPT)
    at = trace(model, samples=1).subject[0]
    noise = torch.randn(samples, 1, model.net.get_input_embeddings()(torch.tensor([0])).shape[-1])

    def corrupt(x):
        x = x.clone()
        x[:, at : at + 1] += noise
        return x

    with hooks.quiet(model.net):
        return runs(model, row, corrupt, samples, at), lambda logits: logits.double().softmax(-1)[:, row.target]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("noise", [0, 0.0, "0s", "uniform:0"])
def test_no_noise_is_no_corruption(model, kind, noise):
    found = trace(model, kind=kind, noise=noise)
    assert found.corrupted == found.clean
    assert (found.restored == found.clean).all()


@pytest.mark.parametrize("kind", KINDS)
def test_before_the_subject_a_causal_model_has_nothing_to_restore(gpt2, kind):
    found = trace(gpt2, kind=kind)
    assert found.subject[0] == 3
    assert (found.restored[:3] == found.corrupted).all()  # to the last bit


def test_the_last_block_matters_where_the_answer_is_asked_alone(model):
    found = trace(model)
    others = np.arange(len(found.tokens)) != found.at
    assert (found.effect[others, -1] == 0).all()
    assert found.effect[found.at, -1] == pytest.approx(found.total, abs=1e-15)


def test_all_of_the_first_blocks_states_restore_everything(model):
    own, read = prepared(model)

    def clean(x):
        return own.left[0][:1].expand_as(x)

    with (
        torch.no_grad(),
        hooks.quiet(model.net),
        hooks.embedding(model.net, lambda x: own.corrupt(x, 1)),
        hooks.rewriting(model.net, model.layers, {0: clean}, place="block"),
    ):
        said = read(model.logits(own.rows(3)))
    assert said.numpy() == pytest.approx(np.full(3, float(read(own.logits)[0])), abs=1e-7)


@pytest.mark.parametrize("kind", ["ffn", "attention"])
def test_a_window_wider_than_the_model_is_the_same_in_every_layer(model, kind):
    found = trace(model, kind=kind, window=2 * len(model.layers))
    assert found.windows == ((0, 3),) * 3
    assert (found.effect == found.effect[:, :1]).all()
    own, read = prepared(model)
    token = found.subject[0]
    said = patched(model, own, [Cell(token, dict.fromkeys(range(3), ((kind, "clean"),)))], read)
    with hooks.quiet(model.net), torch.no_grad():  # the same by the hooks of all layers at once

        def putting(layer):
            def change(x):
                x[:, token] = own.value(kind, layer, "clean", token)
                return x

            return change

        with (
            hooks.embedding(model.net, lambda x: own.corrupt(x, 1)),
            hooks.rewriting(model.net, model.layers, {i: putting(i) for i in range(3)}, place=kind),
        ):
            assert said[0].numpy() == pytest.approx(read(model.logits(own.rows(3))).numpy(), abs=1e-7)


@pytest.mark.parametrize("frozen", ["ffn", "attention"])
def test_severing_without_restoring_is_the_corrupted_run(model, frozen):
    own, read = prepared(model)
    token = own.changed if model.blank_last else 3
    with hooks.quiet(model.net):
        said = patched(model, own, [Cell(token, dict.fromkeys(range(3), ((frozen, "corrupted"),)))], read)
    assert said[0].numpy() == pytest.approx(read(own.logits)[1:].numpy(), abs=1e-7)


def test_severing_up_to_the_restored_layer_severs_nothing(model):
    own, read = prepared(model)
    token = own.changed if model.blank_last else 3
    with hooks.quiet(model.net):
        plain = patched(model, own, [Cell(token, {1: (("block", "clean"),)})], read)
        below = {0: (("ffn", "corrupted"),), 1: (("ffn", "corrupted"), ("block", "clean"))}
        assert patched(model, own, [Cell(token, below)], read).numpy() == pytest.approx(plain.numpy(), abs=1e-7)


def test_severing_ffns_that_write_nothing_severs_nothing():
    net, tokenizer = tiny("gpt2")
    for block in net.transformer.h:
        torch.nn.init.zeros_(block.mlp.c_proj.weight)
        torch.nn.init.zeros_(block.mlp.c_proj.bias)
    model = eg.load(net, tokenizer)
    assert trace(model, severed="ffn").effect == pytest.approx(trace(model).effect, abs=1e-7)
    assert np.abs(trace(model, severed="attention").effect - trace(model).effect).max() > 1e-5


def test_more_samples_scatter_less_between_seeds(gpt2):
    def scatter(samples):
        found = [trace(gpt2, samples=samples, seed=seed).effect[-1, 0] for seed in range(60)]
        return np.std(found, ddof=1)

    few, many = scatter(2), scatter(32)
    assert few / many == pytest.approx(4, rel=0.35)  # √(32 / 2); the sd of 60 seeds is known to about 9 % each


@pytest.mark.parametrize("metric", ["probability", "logprob"])
@pytest.mark.parametrize("place", ["last subject", "last"])
def test_a_layers_neurons_together_are_its_ffn(model, place, metric):
    mediation = eg.UnitMediation(layer=1, token=place, samples=3, noise=0.7, metric=metric, best=())
    found = eg.mediate(model, PROMPT, subject="Ireland", by=mediation)
    whole = trace(model, kind="ffn", window=1, metric=metric)
    assert found.all_units == pytest.approx(whole.effect[found.token, 1], abs=2e-6)
    linear = eg.AttributionPatching(kind="ffn", window=1, samples=3, noise=0.7, metric=metric)
    first = eg.trace(model, PROMPT, subject="Ireland", by=linear)
    assert found.first_order.sum() == pytest.approx(first.effect[found.token, 1], abs=1e-6, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_order_is_exact_where_little_is_corrupted(model, kind):
    def far(noise):
        settings = {"kind": kind, "noise": noise, "samples": 2, "metric": "logprob"}
        exact = eg.trace(model, PROMPT, subject="Ireland", by=eg.CausalTracing(**settings)).effect
        first = eg.trace(model, PROMPT, subject="Ireland", by=eg.AttributionPatching(**settings)).effect
        return np.abs(exact - first).max() / np.abs(exact).max()

    model.net.double()
    try:
        assert far(1e-3) < 0.02
        assert far(1e-3) < 0.25 * far(1e-2)
    finally:
        model.net.float()


def test_one_neuron_restored_by_itself(gpt2):
    own, read = prepared(gpt2)
    token, layer, neuron = own.changed, 1, 7
    with hooks.quiet(gpt2.net), torch.no_grad():
        said = patched(gpt2, own, [Cell(token, {layer: (("ffn", (neuron,)),)})], read)

        def put(x):
            x[:, token, neuron] = own.neurons[layer][0, token, neuron]
            return x

        with (
            hooks.embedding(gpt2.net, lambda x: own.corrupt(x, 1)),
            hooks.rewriting(gpt2.net, gpt2.layers, {layer: put}),
        ):
            assert said[0].numpy() == pytest.approx(read(gpt2.logits(own.rows(3))).numpy(), abs=1e-7)


def test_a_planted_fact_is_found_where_it_was_planted():
    model, neuron, prompt = told_at_the_subject()
    assert eg.ask(model, prompt)[0].probability > 0.9
    found = eg.trace(model, prompt, subject="Ireland", by=eg.CausalTracing(kind="ffn", window=1))
    assert found.peak == (len(found.tokens) - 1, neuron.layer)
    assert found.effect.max() > 0.8 * found.total
    (scores,) = eg.locate(model, prompt, by=eg.IntegratedGradients(rule="gauss"))
    assert scores.best(1)[0][0] == neuron
    mediated = eg.mediate(model, prompt, subject="Ireland", by=eg.UnitMediation(layer=neuron.layer, token="last"))
    assert mediated.best(1)[0][0] == neuron.index
    assert int(np.argmax(mediated.first_order)) == neuron.index
    assert mediated.controls[0].effect > 0.8 * mediated.total
    assert np.abs(mediated.controls[0].chance).max() < 0.05


def test_a_fact_that_attention_fetches_is_found_where_it_is_told():
    model, neuron, prompt = told_at_the_subjects_place()
    assert eg.ask(model, prompt)[0].probability > 0.9
    ffn, attention, block = (
        eg.trace(model, prompt, subject="Ireland", by=eg.CausalTracing(kind=kind, window=1))
        for kind in ("ffn", "attention", "block")
    )
    told, asked = ffn.subject[1] - 1, len(ffn.tokens) - 1
    assert told < asked
    assert ffn.peak == (told, neuron.layer)
    assert attention.peak == (asked, neuron.layer + 1)
    assert block.effect[told, neuron.layer] > 0.8 * block.total > 100 * abs(block.effect[told, neuron.layer + 1])
    severed = eg.trace(model, prompt, subject="Ireland", by=eg.CausalTracing(severed="ffn"))
    assert severed.effect[told, 0] == pytest.approx(block.effect[told, 0], abs=0.05)  # behind the FFN that told it
    mediated = eg.mediate(model, prompt, subject="Ireland", by=eg.UnitMediation(layer=neuron.layer))
    assert mediated.best(1)[0][0] == neuron.index
