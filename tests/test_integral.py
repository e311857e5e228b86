"""The integral along the path: exact where it is said to be, no dearer than it must be, and honest about its error."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import engram as eg
from engram.errors import BadSetting, UnknownName, UnsupportedModel
from engram.locators import quadrature
from engram.locators.integral import Variable
from engram.locators.quadrature import between, gauss_of, interpolatory, nested
from engram.models import hooks
from engram.models.poles import poles
from engram.models.questions import Batch
from engram.models.replay import record
from engram.testing import tiny

torch.set_num_threads(1)
PROMPTS = (
    eg.Prompt("The capital of Ireland is [Y].", "Dublin"),
    eg.Prompt("The capital of France is [Y].", "Dublin"),
    eg.Prompt("A city in Ireland is [Y].", "Dublin"),
)
SMOOTH = ["bert", "gpt2", "llama", "modernbert"]
PUBLISHED = ["paper", "hunter", "eleuther"]


def gentle(kind, value_slots=1.0):
    """A tiny network as smooth as a trained one; `value_slots` makes what its FFNs write larger."""
    net, tokenizer = tiny(kind)
    model = eg.load(net, tokenizer)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(0.5 if p.ndim > 1 else 1.0)
        for layer in model.layers:
            layer.down.weight.mul_(value_slots)
    return model


def apart(found, expected):
    """The largest difference of a score, as part of the largest score of its prompt."""
    return max(
        np.abs(a.dense() - b.dense()).max() / np.abs(b.dense()).max() for a, b in zip(found, expected, strict=True)
    )


def located(model, **settings):
    return eg.locate(model, PROMPTS, by=eg.IntegratedGradients(**settings))


# -- rules


@pytest.mark.parametrize("fixed", [(), (1.0,), (0.0, 1.0)])
@pytest.mark.parametrize("points", [3, 5, 8])
def test_the_gauss_rule_of_a_grid_gives_the_grid_s_own_sums(fixed, points):
    nodes, weights = quadrature("right", 20)
    found, rule = gauss_of(np.stack([nodes, nodes**2]), np.stack([weights, weights]), points, fixed)
    for grid, x, w in zip((nodes, nodes**2), found, rule, strict=True):
        assert set(fixed) <= set(x.tolist())
        for degree in range(2 * points - len(fixed)):
            assert (w * x**degree).sum() == pytest.approx((weights * grid**degree).sum(), abs=1e-13)
        degree = 2 * points - len(fixed)
        assert abs((w * x**degree).sum() - (weights * grid**degree).sum()) > 1e-13


@pytest.mark.parametrize(("rule", "ends", "lost"), [("gauss", (), 0), ("radau", (1.0,), 1), ("lobatto", (0.0, 1.0), 2)])
@pytest.mark.parametrize("steps", [2, 3, 7])
def test_a_gauss_rule_is_exact_to_the_degree_that_is_said(rule, ends, lost, steps):
    nodes, weights = quadrature(rule, steps)
    assert [x for x in nodes if x in (0.0, 1.0)] == list(ends)
    errors = [abs((weights * nodes**d).sum() - 1 / (d + 1)) for d in range(2 * steps - lost + 1)]
    assert max(errors[:-1]) < 1e-14 < errors[-1]


def test_the_nested_points_are_lobatto_s_and_kronrod_s():
    four, seven, thirteen = nested()
    assert set(four) <= set(seven) <= set(thirteen)
    np.testing.assert_allclose((four + 1) / 2, quadrature("lobatto", 4)[0], atol=1e-15)
    np.testing.assert_allclose(interpolatory(four) / 2, quadrature("lobatto", 4)[1], atol=1e-15)
    np.testing.assert_allclose(interpolatory(seven) * 1470, [77, 432, 625, 672, 625, 432, 77], atol=1e-10)
    for x, degree in ((four, 5), (seven, 9), (thirteen, 17)):
        for d in range(degree + 1):
            assert (interpolatory(x) * x**d).sum() == pytest.approx((1 - (-1) ** (d + 1)) / (d + 1), abs=1e-12)


def test_between_integrates_the_polynomial_through_the_points():
    x = np.array([-1.0, -0.3, 0.2, 0.9, 1.0])
    np.testing.assert_allclose(between(x) @ (5 * x**4 - x), np.diff(x**5 - x**2 / 2), atol=1e-13)


def test_the_variable_goes_from_end_to_end_and_back():
    v = Variable(np.array([[0.3, -40.0, 0.5]]), np.array([[1e-3, 2.0, 1e3]]))
    x = np.linspace(-1, 1, 9)[None, None]
    alpha = v.alpha(x)
    assert alpha[..., 0].tolist() == [[0.0] * 3]
    assert alpha[..., -1].tolist() == [[1.0] * 3]
    np.testing.assert_allclose(v.x(alpha), np.broadcast_to(x, alpha.shape), atol=1e-7)
    np.testing.assert_allclose(alpha[0, 2], (x[0, 0] + 1) / 2, atol=1e-6)  # far from a pole it is α itself
    slope = (v.alpha(x + 1e-6) - v.alpha(x - 1e-6)) / 2e-6
    np.testing.assert_allclose(v.speed(alpha)[..., 1:-1], slope[..., 1:-1], rtol=1e-5)


# -- poles


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "olmo2"])
def test_the_pole_is_a_zero_of_what_the_next_norm_divides_by(kind):
    """The norm's own input is watched at three places of the path: a quadratic in α, which is 0 at the pole."""
    model = gentle(kind)
    batch = Batch.of(model.rows(PROMPTS[0]))
    with torch.no_grad(), hooks.quiet(model.net):
        clean = record(model, batch)
        steps = [
            x.down.forward(w) - x.down.forward(torch.zeros_like(w))
            for x, w in zip(model.layers, clean.neurons, strict=True)
        ]
        centre, width = poles(model, clean, tuple(steps))
        norm = {"bert": lambda b: b.output.LayerNorm, "olmo2": lambda b: b.post_feedforward_layernorm}.get(kind)
        norm = (
            norm(model.layers[0].block)
            if norm
            else {"gpt2": lambda b: b.ln_1, "llama": lambda b: b.input_layernorm}[kind](model.layers[1].block)
        )
        power = []
        for alpha in (0.0, 0.5, 1.0):
            seen = []
            put = model.layers[0].down.register_forward_hook(
                lambda _m, _a, out, a=alpha: out.index_put(
                    (torch.tensor([0]), batch.at), clean.written[0] - (1 - a) * steps[0]
                )
            )
            look = norm.register_forward_pre_hook(lambda _m, a, seen=seen: seen.append(a[0][0, batch.at[0]].double()))
            model.net(**batch.inputs)
            put.remove()
            look.remove()
            power.append(float(seen[0].var(unbiased=False) if kind in ("bert", "gpt2") else (seen[0] ** 2).mean()))
    c, b, a = np.polynomial.Polynomial.fit([0, 0.5, 1], power, 2).convert().coef
    root = -b / (2 * a) + 1j * np.sqrt(max(4 * a * c - b * b, 0)) / (2 * a)
    assert float(centre[0, 0]) == pytest.approx(root.real, abs=1e-3)
    assert float(width[0, 0]) == pytest.approx(root.imag, rel=1e-2, abs=1e-3)


