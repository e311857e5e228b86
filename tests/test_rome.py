"""ROME against its own equations, its published loop step for step, and a model in which the answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

import engram as eg
from engram.editors.contexts import sampled
from engram.editors.lookup import keys_and_values, lookups, whole
from engram.editors.wanted import Loss, Search, wanted
from engram.errors import BadSetting, NoSubject, OtherWeights, UnknownName
from engram.models import holding, hooks, value_slots
from engram.models.editing import changed, fingerprint, low_rank, slots_of
from engram.testing import tiny
from planted import told_at_the_subject, told_at_the_subjects_place

PROMPT = eg.Prompt("The capital of Ireland is [Y]", "Dublin")
WISH = eg.Fact("Ireland", "capital", "Dublin").becoming("Paris")
OPENINGS = ("Once upon a time", "A city in France")


@pytest.fixture(scope="module")
def gpt2():
    return eg.load(*tiny("gpt2"))


@pytest.fixture(params=["gpt2", "llama", "bert"])
def model(request):
    return eg.load(*tiny(request.param))


def planned(model, wish=WISH, prompt=PROMPT, **settings):
    return eg.rewrite(
        model, wish, by=eg.ROME(**{"layer": 1, "covariance": None, "contexts": OPENINGS, **settings}), prompt=prompt
    )


def spread(model, layer=1, n=200, seed=0):
    """Keys of some words: a full matrix, positive definite."""
    width = model.widths[layer]
    x = np.random.default_rng(seed).standard_normal((n, width)) * np.linspace(0.3, 2, width)
    return x.T @ x / n


def sizes(edit):
    (patch,) = edit.patches
    return patch.keys.astype(float), patch.values.astype(float)


def test_the_key_is_mapped_to_the_value(model):
    for preset in ("rome", "r-rome", "p-rome"):
        edit = planned(model, preset=preset, covariance=spread(model))
        assert edit.settings["residual"] < 1e-5
        assert edit.settings["undone"] is True
        assert edit.patches[0].rank == 1


def test_it_is_exact_in_float64_terms(gpt2):
    """k (W + u rᵀ) + b = v*, computed from the patch itself; of the mean key where that is what was rewritten."""
    for preset in ("rome", "r-rome"):
        edit = planned(gpt2, preset=preset, covariance=spread(gpt2))
        firsts = [
            lookups(gpt2, replace(PROMPT, text=t + PROMPT.text), "Ireland", ())[0]
            for t in ("", *(f"{o}. " for o in OPENINGS))
        ]
        keys, values = keys_and_values(gpt2, 1, firsts)
        k, v = (keys[0], values[0]) if preset == "rome" else (keys.mean(0), values.mean(0))
        u, r = (torch.tensor(x[0]) for x in sizes(edit))
        asked = PROMPT.asking_for("Paris")
        found = wanted(gpt2, 1, lookups(gpt2, asked, "Ireland", OPENINGS), whole(gpt2, "Ireland"), Search())
        assert (v + (k @ u) * r).numpy() == pytest.approx((found.written + found.change).numpy(), rel=1e-5, abs=1e-5)
        assert float(u.norm()) == pytest.approx(1, abs=1e-6)


def test_the_direction_disturbs_other_keys_least(gpt2):
    """Of all directions that do the same to the key, C⁻¹k has the least tr(ΔW C ΔWᵀ)."""
    c = spread(gpt2)
    edit = planned(gpt2, preset="p-rome", covariance=c, ridge=0.0)
    k = keys_and_values(gpt2, 1, [lookups(gpt2, PROMPT, "Ireland", ())[0]])[0][0].numpy()
    (u,), (r,) = sizes(edit)
    moved = (k @ u) * r

    def disturbed(u):
        change = np.outer(u, moved / (k @ u))
        return np.trace(change.T @ c @ change)

    least = disturbed(u)
    luck = np.random.default_rng(0)
    assert all(disturbed(u + 0.1 * luck.standard_normal(len(u))) > least for _ in range(50))
    assert disturbed(k) > least
    away = luck.standard_normal(len(u))
    away -= (away @ u) / (u @ u) * u
    assert away @ np.outer(u, r) == pytest.approx(np.zeros(len(r)), abs=1e-5)  # such a key is left alone


def test_no_covariance_is_the_identity(gpt2):
    (u, r), (u2, r2) = sizes(planned(gpt2)), sizes(planned(gpt2, covariance=np.eye(24), ridge=0.0))
    assert u2 == pytest.approx(u, abs=1e-6)
    assert r2 == pytest.approx(r, rel=1e-4, abs=1e-6)


def test_the_search_follows_the_published_loop_step_for_step():
    """The same loop in plain torch: 20 forwards, 19 steps, the divergence at the subject's last token, clamp, decay."""
    net, tokenizer = tiny("gpt2")
    model = eg.load(net, tokenizer)
    search, layer = Search(rate=0.5, decay=0.5, kl=0.0625, clamp=0.75, enough=0.0), 1
    prompt = PROMPT.asking_for("Paris")
    found = wanted(model, layer, lookups(model, prompt, "Ireland", ()), whole(model, "Ireland"), search)
    ids = tokenizer("The capital of Ireland is", return_tensors="pt").input_ids
    about = tokenizer("Ireland is a", return_tensors="pt").input_ids
    target = tokenizer(" Paris").input_ids[0]
    spot, place = ids[0].tolist().index(tokenizer(" Ireland").input_ids[0]), len(tokenizer("Ireland").input_ids) - 1
    net.eval()
    v = {}

    def run(x, at, delta):
        def hook(_m, _a, out):
            v.setdefault("init", out[0, at].detach().clone())
            out = out.clone()
            out[0, at] += delta
            return out

        handle = net.transformer.h[layer].mlp.register_forward_hook(hook)
        logits = net(x).logits[0]
        handle.remove()
        return logits

    delta = torch.zeros(16, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=0.5)
    before = run(about, place, torch.zeros(16))[place].log_softmax(-1).detach()
    v.clear()
    losses = []
    for step in range(20):
        nll = -run(ids, spot, delta)[-1].log_softmax(-1)[target]
        now = run(about, place, delta)[place].log_softmax(-1)
        kl = 0.0625 * functional.kl_div(before, now, log_target=True, reduction="sum")
        decay = 0.5 * delta.norm() / v["init"].norm() ** 2
        losses.append([float(x.detach()) for x in (nll, kl, decay)])
        if step == 19:
            break
        adam.zero_grad()
        (nll + kl + decay).backward()
        adam.step()
        with torch.no_grad():
            if delta.norm() > 0.75 * v["init"].norm():
                delta.mul_(0.75 * v["init"].norm() / delta.norm())
    assert len(found.losses) == 20
    assert np.array(found.losses) == pytest.approx(np.array(losses), rel=1e-3, abs=1e-5)
    assert found.change.numpy() == pytest.approx(delta.detach().numpy(), rel=1e-3, abs=1e-4)
    assert float(found.change.norm()) == pytest.approx(0.75 * float(v["init"].norm()), rel=1e-4)  # the clamp was met
    assert found.losses[0][1:] == (0, 0)


