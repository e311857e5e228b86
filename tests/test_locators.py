"""Scores against a slow loop of plain hooks, against captum, and against the identities that hold for them."""

from __future__ import annotations

import captum.attr
import numpy as np
import pytest
import torch

import engram as eg
from engram.errors import AnswerNotWritable, BadSetting, NotFinite, UnknownName
from engram.locators import RULES, quadrature
from engram.models import hooks
from engram.models.family import families
from engram.models.questions import Batch
from engram.testing import tiny

PROMPTS = (
    eg.Prompt("the capital of Ireland is [Y] .", "Dublin"),
    eg.Prompt("the capital city of France is [Y] .", "Paris"),
    eg.Prompt("the capital of France is [Y] .", "Lyon"),
)
KINDS = ["bert", "gpt2", "llama", "opt", "albert", "gemma2", "t5", "bart"]


@pytest.fixture(params=KINDS)
def model(request):
    torch.set_num_threads(1)
    return eg.load(*tiny(request.param))


def gentle(kind):
    """The tiny network with smaller weights: as smooth as a trained one, so that 64 nodes are enough."""
    net, tokenizer = tiny(kind)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(0.5 if p.ndim > 1 else 1.0)
    return eg.load(net, tokenizer)


def close(ours, theirs, tolerance):
    """Equal up to a part of the largest score."""
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def plain_probability(model, prompt, layer, neurons):
    """P(answer) with the layer's neurons at the blank set to `neurons` [n, width]: full passes, plain torch hooks."""
    (row,) = model.rows(prompt)
    batch = Batch.of([row] * len(neurons))
    place = model.layers[layer]
    at = batch.asked.at[place.side][0]
    turns = [x.index for x in model.layers if x.down is place.down]
    seen = []

    def put(_m, args):
        seen.append(1)
        if turns[len(seen) - 1] != layer:
            return None
        x = args[0].reshape(len(neurons), -1, args[0].shape[-1]).clone()
        x[:, at] = neurons
        return (x.reshape(args[0].shape), *args[1:])

    handle = place.down.register_forward_pre_hook(put)
    try:
        logits = model.net(**batch.inputs).logits[:, batch.answered_at[0]]
    finally:
        handle.remove()
    return logits.softmax(-1)[:, row.target]


def plain_neurons(model, prompt, layer):
    """The neurons of a layer at the blank, in the unmodified run."""
    batch = Batch.of(model.rows(prompt))
    place, kept = model.layers[layer], []
    turns = [x.index for x in model.layers if x.down is place.down]
    handle = place.down.register_forward_pre_hook(lambda _m, a: kept.append(a[0].detach().clone()))
    try:
        model.net(**batch.inputs)
    finally:
        handle.remove()
    x = kept[turns.index(layer)]
    return x.reshape(1, -1, x.shape[-1])[0, batch.asked.at[place.side][0]]


def slow_loop(model, prompt, rule, steps):
    nodes, weights = quadrature(rule, steps)
    scores = []
    for layer in range(len(model.layers)):
        w = plain_neurons(model, prompt, layer)
        path = torch.stack([float(a) * w for a in nodes]).requires_grad_()
        plain_probability(model, prompt, layer, path).sum().backward()
        scores.append((w * (path.grad * torch.tensor(weights).to(w)[:, None]).sum(0)).detach().numpy())
    return padded(scores)


def padded(layers):
    """Layers of unequal width as one array, filled with zeros."""
    widest = max(map(len, layers))
    return np.stack([np.pad(x, (0, widest - len(x))) for x in layers])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", sorted(families()))
def test_in_float64_scores_equal_a_slow_loop_of_plain_hooks_in_every_family(kind, rule):
    net, tokenizer = tiny(kind)
    model = eg.load(net.double(), tokenizer)
    expected = slow_loop(model, PROMPTS[0], rule, 3)
    close(eg.locate(model, PROMPTS[0], by=eg.IntegratedGradients(steps=3, rule=rule))[0].dense(), expected, 1e-7)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", [k for k in KINDS if k != "t5"])  # in float32 the loop itself is 1e-5 off for that one
def test_scores_equal_a_slow_loop_of_plain_hooks(kind, rule):
    model = eg.load(*tiny(kind))
    found = eg.locate(model, PROMPTS, by=eg.IntegratedGradients(steps=5, rule=rule))
    for prompt, one in zip(PROMPTS, found, strict=True):
        expected = slow_loop(model, prompt, rule, 5)
        assert np.abs(expected).max() > 1e-6
        close(one.dense(), expected, 1e-5)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "gemma2"])
