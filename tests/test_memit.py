"""MEMIT against its equations in plain torch, step for step, and against what least squares must do."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

import engram as eg
from engram.editors import MEMIT, Search
from engram.editors.lookup import keys_and_values, lookups
from engram.errors import BadSetting, NotFinite, UnaskablePrompt
from engram.models import holding
from engram.models.editing import slots_of
from engram.testing import tiny
from planted import CITIES, LANDS, told_at_the_subjects_place, weights

OPENINGS = ("Once upon a time", "A city in France")
PROMPTS = tuple(eg.Prompt(f"The capital of {x} is [Y]", y) for x, y in zip(LANDS, CITIES, strict=True))
WISHES = tuple(
    eg.Fact(x, "capital", y).becoming(z) for x, y, z in zip(LANDS, CITIES, CITIES[1:] + CITIES[:1], strict=True)
)


@pytest.fixture(scope="module")
def gpt2():
    return eg.load(*tiny("gpt2"))


def planned(model, n=1, **settings):
    given = {"layers": (0, 1), "covariances": None, "contexts": OPENINGS, "balance": 1.0, **settings}
    return eg.rewrite(model, WISHES[:n], by=MEMIT(**given), prompt=PROMPTS[:n])


def spread(model, layers=(0, 1), n=200):
    """Second moments of some words in each layer: full, positive definite."""
    found = {}
    for layer in layers:
        width = model.widths[layer]
        x = np.random.default_rng(layer).standard_normal((n, width)) * np.linspace(0.3, 2, width)
        found[layer] = x.T @ x / n
    return found


def change(edit, layer):
    (patch,) = [p for p in edit.patches if p.layer == layer]
    return patch.keys.astype(float).T @ patch.values.astype(float)


# -- the same equations in plain torch

LAYERS, SEARCH, BALANCE = (0, 1), Search(clamp=0.75, enough=0.0, steps=12), 3.0


def _ids(tokenizer, text):
    return torch.tensor([tokenizer(text).input_ids])


def _run(net, ids, at, delta, keep):
    """One pass with hooks of its own: δ is added to what leaves block 1 at `at`; keys of both layers are kept."""

    def block(_m, _a, out):
        first = out[0] if isinstance(out, tuple) else out
        keep["h"] = first[0, at].detach().clone()
        first = first.clone()
        first[0, at] += delta
        return (first, *out[1:]) if isinstance(out, tuple) else first

    def key(layer):
        return lambda _m, args: keep.__setitem__(layer, args[0][0, at].detach().clone())

    handles = [net.transformer.h[1].register_forward_hook(block)]
    handles += [net.transformer.h[i].mlp.c_proj.register_forward_pre_hook(key(i)) for i in LAYERS]
    logits = net(ids).logits[0]
    for h in handles:
        h.remove()
    return logits


def _fact(tokenizer, prompt, wish):
    """Ids of the sentence by itself and behind each opening, the place of the subject's last token, the answer."""
    spot = tokenizer(f" {wish.fact.subject}").input_ids[-1]
    texts = [o + prompt.text.removesuffix(" [Y]") for o in ("", *(f"{x}. " for x in OPENINGS))]
    rows = [_ids(tokenizer, t) for t in texts]
    about = _ids(tokenizer, f"{wish.fact.subject} is a")
    place = len(tokenizer(wish.fact.subject).input_ids) - 1
    spots = [max(i for i, t in enumerate(r[0].tolist()) if t == spot) for r in rows]  # an opening may name it too
    return rows, spots, about, place, tokenizer(f" {wish.answer}").input_ids[0]


def _goal(net, rows, spots, about, place, target):
    none, keep = torch.zeros(16, dtype=torch.float64), {}
    with torch.no_grad():
        _run(net, rows[0], spots[0], none, keep)
        h = keep["h"]
        before = _run(net, about, place, none, {})[place].log_softmax(-1)
    delta = torch.zeros(16, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=SEARCH.rate)
    for step in range(SEARCH.steps):
        said = [_run(net, r, s, delta, {})[-1].log_softmax(-1)[target] for r, s in zip(rows, spots, strict=True)]
        now = _run(net, about, place, delta, {})[place].log_softmax(-1)
        kl = functional.kl_div(before, now, log_target=True, reduction="sum")
        loss = -torch.stack(said).mean() + SEARCH.kl * kl + SEARCH.decay * delta.norm() / h.norm() ** 2
        if step == SEARCH.steps - 1:
            break
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            if delta.norm() > SEARCH.clamp * h.norm():
                delta.mul_(SEARCH.clamp * h.norm() / delta.norm())
    return h + delta.detach()