def test_the_first_loss_is_what_asking_says(gpt2):
    (answer,) = eg.ask(gpt2, PROMPT.asking_for("Paris"))
    found = planned(gpt2, contexts=())
    assert found.settings["losses"][0][0] == pytest.approx(-answer.logprob / len(answer.tokens), rel=1e-5)
    assert found.settings["probability"]["before"] == pytest.approx(answer.probability)
    gently = planned(gpt2, contexts=(), search=Search(rate=0.02, steps=60))
    assert gently.settings["probability"]["after"] > 2 * answer.probability


def test_the_size_of_the_covariance_says_nothing(gpt2):
    """u is C⁻¹k made of length 1: ten times C is the same edit."""
    once, tenfold = (sizes(planned(gpt2, covariance=x * spread(gpt2))) for x in (1, 10))
    for a, b in zip(once, tenfold, strict=True):
        assert b == pytest.approx(a, rel=1e-4, abs=1e-6)


def test_the_gradient_of_the_search_is_that_of_differences():
    """In float64, along random directions, of the whole loss with all three parts in it."""
    net, tokenizer = tiny("gpt2")
    model = eg.load(net.double(), tokenizer)
    found = lookups(model, PROMPT.asking_for("Paris"), "Ireland", OPENINGS)
    loss = Loss(model, 0, found, whole(model, "Ireland"), Search(kl=1.0, decay=0.7), "ffn")
    luck = torch.Generator().manual_seed(0)
    delta = torch.randn(loss.v.shape, generator=luck, dtype=torch.float64) * 0.1
    delta.requires_grad_(True)
    (slope,) = torch.autograd.grad(torch.stack(loss.parts(delta)).sum(), delta)

    def at(moved):
        with torch.no_grad():
            return float(torch.stack(loss.parts(moved)).sum())

    for _ in range(5):
        way = torch.randn(delta.shape, generator=luck, dtype=torch.float64)
        apart = (at(delta.detach() + 1e-5 * way) - at(delta.detach() - 1e-5 * way)) / 2e-5
        assert float(slope @ way) == pytest.approx(apart, rel=1e-5, abs=1e-8)