def test_completeness_holds_with_64_gauss_points(kind):
    for one in eg.locate(gentle(kind), PROMPTS, by=eg.IntegratedGradients(steps=64, rule="gauss")):
        assert np.abs(one.change).max() > 1e-5
        assert np.abs(one.gap).max() <= 1e-4
        np.testing.assert_allclose(one.dense().sum(-1), one.change + one.gap, atol=1e-6)
        if kind in ("bert", "gpt2", "llama"):
            assert np.abs(one.gap).max() <= 1e-4 * np.abs(one.change).max()


def test_where_the_ffn_is_normalised_afterwards_the_gap_says_that_the_path_is_not_smooth():
    """Gemma 2 normalises what the FFN puts out: all the change happens close to silence, and no even grid sees it."""
    found = eg.locate(gentle("gemma2"), PROMPTS[0], by=eg.IntegratedGradients(steps=20))[0]
    assert np.abs(found.gap).max() > 0.5 * np.abs(found.change).max()


def test_the_change_to_add_up_to_is_that_of_the_silent_layer(model):
    found = eg.locate(model, PROMPTS[0], by=eg.IntegratedGradients(steps=2))[0]
    with torch.no_grad(), hooks.quiet(model.net):
        for layer, change in enumerate(found.change):
            w = plain_neurons(model, PROMPTS[0], layer)
            clean, silent = plain_probability(model, PROMPTS[0], layer, torch.stack([w, 0 * w])).tolist()
            assert change == pytest.approx(clean - silent, abs=1e-6)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
@pytest.mark.parametrize(
    ("rule", "method"),
    [("right", "riemann_right"), ("left", "riemann_left"), ("midpoint", "riemann_middle"), ("gauss", "gausslegendre")],
)
def test_captum_agrees(kind, rule, method):
    model = eg.load(*tiny(kind))
    found = eg.locate(model, PROMPTS[0], by=eg.IntegratedGradients(steps=7, rule=rule))[0]
    with hooks.quiet(model.net):
        for layer in range(len(model.layers)):
            ig = captum.attr.IntegratedGradients(lambda x, at=layer: plain_probability(model, PROMPTS[0], at, x))
            w = plain_neurons(model, PROMPTS[0], layer)[None]
            theirs = ig.attribute(w, baselines=0 * w, n_steps=7, method=method)[0].detach().numpy()
            np.testing.assert_allclose(found.dense()[layer], theirs, atol=1e-5 * np.abs(theirs).max() + 1e-9)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_the_path_of_one_neuron_ends_at_its_ablation(kind):
    model = gentle(kind)
    alone = eg.locate(model, PROMPTS, by=eg.IntegratedGradients(steps=32, rule="gauss", path="neuron"))
    exact = eg.locate(model, PROMPTS, by=eg.Ablation())
    for a, e in zip(alone, exact, strict=True):
        close(a.dense(), e.dense(), 1e-3)
        assert np.abs(a.gap).max() < 1e-5


def test_ablation_is_what_silencing_one_neuron_costs(model):
    before = eg.ask(model, PROMPTS)
    exact = eg.locate(model, PROMPTS, by=eg.Ablation())
    for neuron in (eg.Neuron(0, 3), eg.Neuron(len(model.layers) - 1, 5)):
        after = eg.ask(model, PROMPTS, under=eg.suppressed(eg.NeuronSet.of([neuron])))
        for b, a, e in zip(before, after, exact, strict=True):
            assert e.dense()[neuron] == pytest.approx(b.probability - a.probability, abs=1e-6)


def test_gradient_times_activation_is_one_step_at_the_end(model):
    ours = eg.locate(model, PROMPTS[0], by=eg.GradientTimesActivation())[0]
    with hooks.quiet(model.net):
        for layer in range(len(model.layers)):
            w = plain_neurons(model, PROMPTS[0], layer)
            path = w[None].clone().requires_grad_()
            plain_probability(model, PROMPTS[0], layer, path).sum().backward()
            expected = (w * path.grad[0]).numpy()
            close(ours.dense()[layer, : len(expected)], expected, 1e-5)


def test_activation_is_the_neuron_itself(model):
    ours = eg.locate(model, PROMPTS[0], by=eg.Activation())[0]
    with torch.no_grad(), hooks.quiet(model.net):
        for layer in range(len(model.layers)):
            expected = plain_neurons(model, PROMPTS[0], layer).numpy()
            np.testing.assert_allclose(ours.dense()[layer, : len(expected)], expected, atol=1e-6)
    assert np.isnan(ours.gap).all()