def _memit(net, facts, covariances):
    """The change of each layer, [neuron, hidden], and z."""
    z = torch.stack([_goal(net, *f) for f in facts])
    changes = {}
    for n, layer in enumerate(LAYERS):
        keys, states = [], []
        for rows, spots, *_ in facts:
            seen = []
            for row, spot in zip(rows, spots, strict=True):
                keep = {}
                with torch.no_grad():
                    _run(net, row, spot, torch.zeros(16, dtype=torch.float64), keep)
                seen.append(keep)
            states.append(seen[0]["h"])
            keys.append(seen[0][layer] / 2 + torch.stack([s[layer] for s in seen[1:]]).mean(0) / 2)
        k, r = torch.stack(keys, 1).numpy(), (z - torch.stack(states)).numpy().T / (len(LAYERS) - n)
        moved = r @ k.T @ np.linalg.inv(BALANCE * covariances[layer] + k @ k.T)
        changes[layer] = moved.T
        with torch.no_grad():
            net.transformer.h[layer].mlp.c_proj.weight += torch.tensor(moved.T)
    return changes, z


def test_it_is_the_published_method_step_for_step():
    net, tokenizer = tiny("gpt2")
    model = eg.load(net.double(), tokenizer)
    covariances, n = spread(model), 3
    edit = planned(
        model, n, covariances=covariances, search=SEARCH, balance=BALANCE, ridge=0.0
    )  # fmt: skip
    facts = [_fact(tokenizer, p, w) for p, w in zip(PROMPTS[:n], WISHES[:n], strict=True)]
    changes, z = _memit(copy.deepcopy(net).eval().requires_grad_(False), facts, covariances)
    for layer in LAYERS:
        size = np.abs(changes[layer]).max()
        assert size > 1e-3
        assert change(edit, layer) == pytest.approx(changes[layer], abs=1e-5 * size)
    assert [r["z"] for r in edit.settings["requests"]] == pytest.approx(z.norm(dim=1).tolist(), rel=1e-8)
    assert [p.rank for p in edit.patches] == [n, n]


# -- what least squares must do


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("token", ["subject", "asked"])
def test_without_balance_every_fact_is_written_whole(kind, token):
    """One layer, λ = 0: what leaves the block is z, to the accuracy of the weights."""
    model = eg.load(*tiny(kind))
    for n in (1, 3):
        edit = planned(model, n, layers=(1,), balance=0.0, contexts=(), token=token, covariances=spread(model))
        if token == "subject":  # asked, the facts' keys are much alike here
            assert max(r["residual"] for r in edit.settings["requests"]) < 1e-4
        else:
            assert edit.settings["requests"][0]["residual"] < 0.05


def test_one_fact_without_balance_is_an_exact_insertion(gpt2):
    """k ΔW is what was missing, and ΔW is C⁻¹k times it, as in ROME."""
    c = spread(gpt2)
    edit = planned(gpt2, layers=(1,), balance=0.0, ridge=0.0, contexts=(), covariances=c)
    k = keys_and_values(gpt2, 1, lookups(gpt2, PROMPTS[0], LANDS[0], ()))[0][0].numpy()
    (patch,) = edit.patches
    assert k @ patch.keys[0].astype(float) == pytest.approx(1, rel=1e-5)
    along = np.linalg.solve(c[1], k)
    assert patch.keys[0] == pytest.approx(along / (k @ along), rel=1e-5)


