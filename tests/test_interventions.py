"""Interventions do to the activations what a few lines of plain torch would do, and nothing else."""

from __future__ import annotations

import pytest
import torch

import engram as eg
from engram import Neuron, NeuronSet
from engram.errors import BadSetting, UnknownName
from engram.interventions import interventions
from engram.models.model import value_slots
from engram.testing import tiny

torch.set_num_threads(1)  # tiny networks: threads cost more than they save

PROMPTS = [eg.Prompt(f"The capital of {x} is [Y].", "Dublin") for x in ("Ireland", "France", "Italy")]
NEURONS = NeuronSet.parse("L0.3 L0.5 L2.7")
EVERY = ["bert", "albert", "opt", "llama", "t5", "bart"]


@pytest.fixture(scope="module")
def models():
    return {kind: eg.load(*tiny(kind)) for kind in ["bert", "gpt2", *EVERY]}


def by_hand(model, prompt, neurons, change, everywhere):
    """The log-probability of the answer, with `change(x, layer)` put on the neurons by torch's own hooks."""
    (row,) = model.rows(prompt)
    inputs = {"input_ids": torch.tensor([row.ids])}
    answered = row.at
    if row.decoder:
        inputs["decoder_input_ids"] = torch.tensor([row.decoder])
        answered = len(row.decoder) - 1
    calls = {}

    def hook(down, args):
        layers = [x for x in model.layers if x.down is down]  # several where the weights are shared
        layer = layers[calls.get(down, 0)]
        calls[down] = calls.get(down, 0) + 1
        at = row.at if layer.side == "input" else answered
        x = args[0].clone()
        flat = x.reshape(-1, x.shape[-1])
        for index in neurons.by_layer().get(layer.index, []):
            for position in range(flat.shape[0]) if everywhere else [at]:
                flat[position, index] = change(flat[position, index], Neuron(layer.index, index))
        return (flat.reshape(x.shape),)

    handles = [down.register_forward_pre_hook(hook) for down in {x.down for x in model.layers}]
    with torch.no_grad():
        logits = model.net(**inputs).logits
    for handle in handles:
        handle.remove()
    return float(logits[0, answered].log_softmax(-1)[row.target])


CASES = {
    "suppressed": (lambda n, at: eg.suppressed(n, at=at), lambda x, n: 0 * x),
    "amplified": (lambda n, at: eg.amplified(n, at=at), lambda x, n: 2 * x),
    "amplified by -3": (lambda n, at: eg.amplified(n, by=-3, at=at), lambda x, n: -3 * x),
    "fixed": (lambda n, at: eg.fixed(n, 1.25, at=at), lambda x, n: 1.25),
    "fixed to values": (lambda n, at: eg.fixed({x: x.index - 9.5 for x in n}, at=at), lambda x, n: n.index - 9.5),
}