# -- as many points as are needed


@pytest.mark.parametrize("kind", SMOOTH)
@pytest.mark.parametrize("value_slots", [1.0, 6.0])
def test_the_error_is_below_the_tolerance_and_the_estimate(kind, value_slots):
    model = gentle(kind, value_slots)
    exact = located(model, rule="gauss", steps=96)
    for tolerance in (0.1, 1e-3):
        found = located(model, rule="gauss", tolerance=tolerance)
        assert apart(found, exact) <= tolerance
        for a in found:
            assert a.error.max() <= tolerance * np.abs(a.dense()).max()
            np.testing.assert_allclose(a.dense().sum(-1), a.change + a.gap, atol=1e-6)
            assert np.abs(a.gap).max() <= tolerance * np.abs(a.dense()).max()


def test_more_is_spent_where_the_ffn_is_large_beside_the_residual():
    few, many = (np.mean([a.points for a in located(gentle("gpt2", s), rule="gauss")]) for s in (0.2, 20.0))
    assert few <= 4 < many


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_few_points_do_where_a_plain_rule_needs_many(kind):
    model = gentle(kind, 40.0)
    exact = located(model, rule="gauss", steps=256)
    found = located(model, rule="gauss", tolerance=1e-3)
    steps = round(np.mean([a.points for a in found]))
    assert apart(found, exact) < 0.1 * apart(located(model, rule="gauss", steps=steps), exact)