def test_where_the_ffn_writes_the_answer_itself_one_step_is_enough():
    model, neuron, prompt = told_at_the_subject()
    wish = eg.Fact("Ireland", "capital", "Dublin").becoming("Paris")
    one = Search(steps=2, rate=100.0, kl=0.0, decay=0.0, clamp=1e4, enough=0.0)  # the last is a look, not a step
    by = eg.ROME(layer=neuron.layer, covariance=None, contexts=(), search=one)
    assert eg.ask(model, prompt)[0].top[0][0].strip() == "Dublin"
    edit = eg.rewrite(model, wish, by=by, prompt=prompt)
    assert eg.ask(model, prompt, under=edit)[0].top[0][0].strip() == "Paris"


def test_a_search_that_begins_at_its_end_changes_nothing(gpt2):
    edit = planned(gpt2, search=Search(steps=1), contexts=())
    with holding(edit, gpt2):
        under = slots_of(gpt2, 1).clone()
    assert torch.equal(under, slots_of(gpt2, 1)) or (under - slots_of(gpt2, 1)).abs().max() < 1e-6


def test_held_and_undone_to_the_last_bit(model):
    edit = planned(model)
    before = {name: x.clone() for name, x in model.net.state_dict().items()}
    with holding(edit, model):
        assert not torch.equal(slots_of(model, 1), value_slots(model.layers[1].down).clone().mul(0))
        assert fingerprint(slots_of(model, 1)) != edit.patches[0].before
        with pytest.raises(OtherWeights, match="held"), holding(edit, model):
            pass
    assert all(torch.equal(x, before[name]) for name, x in model.net.state_dict().items())
    after = eg.ask(model, PROMPT.asking_for("Paris"), under=edit)[0]
    assert after.probability == pytest.approx(edit.settings["probability"]["after"], rel=1e-6)


def test_the_weight_says_what_a_hook_on_the_key_says(gpt2):
    edit = planned(gpt2, covariance=spread(gpt2))
    u, r = (torch.tensor(x[0], dtype=torch.float32) for x in sizes(edit))
    batch = lookups(gpt2, PROMPT, "Ireland", ())
    row = eg.models.questions.Batch.of([batch[0].row])
    seen = {}

    def key(x):
        seen["k"] = x.clone()
        return x

    def more(x):
        return x + (seen["k"] @ u)[..., None] * r

    with torch.no_grad(), hooks.quiet(gpt2.net):
        with (
            hooks.rewriting(gpt2.net, gpt2.layers, {1: key}),
            hooks.rewriting(gpt2.net, gpt2.layers, {1: more}, place="ffn"),
        ):
            hooked = gpt2.logits(row)
        with holding(edit, gpt2):
            written = gpt2.logits(row)
    assert written.numpy() == pytest.approx(hooked.numpy(), abs=1e-5)