@pytest.mark.parametrize("target", ["probability", "logprob", "logit", "logit_difference"])
@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_every_target_is_complete_and_in_its_own_unit(kind, target):
    model = gentle(kind)
    prompt = eg.Prompt(PROMPTS[0].text, "Dublin", against="Paris")
    found = eg.locate(model, prompt, by=eg.IntegratedGradients(steps=48, rule="gauss", target=target))[0]
    batch = Batch.of(model.rows(prompt))
    with torch.no_grad(), hooks.quiet(model.net):
        logits = model.logits(batch)[0]
    right, wrong = batch.target[0], batch.against[0]
    now = {
        "probability": logits.softmax(-1)[right],
        "logprob": logits.log_softmax(-1)[right],
        "logit": logits[right],
        "logit_difference": logits[right] - logits[wrong],
    }[target]
    silent = {
        "probability": lambda x: x.softmax(-1)[right],
        "logprob": lambda x: x.log_softmax(-1)[right],
        "logit": lambda x: x[right],
        "logit_difference": lambda x: x[right] - x[wrong],
    }[target]
    last = len(model.layers) - 1
    everything = eg.NeuronSet.of((last, i) for i in range(model.widths[last]))
    with torch.no_grad(), hooks.quiet(model.net), eg.holding(eg.suppressed(everything), model):
        then = silent(model.logits(batch)[0])
    assert found.change[last] == pytest.approx(float(now - then), abs=2e-5)
    assert np.abs(found.gap).max() < 1e-4


def test_presets_are_the_published_grids():
    assert eg.IntegratedGradients(preset="paper") == eg.IntegratedGradients(20, "right", preset="paper")
    assert eg.IntegratedGradients(preset="hunter").rule == "left"
    assert eg.IntegratedGradients(preset="eleuther").rule == "linspace"
    assert eg.IntegratedGradients(preset="hunter", rule="right").rule == "right"  # what is given wins
    assert (eg.IntegratedGradients().rule, eg.IntegratedGradients().steps) == ("right", 20)
    right, left = quadrature("right", 20), quadrature("left", 20)
    assert right[0][0] == 0.05
    assert right[0][-1] == 1.0
    assert (left[0][0], left[0][-1]) == (0.0, 0.95)
    assert quadrature("linspace", 20)[1].sum() == pytest.approx(1)
    assert np.diff(quadrature("linspace", 20)[0]) == pytest.approx(1 / 19)


def test_the_grid_of_eleuther_is_trapezoid_plus_its_ends():
    """linspace·(1/m) = trapezoid·(m−1)/m + (g(0) + g(1))/(2m), for any g."""
    m = 20
    g = np.exp
    ours = (quadrature("linspace", m)[1] * g(quadrature("linspace", m)[0])).sum()
    nodes, weights = quadrature("trapezoid", m - 1)
    assert ours == pytest.approx((weights * g(nodes)).sum() * (m - 1) / m + (g(0) + g(1)) / (2 * m), rel=1e-12)