@pytest.mark.parametrize("kind", ["opt", "gemma2"])
def test_where_no_few_points_will_do_the_error_says_so_or_is_small(kind):
    """ReLU has kinks, and Gemma 2 normalises what the FFN writes: the scores are right, or the estimate is large."""
    model = eg.load(*tiny(kind))
    exact = located(model, rule="gauss", steps=512)
    for a, b in zip(located(model, rule="gauss"), exact, strict=True):
        most = np.abs(b.dense()).max()
        wrong = np.abs(a.dense() - b.dense()).max(1) > 0.02 * most
        assert (a.error[wrong] > 0.01 * np.abs(a.dense()).max()).all()


@pytest.mark.parametrize("value_slots", [1.0, 30.0])
@pytest.mark.parametrize("kind", [*SMOOTH, "opt"])
def test_adaptive_scores_do_not_depend_on_the_company(kind, value_slots):
    net, tokenizer = tiny(kind)
    model = eg.load(net.double(), tokenizer)
    with torch.no_grad():
        for layer in model.layers:
            layer.down.weight.mul_(value_slots)
    by = eg.IntegratedGradients(rule="gauss", tolerance=1e-4)
    together = eg.locate(model, PROMPTS, by=by)
    alone = [eg.locate(model, p, by=by)[0] for p in PROMPTS]
    assert apart(together, alone) < 1e-6
    assert all((a.points == b.points).all() for a, b in zip(together, alone, strict=True))


# -- published grids from few points


@pytest.mark.parametrize("preset", PUBLISHED)
@pytest.mark.parametrize("kind", SMOOTH)
def test_a_compressed_grid_gives_the_grid_s_own_sum_from_fewer_points(kind, preset):
    model = gentle(kind)
    literal, few = located(model, preset=preset), located(model, preset=preset, grid="compressed")
    assert apart(few, literal) <= 0.01
    assert apart(few, literal) < 0.1 * apart(literal, located(model, rule="gauss", steps=64))
    assert max(a.points.max() for a in few) < min(a.points.min() for a in literal)
    for a, b in zip(few, literal, strict=True):
        np.testing.assert_allclose(a.change, b.change, atol=1e-6)


@pytest.mark.parametrize("kind", ["opt", "gemma2"])
def test_where_it_would_be_wrong_the_grid_is_computed_literally(kind):
    model = eg.load(*tiny(kind))
    literal, found = (
        located(model, preset="eleuther"),
        located(model, preset="eleuther", grid="compressed", tolerance=1e-6),
    )
    returned = np.stack([a.points for a in found]) >= 20
    assert returned.any()
    for a, b, back in zip(found, literal, returned, strict=True):
        np.testing.assert_allclose(a.dense()[back], b.dense()[back], atol=1e-6 * np.abs(b.dense()).max())
        assert (a.error[back] == 0).all()


def test_a_grid_of_few_points_is_not_compressed():
    model = gentle("bert")
    assert apart(located(model, rule="right", steps=4, grid="compressed"), located(model, rule="right", steps=4)) < 1e-6


# -- other types


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_bfloat16_is_near_float32_and_does_not_chase_its_own_rounding(kind):
    exact = located(gentle(kind), rule="gauss")
    model = gentle(kind)
    model.net.bfloat16()
    found = located(model, rule="gauss")
    assert 1e-5 < apart(found, exact) < 0.2
    assert np.mean([a.points for a in found]) < 8


def test_attention_without_a_gradient_is_told(monkeypatch):
    def without_gradient(x, *_args, **_kwargs):
        if x.requires_grad:
            raise NotImplementedError("this attention does not support backward on CPU")
        return x.new_zeros(x.shape[0], x.shape[2], x.shape[1], x.shape[3]).transpose(1, 2)

    model = gentle("bert")
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", without_gradient)
    with pytest.raises(UnsupportedModel, match=r"no gradient on cpu.*attn_implementation='sdpa' or 'eager'"):
        located(model, rule="gauss")
    assert len(eg.locate(model, PROMPTS, by=eg.Activation())) == len(PROMPTS)


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(UnknownName, match="compressed"):
        eg.IntegratedGradients(grid="compresed")
    with pytest.raises(BadSetting, match="published grids"):
        eg.IntegratedGradients(rule="midpoint", steps=5, grid="compressed")
    with pytest.raises(BadSetting, match="tolerance"):
        eg.IntegratedGradients(rule="gauss", tolerance=0)
    with pytest.raises(BadSetting, match="with steps"):
        eg.IntegratedGradients(rule="gauss", path="neuron")
    with pytest.raises(BadSetting, match="both ends"):
        eg.IntegratedGradients(rule="lobatto", steps=1)
