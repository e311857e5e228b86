"""A model and facts of which a test knows beforehand what its neurons do."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

import engram as eg
from engram import Fact, FactSet, NeuronSet, Relation
from engram.experiments import Neurons
from engram.experiments.neurons import Sets
from engram.models import value_slots
from engram.testing import tiny

CAPITAL = Relation("capital", "capital", (
    "The capital of [X] is [Y].", "A city in [X] is [Y].", "[X] has the capital [Y].", "The city of [X] is [Y].",
))  # fmt: skip
BORN = Relation("born", "place of birth", ("[X] was born in [Y].", "The city [X] is in [Y].", "[X] is in [Y]."))
CITIES = ("Dublin", "Paris", "Rome", "Lyon", "Limerick")
LANDS = ("Ireland", "France", "Italy", "Estonia", "city")
FACTS = FactSet("planted", (CAPITAL, BORN), {
    "capital": tuple(Fact(x, "capital", y) for x, y in zip(LANDS, CITIES, strict=True)),
    "born": tuple(Fact(x, "born", y) for x, y in zip(("Once", "time", "The", "Tall"), CITIES[::-1], strict=False)),
})  # fmt: skip
WRITER = NeuronSet.of([(2, 3)])


@dataclass(frozen=True)
class Given(Neurons):
    """Neurons that a test has named: of every fact of each relation, by the arm that uses them."""

    named: dict[str, dict[str, NeuronSet]] = field(default_factory=dict)

    def sets(self, model, facts, case, *, progress=None):
        there = facts.facts(case["relation"])
        arms = {
            arm: tuple(self.named.get(there[i].subject, {}).get(arm, NeuronSet()) for i in case["facts"])
            for arm in ("attribution", "activation", "chance")
        }
        about = {"drawn": len(there), "askable": len(there), "known": None, "widths": list(model.widths), "shares": {}}
        return Sets(case["relation"], tuple(there[i] for i in case["facts"]), tuple(case["facts"]), arms, about)


def planted():
    """A causal model that says "Dublin" whatever it is asked, because the slot of one neuron, always on, writes it.

    All words are equally long and its last normalisation leaves directions alone, so a slot that writes a word alone
    makes the model say that word.
    """
    net, tokenizer = tiny("gpt2")
    model = eg.load(net, tokenizer)
    with torch.no_grad():
        words = net.get_input_embeddings().weight
        words -= words.mean(-1, keepdim=True)
        words /= words.norm(dim=-1, keepdim=True)
        net.transformer.ln_f.weight.fill_(1)
        net.transformer.ln_f.bias.zero_()
        net.transformer.h[2].mlp.c_fc.weight[:, 3] = 0
        net.transformer.h[2].mlp.c_fc.bias[3] = 5.0
        value_slots(model.layers[2].down)[3] = 20 * words[model.rows(eg.Prompt("Ireland [Y]", "Dublin"))[0].target]
    return model


def weights(model):
    return {name: x.clone() for name, x in model.net.state_dict().items()}


def done(experiment, model, relation="capital", facts=FACTS):
    """The result of one relation."""
    (case,) = [c for c in experiment.cases(facts) if c["relation"] == relation]
    return experiment.run(model, facts, case)


def only(result, **wanted):
    """The rows that say this."""
    return [r for r in result["rows"] if all(r[k] == v for k, v in wanted.items())]


def _emptied(told):
    """A causal model of three layers that does nothing but repeat words, and a neuron that fires at "Ireland" alone.

    Words are unit vectors without a mean and positions are all alike; what the neuron writes is `told(word)`.
    """
    net, tokenizer = tiny("gpt2")
    model = eg.load(net, tokenizer)
    prompt = eg.Prompt("The capital of Ireland is [Y]", "Dublin")
    with torch.no_grad():
        words = net.get_input_embeddings().weight
        words -= words.mean(-1, keepdim=True)
        words /= words.norm(dim=-1, keepdim=True)
        net.transformer.wpe.weight.zero_()
        for block in net.transformer.h:
            for part in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
                part.weight.zero_()
                part.bias.zero_()
            for norm in (block.ln_1, block.ln_2):
                norm.weight.fill_(1)
                norm.bias.zero_()
        net.transformer.ln_f.weight.fill_(4)
        net.transformer.ln_f.bias.zero_()
        (row,) = model.rows(prompt)
        subject, answer = words[row.ids[3]].clone(), words[row.target].clone()
        neuron = eg.Neuron(0, 5)
        fc = net.transformer.h[0].mlp.c_fc
        fc.weight[:, 5], fc.bias[5] = 5 * subject, -16.0  # its own word gives 20, no other more than 16
        value_slots(model.layers[0].down)[5] = 8 * told(words, answer)
    return model, neuron, answer


def told_at_the_subject():
    """The neuron writes the answer, and the subject is the last word: one is asked where it was told."""
    model, neuron, _ = _emptied(lambda _words, answer: answer)
    return model, neuron, eg.Prompt("The capital of Ireland [Y]", "Dublin")


def told_at_the_subjects_place():
    """The neuron writes another word at the subject, and the next layer's attention makes the answer of it."""
    model, neuron, answer = _emptied(lambda words, _answer: words[7])
    net = model.net
    with torch.no_grad():
        wide = net.config.n_embd
        attn = net.transformer.h[1].attn
        message = net.get_input_embeddings().weight[7]
        attn.c_attn.weight[:, 2 * wide :] = 20 * torch.outer(message, answer)
        attn.c_proj.weight.copy_(torch.eye(wide))
    return model, neuron, eg.Prompt("The capital of Ireland is [Y]", "Dublin")
