"""Edits of other edits: weaker and stronger, several as one, written to stay, and what half types lose of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import engram as eg
from engram import Edit, Fact, NeuronSet, Relation
from engram.errors import BadSetting, EditConflict, OtherWeights
from engram.models.applying import apply
from engram.models.editing import changed, low_rank, planned, slots_of
from engram.models.merging import scaled, stacked
from engram.testing import tiny
from test_adapters import bits, by_hand, erasure, load, same, surgery

torch.set_num_threads(1)  # tiny networks: threads cost more than they save

IRELAND = Fact("Ireland", "capital", "Dublin")
TYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


def of_neurons(model, text, **settings):
    by = eg.KnowledgeSurgery(NeuronSet.parse(text), **{"remove": 0.5, "add": 2, **settings})
    return eg.rewrite(model, IRELAND.becoming("Paris"), by=by)


def other_rank(model, layer=2, seed=7):
    draw = torch.Generator().manual_seed(seed)
    change = low_rank(
        model, layer, torch.randn(1, model.widths[layer], generator=draw), torch.randn(1, 16, generator=draw) / 10
    )
    return planned("another", IRELAND.becoming("Cork"), [change], model, {})


def held(model, *edits):
    with eg.holding(edits, model):
        return bits(model)


def weights(model, edit):
    """All slots under the edit, float64."""
    with eg.holding(edit, model):
        return torch.cat([slots_of(model, i).double() for i in range(len(model.layers))])


# -- scaled


@pytest.mark.parametrize("dtype", TYPES)
def test_nothing_of_an_edit_is_no_change_and_all_of_it_is_itself(dtype):
    model = load("gpt2", dtype)
    for edit in (surgery(model), by_hand(model)):
        assert edit.scaled(1) is edit
        assert same(held(model, edit.scaled(0)), bits(model))
        assert not same(held(model, edit), bits(model))


@pytest.mark.parametrize("by", [0.25, 0.5, 2.0, -1.0])
def test_a_scaled_edit_goes_so_far_on_the_same_line(by):
    model = load("bert", torch.float64)
    for edit in (surgery(model), by_hand(model)):
        plain = weights(model, None)
        step, scaled_step = (weights(model, e) - plain for e in (edit, edit.scaled(by)))
        assert torch.allclose(scaled_step, by * step, atol=1e-6, rtol=1e-6)


def test_there_and_back_is_where_one_was():
    model = load("bert", torch.float64)
    edit = surgery(model)
    back = edit.scaled(-1)
    assert np.allclose((back.patches[0].after + edit.patches[0].after) / 2, edit.patches[0].before, rtol=1e-12)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_scaled_slot_is_rounded_to_what_the_model_keeps(dtype):
    model = load("bert", dtype)
    edit = surgery(model)
    half = edit.scaled(0.5)
    for p, q in zip(edit.patches, half.patches, strict=True):
        middle = (torch.tensor(p.before).double() + torch.tensor(p.after).double()) / 2
        if dtype == torch.float64:  # its own rounding on the way
            assert np.allclose(q.after, middle.numpy(), rtol=0, atol=1e-15)
            continue
        assert torch.equal(torch.tensor(q.after).double(), middle.to(dtype).double())
        assert (q.before.tobytes(), q.dtype) == (p.before.tobytes(), p.dtype)


def test_settings_say_how_much_and_of_what():
    edit = surgery(load("bert"))
    twice = edit.scaled(0.5).scaled(3)
    assert (twice.settings["scaled"], twice.settings["of"]) == (1.5, dict(edit.settings))


def test_a_scaled_edit_is_kept_like_any_other(tmp_path):
    edit = by_hand(load("bert")).scaled(0.5)
    edit.save(tmp_path / "edit")
    assert Edit.load(tmp_path / "edit") == edit


def test_what_cannot_be_scaled_says_why():
    model = load("gpt2")
    first = erasure(model)
    with eg.holding(first, model):
        more = by_hand(model, layer=1)
    both = planned("both", first.wish, [*first.patches, *more.patches], model)
    with pytest.raises(EditConflict, match="changes layer 1 twice, the second time from what the first leaves"):
        both.scaled(0.5)
    for by in (float("nan"), float("inf")):
        with pytest.raises(BadSetting, match="scaled by a finite number"):
            scaled(first, by)


# -- stacked


@pytest.mark.parametrize("kind", ["gpt2", "bert", "llama"])
def test_edits_of_different_places_are_one_that_does_what_both_do(kind, tmp_path):
    model = load(kind)
    one, other = surgery(model), by_hand(model, layer=2)
    both = stacked(one, other)
    assert same(held(model, both), held(model, one, other))
    assert same(held(model, both), held(model, stacked(other, one)))
    assert (both.layers, both.method) == ((0, 1, 2), "stacked")
    assert both.wish == (one.wish,)  # the same one, told once
    assert [e["method"] for e in both.settings["edits"]] == ["knowledge_surgery", "by hand"]
    both.save(tmp_path / "both")
    assert Edit.load(tmp_path / "both") == both


def test_changes_of_low_rank_of_one_layer_are_added():
    model = load("gpt2")
    one, other = by_hand(model), other_rank(model)
    both = stacked(one, other)
    (patch,) = both.patches
    assert (patch.rank, patch.before) == (3, one.patches[0].before)
    plain = slots_of(model, 2).double()
    change = sum(
        torch.tensor(p.keys).double().T @ torch.tensor(p.values).double() for e in (one, other) for p in e.patches
    )
    with eg.holding(both, model):
        assert torch.allclose(slots_of(model, 2).double(), plain + change, atol=1e-6)
    three = stacked(both, other_rank(model, seed=8))
    assert three.patches[0].rank == 4


def test_what_several_change_alike_is_changed_once():
    model = load("bert")
    twice = stacked(surgery(model), surgery(model), by_hand(model, layer=2), by_hand(model, layer=2))
    assert same(held(model, twice), held(model, surgery(model), by_hand(model, layer=2)))
    edit = surgery(model)
    assert stacked(edit) is edit


def test_wishes_of_every_kind_are_put_together(tmp_path):
    model = load("bert")
    relation = Relation("P36", "capital", ("The capital of [X] is [Y].",), "1-1")
    one = dataclasses.replace(of_neurons(model, "L0.3"), wish=relation)
    other = dataclasses.replace(of_neurons(model, "L0.4"), wish=(IRELAND.becoming("Cork"), IRELAND.becoming(None)))
    both = stacked(one, other)
    assert both.wish == (relation, IRELAND.becoming("Cork"), IRELAND.becoming(None))
    both.save(tmp_path / "both")
    assert Edit.load(tmp_path / "both").wish == both.wish
    assert "the relation P36, ⟨Ireland, capital, Dublin⟩ → Cork" in str(both)


CONFLICTS = {
    "a slot becomes two things": (
        lambda m: (surgery(m), of_neurons(m, "L1.7", add=3)),
        r"edits 0 \(knowledge_surgery of ⟨Ireland.*⟩ → Paris\) and 1 \(know.* both change the value slot of L1\.7, "
        "which "
        "is to become two different things. Plan the second under the first",
    ),
    "a slot of a layer that is changed": (
        lambda m: (surgery(m), by_hand(m, layer=1)),
        "both change layer 1, which is changed by one of them as a whole, and by the other in single value slots",
    ),
    "a layer, and a slot of it": (lambda m: (by_hand(m, layer=1), surgery(m)), r"both change the value slot of L1\.7"),
}  # fmt: skip


@pytest.mark.parametrize("what", CONFLICTS)
def test_two_edits_of_one_place_are_refused_and_named(what):
    model = load("bert")
    make, message = CONFLICTS[what]
    before = bits(model)
    with pytest.raises(EditConflict, match=message):
        stacked(*make(model))
    assert same(bits(model), before)


def test_what_was_planned_under_another_edit_is_held_after_it_and_not_stacked():
    model = load("gpt2")
    for first, make in ((surgery(model), surgery), (by_hand(model), other_rank)):
        with eg.holding(first, model):
            second = make(model)
        with pytest.raises(
            EditConflict, match=r"planned on other weights, or under another edit.*under=\(first, second\)"
        ):
            stacked(first, second)
        held(model, first, second)


def test_edits_for_different_networks_are_no_one_edit():
    one, other = surgery(load("bert")), surgery(load("gpt2"))
    with pytest.raises(
        EditConflict, match=r"different networks: BertForMaskedLM \(BertForMaskedLM\) and GPT2LMHeadModel"
    ):
        stacked(one, other)
    wide = surgery(eg.load(*tiny("bert", hidden_size=32)))
    with pytest.raises(EditConflict, match="different networks"):
        stacked(one, wide)
    with pytest.raises(BadSetting, match="was given none"):
        stacked()


def test_layers_that_share_their_weights_are_one_place():
    model = load("albert")
    one, other = (
        eg.rewrite(model, IRELAND.becoming(None), by=eg.Erasure(NeuronSet.parse(x))) for x in ("L0.3", "L1.3")
    )
    alike = stacked(one, dataclasses.replace(other))
    assert len(alike.patches) == 1
    with pytest.raises(EditConflict, match=r"value slot of L1\.3"):
        stacked(one.scaled(0.5), other)


def test_maps_that_share_their_weight_are_one_place():
    model = load("llama")
    down = [x.mlp.down_proj for x in model.net.model.layers]
    down[2].weight = down[0].weight
    one, other = of_neurons(model, "L0.3"), of_neurons(model, "L2.3", add=3)
    with pytest.raises(EditConflict, match=r"value slot of L2\.3, which is to become two different things"):
        stacked(one, other)
    with pytest.raises(EditConflict, match="was not planned under the one that is held"):
        held(model, one, other)
    assert len(stacked(one, of_neurons(model, "L2.3")).patches) == 1


# -- one held on top of another


def test_a_conflict_with_an_edit_that_is_held_names_it():
    model = load("gpt2")
    one, other = surgery(model), erasure(model)
    with eg.holding(one, model):
        with pytest.raises(
            EditConflict, match=r"\(erasure of ⟨.* was not planned under the one that is held \(knowledge"
        ):
            held(model, other)
        with pytest.raises(EditConflict, match="what layer 1 of GPT2LMHeadModel holds"):
            held(model, dataclasses.replace(by_hand(model, layer=1), patches=by_hand(load("gpt2"), layer=1).patches))
        held(model, by_hand(model, layer=2))  # elsewhere
    slots_of(model, 1)[7, 0] += 1
    with pytest.raises(OtherWeights) as caught:
        held(model, other)
    assert type(caught.value) is OtherWeights  # nothing is held any more


def test_a_conflict_in_the_last_of_several_leaves_all_as_it_was():
    model = load("bert")
    before = bits(model)
    slots = (*erasure(model).patches[:2], by_hand(load("gpt2"), layer=2).patches[0])
    with pytest.raises(OtherWeights, match="what layer 2"):
        held(model, planned("x", IRELAND.becoming(None), slots, model))
    assert same(bits(model), before)


# -- applied


@pytest.mark.parametrize("dtype", TYPES)
def test_an_applied_edit_is_the_held_one_and_is_taken_out_to_the_last_bit(dtype):
    model = load("llama", dtype)
    before = bits(model)
    first = erasure(model)
    with eg.holding(first, model):
        more = by_hand(model, layer=1)
    edit = planned("both", first.wish, [*first.patches, *more.patches], model)
    undo = apply(edit, model)
    assert same(bits(model), there := held_fresh(edit, dtype))
    assert not same(there, before)
    undo()
    assert same(bits(model), before)
    assert undo.done
    with pytest.raises(BadSetting, match="taken out of LlamaForCausalLM already"):
        undo()


def held_fresh(edit, dtype):
    return held(load("llama", dtype), edit)


def test_a_block_takes_it_out_whatever_happens():
    model = load("bert")
    before = bits(model)
    with pytest.raises(ZeroDivisionError), apply(surgery(model), model):
        _ = 1 / same(bits(model), before)
    assert same(bits(model), before)
    with apply(surgery(model), model) as undo:
        undo()
    assert same(bits(model), before)


def test_what_was_changed_since_is_not_overwritten():
    model = load("bert")
    before = bits(model)
    first = apply(surgery(model), model)
    second = apply(erasure(model), model)
    left = bits(model)
    with pytest.raises(OtherWeights, match=r"changed since it was applied\. Take out what came later first"):
        first()
    assert same(bits(model), left)
    second()
    first()
    assert same(bits(model), before)


def test_an_edit_of_other_weights_is_not_applied():
    model = load("bert")
    edit = surgery(model)
    slots_of(model, 1)[7, 3] += 1
    before = bits(model)
    with pytest.raises(OtherWeights):
        apply(edit, model)
    assert same(bits(model), before)


# -- what half types lose


@pytest.mark.parametrize("dtype", TYPES)
def test_what_rounding_loses_of_a_change_is_told_of_half_types(dtype):
    model = load("gpt2", dtype)
    edit = by_hand(model)
    if dtype in (torch.float32, torch.float64):
        assert "rounding" not in edit.settings
        return
    (patch,) = edit.patches
    slots = slots_of(model, 2)
    wanted = torch.tensor(patch.keys).double().T @ torch.tensor(patch.values).double()
    got = changed(slots, patch).double() - slots.double()
    assert edit.settings["rounding"] == {"2": pytest.approx(float((got - wanted).norm() / wanted.norm()))}
    small = planned("small", edit.wish, [dataclasses.replace(patch, values=patch.values / 1000)], model)
    assert small.settings["rounding"]["2"] > 10 * edit.settings["rounding"]["2"]  # less than a step of the type