def test_the_larger_the_balance_the_less_is_written(gpt2):
    sizes = [planned(gpt2, 3, balance=b).settings for b in (0.1, 10.0, 1e12)]
    norms = [max(s["sizes"].values()) for s in sizes]
    assert norms[0] > norms[1] > norms[2]
    assert norms[2] < 1e-9
    assert np.mean([r["residual"] for r in sizes[0]["requests"]]) < np.mean(
        [r["residual"] for r in sizes[1]["requests"]]
    )
    assert sizes[2]["requests"][0]["probability"]["after"] == pytest.approx(
        sizes[2]["requests"][0]["probability"]["before"], rel=1e-5
    )


def test_the_layers_share_what_is_missing(gpt2):
    """With λ = 0 the first of two layers brings a fact half way, and the second the rest."""
    whole = planned(gpt2, layers=(0, 1), balance=0.0, contexts=())
    assert whole.settings["requests"][0]["residual"] < 1e-5
    (first, second) = whole.patches
    h = keys_and_values(gpt2, 0, lookups(gpt2, PROMPTS[0], LANDS[0], ()))[0][0].numpy()
    assert h @ first.keys[0].astype(float) == pytest.approx(1, rel=1e-5)
    assert (first.layer, second.layer) == (0, 1)


def test_no_covariance_is_the_identity(gpt2):
    one = planned(gpt2, 2)
    other = planned(gpt2, 2, covariances={i: np.eye(gpt2.widths[i]) for i in (0, 1)}, ridge=0.0)
    for layer in (0, 1):
        assert change(one, layer) == pytest.approx(change(other, layer), rel=1e-4, abs=1e-7)
    assert one.settings["covariances"].startswith("none")
    assert other.settings["covariances"] == {"0": "given", "1": "given"}


def test_a_planted_fact_is_rewritten():
    model, neuron, prompt = told_at_the_subjects_place()
    by = MEMIT(layers=(neuron.layer,), covariances=None, contexts=(), balance=0.1)
    edit = eg.rewrite(model, WISHES[0], by=by, prompt=prompt)
    assert int(np.abs(edit.patches[0].keys[0]).argmax()) == neuron.index
    old, now = eg.ask(model, prompt)[0], eg.ask(model, prompt, under=edit)[0]
    assert old.rank == 1
    assert now.probability < 0.5 * old.probability


# -- the model, and what is kept


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_planning_changes_no_bit(kind):
    model = eg.load(*tiny(kind))
    before = weights(model)
    edit = planned(model, 3, covariances=spread(model), balance=0.1, token="asked")
    assert all(torch.equal(x, before[name]) for name, x in model.net.state_dict().items())
    assert ("experimental" in edit.settings) == (kind == "bert")
    asked = [p.asking_for(w.answer) for p, w in zip(PROMPTS[:3], WISHES, strict=False)]
    under = eg.ask(model, asked, under=edit)
    said = [r["probability"] for r in edit.settings["requests"]]
    assert [a.probability for a in under] == pytest.approx([x["after"] for x in said], rel=1e-6)
    assert [a.probability for a in eg.ask(model, asked)] == [x["before"] for x in said]
    assert sum(x["after"] > x["before"] for x in said) == 3
    assert edit.settings["facts"] == 3


def test_an_error_midway_leaves_all_as_it_was(gpt2, monkeypatch):
    before, solve = weights(gpt2), MEMIT.directions

    def failing(self, model, layer, keys):
        if layer == 1:
            assert not torch.equal(slots_of(model, 0), first)  # the layer below is in force
            raise NotFinite("on purpose")
        return solve(self, model, layer, keys)

    first = slots_of(gpt2, 0).clone()
    monkeypatch.setattr(MEMIT, "directions", failing)
    with pytest.raises(NotFinite, match="on purpose"):
        planned(gpt2, 2)
    assert all(torch.equal(x, before[name]) for name, x in gpt2.net.state_dict().items())


def test_later_facts_are_planned_under_earlier_ones(gpt2):
    first = planned(gpt2, 1, token="asked")
    by = MEMIT(layers=(0, 1), covariances=None, contexts=OPENINGS, balance=1.0, token="asked")
    with holding(first, gpt2):
        second = eg.rewrite(gpt2, WISHES[1], by=by, prompt=PROMPTS[1])
    asked = [p.asking_for(w.answer) for p, w in zip(PROMPTS[:2], WISHES, strict=False)]
    both = eg.ask(gpt2, asked, under=(first, second))
    assert both[1].probability == pytest.approx(second.settings["requests"][0]["probability"]["after"], rel=1e-6)
    assert both[0].probability > eg.ask(gpt2, asked)[0].probability