@pytest.mark.parametrize("rule", ["trapezoid", "midpoint", "gauss"])
def test_rules_integrate_what_they_promise(rule):
    nodes, weights = quadrature(rule, 8)
    degree = {"trapezoid": 1, "midpoint": 1, "gauss": 15}[rule]
    for d in range(degree + 1):
        assert (weights * nodes**d).sum() == pytest.approx(1 / (d + 1), rel=1e-12)
    assert (weights * nodes ** (degree + 1)).sum() != pytest.approx(1 / (degree + 2), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_do_not_depend_on_the_company(kind):
    model = gentle(kind)
    by = eg.IntegratedGradients(steps=4)
    together = eg.locate(model, [*PROMPTS, *PROMPTS[::-1]], by=by)
    for prompt, one in zip([*PROMPTS, *PROMPTS[::-1]], together, strict=True):
        alone = eg.locate(model, prompt, by=by)[0]
        close(one.dense(), alone.dense(), 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_budget_changes_no_score(kind):
    model = gentle(kind)
    tight = eg.load(model.net, model.tokenizer, budget=1)
    by = eg.IntegratedGradients(steps=4)
    for a, b in zip(eg.locate(model, PROMPTS, by=by), eg.locate(tight, PROMPTS, by=by), strict=True):
        close(a.dense(), b.dense(), 1e-5)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_an_answer_of_several_tokens_is_the_mean_over_its_tokens(kind):
    model = eg.load(*tiny(kind))
    prompt = eg.Prompt("the capital of Ireland is [Y] .", "Dublin city")
    rows = model.rows(prompt)
    assert len(rows) > 1
    by = eg.IntegratedGradients(steps=3)
    whole = eg.locate(model, prompt, by=by)[0].dense()
    with hooks.quiet(model.net):
        each = [by.score(model, Batch.of([r])) for r in rows]
    parts = [padded([x[0].detach().numpy() for x in one.neurons]) for one in each]
    np.testing.assert_allclose(whole, np.mean(parts, axis=0), atol=1e-7)


def test_locate_under_an_intervention_sees_the_changed_model(model):
    ((loudest, value),) = eg.locate(model, PROMPTS[0], by=eg.Activation())[0].best(1)
    assert value > 0
    quiet = eg.suppressed(eg.NeuronSet.of([loudest]))
    assert eg.locate(model, PROMPTS[0], by=eg.Activation(), under=quiet)[0].dense()[loudest] == 0


def test_the_model_is_as_it_was_also_when_scoring_fails(model, monkeypatch):
    model.net.train()
    weights = {k: v.clone() for k, v in model.net.state_dict().items()}
    wanting = [p.requires_grad for p in model.net.parameters()]
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: (_ for _ in ()).throw(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        eg.locate(model, PROMPTS[0], by=eg.IntegratedGradients(steps=2))
    assert model.net.training
    assert [p.requires_grad for p in model.net.parameters()] == wanting
    assert all(torch.equal(v, weights[k]) for k, v in model.net.state_dict().items())
    for module in model.net.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert "forward" not in module.__dict__


def test_bad_settings_say_what_would_do():
    with pytest.raises(UnknownName, match="Did you mean gauss"):
        eg.IntegratedGradients(rule="gaus")
    with pytest.raises(UnknownName, match="probability"):
        eg.IntegratedGradients(target="prob")
    with pytest.raises(BadSetting, match="from 1 up"):
        eg.IntegratedGradients(steps=0)
    with pytest.raises(UnknownName, match="hunter"):
        eg.IntegratedGradients(preset="huntr")
    with pytest.raises(UnknownName, match="joint"):
        eg.IntegratedGradients(path="both")


def test_a_contrast_needs_a_wrong_answer_of_one_token():
    model = eg.load(*tiny("bert"))
    with pytest.raises(BadSetting, match="against"):
        eg.locate(model, PROMPTS[0], by=eg.IntegratedGradients(target="logit_difference"))
    with pytest.raises(AnswerNotWritable, match="one token each"):
        eg.locate(model, eg.Prompt(PROMPTS[0].text, "Dublin", against="Cork city"), by=eg.Activation())


def test_nan_weights_are_said():
    model = eg.load(*tiny("gpt2"))
    with torch.no_grad():
        model.layers[1].down.weight[0, 0] = torch.nan
    with pytest.raises(NotFinite, match="NaN"):
        eg.locate(model, PROMPTS[0], by=eg.IntegratedGradients(steps=2))


def test_a_batch_too_large_is_tried_in_halves_and_said(monkeypatch):
    model = eg.load(*tiny("bert"))
    expected = eg.locate(model, PROMPTS[0], by=eg.IntegratedGradients(steps=6))[0]
    real = eg.Model.logits

    def small(self, batch, **extra):
        if len(batch) > 2:
            raise torch.OutOfMemoryError("too many rows")
        return real(self, batch, **extra)

    monkeypatch.setattr(eg.Model, "logits", small)
    with pytest.warns(RuntimeWarning, match="out of memory: going on with"):
        found = eg.locate(model, PROMPTS[0], by=eg.IntegratedGradients(steps=6))[0]
    np.testing.assert_allclose(found.dense(), expected.dense(), atol=1e-7)


def test_out_of_memory_with_one_row_is_an_error(monkeypatch):
    model = eg.load(*tiny("bert"))

    def never(self, batch, **extra):
        raise torch.OutOfMemoryError("too many rows")

    monkeypatch.setattr(eg.Model, "logits", never)
    with pytest.raises(eg.errors.OutOfMemory, match="one row"), pytest.warns(RuntimeWarning):
        eg.locate(model, PROMPTS, by=eg.Activation())