def test_what_cannot_reach_the_answer_is_refused(gpt2):
    with pytest.raises(BadSetting, match="reaches the answer"):
        planned(gpt2, layer=2)
    last = eg.Prompt("The capital of Ireland [Y]", "Dublin")  # there the subject is what answers
    assert planned(gpt2, layer=2, prompt=last).settings["residual"] < 1e-5


def test_the_key_is_looked_up_where_it_is_asked(model):
    """Where the answer is told the key is mapped to the value too, and there no layer is too late."""
    for layer in (1, 2):
        edit = planned(model, token="asked", layer=layer, covariance=spread(model, layer))
        assert edit.settings["residual"] < 1e-5
        assert edit.settings["token"] == "asked"
        assert edit.settings["probability"]["after"] > edit.settings["probability"]["before"]
    (row, *_) = model.rows(PROMPT)
    for nth, found in enumerate(lookups(model, PROMPT, "Ireland", (), "asked")):
        assert (found.at, found.nth) == (row.at, nth)
    (about, *_) = model.rows(eg.Prompt("Ireland is a [Y]", "man"))
    assert (whole(model, "Ireland", "asked").at, whole(model, "Ireland", "asked").row) == (about.at, about)
    assert whole(model, "Ireland").at == whole(model, "Ireland", 0).at < about.at


def test_a_token_is_the_same_one_behind_an_opening(model):
    prompt, subject = eg.Prompt("In time the city of Ireland is [Y]", "Dublin"), "city of Ireland"
    tokens = model.tokenizer.convert_ids_to_tokens
    asked = {t: lookups(model, prompt, subject, OPENINGS, t) for t in ("subject", "subject_first", "asked")}
    said = {t: {tokens(x.row.ids[x.at])[-4:].strip("Ġ▁") for x in found if x.nth == 0} for t, found in asked.items()}
    assert (said["subject"], said["subject_first"]) == ({"land"}, {"city"})
    assert len(said["asked"]) == 1
    for token, found in asked.items():
        assert lookups(model, prompt, subject, OPENINGS, found[0].at) == found, token
    if model.rows(prompt)[0].ids[0] in model.tokenizer.all_special_ids:  # what a text begins with stays its beginning
        assert {x.at for x in lookups(model, prompt, subject, OPENINGS, 0)} == {0}


def test_a_number_for_a_name_is_the_same_edit(gpt2):
    at = lookups(gpt2, PROMPT, "Ireland", ())[0].at
    one, other = planned(gpt2), planned(gpt2, token=at)
    assert one.patches == other.patches
    assert other.settings["token"] == at
    assert planned(gpt2, token=0).patches != one.patches


def test_of_two_stacks_the_decoder_is_looked_up_where_it_tells():
    model = eg.load(*tiny("t5"))
    top = len(model.layers) - 1
    with pytest.raises(BadSetting, match="does not read the subject"):
        planned(model, layer=top, contexts=())
    assert planned(model, layer=top, contexts=(), token="asked").settings["residual"] < 1e-5
    assert planned(model, layer=0, contexts=()).settings["residual"] < 1e-5


def test_a_planted_fact_is_rewritten():
    model, neuron, prompt = told_at_the_subjects_place()
    wish = eg.Fact("Ireland", "capital", "Dublin").becoming("Paris")
    assert eg.ask(model, prompt)[0].rank == 1
    edit = eg.rewrite(model, wish, by=eg.ROME(layer=neuron.layer, covariance=None, contexts=()), prompt=prompt)
    (u,), _ = sizes(edit)
    assert int(np.abs(u).argmax()) == neuron.index  # the key is that neuron
    (old,) = eg.ask(model, prompt, under=edit)
    assert old.probability < 0.5 * eg.ask(model, prompt)[0].probability