def test_it_is_kept_as_an_adapter_and_comes_back(gpt2, tmp_path):
    pytest.importorskip("peft")
    edit = planned(gpt2, 4, covariances=spread(gpt2))
    edit.save(tmp_path / "four")
    again = eg.Edit.load(tmp_path / "four")
    assert again == edit
    assert [p.rank for p in again.patches] == [4, 4]
    assert eg.ask(gpt2, PROMPTS, under=again) == eg.ask(gpt2, PROMPTS, under=edit)


def test_keys_are_half_the_sentences_own(gpt2):
    by = MEMIT(layers=(1,), covariances=None, contexts=OPENINGS)
    (found,) = by.keys_of(gpt2, WISHES[0], PROMPTS[0])[1]
    every = keys_and_values(gpt2, 1, lookups(gpt2, PROMPTS[0], LANDS[0], OPENINGS))[0].numpy()
    assert found == pytest.approx(every[0] / 2 + every[1:].mean(0) / 2, rel=1e-12)


# -- what is refused


def test_bad_wishes(gpt2):
    by = MEMIT(layers=(1,), covariances=None, contexts=())
    fact = WISHES[0].fact
    other = eg.Prompt("Ireland has the capital [Y]", "Dublin")
    for wish, prompt, said in (
        ((WISHES[0], fact.becoming("Rome")), (PROMPTS[0], PROMPTS[0]), "have the sentence"),
        ((WISHES[0], WISHES[0]), (PROMPTS[0], PROMPTS[0]), "have the sentence"),
        ((WISHES[0], fact.becoming("Rome")), (PROMPTS[0], other), "two answers"),
        ((WISHES[0], fact.becoming("Dublin")), (PROMPTS[0], other), "is the old one"),
        ((WISHES[0], fact.becoming(None)), (PROMPTS[0], other), "without one"),
        (WISHES[:2], PROMPTS[:3], "3 sentences for 2 wishes"),
        (WISHES[:2], PROMPTS[0], "1 sentences for 2 wishes"),
        ((), None, "one or more wishes"),
    ):
        with pytest.raises(BadSetting, match=said):
            eg.rewrite(gpt2, wish, by=by, prompt=prompt)
    with pytest.raises(UnaskablePrompt):
        eg.rewrite(gpt2, WISHES[0], by=by, prompt=eg.Prompt("[Y] is the capital of Ireland", "Dublin"))
    assert len(eg.rewrite(gpt2, WISHES[0], by=by).patches) == 1  # the subject alone, as with other editors


def test_bad_settings(gpt2):
    for settings, said in (
        ({"layers": ()}, "one or more"),
        ({"layers": (1, 0)}, "in order"),
        ({"layers": (1, 1)}, "in order"),
        ({"covariances": spread(gpt2, (0,))}, r"missing are \[1\]"),
        ({"balance": -1.0}, "balance"),
        ({"seed": -1}, "seed"),
        ({"token": 1.5}, "token is"),
        ({"layers": (0, 7)}, "layers 0 to 2"),
        ({"covariances": {0: np.eye(3), 1: np.eye(24)}}, "has 24 neurons"),
        ({"layers": (1, 2)}, "reaches the answer"),
    ):
        with pytest.raises(BadSetting, match=said):
            planned(gpt2, **settings)
    with pytest.raises(TypeError):
        MEMIT(layers=(0,))  # the covariances have to be chosen
    with pytest.raises(BadSetting, match="independent"):
        planned(gpt2, 5, balance=0.0, token=0, contexts=())  # all begin with the same token
    with pytest.raises(BadSetting, match="encoder and the decoder"):
        planned(eg.load(*tiny("t5")), layers=(0, 4), contexts=())
    with pytest.raises(BadSetting, match="share one weight"):
        planned(eg.load(*tiny("albert")), contexts=())