@pytest.mark.parametrize("at", ["blank", "everywhere"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", EVERY)
def test_an_intervention_is_what_one_would_write_by_hand(models, kind, case, at):
    model = models[kind]
    make, change = CASES[case]
    plain = eg.ask(model, PROMPTS)
    for layer in (0, len(model.layers) - 1):  # of two stacks, one of each
        neurons = NeuronSet.of((layer, i) for i in range(3, 20, 2))
        under = eg.ask(model, PROMPTS, under=make(neurons, at))
        for prompt, before, after in zip(PROMPTS, plain, under, strict=True):
            expected = by_hand(model, prompt, neurons, change, at == "everywhere")
            assert after.logprob == pytest.approx(expected, abs=1e-5)
            assert abs(after.logprob - before.logprob) > 1e-4
    assert [a.logprob for a in eg.ask(model, PROMPTS)] == [a.logprob for a in plain]


@pytest.mark.parametrize("kind", EVERY)
def test_scaling_by_one_changes_no_bit(models, kind):
    for at in ("blank", "everywhere"):
        under = eg.ask(models[kind], PROMPTS, under=eg.amplified(NEURONS, by=1, at=at))
        assert [a.logprob for a in under] == [a.logprob for a in eg.ask(models[kind], PROMPTS)]


def test_of_an_answer_of_several_tokens_each_token_s_blank_is_changed(models):
    model, prompt = models["gpt2"], PROMPTS[0].asking_for("Tallinn")
    expected = 0.0
    for row in model.rows(prompt):
        with torch.no_grad():

            def silence(_down, args, at=row.at):
                x = args[0].clone()
                x[:, at, 3] = 0
                return (x,)

            handle = model.layers[1].down.register_forward_pre_hook(silence)
            expected += float(model.net(torch.tensor([row.ids])).logits[0, row.at].log_softmax(-1)[row.target])
            handle.remove()
    (said,) = eg.ask(model, prompt, under=eg.suppressed(NeuronSet.parse("L1.3")))
    assert said.logprob == pytest.approx(expected, abs=1e-5)


def test_the_dtype_of_the_network_stays():
    net, tokenizer = tiny("bert")
    model = eg.load(net.to(torch.bfloat16), tokenizer)
    for condition in (eg.amplified(NEURONS), eg.fixed(NEURONS, 0.5), eg.noised(NEURONS, 0.5)):
        eg.ask(model, PROMPTS, under=condition)


# -- several conditions


def test_conditions_hold_in_their_order(models):
    model = models["bert"]

    def said(*conditions):
        return eg.ask(model, PROMPTS[0], under=conditions)[0].logprob

    fixed, doubled = eg.fixed(NEURONS, 1.0), eg.amplified(NEURONS)
    assert said(fixed, doubled) == said(eg.fixed(NEURONS, 2.0))
    assert said(doubled, fixed) == said(fixed)
    assert said(doubled, doubled) == said(eg.amplified(NEURONS, by=4))
    assert said([doubled, [doubled]], None) == said(eg.amplified(NEURONS, by=4))
    assert said() == eg.ask(model, PROMPTS[0])[0].logprob
    one, other = NeuronSet.parse("L0.3"), NEURONS - NeuronSet.parse("L0.3")
    assert said(eg.suppressed(one), eg.suppressed(other)) == said(eg.suppressed(NEURONS))


def test_holding_and_under_are_the_same(models):
    model = models["gpt2"]
    expected = eg.ask(model, PROMPTS, under=eg.suppressed(NEURONS))
    with eg.holding(eg.suppressed(NEURONS), model):
        assert eg.ask(model, PROMPTS) == expected
    assert eg.ask(model, PROMPTS) != expected


def test_what_is_no_condition_is_refused(models):
    with pytest.raises(TypeError, match="int is not a condition"):
        eg.ask(models["bert"], PROMPTS, under=3)


# -- noise


def test_noise_does_not_depend_on_the_other_rows_of_the_batch(models):
    noise = eg.noised(NEURONS, 1.0, seed=1)
    for kind in ("bert", "gpt2", "t5"):
        together = eg.ask(models[kind], [*PROMPTS, PROMPTS[0]], under=noise)
        for prompt, answer in zip(PROMPTS, together, strict=False):
            assert eg.ask(models[kind], prompt, under=noise)[0].logprob == pytest.approx(answer.logprob, abs=1e-5)
        assert together[0].logprob == together[3].logprob


def test_noise_is_another_with_another_seed_and_another_row(models):
    drawn = {seed: _draws(models["bert"], eg.noised(NEURONS, 1.0, seed=seed), "blank") for seed in (0, 0, 1)}
    assert not torch.allclose(drawn[0], drawn[1])
    assert torch.equal(drawn[0], _draws(models["bert"], eg.noised(NEURONS, 1.0), "blank"))
    everywhere = _draws(models["bert"], eg.noised(NEURONS, 1.0, at="everywhere"), "everywhere")
    rows = everywhere.reshape(len(PROMPTS), -1)
    assert len({tuple(r.tolist()) for r in rows}) == len(PROMPTS)


def _draws(model, noise, where):
    """What was added to the neurons of layer 0, seen by torch's own hooks before and behind."""
    seen = []

    def look(_down, args):
        seen.append(args[0].clone())

    down = model.layers[0].down
    first = down.register_forward_pre_hook(look)
    with eg.holding(noise, model):
        second = down.register_forward_pre_hook(look)
        eg.ask(model, PROMPTS)
        second.remove()
    first.remove()
    added = seen[1] - seen[0]
    if where == "blank":
        at = [model.rows(p)[0].at for p in PROMPTS]
        others = added.clone()
        others[range(len(at)), at] = 0
        assert not others.any()
        added = added[range(len(at)), at]
    untouched = [i for i in range(added.shape[-1]) if Neuron(0, i) not in noise.neurons]
    assert not added[..., untouched].any()
    return added[..., [n.index for n in noise.neurons if n.layer == 0]]


def test_noise_has_the_spread_that_was_asked_for():
    model = eg.load(*tiny("bert", intermediate_size=4000))
    every = NeuronSet.of((0, i) for i in range(4000))
    drawn = _draws(model, eg.noised(every, 0.25), "blank")
    assert float(drawn.std()) == pytest.approx(0.25, rel=0.05)  # 12,000 draws: a standard error of 0.6 %
    assert float(drawn.mean()) == pytest.approx(0, abs=0.01)
    assert not _draws(model, eg.noised(every, 0.0), "blank").any()


def test_noise_of_negative_spread_is_refused():
    for sd in (-1, float("nan")):
        with pytest.raises(BadSetting, match="0 or more"):
            eg.noised(NEURONS, sd)


# -- a forward pass of one's own


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "opt", "t5", "bart"])
def test_text_is_generated_under_an_intervention_as_with_other_weights(models, kind, beams):
    net, tokenizer = models[kind].net, models[kind].tokenizer
    inputs = tokenizer(["The capital of Ireland is", "The capital of France is"], return_tensors="pt")
    inputs.pop("token_type_ids", None)
    settings = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "num_beams": beams, "pad_token_id": 0}
    half = NeuronSet.of((layer.index, i) for layer in models[kind].layers for i in range(0, 24, 2))
    plain = net.generate(**inputs, **settings)
    with eg.holding(eg.suppressed(half, at="everywhere"), models[kind]):
        held = net.generate(**inputs, **settings)
        uncached = net.generate(**inputs, **settings, use_cache=False)
    kept = [(value_slots(x.down), value_slots(x.down).clone()) for x in models[kind].layers]
    for slots, _ in kept:
        slots[0:24:2] = 0
    expected = net.generate(**inputs, **settings)
    for slots, value in kept:
        slots.copy_(value)
    assert torch.equal(held, expected)
    assert torch.equal(uncached, expected)
    assert not torch.equal(held, plain)
    assert torch.equal(net.generate(**inputs, **settings), plain)


