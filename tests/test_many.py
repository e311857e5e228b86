"""Many edits in one forward pass: each row says what it says where its edit is held alone."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, nullcontext

import pytest
import torch

import engram as eg
from engram.edits import Edit
from engram.errors import BadSetting, HookDidNotFire, OtherWeights, UnsupportedModel
from engram.models import holding, hooks, many, value_slots
from engram.models.editing import low_rank, patch, planned
from engram.models.family import families
from engram.models.many import each_under, lowest
from engram.models.questions import Batch
from engram.testing import tiny

torch.set_num_threads(1)

PROMPTS = [eg.Prompt(f"The capital of {x} is [Y].", "Dublin") for x in ("Ireland", "France", "Italy")]
WISH = eg.Fact("Ireland", "capital", "Dublin").becoming("Paris")


def load(kind, dtype=torch.float64):
    net, tokenizer = tiny(kind)
    return eg.load(net.to(dtype), tokenizer)


def random_edit(model, seed, layers=(0, 1), rank=1, size=0.5) -> Edit:
    """A change of this rank of each of these layers."""
    draw = torch.Generator().manual_seed(seed)
    shapes = {i: value_slots(model.layers[i].down).shape for i in layers}
    parts = {i: [size * torch.randn(rank, n, generator=draw) for n in shapes[i]] for i in layers}
    return planned("random", WISH, [low_rank(model, i, *parts[i]) for i in layers], model)


def slots_edit(model, *neurons) -> Edit:
    """Some value slots turned round."""
    slots = {n: value_slots(model.layers[n[0]].down)[n[1]] for n in neurons}
    return planned("slots", WISH, [patch(model, eg.Neuron(*n), x.flip(0) * 3) for n, x in slots.items()], model)


def batch_of(model, n):
    """Rows that read different things, in turn."""
    return Batch.of([model.rows(PROMPTS[i % 3])[0] for i in range(n)], model.device)


def alone(model, edit, n=3):
    """What those rows say where the edit is held. [row, vocabulary]"""
    with torch.no_grad(), hooks.quiet(model.net), holding(edit, model):
        return model.logits(batch_of(model, n))


def together(model, edits, of):
    with torch.no_grad(), hooks.quiet(model.net), each_under(model, edits) as under, under(of):
        return model.logits(batch_of(model, len(of)))


@pytest.mark.parametrize("kind", sorted(families()))
def test_each_row_is_what_it_is_where_its_edit_is_held_alone(kind):
    model = load(kind)
    edits = [random_edit(model, 0, (0,)), None, slots_edit(model, (0, 3), (0, 5), (1, 7)), random_edit(model, 1, (1,))]
    of = [2, 0, 3, 1, 0, 2]
    before = {name: x.clone() for name, x in model.net.state_dict().items()}
    said, expected = together(model, edits, of), [alone(model, e) for e in edits]
    for i, e in enumerate(of):
        assert float((said[i] - expected[e][i % 3]).abs().max()) < 1e-10 * float(expected[e].abs().max())
    assert min(float((expected[i] - expected[1]).abs().max()) for i in (0, 2, 3)) > 1e-4
    assert all(torch.equal(x, before[name]) for name, x in model.net.state_dict().items())


@pytest.mark.parametrize("kind", ["gpt2", "bert", "llama", "albert"])
@pytest.mark.parametrize("few", [0, 16])
def test_it_is_the_same_for_large_ranks_and_in_float32(kind, few, monkeypatch):
    monkeypatch.setattr(many, "FEW", few)
    model = load(kind, torch.float32)
    edits = [random_edit(model, 0, (1,), rank=5, size=0.2), random_edit(model, 1, (1,), rank=2, size=0.2), None]
    of = [0, 1, 0, 2, 1]
    said = together(model, edits, of)
    for i, e in enumerate(of):
        expected = alone(model, edits[e])[i % 3]
        assert float((said[i] - expected).abs().max()) < 2e-6 * float(expected.abs().max())


def test_every_application_of_a_shared_layer_changes():
    model = load("albert")
    edit = random_edit(model, 0, (1,))
    assert lowest(model, edit) == 0
    assert lowest(model, None) == len(model.layers)
    only_one = model.layers[1].down
    met = []
    with ExitStack() as stack:
        handle = only_one.register_forward_hook(lambda *_: met.append(1))
        stack.callback(handle.remove)
        said = together(model, [edit], [0])[0]
    assert len(met) == len(model.layers)
    assert torch.allclose(said, alone(model, edit)[0], rtol=0, atol=1e-10)


def test_several_patches_of_one_layer_hold_on_top_of_each_other():
    model = load("gpt2")
    first = random_edit(model, 0, (1,))
    with holding(first, model):
        second = random_edit(model, 1, (1,))
        third = slots_edit(model, (1, 3))  # as the first left it
    both = planned("both", WISH, [*first.patches, *second.patches], model)
    mixed = planned("mixed", WISH, [*first.patches, *third.patches], model)
    for edit in (both, mixed):
        assert torch.allclose(together(model, [edit], [0])[0], alone(model, edit)[0], rtol=0, atol=1e-10)
    wrong = planned("wrong", WISH, [*second.patches, *first.patches], model)
    for hold in (lambda: alone(model, wrong), lambda: together(model, [wrong], [0])):
        with pytest.raises(OtherWeights):
            hold()


@pytest.mark.parametrize("of", [(1,), (1, 2)])
def test_other_weights_are_refused_as_where_one_is_held(of):
    model = load("gpt2", torch.float32)
    edits = [random_edit(model, 0, of), slots_edit(model, *((i, 2) for i in of))]
    with torch.no_grad():
        value_slots(model.layers[1].down)[2, 0] += 1e-6
    for edit in edits:
        texts = []
        for hold in (alone, lambda m, e: together(m, [None, e], [0, 1])):
            with pytest.raises(OtherWeights) as caught:
                hold(model, edit)
            texts.append(str(caught.value))
        assert texts[0] == texts[1]


def test_a_layer_that_is_not_there_is_refused():
    model, larger = load("gpt2"), eg.load(*tiny("gpt2", num_hidden_layers=5))
    with pytest.raises(BadSetting):
        together(model, [random_edit(larger, 0, (4,))], [0])


def test_a_row_under_an_edit_that_is_not_there_is_refused():
    model = load("gpt2")
    with pytest.raises(BadSetting, match="edits 0 to 1, not 2"):
        together(model, [None, random_edit(model, 0)], [0, 2])


def test_other_rows_than_were_said_are_refused():
    model = load("gpt2")
    with (
        pytest.raises(UnsupportedModel, match="the rows under an edit are 2"),
        torch.no_grad(),
        each_under(model, [random_edit(model, 0)]) as under,
        under([0, 0]),
    ):
        model.logits(batch_of(model, 3))


def test_a_layer_passed_by_is_told():
    model = load("gpt2")
    with (
        pytest.raises(HookDidNotFire, match=r"transformer\.h\.1\.mlp\.c_proj"),
        each_under(model, [random_edit(model, 0, (1,))]) as under,
        under([0]),
    ):
        pass


def test_outside_an_under_the_model_is_as_it_is_and_afterwards_too():
    model = load("gpt2")
    plain = alone(model, None, 1)[0]
    with torch.no_grad(), each_under(model, [random_edit(model, 0)]) as under:
        with under([0]):
            changed = model.logits(batch_of(model, 1))[0]
        assert torch.equal(model.logits(batch_of(model, 1))[0], plain)
    assert torch.equal(alone(model, None, 1)[0], plain)
    assert not torch.allclose(changed, plain)
    assert all("forward" not in m.__dict__ for m in model.net.modules())


def test_rows_without_an_edit_are_as_they_are_to_the_last_bit():
    model = load("gpt2", torch.float32)
    edits = [None, random_edit(model, 0)]
    plain = together(model, [None], [0] * 4)
    assert torch.equal(together(model, edits, [0, 1, 0, 1])[::2], plain[::2])


def test_a_half_model_is_nearer_to_the_plan_than_where_it_is_held():
    """Held, the weights are rounded: of a change of less than a step of most of them, little is left."""
    half, wide = load("gpt2", torch.bfloat16), load("gpt2", torch.float32)
    wide.net.load_state_dict(half.net.state_dict())  # the same numbers
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, value_slots(wide.layers[1].down).shape[0], generator=draw)
    edits = [random_edit(m, 0, (1,), size=0.03) for m in (half, wide)]

    def change(model, run):
        with torch.no_grad(), run(model):
            return model.layers[1].down(x.to(model.dtype)).float() - plain[model.dtype]

    plain = {torch.bfloat16: 0.0, torch.float32: 0.0}
    plain = {m.dtype: change(m, lambda _m: nullcontext()) for m in (half, wide)}
    expected = change(wide, lambda m: holding(edits[1], m))

    @contextmanager
    def here(m):
        with each_under(m, [edits[0]]) as under, under([0]):
            yield

    held, hooked = (float((change(half, run) - expected).norm()) for run in (lambda m: holding(edits[0], m), here))
    assert hooked < 0.5 * held


def test_in_a_half_model_the_change_itself_is_computed_in_float32():
    """Two keys that a half type cannot tell apart, and values that cancel: what is left is their difference."""
    half = load("gpt2", torch.bfloat16)
    shape = value_slots(half.layers[1].down).shape
    key, value = (torch.randn(1, n, generator=torch.Generator().manual_seed(0)) for n in shape)
    keys, values = torch.cat([key, key * 1.001]), torch.cat([-value, value]) * 2000
    small = [low_rank(half, 1, keys, values), low_rank(half, 1, key, value * 2)]
    nearly, plainly = (planned("x", WISH, [p], half) for p in small)
    said = together(half, [nearly, plainly, None], [0, 0, 0, 1, 1, 1, 2, 2, 2])
    change = (said[3:6] - said[6:]).norm()
    assert float((said[:3] - said[3:6]).norm()) < 0.1 * float(change)
