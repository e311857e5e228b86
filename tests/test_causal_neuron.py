"""The causal neuron edit in models of which the site and the neuron are known, and steering against torch's hooks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import engram as eg
from engram import NeuronSet
from engram.editors import CausalNeuron
from engram.editors.vectors import embedding
from engram.errors import AnswerNotWritable, BadSetting, NoSubject, UnknownName, UnsupportedModel
from engram.interventions import Steered
from engram.models import holding
from engram.models.editing import fingerprint
from engram.testing import tiny
from planted import told_at_the_subject, told_at_the_subjects_place

torch.set_num_threads(1)  # tiny networks: threads cost more than they save

FACT = eg.Fact("Ireland", "capital", "Dublin")
WISH = FACT.becoming("Paris")
PROMPT = eg.Prompt("The capital of Ireland is [Y]", "Dublin")
HERE = eg.ROME(layer=0, covariance=None, contexts=())
EDITS = {"cma_kn": {}, "rome_at_cma": {"rome": HERE}}


def planned(model, prompt=PROMPT, reading="cma_kn", wish=WISH, **settings):
    by = CausalNeuron(reading, **{**EDITS.get(reading, {}), **settings})
    return eg.rewrite(model, wish, by=by, prompt=prompt)


def chance(model, prompt, under=None):
    return eg.ask(model, prompt.asking_for("Paris"), under=under)[0].probability


def bits(model):
    return {name: fingerprint(x) for name, x in model.net.state_dict().items() if x.is_floating_point()}


@pytest.fixture(scope="module", params=[told_at_the_subject, told_at_the_subjects_place])
def told(request):
    return request.param()


@pytest.fixture(scope="module", params=["engram:causal", "engram:masked"])
def shipped(request):
    text = "The capital of Ireland is [Y]" + ("." if request.param.endswith("masked") else "")
    return eg.load(request.param), eg.Prompt(text, "Dublin")


# -- where it is known what is to be found


@pytest.mark.parametrize("reading", sorted(EDITS))
def test_the_site_is_found_and_the_new_answer_moves(told, reading):
    model, neuron, prompt = told
    edit = planned(model, prompt, reading)
    site, before = edit.settings["site"], bits(model)
    assert (site["token"], site["layer"], site["found"], site["of"]) == (3, neuron.layer, "traced", "Dublin")
    assert edit.layers == (neuron.layer,)
    moved = edit.settings["probability"]
    assert (moved["before"], moved["after"]) == (chance(model, prompt), chance(model, prompt, edit))
    assert moved["after"] > 5 * moved["before"]
    assert bits(model) == before
    assert edit.method == "causal_neuron"
    assert edit.settings["size"] > 0


def test_the_neuron_that_is_picked_is_the_one_that_was_planted(told):
    model, neuron, prompt = told
    edit = planned(model, prompt, units=10)
    assert edit.neurons == NeuronSet.of([neuron])  # no other brings anything back
    ((index, effect),) = edit.settings["units"]
    assert (index, effect) == (neuron.index, pytest.approx(edit.settings["site"]["effect"], abs=1e-6))


def test_its_slot_becomes_what_the_formula_says(told):
    model, neuron, prompt = told
    edit = planned(model, prompt, remove=2.0, add=3.0)
    words = model.net.get_input_embeddings().weight.detach().double()  # unit vectors
    old, new = (words[model.rows(prompt.asking_for(x))[0].target].numpy() for x in ("Dublin", "Paris"))
    (slot,) = edit.patches
    v = slot.before.astype(float)
    size = np.linalg.norm(v)
    wanted = v + size * (3 * new / np.linalg.norm(new) - 2 * old / np.linalg.norm(old))
    assert slot.after == pytest.approx(wanted, abs=1e-4)
    whole = np.sqrt(sum(float(x.square().sum()) for x in [eg.models.value_slots(model.layers[neuron.layer].down)]))
    assert edit.settings["size"] == pytest.approx(np.linalg.norm(wanted - v) / whole, rel=1e-5)


def test_steering_at_the_site_says_the_new_answer(told):
    model, neuron, prompt = told
    before = bits(model)
    steer = CausalNeuron("site_steer").steer(model, WISH, prompt)
    assert steer.layer == neuron.layer
    assert steer.at == ("blank" if model.rows(prompt)[0].at == 3 else 3)
    assert chance(model, prompt, steer) > 5 * chance(model, prompt)
    assert bits(model) == before


def test_what_was_published_does_nothing_and_says_so():
    model, _, prompt = told_at_the_subject()
    edit = planned(model, prompt, "published")
    moved = edit.settings["probability"]
    assert moved["after"] == moved["before"]
    assert "known to fail" in edit.settings["as_published"]
    assert edit.settings["site"]["tracing"]["noise"] == 0.1
    with pytest.raises(BadSetting, match="has no layer 4"):  # a token's number is taken for that of a layer
        planned(model, PROMPT, "published", site=(4, 0))


def test_the_row_that_was_published_is_that_of_the_token_and_numbered_by_the_layer():
    model, _, prompt = told_at_the_subject()
    edit = planned(model, prompt, "published", site=(2, 1))
    (slot,) = edit.patches
    assert (slot.layer, slot.index) == (2, 1)
    tokenizer, words = model.tokenizer, model.net.get_input_embeddings().weight.detach().double().numpy()
    first = int(model.net(torch.tensor([model.rows(prompt)[0].ids])).logits[0, -1].argmax())
    pieces = tokenizer("Paris", add_special_tokens=False)["input_ids"]
    assert len(pieces) == 2  # and with its space it would be one
    wanted = slot.before - 2 * words[first] + sum(words[i] for i in pieces)
    assert slot.after == pytest.approx(wanted, abs=1e-6)
    assert edit.settings["added"] == tokenizer.convert_ids_to_tokens(pieces)


# -- in models that learnt


@pytest.mark.parametrize("reading", sorted(EDITS))
def test_it_rewrites_what_trained_models_know(shipped, reading):
    model, prompt = shipped
    edit, before = planned(model, prompt, reading), bits(model)
    by = eg.CausalTracing(kind="ffn", window=1)
    found = eg.trace(model, prompt, subject="Ireland", by=by)
    assert (edit.settings["site"]["token"], edit.settings["site"]["layer"]) == found.peak
    assert edit.settings["probability"]["after"] > 20 * edit.settings["probability"]["before"]
    chance(model, prompt, edit)
    assert bits(model) == before


def test_the_units_are_those_that_mediate_most(shipped):
    model, prompt = shipped
    edit = planned(model, prompt, units=3)
    token, layer = edit.settings["site"]["token"], edit.settings["site"]["layer"]
    by = eg.UnitMediation(layer=layer, token=token, first_order=False, best=(), draws=0)
    best = eg.mediate(model, prompt, subject="Ireland", by=by).best(3)
    assert [tuple(x) for x in edit.settings["units"]] == best
    surgery = eg.KnowledgeSurgery(NeuronSet.of((layer, i) for i, _ in best))
    assert edit.patches == eg.rewrite(model, WISH, by=surgery, prompt=prompt).patches


def test_rome_is_put_where_the_trace_points(shipped):
    model, prompt = shipped
    edit = planned(model, prompt, "rome_at_cma")
    token, layer = edit.settings["site"]["token"], edit.settings["site"]["layer"]
    same = eg.rewrite(model, WISH, by=eg.ROME(layer=layer, token=token, covariance=None, contexts=()), prompt=prompt)
    assert edit.patches == same.patches
    by_layer = {i: np.eye(width) for i, width in enumerate(model.widths)}
    rome = eg.ROME(layer=0, covariance=by_layer, contexts=(), ridge=0.0)
    chosen = planned(model, prompt, "rome_at_cma", rome=rome)
    assert chosen.patches[0].values == pytest.approx(edit.patches[0].values, rel=1e-3, abs=1e-4)
    with pytest.raises(BadSetting, match="covariances are of layers"):
        planned(model, prompt, "rome_at_cma", rome=eg.ROME(layer=0, covariance={9: None}, contexts=()))


def test_steering_trained_models(shipped):
    model, prompt = shipped
    steer = CausalNeuron("site_steer").steer(model, WISH, prompt)
    assert chance(model, prompt, steer) > 20 * chance(model, prompt)
    out, into = (embedding(model, model.rows(prompt.asking_for(x))[0].target, "input") for x in ("Dublin", "Paris"))
    wanted = 8 * into / into.norm() - out / out.norm()
    assert steer.vector == pytest.approx(wanted.tolist())


def test_it_is_kept_as_an_adapter_and_comes_back(told, tmp_path):
    model, _, prompt = told
    for reading in EDITS:
        edit = planned(model, prompt, reading)
        edit.save(tmp_path / reading)
        assert eg.Edit.load(tmp_path / reading) == edit


# -- what is refused


def test_an_edit_that_changes_nothing_is_refused():
    model, neuron, _ = told_at_the_subjects_place()
    with pytest.raises(BadSetting, match="brings the answer back alone"):
        planned(model, site=(1, neuron.layer))
    with pytest.raises(BadSetting, match="to the last bit as probable as before"):
        CausalNeuron("site_steer", site=(1, 2)).steer(model, WISH, PROMPT)  # behind the last attention


def test_where_nothing_brings_the_answer_back_there_is_no_site():
    model, neuron, prompt = told_at_the_subject()
    with torch.no_grad():
        eg.models.value_slots(model.layers[neuron.layer].down)[neuron.index] = 0
    with pytest.raises(BadSetting, match="no causal neuron"):
        planned(model, prompt)


def test_bad_wishes_and_settings(shipped):
    model, prompt = shipped
    for wrong, said in (
        ({"reading": "published", "tracing": eg.CausalTracing(kind="ffn")}, "a tracing of its own"),
        ({"tracing": eg.CausalTracing(kind="block")}, "kind='ffn'"),
        ({"reading": "rome_at_cma"}, "the covariance among them"),
        ({"rome": HERE}, "the covariance among them"),
        ({"units": 0}, "units is from 1 up"),
        ({"site": (1, -2)}, "both from 0 up"),
        ({"add": float("inf")}, "finite"),
    ):
        with pytest.raises(BadSetting, match=said):
            CausalNeuron(**wrong)
    with pytest.raises(UnknownName, match="cma_kn"):
        CausalNeuron("cma")
    with pytest.raises(BadSetting, match="is no edit"):
        planned(model, prompt, "site_steer")
    with pytest.raises(BadSetting, match="plans an edit"):
        CausalNeuron().steer(model, WISH, prompt)
    with pytest.raises(BadSetting, match="has no layer 9"):
        planned(model, prompt, site=(1, 9))
    with pytest.raises(BadSetting, match="tokens 0 to"):
        planned(model, prompt, site=(99, 0))
    with pytest.raises(BadSetting, match="without one"):
        planned(model, prompt, wish=FACT.becoming(None))
    with pytest.raises(NoSubject):
        planned(model, prompt, wish=eg.Fact("Estonia", "capital", "Dublin").becoming("Paris"))
    with pytest.raises(AnswerNotWritable, match="one word embedding"):
        planned(model, prompt, wish=FACT.becoming("Dublin Paris"))


# -- steering


def steered_by_hand(model, prompt, layer, vector, at, *, scaled):
    (row, *_) = model.rows(prompt)

    def hook(_module, _args, out):
        flat = out.reshape(-1, out.shape[-1]).clone()
        flat[at] += vector * (flat[at].norm() if scaled else 1)
        return flat.reshape(out.shape)

    handle = model.layers[layer].down.register_forward_hook(hook)
    inputs = {"input_ids": torch.tensor([row.ids])}
    if row.decoder:
        inputs["decoder_input_ids"] = torch.tensor([row.decoder])
    with torch.no_grad():
        logits = model.net(**inputs).logits[0]
    handle.remove()
    return float(logits[len(row.decoder) - 1 if row.decoder else row.at].log_softmax(-1)[row.target])


@pytest.mark.parametrize("kind", ["gpt2", "opt", "bert", "t5"])
@pytest.mark.parametrize("scaled", [True, False])
def test_steering_is_what_torchs_own_hook_does(kind, scaled):
    model = eg.load(*tiny(kind))
    prompt = eg.Prompt("The capital of Ireland is [Y]" + ("" if model.blank_last else "."), "Dublin")
    vector = torch.randn(16, generator=torch.Generator().manual_seed(0))
    (row, *_) = model.rows(prompt)
    for at in ("blank", 2):
        steer = Steered(1, tuple(vector.tolist()), at, scaled)
        (said,) = eg.ask(model, prompt, under=steer)
        wanted = steered_by_hand(model, prompt, 1, vector, row.at if at == "blank" else at, scaled=scaled)
        assert said.logprob == pytest.approx(wanted, abs=1e-4)
        assert said.logprob != eg.ask(model, prompt)[0].logprob
    assert not [m for m in model.net.modules() if m._forward_hooks or m._forward_pre_hooks]


def test_a_steer_acts_on_each_row_of_a_batch_at_its_own_blank():
    model = eg.load(*tiny("bert"))
    prompts = [eg.Prompt(x, "Dublin") for x in ("The capital of Ireland is [Y].", "[Y] is a city in Ireland now.")]
    prompts = [p for p in prompts for _ in range(2)]
    steer = Steered(1, (1.0,) * 16)
    together = [a.logprob for a in eg.ask(model, prompts, under=steer)]
    assert together == pytest.approx([eg.ask(model, p, under=steer)[0].logprob for p in prompts], abs=1e-5)


@pytest.mark.parametrize("at", ["blank", 1])
def test_verbs_that_write_in_its_place_refuse_it_and_work_without_it(at):
    model, steer = eg.load(*tiny("gpt2")), Steered(1, tuple(range(16)), at)
    by = eg.IntegratedGradients(steps=2)
    with pytest.raises(UnsupportedModel, match="ask under"):
        eg.locate(model, PROMPT, by=by, under=steer)
    (plain,) = eg.locate(model, PROMPT, by=by)  # without a warning that the network is run whole
    assert plain.gap.shape == (3,)
    with pytest.raises(UnsupportedModel, match="ask under"):
        eg.locate(model, PROMPT, by=by, under=steer)
    with pytest.raises(UnsupportedModel, match="ask under"):
        eg.trace(model, PROMPT, subject="Ireland", by=eg.CausalTracing(), under=steer)


def test_a_position_that_is_not_there():
    model = eg.load(*tiny("gpt2"))
    ids = torch.tensor([model.rows(PROMPT)[0].ids])
    far = Steered(0, (1.0,) * 16, at=50)
    with pytest.raises(BadSetting, match="at position 50"):
        eg.ask(model, PROMPT, under=far)
    with torch.no_grad(), holding(far, model):
        held = model.net(ids).logits
    with torch.no_grad():
        assert torch.equal(held, model.net(ids).logits)
    with pytest.raises(BadSetting, match="of your own"), holding(Steered(0, (1.0,) * 16), model):
        model.net(ids)


def test_what_cannot_steer():
    model = eg.load(*tiny("gpt2"))
    for vector, at in (((), "blank"), ((float("nan"),), "blank"), ((1.0,), "asked"), ((1.0,), -1)):
        with pytest.raises(BadSetting):
            Steered(0, vector, at)
    for steer, said in ((Steered(7, (1.0,) * 16), "has no layer 7"), (Steered(0, (1.0,)), "writes 16 numbers")):
        with pytest.raises(BadSetting, match=said):
            eg.ask(model, PROMPT, under=steer)
    assert Steered(0, (1.0, 2.0)) == Steered(0, [1, 2])
    assert hash(Steered(0, (1.0,))) == hash(Steered(0, [1]))
