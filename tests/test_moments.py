"""Second moments of keys are what plain hooks and numpy say, however batched, and are used only where they hold."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch

import engram as eg
from engram.errors import BadData, BadSetting, HookDidNotFire, NotFinite, UnsupportedModel
from engram.models import keys
from engram.models.keeping import second_moments
from engram.models.moments import Moments, cost
from engram.models.windows import windows
from engram.testing import tiny
from engram.testing.vocabularies import WORDS

torch.set_num_threads(1)

KINDS = ["gpt2", "llama", "opt", "bert", "albert"]


def texts(n=40, seed=0):
    luck = random.Random(seed)
    return [" ".join(luck.choices(WORDS, k=luck.randint(3, 12))) for _ in range(n)]


def wide(kind):
    """In float64, where batches of other sizes agree to 1e-14."""
    net, tokenizer = tiny(kind)
    return eg.load(net.double(), tokenizer)


def by_hand(model, cut):
    """The keys of every window by itself, from plain hooks: of each layer [key, neuron]."""
    found = [[] for _ in model.layers]
    calls = []
    distinct = {layer.down for layer in model.layers}
    handles = [d.register_forward_pre_hook(lambda _m, args: calls.append(args[0])) for d in distinct]
    for window in cut:
        calls.clear()
        with torch.no_grad():
            model.net(torch.tensor([window.ids]))
        for own, x in zip(found, calls, strict=True):
            own.append(x.reshape(len(window.ids), -1)[list(window.counted)])
    for handle in handles:
        handle.remove()
    return [torch.cat(own).double().numpy() for own in found]


@pytest.mark.parametrize("strip", [512, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_streaming_is_two_passes_by_hand(kind, strip, monkeypatch):
    monkeypatch.setattr(keys, "STRIP", strip)
    model = wide(kind)
    found = second_moments(model, texts(), tokens=150, seed=3)
    there = by_hand(model, windows(model, texts(), 150, seed=3))
    assert sorted(found) == list(range(len(model.layers)))
    for layer, k in enumerate(there):
        c = k.T @ k / len(k)
        assert found[layer].count == len(k) == 150
        assert np.abs(found[layer].matrix - c).max() < 1e-10 * np.abs(c).max()
        assert np.trace(found[layer].matrix) == pytest.approx((k**2).sum(1).mean(), rel=1e-12)
        assert (found[layer].matrix == found[layer].matrix.T).all()
        assert np.linalg.eigvalsh(found[layer].matrix).min() > -1e-12 * np.trace(c)


def test_in_float32_products_are_float64_all_the_same():
    model = eg.load(*tiny("gpt2"))
    cut = windows(model, texts(), 60)
    (k,) = by_hand(model, cut)[1:2]
    found = second_moments(model, texts(), [1], tokens=60)[1].matrix
    assert np.abs(found - k.T @ k / len(k)).max() < 1e-6 * np.abs(found).max()  # one window: the same float32 keys
    assert np.linalg.eigvalsh(found).min() > -1e-14 * np.trace(found)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "opt"])
def test_a_causal_models_texts_are_packed_whole_and_nothing_is_padded(kind):
    model = eg.load(*tiny(kind))
    words, special = model.tokenizer, set(model.tokenizer.all_special_ids)
    own = [words(t, add_special_tokens=False)["input_ids"] for t in texts()]
    cut = windows(model, texts(), 10_000)
    assert sum(len(w.counted) for w in cut) == sum(map(len, own))
    said = [w.ids[i] for w in cut for i in w.counted]
    for ids in own:
        assert any(said[i : i + len(ids)] == ids for i in range(len(said)))
    assert len(cut) == -(-sum(map(len, cut)) // 64) > 3  # but for the last, full (or a mark shorter)
    begin = [] if kind == "gpt2" else words("city")["input_ids"][:1]
    assert all(list(w.ids[: len(begin)]) == begin for w in cut)
    between = begin or [words.eos_token_id]
    assert {t for w in cut for i, t in enumerate(w.ids) if i not in w.counted} == set(between) <= special
    assert sum(w.ids.count(between[0]) for w in cut) >= len(own) - 1


def test_a_masked_model_reads_each_text_by_itself():
    model = eg.load(*tiny("bert"))
    cut = windows(model, texts(), 10_000)
    assert sorted(w.ids for w in cut) == sorted(tuple(model.tokenizer(t)["input_ids"]) for t in texts())
    assert all(w.counted == tuple(range(1, len(w) - 1)) for w in cut)
    long = windows(model, ["city " * 100], 10_000)
    assert [len(w) for w in long] == [64]
    assert len(long[0].counted) == 62


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_so_many_tokens_and_no_more(kind):
    model = eg.load(*tiny(kind))
    for tokens in (1, 7, 64, 65, 130):
        found = second_moments(model, texts(), [0], tokens=tokens)[0]
        assert found.count == tokens
        assert found.neurons == 24
    few = second_moments(model, ["The city"], [0], tokens=500)[0]
    assert few.count == 2
    assert few.source["tokens"] == 500


def test_the_order_of_texts_says_nothing_and_the_seed_does():
    model = eg.load(*tiny("gpt2"))
    first = second_moments(model, texts(), [2], tokens=90, seed=1)
    assert first == second_moments(model, texts()[::-1], [2], tokens=90, seed=1)
    other = second_moments(model, texts(), [2], tokens=90, seed=2)
    assert not np.allclose(first[2].matrix, other[2].matrix)


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_the_size_of_batches_says_nothing(kind):
    net, tokenizer = tiny(kind)
    large, small = eg.load(net.double(), tokenizer), eg.load(net, tokenizer, budget=1)
    told = []
    a = second_moments(large, texts(), tokens=250)
    b = second_moments(small, texts(), tokens=250, progress=lambda *x: told.append(x))
    for layer in a:
        assert np.allclose(a[layer].matrix, b[layer].matrix, rtol=1e-11, atol=1e-13)
    assert told[-1] == (250, 250)
    assert len(told) > 3


def test_copies_of_one_key_have_rank_one():
    model = wide("bert")
    found = second_moments(model, ["city"] * 50, [0, 2])  # of every copy, what the network reads is the same
    for c in found.values():
        values = np.linalg.eigvalsh(c.matrix)
        assert c.count == 50
        assert values[-1] > 0
        assert np.abs(values[:-1]).max() < 1e-13 * values[-1]


def test_only_what_is_below_the_topmost_layer_is_run():
    model = eg.load(*tiny("gpt2"))
    ran = []
    for i, layer in enumerate(model.layers):
        layer.block.register_forward_hook(lambda *_, i=i: ran.append(i))
    model.head.register_forward_hook(lambda *_: ran.append("head"))
    every = second_moments(model, texts(), tokens=50)
    ran.clear()
    assert second_moments(model, texts(), [1], tokens=50)[1] == every[1]
    assert ran == [0]
    assert not any(m._forward_pre_hooks for m in model.net.modules())


def test_what_did_not_fit_is_not_counted_twice():
    model = wide("gpt2")
    expected = second_moments(model, texts(120), tokens=800)
    down, left = model.layers[1].down, [2]

    def full(_down, args):
        if left[0]:
            left[0] -= 1
            raise MemoryError

    handle = down.register_forward_pre_hook(full)
    with pytest.warns(RuntimeWarning, match="out of memory"):
        found = second_moments(model, texts(120), tokens=800)
    handle.remove()
    assert left == [0]
    for layer in expected:
        assert np.allclose(found[layer].matrix, expected[layer].matrix, rtol=1e-11, atol=1e-13)


def test_what_cannot_be_read_is_told():
    model = eg.load(*tiny("gpt2"))
    with pytest.raises(BadSetting, match="several strings"):
        second_moments(model, "The city")
    for wrong in ({"tokens": 0}, {"layers": [3]}, {"layers": []}, {"layers": [-1]}):
        with pytest.raises(BadSetting):
            second_moments(model, texts(), **wrong)
    for none in ([], [""]):
        with pytest.raises(BadSetting, match="no token"):
            second_moments(model, none)
    with pytest.raises(UnsupportedModel, match="one stack"):
        second_moments(eg.load(*tiny("t5")), texts())
    model.net.transformer.h[0].mlp.forward = lambda x: x
    with pytest.raises(HookDidNotFire, match="layer 0"):
        second_moments(model, texts(), [0, 1])
    broken = eg.load(*tiny("gpt2"))
    with torch.no_grad():
        broken.net.transformer.h[1].mlp.c_fc.bias[4] = float("nan")
    with pytest.raises(NotFinite, match="layer 1"):
        second_moments(broken, texts())
    assert second_moments(broken, texts(), [0])[0].count


def positive(n, seed=0):
    k = np.random.default_rng(seed).normal(size=(3 * n, n)) * np.geomspace(1, 0.05, n)
    return k.T @ k / len(k)


def test_solving_is_what_numpy_says():
    c, x = positive(20), np.random.default_rng(1).normal(size=(2, 3, 20))
    moments = Moments(4, c, 60)
    for ridge in (0.0, 1e-3, 0.5):
        expected = np.linalg.solve(c + ridge * np.trace(c) / 20 * np.eye(20), x.reshape(6, 20).T).T.reshape(2, 3, 20)
        for given in (x, torch.tensor(x)):
            found = moments.solve(given, ridge)
            assert found.dtype == torch.float64
            assert np.allclose(found.numpy(), expected, rtol=1e-10)
        assert moments.added(ridge) == pytest.approx(ridge * np.diag(c).mean())
    assert torch.equal(moments.solve(x), moments.solve(x, 1e-3))
    assert np.allclose(moments.solve(torch.tensor(x, dtype=torch.float32)), moments.solve(x), rtol=1e-3)
    assert (moments.matrix == c).all()
    assert len(moments._factor) == 1  # each is as large as C


def test_what_cannot_be_solved_is_told():
    k = np.random.default_rng(0).normal(size=(5, 20))
    few = Moments(4, k.T @ k / 5, 5)
    with pytest.warns(RuntimeWarning, match="5 keys of 20 neurons.*fewer keys than neurons"):
        few.solve(np.ones(20))
    with pytest.warns(RuntimeWarning), pytest.raises(BadSetting, match=r"layer 4.*ridge of 0\).*not positive definite"):
        few.solve(np.ones(20), ridge=0)
    many = Moments(4, few.matrix, 500)  # a neuron that is never on, say: no warning, the same refusal
    with pytest.raises(BadSetting, match="not positive definite"):
        many.solve(np.ones(20), ridge=0)
    with pytest.raises(BadSetting, match="not positive definite"):
        Moments(0, np.diag([1.0, -1.0, 3.0]), 9).solve(np.ones(3))
    for nearly in (np.diag([1.0, 1e-20]), np.zeros((2, 2))):  # by itself, Cholesky finds a root of the first
        with pytest.raises(BadSetting, match="not positive definite"):
            Moments(0, nearly, 9).solve(np.ones(2), ridge=0)
    with pytest.raises(BadSetting, match="NaN"):
        Moments(0, np.diag([1.0, float("nan")]), 9).solve(np.ones(2))
    with pytest.raises(BadSetting, match="NaN"):
        many.solve(np.full(20, np.nan))
    with pytest.raises(BadSetting, match="20 neurons"):
        many.solve(np.ones(19))
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(BadSetting, match="ridge"):
            many.solve(np.ones(20), wrong)
    for matrix, count in ((np.ones((2, 3)), 1), (np.ones(3), 1), (np.eye(2), 0)):
        with pytest.raises(BadSetting):
            Moments(0, matrix, count)


def test_moments_are_values():
    a = Moments(1, positive(4), 12, {"seed": 0})
    b = pickle.loads(pickle.dumps(a))
    assert a == b
    assert hash(a) == hash(b)
    assert a != Moments(1, positive(4), 13, {"seed": 0})
    assert a != Moments(1, positive(4, seed=1), 12, {"seed": 0})
    assert a != Moments(1, positive(4), 12)
    for x in (a, b):
        with pytest.raises(ValueError, match="read-only"):
            x.matrix[0, 0] = 1


def test_what_is_kept_is_the_same_bits_and_runs_no_network(tmp_path):
    model = eg.load(*tiny("gpt2"))
    first = second_moments(model, texts(), [0, 1], name="forty", tokens=80, cache=tmp_path)
    assert first == second_moments(model, texts(), [0, 1], tokens=80)
    assert len(list(tmp_path.iterdir())) == 2
    ran = []
    model.net.register_forward_pre_hook(lambda *_: ran.append(1))
    again = second_moments(model, texts()[::-1], [1, 0], tokens=80, cache=tmp_path)
    assert again == first
    assert not ran
    assert not again[0].matrix.flags.writeable
    third = second_moments(model, texts(), tokens=80, cache=tmp_path)  # one more layer: that alone is computed
    assert ran
    assert sorted(third) == [0, 1, 2]
    assert third[0] == first[0]
    assert len(list(tmp_path.iterdir())) == 3


def test_what_was_made_of_anything_else_is_not_used(tmp_path):
    model = eg.load(*tiny("gpt2"))
    first = second_moments(model, texts(), [0], tokens=80, cache=tmp_path)
    other = eg.load(*tiny("gpt2"))
    with torch.no_grad():
        other.net.transformer.h[0].mlp.c_fc.weight[0, 0] += 1
    asked = [
        (other, texts(), {}), (model, texts(seed=1), {}), (model, texts(), {"tokens": 81}),
        (model, texts(), {"seed": 1}), (wide("gpt2"), texts(), {}),
    ]  # fmt: skip
    for number, (m, t, more) in enumerate(asked):
        found = second_moments(m, t, [0], cache=tmp_path, **{"tokens": 80, **more})
        assert found == second_moments(m, t, [0], **{"tokens": 80, **more})
        assert found != first
        assert len(list(tmp_path.iterdir())) == number + 2


@pytest.fixture
def kept(tmp_path):
    """A model, a folder with the moments of its layer 0, the file and what it holds."""
    model = eg.load(*tiny("gpt2"))
    found = second_moments(model, texts(), [0], tokens=80, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    return model, tmp_path, path, found


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_half_a_file_is_not_taken_for_a_whole(kept, share):
    model, folder, path, found = kept
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.warns(RuntimeWarning, match="damaged"):
        assert second_moments(model, texts(), [0], tokens=80, cache=folder) == found
    assert path.read_bytes() == whole


def test_a_changed_number_is_found(kept):
    model, folder, path, found = kept
    whole = bytearray(path.read_bytes())
    whole[-100] ^= 1
    path.write_bytes(whole)
    with pytest.warns(RuntimeWarning, match="checksum"):
        assert second_moments(model, texts(), [0], tokens=80, cache=folder) == found


def test_a_file_under_another_name_is_not_used(kept):
    model, folder, path, _found = kept
    fresh = second_moments(model, texts(), [0], tokens=60, cache=folder)
    (other,) = set(folder.iterdir()) - {path}
    other.write_bytes(path.read_bytes())
    assert second_moments(model, texts(), [0], tokens=60, cache=folder) == fresh


def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    model = eg.load(*tiny("gpt2"))

    def killed(*_):
        raise KeyboardInterrupt

    for place, name in ((Path, "replace"), (os, "fsync")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, killed)
            with pytest.raises(KeyboardInterrupt):
                second_moments(model, texts(), [0], tokens=80, cache=tmp_path)
        assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(BadData, match="cannot be made"):
        second_moments(model, texts(), [0], tokens=80, cache=tmp_path / "file")


def test_the_cost_is_said_before():
    model = eg.load(*tiny("gpt2"))
    found = cost(model, 1000, [0])
    block = sum(p.numel() for p in model.layers[0].block.parameters())
    assert found.gflop == pytest.approx(1000 * (2 * block + 2 * 24 * 24) / 1e9)
    assert found.gib == 24 * 24 * 8 / 2**30
    assert found.seconds > 0
    assert found.probe == 64 * 8
    assert str(cost(model, 100_000)).startswith("100,000 tokens, layers 0, 1, 2: ")
    assert cost(eg.load(*tiny("bert"))).probe == 512
