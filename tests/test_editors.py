"""Edits: planned without a change, held to the letter of the formula, and undone to the last bit."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import engram as eg
from engram import Fact, Neuron, NeuronSet
from engram.editors import editors
from engram.edits import Slot
from engram.errors import AnswerNotWritable, BadSetting, OtherWeights, UnknownName, UnsupportedModel
from engram.models import value_slots
from engram.models.family import families
from engram.testing import tiny

torch.set_num_threads(1)  # tiny networks: threads cost more than they save

PROMPTS = [eg.Prompt(f"The capital of {x} is [Y].", "Dublin") for x in ("Ireland", "France", "Italy")]
IRELAND, ESTONIA = Fact("Ireland", "capital", "Dublin"), Fact("Estonia", "capital", "Tallinn")
NEURONS = NeuronSet.parse("L0.3 L0.5 L1.7")
SRC = Path(eg.__file__).resolve().parent.parent
NARROW = ("albert", "electra", "opt")  # their embeddings are narrower than their hidden states


def load(kind, dtype=torch.float32):
    net, tokenizer = tiny(kind)
    return eg.load(net.to(dtype), tokenizer)


def bits(model):
    return {name: x.contiguous().view(torch.uint8).clone() for name, x in model.net.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(x, b[name]) for name, x in a.items())


def nats(model, under=None):
    return [a.logprob for a in eg.ask(model, PROMPTS, under=under)]


def sharing(model, neurons):
    """The neurons, and those of all other layers that have the same value slots."""
    downs = {(model.layers[n.layer].down, n.index) for n in neurons}
    return NeuronSet.of((x.index, i) for x in model.layers for down, i in downs if x.down is down)


def erased(model, neurons=NEURONS):
    return eg.rewrite(model, IRELAND.becoming(None), by=eg.Erasure(neurons))


# -- every family


@pytest.mark.parametrize("kind", sorted(families()))
def test_erasing_a_slot_is_silencing_its_neuron_everywhere(kind):
    model = load(kind)
    before, plain = bits(model), nats(model)
    edit = erased(model)
    assert same(bits(model), before)
    quiet = nats(model, eg.suppressed(sharing(model, NEURONS), at="everywhere"))
    assert nats(model, edit) == pytest.approx(quiet, abs=2e-5)
    assert max(abs(a - b) for a, b in zip(quiet, plain, strict=True)) > 1e-4
    assert same(bits(model), before)
    assert nats(model) == plain


@pytest.mark.parametrize("kind", sorted(set(families()) - set(NARROW)))
def test_surgery_writes_what_the_formula_says_and_is_undone_to_the_last_bit(kind):
    model = load(kind)
    before = bits(model)
    prompt = eg.Prompt("Ireland [Y]", "Dublin")
    old, new = (model.rows(prompt.asking_for(a))[0].target for a in ("Dublin", "Paris"))
    embeddings = model.net.get_input_embeddings().weight.detach()
    edit = eg.rewrite(model, IRELAND.becoming("Paris"), by=eg.KnowledgeSurgery(NEURONS, remove=0.5, add=2))
    with eg.holding(edit, model):
        held = {n: value_slots(model.layers[n.layer].down)[n.index].clone() for n in NEURONS}
    assert same(bits(model), before)
    for n, seen in held.items():
        v = value_slots(model.layers[n.layer].down)[n.index]
        into, out = (embeddings[i] / embeddings[i].norm() for i in (new, old))
        expected = v + v.norm() * (2 * into - out / 2)
        assert torch.allclose(seen, expected, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(seen, v, atol=1e-2)


@pytest.mark.parametrize("kind", NARROW)
def test_where_an_embedding_does_not_fit_a_slot_surgery_says_so(kind):
    with pytest.raises(UnsupportedModel, match="have 8 numbers and its value slots 16"):
        eg.rewrite(load(kind), IRELAND.becoming("Paris"), by=eg.KnowledgeSurgery(NEURONS))


# -- the formula, by hand


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (3.0, 4.0 - 5.0, 40.0)),  # ‖v‖ = 5, ‖e(t)‖ = 2, ‖e(t')‖ = 1
        ({"preset": "hunter"}, (3.0, -1.0, 40.0)),
        ({"preset": "paper"}, (3.0, 4.0 - 2.0, 8.0)),
        ({"preset": "eleuther"}, (3.0, 4.0 - 4.0, 2.0)),
        ({"preset": "paper", "add": 3}, (3.0, 2.0, 3.0)),
        ({"remove": 0, "add": 0}, (3.0, 4.0, 0.0)),
    ],
)
def test_a_slot_worked_out_by_hand(settings, expected):
    model = load("gpt2")
    old, new = (model.rows(eg.Prompt("Ireland [Y]", a))[0].target for a in ("Dublin", "Paris"))
    with torch.no_grad():
        for x, values in (
            (value_slots(model.layers[1].down)[7], (3.0, 4.0)),
            (model.net.get_input_embeddings().weight[old], (0.0, 2.0)),
            (model.net.get_input_embeddings().weight[new], (0.0, 0.0, 1.0)),
        ):
            x.zero_()
            x[: len(values)] = torch.tensor(values)
    edit = eg.rewrite(model, IRELAND.becoming("Paris"), by=eg.KnowledgeSurgery(NeuronSet.of([(1, 7)]), **settings))
    (patch,) = edit.patches
    assert patch.after.tolist() == [*expected, *[0.0] * 13]
    assert (patch.layer, patch.index, patch.before.tolist()) == (1, 7, [3.0, 4.0, *[0.0] * 14])


def test_nothing_removed_and_nothing_added_is_the_model_itself():
    for kind, dtype in (("bert", torch.float32), ("llama", torch.bfloat16), ("t5", torch.float64)):
        model = load(kind, dtype)
        edit = eg.rewrite(model, IRELAND.becoming("Paris"), by=eg.KnowledgeSurgery(NEURONS, remove=0, add=0))
        assert all(np.array_equal(p.before, p.after) for p in edit.patches)
        assert nats(model, edit) == nats(model)


def test_the_output_embedding_is_another_where_it_is_not_tied():
    model = load("llama")
    wish, made = IRELAND.becoming("Paris"), {}
    for which in ("input", "output"):
        made[which] = eg.rewrite(model, wish, by=eg.KnowledgeSurgery(NEURONS, embedding=which, preset="paper"))
    new, old = (model.rows(eg.Prompt("Ireland [Y]", a))[0].target for a in ("Paris", "Dublin"))
    written = made["output"].patches[0].after - made["output"].patches[0].before
    weight = model.net.lm_head.weight.detach()
    assert written == pytest.approx((8 * weight[new] - weight[old]).numpy(), abs=1e-5)
    assert not np.allclose(made["input"].patches[0].after, made["output"].patches[0].after, atol=1e-2)


def planted(answer="Dublin"):
    """A causal model with a neuron that is always on, and whose slot writes an answer."""
    net, tokenizer = tiny("gpt2")
    model = eg.load(net, tokenizer)
    word = net.get_input_embeddings().weight[model.rows(eg.Prompt("Ireland [Y]", answer))[0].target]
    with torch.no_grad():
        net.transformer.h[2].mlp.c_fc.weight[:, 3] = 0
        net.transformer.h[2].mlp.c_fc.bias[3] = 5.0
        value_slots(model.layers[2].down)[3] = 20 * word / word.norm()
    return model


def test_where_a_slot_writes_the_answer_surgery_makes_it_write_the_other_one():
    model = planted()
    edit = eg.rewrite(model, IRELAND.becoming("Paris"), by=eg.KnowledgeSurgery(NeuronSet.of([(2, 3)])))
    assert [a.top[0][0] for a in eg.ask(model, PROMPTS)] == ["Dublin"] * 3
    assert [a.top[0][0] for a in eg.ask(model, PROMPTS, under=edit)] == ["Paris"] * 3
    gone = eg.rewrite(model, IRELAND.becoming(None), by=eg.Erasure(NeuronSet.of([(2, 3)])))
    assert all(a.rank > 1 for a in eg.ask(model, PROMPTS, under=gone))


def test_erasing_to_unk_writes_the_embedding_of_the_unknown_token():
    model = load("bert")
    edit = eg.rewrite(model, IRELAND.becoming(None), by=eg.Erasure(NEURONS, to="unk"))
    unknown = model.net.get_input_embeddings().weight[model.tokenizer.unk_token_id].detach().numpy()
    assert all(np.array_equal(p.after, unknown) for p in edit.patches)
    with pytest.raises(BadSetting, match="masked models"):
        eg.rewrite(load("gpt2"), IRELAND.becoming(None), by=eg.Erasure(NEURONS, to="unk"))


# -- held, and undone


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("kind", ["bert", "gpt2"])  # nn.Linear and Conv1D
def test_whatever_happens_inside_the_weights_come_back_to_the_last_bit(kind, dtype):
    model = load(kind, dtype)
    with torch.no_grad():
        value_slots(model.layers[0].down)[3, 0] = -0.0
    before = bits(model)
    edit = pickle.loads(pickle.dumps(eg.rewrite(model, IRELAND.becoming("Paris"), by=eg.KnowledgeSurgery(NEURONS))))

    def fail():
        with eg.holding((edit, eg.amplified(NEURONS, at="everywhere")), model):
            assert not same(bits(model), before)
            with eg.holding(erased(model), model):
                assert not value_slots(model.layers[0].down)[3].any()
            eg.ask(model, PROMPTS)
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            fail()
        assert same(bits(model), before)


def test_an_edit_and_an_intervention_hold_together():
    model = load("bert")
    edit = eg.rewrite(model, IRELAND.becoming("Paris"), by=eg.KnowledgeSurgery(NEURONS))
    silent = eg.suppressed(NEURONS, at="everywhere")
    assert nats(model, (edit, silent)) == pytest.approx(nats(model, erased(model)), abs=1e-5)
    assert nats(model, (silent, edit)) == nats(model, (edit, silent))


def test_an_edit_on_top_of_another_is_planned_under_it():
    model = load("bert")
    first = eg.rewrite(model, IRELAND.becoming("Paris"), by=eg.KnowledgeSurgery(NEURONS))
    with eg.holding(first, model):
        second = erased(model)
    assert nats(model, (first, second)) == nats(model, erased(model))
    with pytest.raises(OtherWeights, match="another edit held"):
        nats(model, second)


def test_an_edit_is_refused_on_weights_that_differ_in_one_bit():
    model = load("bert")
    edit, plain = erased(model), bits(model)
    slot = value_slots(model.layers[1].down)[7]
    for change in (lambda x: x.nextafter(x + 1), lambda x: -x):
        kept = slot[0].clone()
        slot[0] = change(slot[0])
        changed = bits(model)
        with pytest.raises(OtherWeights, match=r"value slot of L1\.7 of BertForMaskedLM is not bit for bit"):
            nats(model, edit)
        assert same(bits(model), changed)
        slot[0] = kept
    assert same(bits(model), plain)
    slot[0] = 0.0
    zero = erased(model)
    slot[0] = -0.0
    with pytest.raises(OtherWeights):
        nats(model, zero)


def test_an_edit_is_refused_on_a_model_of_another_form():
    edit = erased(load("bert"))
    for other in (load("bert", torch.bfloat16), eg.load(*tiny("bert", hidden_size=32))):
        with pytest.raises(OtherWeights, match="numbers of"):
            nats(other, edit)
    with pytest.raises(BadSetting, match=r"no neuron L1\.7"):
        nats(eg.load(*tiny("bert", intermediate_size=6)), edit)


def test_layers_that_share_their_weights_share_the_edit():
    model = load("albert")
    both = NeuronSet.of([(0, 3), (1, 3), (2, 3)])
    edit = erased(model, both)
    assert len(edit.patches) == 1
    assert nats(model, edit) == pytest.approx(nats(model, eg.suppressed(both, at="everywhere")), abs=1e-5)
    assert nats(model, erased(model, NeuronSet.of([(2, 3)]))) == nats(model, edit)


# -- the value


def test_equal_edits_are_equal_and_survive_copies():
    model = load("bert")
    edit = erased(model)
    assert edit == erased(model) != erased(model, NeuronSet.parse("L0.3"))
    for twin in (pickle.loads(pickle.dumps(edit)), copy.deepcopy(edit)):
        assert (twin, hash(twin)) == (edit, hash(edit))
        assert not twin.patches[0].before.flags.writeable
    assert (edit.method, edit.model, edit.settings["to"]) == ("erasure", "BertForMaskedLM", "zero")
    assert edit.settings["neurons"] == "{L0.3, L0.5, L1.7}"
    assert edit.neurons == NEURONS


def test_slots_are_compared_to_the_last_bit():
    zero = np.zeros(2, np.float32)
    assert Slot(Neuron(0, 0), zero, zero) == Slot(Neuron(0, 0), zero.copy(), zero)
    assert Slot(Neuron(0, 0), zero, zero) != Slot(Neuron(0, 0), -zero, zero)
    with pytest.raises(BadSetting, match="a vector before and one of the same form after"):
        Slot(Neuron(0, 0), zero, np.zeros(3, np.float32))


def test_bfloat16_slots_are_kept_exactly():
    model = load("gpt2", torch.bfloat16)
    patch = eg.rewrite(model, IRELAND.becoming("Paris"), by=eg.KnowledgeSurgery(NEURONS)).patches[0]
    assert (patch.dtype, patch.before.dtype) == ("bfloat16", np.float32)
    slot = value_slots(model.layers[0].down)[3]
    assert torch.equal(torch.tensor(patch.before).to(torch.bfloat16), slot)
    assert torch.equal(torch.tensor(patch.after).to(torch.bfloat16).float(), torch.tensor(patch.after))


def test_an_edit_that_was_unpickled_elsewhere_can_be_held(tmp_path):
    """Where nothing but engram has been imported, and no editor."""
    edit = erased(eg.load())
    (tmp_path / "edit").write_bytes(pickle.dumps(edit))
    code = (
        "import pickle, sys, engram as eg; edit = pickle.load(open(sys.argv[1], 'rb'));"
        "assert 'engram.editors' not in sys.modules;"
        "print(eg.ask(eg.load(), eg.Prompt('The capital of Ireland is [Y].', 'Dublin'), under=edit)[0].rank)"
    )
    command, env = [sys.executable, "-c", code, str(tmp_path / "edit")], {**os.environ, "PYTHONPATH": str(SRC)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.stdout.strip().isdigit(), done.stderr


# -- what cannot be


@pytest.mark.parametrize(
    ("wish", "by", "error", "text"),
    [
        (IRELAND.becoming(None), eg.KnowledgeSurgery(NEURONS), BadSetting, "To erase, use Erasure"),
        (eg.Relation("P36", "capital", ()), eg.KnowledgeSurgery(NEURONS), BadSetting, "one fact another answer"),
        ((IRELAND.becoming("Rome"),) * 2, eg.KnowledgeSurgery(NEURONS), BadSetting, "one fact another answer"),
        (IRELAND.becoming("Dublin"), eg.KnowledgeSurgery(NEURONS), BadSetting, "is the old one"),
        (IRELAND.becoming("Tallinn"), eg.KnowledgeSurgery(NEURONS), AnswerNotWritable, "2 tokens: Tall ##inn"),
        (ESTONIA.becoming("Rome"), eg.KnowledgeSurgery(NEURONS), AnswerNotWritable, "2 tokens"),
        (IRELAND.becoming("Ж"), eg.KnowledgeSurgery(NEURONS), AnswerNotWritable, "cannot write 'Ж'"),
        (IRELAND.becoming("Rome"), eg.KnowledgeSurgery(NeuronSet()), BadSetting, "was given none"),
        (IRELAND.becoming("Rome"), eg.KnowledgeSurgery(NeuronSet.of([(9, 1)])), BadSetting, r"no neuron L9\.1"),
        (IRELAND.becoming("Rome"), eg.Erasure(NEURONS), BadSetting, "erasure writes no new answer"),
        (eg.Relation("P36", "capital", ()), eg.Erasure(NeuronSet()), BadSetting, "was given none"),
    ],
)  # fmt: skip
def test_a_wish_that_cannot_be_planned_is_refused_with_its_reason(wish, by, error, text):
    model = load("bert")
    before = bits(model)
    with pytest.raises(error, match=text):
        eg.rewrite(model, wish, by=by)
    assert same(bits(model), before)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: eg.KnowledgeSurgery(NEURONS, preset="papr"), UnknownName),
        (lambda: eg.KnowledgeSurgery(NEURONS, embedding="middle"), UnknownName),
        (lambda: eg.KnowledgeSurgery(NEURONS, add=float("nan")), BadSetting),
        (lambda: eg.Erasure(NEURONS, to="one"), UnknownName),
        (lambda: editors["surgery"], UnknownName),
    ],
)
def test_a_setting_that_is_not_one_is_refused(make, error):
    with pytest.raises(error):
        make()


def test_editors_are_found_by_name():
    named = ["alpha_edit", "causal_neuron", "erasure", "fine_tuning", "knowledge_surgery", "memit", "rome"]
    assert editors.names() == named
    assert editors["erasure"] is eg.Erasure


def test_the_answer_is_written_as_in_the_sentence_that_is_given():
    model = load("gpt2")
    wish, by = IRELAND.becoming("Paris"), eg.KnowledgeSurgery(NEURONS)
    assert eg.rewrite(model, wish, by=by, prompt=PROMPTS[0]) == eg.rewrite(model, wish, by=by)
    with pytest.raises(AnswerNotWritable, match="Dubl in"):  # without a space before it, it is another word
        eg.rewrite(model, wish, by=by, prompt=eg.Prompt("'[Y]", "Dublin"))
