"""Where to edit: a model whose place is known beforehand, trying that works in one place alone, and keys by hand."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch

import engram as eg
from engram.cases import Case, CaseSet
from engram.edits import Edit
from engram.errors import BadSetting, UnsupportedModel
from engram.experiments import suggest_layer
from engram.experiments.planning import Planner
from engram.facts import Fact, Prompt, Relation
from engram.models.editing import low_rank, planned, slots_of
from engram.models.moments import asked_moments
from engram.testing import tiny
from planted import told_at_the_subjects_place

torch.set_num_threads(1)

PLACE = (0, "subject")  # of the neuron that is planted


@pytest.fixture(scope="module")
def place():
    """The planted model, its neuron, and three cases of one sentence."""
    model, neuron, prompt = told_at_the_subjects_place()
    facts = [Fact("Ireland", "capital", "Dublin", str(i)) for i in range(3)]
    cases = [Case(f.id, f, "Paris", Prompt(prompt.text, "Dublin", f)) for f in facts]
    return model, neuron, CaseSet.of("planted", (Relation("capital", "capital", ()),), cases)


@dataclass(frozen=True)
class Turning(Planner):
    """Turns what the planted neuron writes to nothing, in one place; elsewhere an edit of nothing, or none at all."""

    layer: int
    token: str
    name = "turning"

    def plan(self, model: eg.Model, case: Case) -> Edit:
        if self.layer == 1:
            raise BadSetting("not in this layer")
        if (self.layer, self.token) != PLACE:
            return Edit("turning", case.wish, (), model.name)
        slots = slots_of(model, 0).double()
        key = torch.zeros(1, len(slots), dtype=torch.float64)
        key[0, 5] = 1.0
        words = model.net.get_input_embeddings().weight.double()
        (paris,), (dublin,) = (model.rows(case.prompt.asking_for(x)) for x in ("Paris", "Dublin"))
        value = words[paris.target] - words[dublin.target]
        return planned("turning", case.wish, (low_rank(model, 0, key, 40 * value[None].detach()),), model)

    def settings(self) -> dict[str, object]:
        return {}


def test_the_planted_place_is_found_and_is_sure(place):
    model, neuron, cases = place
    found = suggest_layer(model, cases, n=3)
    assert (found.layer, found.token) == (neuron.layer, "subject") == PLACE
    assert found.sure == 1.0
    assert len(found.facts) == 3
    assert found.tried == {}
    trace = eg.trace(model, cases.cases[0].prompt, subject="Ireland", by=eg.CausalTracing(kind="ffn", window=1))
    best = found.effects["subject"].mean
    assert best[0] > 0.5
    assert best[0] == pytest.approx(trace.effect[trace.subject[1] - 1, 0], abs=0.05)  # facts share their draw by text
    assert (np.abs(best[1:]) < 1e-6).all()
    assert "layer 0, token subject" in str(found)


def test_one_fact_says_nothing_of_others_and_is_not_sure(place):
    model, _, cases = place
    found = suggest_layer(model, cases, n=1)
    assert ((found.layer, found.token), found.sure) == (PLACE, 0.0)


def test_trying_says_where_edits_give_the_new_answer(place):
    model, _, cases = place
    found = suggest_layer(model, cases, n=2, trying=Turning)
    layers = len(model.layers)
    assert set(found.tried) == {"subject", "asked"}
    expected = [0.0] * layers
    expected[1] = np.nan
    assert found.tried["asked"] == pytest.approx(np.array(expected), nan_ok=True)
    expected[0] = 1.0
    assert found.tried["subject"] == pytest.approx(np.array(expected), nan_ok=True)
    assert found.tried_best == PLACE
    assert "trying did best in layer 0, token subject (ES 1.00)" in str(found)


def test_the_progress_of_tracing_and_trying_ends_at_its_end(place):
    model, _, cases = place
    told: list[tuple[int, int]] = []
    suggest_layer(model, cases, n=2, trying=Turning, progress=lambda done, of: told.append((done, of)))
    assert told[-1][0] == told[-1][1]
    assert all(a[0] / a[1] <= b[0] / b[1] for a, b in pairwise(told))


def test_what_a_model_does_not_know_is_not_traced():
    model = eg.load(*tiny("gpt2"))
    with pytest.raises(BadSetting, match="no fact of shipped could be traced"):
        suggest_layer(model, eg.data.shipped().only(["continent"]), n=1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n": 0}, "from 1 up"),
        ({"by": eg.CausalTracing(kind="attention")}, "kind='ffn'"),
        ({"trying": Turning}, "cases are needed"),
    ],
)
def test_settings_that_ask_for_nothing_are_refused(settings, words):
    with pytest.raises(BadSetting, match=words):
        suggest_layer(eg.load("engram:causal"), eg.data.shipped(), **settings)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_moments_of_what_is_asked_are_the_mean_of_k_k_at_the_asked_position(kind):
    net, tokenizer = tiny(kind)
    model = eg.load(net.double(), tokenizer)
    prompts = [Prompt(t, "Dublin") for t in ("The capital of Ireland is [Y]", "A city in France is [Y]", "Italy [Y]")]
    found = asked_moments(model, prompts)
    sums = [0.0 for _ in model.layers]
    keys: list[torch.Tensor] = []
    handles = [layer.down.register_forward_pre_hook(lambda _m, args: keys.append(args[0])) for layer in model.layers]
    for prompt in prompts:
        keys.clear()
        (row, *_) = model.rows(prompt)
        with torch.no_grad():
            model.net(input_ids=torch.tensor([row.ids]))
        for i, x in enumerate(keys):
            k = x[0, row.at].numpy()
            sums[i] += np.outer(k, k)
    for handle in handles:
        handle.remove()
    for i, total in enumerate(sums):
        assert np.allclose(found[i].matrix, total / len(prompts), rtol=1e-12, atol=1e-14)
        assert (found[i].count, found[i].source["prompts"]) == (3, 3)


def test_moments_of_nothing_and_of_two_stacks_are_refused():
    with pytest.raises(BadSetting, match="at least one prompt"):
        asked_moments(eg.load("engram:causal"), [])
    with pytest.raises(UnsupportedModel, match="two stacks"):
        asked_moments(eg.load(*tiny("t5")), [Prompt("The capital of Ireland is [Y].", "Dublin")])