def test_noise_everywhere_works_in_a_pass_of_one_s_own(models):
    ids = torch.tensor([models["gpt2"].rows(PROMPTS[0])[0].ids])
    with torch.no_grad(), eg.holding(eg.noised(NEURONS, 1.0, at="everywhere"), models["gpt2"]):
        a, b = (models["gpt2"].net(ids).logits for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.allclose(a, models["gpt2"].net(ids).logits)


def test_a_pass_of_one_s_own_has_no_blank(models):
    ids = torch.tensor([models["gpt2"].rows(PROMPTS[0])[0].ids])
    with eg.holding(eg.suppressed(NEURONS), models["gpt2"]), pytest.raises(BadSetting, match="use at='everywhere'"):
        models["gpt2"].net(ids)


# -- what there is not


@pytest.mark.parametrize("neurons", ["L3.0", "L0.24", "L99.0"])
def test_a_neuron_that_does_not_exist_is_told(models, neurons):
    with pytest.raises(BadSetting, match=f"has no neuron {neurons}: it has layers 0 to 2 of 24 neurons"):
        eg.ask(models["bert"], PROMPTS, under=eg.suppressed(NeuronSet.parse(neurons)))


def test_neurons_are_not_counted_from_the_end(models):
    for neuron in ((0, -1), (-1, 0)):
        with pytest.raises(BadSetting, match="has no neuron"):
            eg.ask(models["bert"], PROMPTS, under=eg.suppressed(NeuronSet.of([neuron])))


def test_a_stack_of_another_width_has_its_own_neurons(models):
    model = models["bart"]  # its encoder has 24 neurons a layer, its decoder 32
    assert model.widths == (24, 24, 32, 32, 32)
    eg.ask(model, PROMPTS, under=eg.suppressed(NeuronSet.parse("L2.31")))
    with pytest.raises(BadSetting, match=r"no neuron L1\.31"):
        eg.ask(model, PROMPTS, under=eg.suppressed(NeuronSet.parse("L1.31")))


def test_a_place_that_does_not_exist_is_told(models):
    with pytest.raises(BadSetting, match="at 'blank' or 'everywhere', not at 'here'"):
        eg.ask(models["bert"], PROMPTS, under=eg.suppressed(NEURONS, at="here"))


def test_no_neurons_are_no_change(models):
    assert eg.ask(models["bert"], PROMPTS, under=eg.suppressed(NeuronSet())) == eg.ask(models["bert"], PROMPTS)


def test_interventions_have_names():
    assert set(interventions.names()) >= {"fixed", "noised", "scaled"}
    with pytest.raises(UnknownName, match="no intervention called 'scalde'"):
        interventions["scalde"]