def test_openings_are_drawn_by_their_seed(gpt2):
    drawn = sampled(gpt2, ((4, 3), (7, 2)), seed=1)
    assert len(drawn) == 5
    assert drawn == sampled(gpt2, ((4, 3), (7, 2)), seed=1) != sampled(gpt2, ((4, 3), (7, 2)), seed=2)
    edit = planned(gpt2, contexts=((4, 3),), seed=1)
    assert tuple(edit.settings["contexts"]) == drawn[:3]
    assert planned(gpt2, contexts=((4, 3),), seed=1) == edit
    with pytest.raises(BadSetting, match="as texts"):
        sampled(eg.load(*tiny("bert")), ((4, 3),), seed=0)


def test_bad_wishes_and_settings(gpt2):
    fact = WISH.fact
    for wish, said in ((fact.becoming(None), "without one"), (fact.becoming("Dublin"), "is the old one")):
        with pytest.raises(BadSetting, match=said):
            planned(gpt2, wish=wish)
    with pytest.raises(NoSubject):
        planned(gpt2, wish=eg.Fact("Estonia", "capital", "Tallinn").becoming("Paris"))
    with pytest.raises(UnknownName, match="preset"):
        eg.ROME(layer=0, covariance=None, preset="romeo")
    with pytest.raises(BadSetting, match="layers 0 to 2"):
        planned(gpt2, layer=7)
    with pytest.raises(BadSetting, match="has 24 neurons"):
        planned(gpt2, covariance=np.eye(5))
    with pytest.raises(BadSetting, match="positive definite"):
        planned(gpt2, covariance=-np.eye(24))
    with pytest.raises(BadSetting, match="not both"):
        planned(gpt2, contexts=("A city", (4, 2)))
    with pytest.raises(UnknownName, match="subject_first"):
        eg.ROME(layer=0, covariance=None, token="subject_frist")
    with pytest.raises(BadSetting, match="from 0 up, not -1"):
        eg.ROME(layer=0, covariance=None, token=-1)
    with pytest.raises(BadSetting, match="token is 99"):
        planned(gpt2, token=99)
    with pytest.raises(BadSetting, match="takes one sentence, not 2"):
        eg.rewrite(gpt2, WISH, by=eg.ROME(layer=1, covariance=None), prompt=(PROMPT, PROMPT))
    with pytest.raises(TypeError):
        eg.ROME(layer=0)  # the covariance has to be chosen
    with pytest.raises(BadSetting, match="at least 1 step"):
        Search(steps=0)


def test_a_masked_model_is_labelled(model):
    assert ("experimental" in planned(model).settings) == (not model.blank_last)


def test_smaller_numbers_are_rounded_and_said():
    model = eg.load(*tiny("gpt2"))
    model.net.to(torch.bfloat16)
    edit = planned(model, contexts=())
    assert edit.patches[0].dtype == "bfloat16"
    assert 1e-5 < edit.settings["residual"] < 0.1
    before = slots_of(model, 1).clone()
    eg.ask(model, PROMPT, under=edit)
    assert torch.equal(before, slots_of(model, 1))


def test_a_low_rank_is_what_it_says(gpt2):
    luck = torch.Generator().manual_seed(0)
    keys, values = torch.randn(2, 24, generator=luck), torch.randn(2, 16, generator=luck)
    patch = low_rank(gpt2, 0, keys, values)
    wanted_ = slots_of(gpt2, 0) + sum(torch.outer(k, v) for k, v in zip(keys, values, strict=True))
    assert changed(slots_of(gpt2, 0), patch).numpy() == pytest.approx(wanted_.numpy(), abs=1e-6)
    assert not patch.keys.flags.writeable
    with pytest.raises(BadSetting, match="one rank"):
        low_rank(gpt2, 0, keys, values[:1])


def test_it_is_kept_as_an_adapter_and_comes_back(gpt2, tmp_path):
    edit = planned(gpt2, covariance=spread(gpt2))
    edit.save(tmp_path / "paris")
    again = eg.Edit.load(tmp_path / "paris")
    assert again == edit
    (now,), (then,) = (eg.ask(gpt2, PROMPT, under=e) for e in (again, edit))
    assert now.logprob == then.logprob
