"""Every family keeps the contract, and the contract notices when one does not."""

from __future__ import annotations

import importlib.util
import sys
import types
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

import engram as eg
from engram import registry
from engram.errors import HookDidNotFire, UnknownName, UnsupportedModel
from engram.models import Model, family, value_slots
from engram.models.family import Family, Stack, families, family_of, table
from engram.testing import check_family, tiny
from engram.testing.contract import PROMPTS
from engram.testing.networks import SETTINGS

torch.set_num_threads(1)  # tiny networks: threads cost more than they save
ROOT = Path(__file__).resolve().parent.parent
DUBLIN = PROMPTS[0]
VARIANTS = [
    ("albert", {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2}),
    ("albert", {"num_hidden_layers": 5, "num_hidden_groups": 3}),
    ("bert", {"attn_implementation": "eager"}),
    ("bart", {"tie_word_embeddings": False}),
    ("bloom", {"apply_residual_connection_post_layernorm": True}),
    ("deberta-v2", {"legacy": False}),
    ("falcon", {"alibi": True}),
    ("falcon", {"new_decoder_architecture": True}),
    ("falcon", {"parallel_attn": False, "bias": True}),
    ("gemma3_text", {"sliding_window": 3}),
    ("gpt_neox", {"use_parallel_residual": False}),
    ("gpt2", {"reorder_and_upcast_attn": True, "scale_attn_by_inverse_layer_idx": True}),
    ("mistral", {"sliding_window": 3}),
    ("opt", {"do_layer_norm_before": False}),
    ("stablelm", {"use_parallel_residual": True, "qk_layernorm": True}),
    ("t5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
]


@pytest.mark.parametrize("model_type", sorted(families()))
def test_a_family_keeps_the_contract(model_type):
    check_family(Model.wrap(*tiny(model_type)))


@pytest.mark.parametrize(("model_type", "settings"), VARIANTS)
def test_the_variants_of_a_family_keep_it_too(model_type, settings):
    check_family(Model.wrap(*tiny(model_type, **settings)))


def test_there_is_a_tiny_network_of_every_family():
    assert set(SETTINGS) == set(families())


def test_albert_has_a_layer_for_every_application_of_its_shared_weights():
    model = Model.wrap(*tiny("albert", num_hidden_layers=4, num_hidden_groups=2, inner_group_num=2))
    blocks = model.net.albert.encoder.albert_layer_groups
    expected = [blocks[g].albert_layers[i] for g in (0, 0, 1, 1) for i in (0, 1)]
    assert [layer.block for layer in model.layers] == expected
    with torch.no_grad():
        one = [
            eg.ask(model, DUBLIN, under=eg.suppressed(eg.NeuronSet.of((layer, i) for i in range(24))))[0].logprob
            for layer in range(8)
        ]
    assert len(set(one)) == 8  # each application is silenced by itself


# -- a tiny network is the same every time, and disturbs nothing


def test_a_tiny_network_depends_on_its_seed_and_leaves_torch_s_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    a, b, c = (tiny("bert", seed=s)[0].cls.predictions.transform.dense.weight for s in (1, 1, 2))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_a_tiny_network_of_an_unknown_type_is_refused():
    with pytest.raises(UnknownName, match=r"bertt.*Did you mean bert"):
        tiny("bertt")


def test_both_ways_of_writing_spaces_are_there():
    bytewise, metaspace = tiny("gpt2")[1], tiny("llama")[1]
    assert bytewise.tokenize("is Paris") == ["is", "ĠParis"]
    assert metaspace.tokenize("is Paris") == ["▁is", "▁Paris"]
    assert bytewise("is")["input_ids"][0] != bytewise.bos_token_id
    assert metaspace("is")["input_ids"][0] == metaspace.bos_token_id


# -- what is refused, and how


@pytest.mark.parametrize(
    "kind",
    ["mixtral", "qwen3_moe", "olmoe", "gpt_oss", "deepseek_v3", "granitemoe", "llama4", "dbrx", "switch_transformers"],
)
def test_a_mixture_of_experts_is_refused_with_the_reason(kind):
    with pytest.raises(UnsupportedModel, match=rf"{kind}.*mixture of experts \(\w*experts=\d+\)"):
        family_of(AutoConfig.for_model(kind))


def test_an_unknown_architecture_is_refused_with_what_is_near():
    with pytest.raises(UnsupportedModel, match=r"'big_bird'.*Known: albert, .*add-a-family.md"):
        family_of(AutoConfig.for_model("big_bird"))
    with pytest.raises(UnsupportedModel, match=r"'gpt-neox'.*Did you mean gpt_neox"):
        family_of(types.SimpleNamespace(model_type="gpt-neox"))
    with pytest.raises(UnsupportedModel, match="family for model_type called ''"):
        family_of(types.SimpleNamespace())


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"stacks": (Stack("transformer.layers", "mlp.c_proj"),)}, "transformer.layers"),
        ({"stacks": (Stack("transformer.h", "mlp.down_proj"),)}, "transformer.h.0.mlp.down_proj"),
        ({"head": "embed_out"}, "embed_out"),
        ({"head": ("embed_out", "output")}, "embed_out"),
    ],
)
def test_a_wrong_path_names_the_network_and_the_path(wrong, path):
    net, tokenizer = tiny("gpt2")
    with pytest.raises(UnsupportedModel, match=f"GPT2LMHeadModel has no module '{path}'"):
        Model(net, tokenizer, replace(families()["gpt2"], **wrong))


