"""AlphaEdit against its equation as printed, and what its projection promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import engram as eg
from engram.editors import AlphaEdit
from engram.editors.lookup import keys_and_values, lookups
from engram.errors import BadSetting
from engram.models import holding
from engram.models.moments import Moments
from engram.testing import tiny
from planted import CITIES, LANDS, weights

PROMPTS = tuple(eg.Prompt(f"The capital of {x} is [Y]", y) for x, y in zip(LANDS, CITIES, strict=True))
WISHES = tuple(
    eg.Fact(x, "capital", y).becoming(z) for x, y, z in zip(LANDS, CITIES, CITIES[1:] + CITIES[:1], strict=True)
)
USED = 10  # directions of a layer's 24 that ordinary text uses


@pytest.fixture(scope="module")
def gpt2():
    return eg.load(*tiny("gpt2"))


def used(layer, width=24):
    """Keys of ordinary text, which point in few directions."""
    luck = np.random.default_rng(layer)
    return luck.standard_normal((200, USED)) @ luck.standard_normal((USED, width))


def moments(layers=(0, 1)):
    return {i: Moments(i, used(i).T @ used(i) / 200, 200) for i in layers}


def planned(model, n=1, **settings):
    given = {"layers": (0, 1), "covariances": moments(), "contexts": (), "l2": 0.1, **settings}
    return eg.rewrite(model, WISHES[:n], by=AlphaEdit(**given), prompt=PROMPTS[:n])


def drawn(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 24))


def directions(model, keys, layer=0, **settings):
    given = {"layers": (layer,), "covariances": moments((layer,)), "contexts": (), "l2": 0.5, **settings}
    return AlphaEdit(**given).directions(model, layer, torch.tensor(keys)).numpy()


@pytest.mark.parametrize("n0", [0, 4])
def test_it_solves_the_printed_equation(gpt2, n0):
    """(P(KKᵀ + K₀K₀ᵀ) + L2) X = P K Rᵀ, with P from a singular value decomposition of C."""
    k, k0, r = drawn(3), drawn(n0, 1), np.random.default_rng(2).standard_normal((3, 16))
    u, s, _ = np.linalg.svd(moments((0,))[0].matrix)
    p = u[:, s < 2e-2] @ u[:, s < 2e-2].T
    x = np.linalg.solve(p @ (k.T @ k + k0.T @ k0) + 0.5 * np.eye(24), p @ k.T @ r)
    found = directions(gpt2, k, protect={0: k0} if n0 else {})
    assert found.T @ r == pytest.approx(x, abs=1e-10)
    assert np.linalg.matrix_rank(p) == 24 - USED


def test_with_nothing_kept_it_is_least_squares(gpt2):
    """P = 1 and L2 → 0: the smallest change that writes every fact."""
    k = drawn(5)
    found = directions(gpt2, k, covariances=None, l2=1e-10)
    assert pytest.approx(np.linalg.pinv(k), rel=1e-6, abs=1e-9) == found.T


def test_what_ordinary_text_uses_is_left_alone(gpt2):
    edit = planned(gpt2, 3)
    for patch in edit.patches:
        change = patch.keys.astype(float).T @ patch.values.astype(float)
        keys = used(patch.layer)
        elsewhere = drawn(200)
        assert np.linalg.norm(keys @ change) < 1e-5 * np.linalg.norm(elsewhere @ change) * np.linalg.norm(keys)
        assert np.linalg.norm(change) > 1e-4
    assert edit.settings["free"] == {"0": 24 - USED, "1": 24 - USED}


def test_keys_of_earlier_facts_can_be_kept(gpt2):
    first = planned(gpt2, 2, layers=(1,), l2=1e-6)
    by = AlphaEdit(layers=(1,), covariances=moments(), contexts=())
    with holding(first, gpt2):
        kept = by.keys_of(gpt2, WISHES[:2], PROMPTS[:2])
        late = [
            eg.rewrite(gpt2, WISHES[2], prompt=PROMPTS[2], by=AlphaEdit(
                layers=(1,), covariances=moments(), contexts=(), l2=1e-6, protect=protect))
            for protect in ({}, kept)
        ]  # fmt: skip
    moved = [np.linalg.norm(kept[1] @ e.patches[0].keys.astype(float).T @ e.patches[0].values) for e in late]
    assert moved[1] < 1e-3 * moved[0]
    assert [e.settings["protected"]["1"] for e in late] == [0, 2]
    found = keys_and_values(gpt2, 1, [lookups(gpt2, p, x, ())[0] for p, x in zip(PROMPTS[:2], LANDS, strict=False)])[0]
    assert kept[1] == pytest.approx(found.numpy())


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_planning_changes_no_bit(kind):
    model = eg.load(*tiny(kind))
    before, given = weights(model), {i: used(i, model.widths[i]) for i in (0, 1)}
    edit = planned(model, 2, covariances={i: x.T @ x / 200 for i, x in given.items()}, token="asked", l2=1e-3)
    assert all(torch.equal(x, before[name]) for name, x in model.net.state_dict().items())
    assert ("experimental" in edit.settings) == (kind == "bert")
    assert edit.settings["token"] == "asked"
    first = edit.settings["requests"][0]
    asked = PROMPTS[0].asking_for(WISHES[0].answer)
    assert eg.ask(model, asked, under=edit)[0].probability == pytest.approx(first["probability"]["after"], rel=1e-6)
    assert first["probability"]["after"] > first["probability"]["before"]


def test_one_fact_is_written_whole_where_there_is_room(gpt2):
    edit = planned(gpt2, layers=(1,), l2=1e-9)
    assert edit.settings["requests"][0]["residual"] < 1e-4
    far = planned(gpt2, layers=(1,), l2=1e12)
    assert far.settings["sizes"]["1"] < 1e-9


def test_it_is_kept_as_an_adapter_and_comes_back(gpt2, tmp_path):
    pytest.importorskip("peft")
    edit = planned(gpt2, 2)
    edit.save(tmp_path / "two")
    assert eg.Edit.load(tmp_path / "two") == edit


def test_bad_settings(gpt2):
    for settings, said in (
        (
            {"covariances": {0: np.eye(24), 1: np.eye(24)}},
            "no direction of layer 0 is free.* is 1, and threshold is 0.02",
        ),
        ({"threshold": 0.0}, "above 0"),
        ({"l2": -1.0}, "from 0 up"),
        ({"protect": {2: np.ones((1, 24))}}, r"layers \[2\]"),
        ({"protect": {0: np.ones((1, 23))}}, r"\[key, 24\]"),
        ({"layers": ()}, "one or more"),
    ):
        with pytest.raises(BadSetting, match=said):
            planned(gpt2, **settings)
    with pytest.raises(BadSetting, match="independent"):
        directions(gpt2, np.repeat(drawn(1), 2, axis=0), l2=0.0)
