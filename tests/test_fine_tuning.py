"""Fine-tuning one layer against torch's own loop on the real weight, and what is kept of it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import engram as eg
from engram.editors import FineTuning
from engram.editors.fine_tuning import tuned
from engram.errors import BadSetting, NotFinite, UnknownName
from engram.models import holding
from engram.models.editing import changed, fingerprint, slots_of
from engram.testing import tiny
from planted import told_at_the_subject

torch.set_num_threads(1)  # tiny networks: threads cost more than they save

PROMPT = eg.Prompt("The capital of Ireland is [Y]", "Dublin")
FACT = eg.Fact("Ireland", "capital", "Dublin")
ONE, TWO = FACT.becoming("Paris"), FACT.becoming("Tallinn")  # of one token, and of two
OTHER = eg.Fact("France", "capital", "Paris").becoming("Rome")
ELSEWHERE = eg.Prompt("France has the capital [Y]", "Paris")
READERS = ("gpt2", "llama", "opt", "bert", "albert")


def load(kind="gpt2", dtype=torch.float32):
    net, tokenizer = tiny(kind)
    return eg.load(net.to(dtype), tokenizer)


@pytest.fixture(scope="module")
def gpt2():
    return load()


def planned(model, wish=TWO, prompt=PROMPT, **settings):
    return eg.rewrite(model, wish, by=FineTuning(**{"layer": 1, "rate": 0.01, **settings}), prompt=prompt)


def lessons(model, by, wish=TWO):
    return by._lessons(model, PROMPT.asking_for(wish.answer), 1)


def by_hand(model, preset, wish=TWO, *, layer=1, steps=25, rate=0.01, norm=None):
    """A copy of the network whose weight torch.optim.Adam has trained, and the losses of its steps."""
    net = copy.deepcopy(model.net).eval()
    weight = net.get_submodule(model.layers[layer].path).weight
    for p in net.parameters():
        p.requires_grad_(p is weight)
    start, rows = weight.detach().clone(), model.rows(PROMPT.asking_for(wish.answer))
    adam, losses = torch.optim.Adam([weight], lr=rate), []
    for _ in range(steps):
        adam.zero_grad()
        parts = []
        for row in rows:
            read = row if preset == "ft-m" else rows[0]
            said = net(input_ids=torch.tensor([read.ids])).logits[0, read.at].log_softmax(-1)
            parts.append(-said[row.target])
        loss = torch.stack(parts).mean()
        losses.append(float(loss.detach()))
        loss.backward()
        adam.step()
        if norm is not None:
            with torch.no_grad():
                weight.copy_(torch.clamp(weight, start - norm, start + norm))
    moved = (weight - start).detach()
    return net, moved if type(net.get_submodule(model.layers[layer].path)).__name__ == "Conv1D" else moved.T, losses


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(("preset", "norm"), [("ft-m", None), ("ft", None), ("ft-l", 0.03)])
def test_it_follows_torchs_own_loop_on_the_weight_step_for_step(kind, preset, norm):
    model = load(kind, torch.float64)
    by = FineTuning(1, preset, rate=0.01, enough=0.0, norm=norm)
    delta, losses, taken = tuned(model, by, lessons(model, by))
    _, moved, theirs = by_hand(model, preset, norm=norm)
    assert taken == len(losses) == 25
    assert losses == pytest.approx(theirs, abs=1e-6)  # RMSNorm computes in float32 whatever the type
    assert delta.numpy() == pytest.approx(moved.numpy(), abs=1e-6)
    assert delta.abs().max() > 0.02
    if norm is not None:
        assert (delta.abs() == norm).any()


@pytest.mark.parametrize("kind", ["gpt2", "bert", "albert"])
def test_the_held_edit_says_what_the_fine_tuned_copy_says(kind):
    model = load(kind)
    edit = planned(model, steps=5)
    net, _, losses = by_hand(model, "ft-m", steps=5)
    assert edit.settings["losses"] == pytest.approx(losses, abs=1e-4)
    other = torch.tensor([model.rows(ELSEWHERE)[0].ids])
    with torch.no_grad():
        wanted = net(input_ids=other).logits
        plain = model.net(input_ids=other).logits
        with holding(edit, model):
            held = model.net(input_ids=other).logits
    assert held.numpy() == pytest.approx(wanted.numpy(), abs=1e-4)
    assert (plain - wanted).abs().max() > 1e-2


def test_the_bias_and_all_else_stay_as_they_are(gpt2):
    edit = planned(gpt2)
    plain = {name: x.clone() for name, x in gpt2.net.state_dict().items()}
    with holding(edit, gpt2):
        moved = {name for name, x in gpt2.net.state_dict().items() if not torch.equal(x, plain[name])}
    assert moved == {"transformer.h.1.mlp.c_proj.weight"}
    assert all(torch.equal(x, plain[name]) for name, x in gpt2.net.state_dict().items())


def test_the_change_is_kept_to_the_rounding_of_float32(gpt2):
    by = FineTuning(1, rate=0.01)
    delta, _, _ = tuned(gpt2, by, lessons(gpt2, by))
    edit = planned(gpt2)
    (patch,) = edit.patches
    assert 1 < patch.rank <= 16
    assert patch.rank == edit.settings["rank"] == np.linalg.matrix_rank(delta.double().numpy())
    kept = patch.keys.astype(float).T @ patch.values.astype(float)
    assert kept == pytest.approx(delta.double().numpy(), abs=1e-6 * float(delta.abs().max()))
    moved = (changed(slots_of(gpt2, 1), patch) - slots_of(gpt2, 1)).double()
    assert edit.settings["furthest"] == float(moved.abs().max()) == pytest.approx(float(delta.abs().max()), rel=1e-4)
    assert edit.settings["size"] == pytest.approx(float(delta.norm() / slots_of(gpt2, 1).norm()), rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("norm", [5e-4, 0.01])
def test_no_number_moves_by_more_than_the_bound_rounding_counted(dtype, norm):
    model = load(dtype=dtype)
    before = slots_of(model, 1).clone()
    edit = planned(model, preset="ft-l", norm=norm)
    with holding(edit, model):
        moved = (slots_of(model, 1).double() - before.double()).abs().max()
    assert torch.equal(slots_of(model, 1), before)
    assert moved <= norm
    assert dtype not in (torch.float32, torch.float64) or moved > 0.999 * norm
    assert FineTuning(1, "ft-l").norm == 5e-4


def test_where_the_answers_tokens_are_scored_matters_for_those_of_several(gpt2):
    one, same = planned(gpt2, ONE, preset="ft-m"), planned(gpt2, ONE, preset="ft")
    assert one.patches == same.patches
    own, first = planned(gpt2, preset="ft-m"), planned(gpt2, preset="ft")
    assert own.patches != first.patches
    after = [e.settings["probability"]["after"] for e in (own, first)]
    assert after[0] > 2 * after[1]  # of two tokens at one place, neither can have more than half


def test_the_first_loss_is_what_asking_says(gpt2):
    (answer,) = eg.ask(gpt2, PROMPT.asking_for("Tallinn"))
    settings = planned(gpt2, steps=60, rate=0.1).settings
    assert settings["losses"][0] == pytest.approx(-answer.logprob / 2, rel=1e-5)
    assert settings["losses"][-1] < 0.3 * settings["losses"][0]
    assert settings["probability"]["before"] == pytest.approx(answer.probability)
    assert settings["probability"]["after"] > 1000 * answer.probability


def test_it_stops_where_the_loss_is_low_enough(gpt2):
    once = planned(gpt2, ONE, enough=1e9)
    assert (once.settings["taken"], once.settings["furthest"], once.patches[0].rank) == (0, 0.0, 1)
    assert once.settings["probability"]["after"] == once.settings["probability"]["before"]
    some = planned(gpt2, ONE, enough=2.0, steps=100, rate=0.05)
    losses = some.settings["losses"]
    assert losses[-1] < 2.0 <= min(losses[:-1])
    assert some.settings["taken"] == len(losses) - 1 < 99


def test_several_facts_are_learnt_together(gpt2):
    edit = planned(gpt2, (TWO, OTHER), (PROMPT, ELSEWHERE), steps=60)
    assert len(edit.patches) == 1
    chances = edit.settings["probability"]
    assert all(b > 5 * a for a, b in zip(chances["before"], chances["after"], strict=True))
    apart = [planned(gpt2, *x).settings["losses"][0] for x in ((TWO, PROMPT), (OTHER, ELSEWHERE))]
    assert edit.settings["losses"][0] == pytest.approx(sum(apart) / 2, rel=1e-5)
    small = eg.load(gpt2.net, gpt2.tokenizer, budget=1)  # one row at a time
    assert planned(small, (TWO, OTHER), (PROMPT, ELSEWHERE)).settings["losses"] == pytest.approx(
        planned(gpt2, (TWO, OTHER), (PROMPT, ELSEWHERE)).settings["losses"], abs=1e-4
    )


def test_a_model_is_what_it_was_after_a_plan_and_after_an_error(gpt2):
    net = gpt2.net
    before = {name: fingerprint(x) for name, x in net.state_dict().items()}
    plain, wanting = planned(gpt2), [p.requires_grad for p in net.parameters()]
    net.train()
    for part in net.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.5
    assert planned(gpt2) == plain
    with pytest.raises(NotFinite, match="take a rate below"):
        planned(gpt2, rate=1e30)
    assert {name: fingerprint(x) for name, x in net.state_dict().items()} == before
    assert [p.requires_grad for p in net.parameters()] == wanting
    assert all(p.grad is None for p in net.parameters())
    assert net.training
    assert not [m for m in net.modules() if m._forward_hooks or m._forward_pre_hooks]
    net.eval()


def test_it_is_kept_as_an_adapter_and_comes_back(gpt2, tmp_path):
    edit = planned(gpt2)
    edit.save(tmp_path / "tallinn")
    again = eg.Edit.load(tmp_path / "tallinn")
    assert again == edit
    assert eg.ask(gpt2, ELSEWHERE, under=again) == eg.ask(gpt2, ELSEWHERE, under=edit)


def test_where_no_slot_reaches_the_answer_that_is_said():
    model, *_ = told_at_the_subject()
    with pytest.raises(BadSetting, match="no value slot of layer 1"):
        planned(model)


@pytest.mark.parametrize(("kind", "labelled"), [("gpt2", False), ("bert", True), ("t5", True), ("bart", True)])
def test_models_that_are_not_causal_are_labelled(kind, labelled):
    edit = planned(load(kind), ONE)
    assert ("experimental" in edit.settings) is labelled
    assert edit.settings["probability"]["after"] > edit.settings["probability"]["before"]


def test_bad_wishes_and_settings(gpt2):
    for wish, said in (
        (FACT.becoming(None), "without one"),
        (FACT.becoming("Dublin"), "is the old one"),
        ((), "0 facts"),
    ):
        with pytest.raises(BadSetting, match=said):
            planned(gpt2, wish, None)
    with pytest.raises(BadSetting, match="2 facts are asked for"):
        planned(gpt2, (ONE, OTHER), (PROMPT,))
    with pytest.raises(BadSetting, match="layers 0 to 2"):
        planned(gpt2, layer=7)
    with pytest.raises(UnknownName, match="ft-m"):
        FineTuning(0, "ft-n")
    for wrong in ({"layer": -1}, {"steps": 0}, {"rate": 0.0}, {"rate": float("nan")}, {"enough": -1}, {"norm": 0.0}):
        with pytest.raises(BadSetting):
            FineTuning(**{"layer": 0, **wrong})