def test_a_network_without_its_head_is_refused():
    net, tokenizer = tiny("gpt2")
    with pytest.raises(UnsupportedModel, match=r"GPT2Model has no module 'transformer.h'.*language-model head"):
        eg.load(net.transformer, tokenizer)


def test_neurons_of_a_quantised_map_are_refused():
    net, tokenizer = tiny("gpt2")
    down = net.transformer.h[0].mlp.c_proj
    down.weight = torch.nn.Parameter(down.weight.to(torch.int8), requires_grad=False)
    with pytest.raises(UnsupportedModel, match="Conv1D keeps no plain matrix"):
        eg.load(net, tokenizer).check(eg.NeuronSet.parse("L0.1"))


def test_slots_are_found_under_an_adapter():
    peft = pytest.importorskip("peft")
    net, _ = tiny("gpt2")
    plain = value_slots(net.transformer.h[0].mlp.c_proj).clone()
    net.add_adapter(peft.LoraConfig(target_modules=["c_proj"], fan_in_fan_out=True))
    assert torch.equal(value_slots(net.transformer.h[0].mlp.c_proj), plain)


def test_bloom_s_slow_path_around_its_second_map_is_an_error_where_neurons_are_asked_for():
    model = Model.wrap(*tiny("bloom", pretraining_tp=2, slow_but_exact=True))
    eg.ask(model, DUBLIN)  # no neuron is asked for
    with pytest.raises(HookDidNotFire, match=r"never passed transformer.h.1.mlp.dense_4h_to_h \(layer 1\)"):
        eg.ask(model, DUBLIN, under=eg.suppressed(eg.NeuronSet.parse("L1.3")))


# -- a family from outside


@pytest.fixture
def plug_in(monkeypatch):
    """The example of the how-to, as an installed package would bring it."""
    path = ROOT / "examples/engram_example/src/engram_example/starcoder2.py"
    spec = importlib.util.spec_from_file_location("my_family", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "my_family", module)
    monkeypatch.setattr(registry, "entry_points", _only(EntryPoint("starcoder2", "my_family", family.GROUP)))
    family.read.cache_clear()
    yield path
    family.read.cache_clear()


def _only(*entries):
    return lambda group: [e for e in entries if e.group == group]


def test_the_example_of_the_how_to_is_a_family(plug_in):
    check_family(Model.wrap(*tiny("starcoder2")))
    assert plug_in.read_text() in (ROOT / "docs/how-to/add-a-family.md").read_text()


def test_two_families_cannot_serve_one_type(monkeypatch):
    twice = types.SimpleNamespace(FAMILY=Family("mine", ("gpt2",), "next", (), "lm_head"))
    monkeypatch.setitem(sys.modules, "my_family", twice)
    monkeypatch.setattr(registry, "entry_points", _only(EntryPoint("mine", "my_family", family.GROUP)))
    family.read.cache_clear()
    try:
        with pytest.warns(UserWarning, match="gpt2 is already served by the family gpt2"):
            assert families()["gpt2"].name == "gpt2"
    finally:
        family.read.cache_clear()


def test_the_page_of_families_is_up_to_date():
    page = ROOT / "docs/families.md"
    assert page.read_text() == table(), (
        'write it anew: python -c "import pathlib; from engram.models.family import table; '
        "pathlib.Path('docs/families.md').write_text(table())\""
    )
