"""The contract of a family can be broken, and says how."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from engram.models import Model
from engram.models.family import Stack, families
from engram.testing import ContractBroken, check_family, tiny
from engram.testing.contract import PROMPTS

torch.set_num_threads(1)  # tiny networks: threads cost more than they save


def _bypass(net):
    for block in net.transformer.h:
        mlp = block.mlp
        mlp.forward = lambda x, mlp=mlp: F.linear(mlp.act(mlp.c_fc(x)), mlp.c_proj.weight.T, mlp.c_proj.bias)


def _mix_rows(net):
    plain = net.lm_head.forward
    net.lm_head.forward = lambda x: plain(x + x.mean(0, keepdim=True))


def _double(net):
    down = net.transformer.h[1].mlp.c_proj
    plain = down.forward
    down.forward = lambda x: plain(2 * x)


def _cut_gradient(net):
    plain = net.lm_head.forward
    net.lm_head.forward = lambda x: plain(x.detach())


def _cut_gradient_below_the_top(net):
    plain = net.transformer.h[2].forward
    net.transformer.h[2].forward = lambda x, *args, **kwargs: plain(x.detach(), *args, **kwargs)


def _shake(net):
    plain = net.lm_head.forward
    net.lm_head.forward = lambda x: plain(x) + torch.rand(())


def _share_a_weight(net):
    net.transformer.h[0].mlp.c_proj.weight = net.transformer.h[2].mlp.c_proj.weight


def _leave_a_hook_at_every_pass(net):
    plain = net.lm_head.forward

    def forward(x):
        net.lm_head.register_forward_hook(lambda *_: None)
        return plain(x)

    net.lm_head.forward = forward


def _count_a_layer_more(net):
    net.config.num_hidden_layers = 4


def _kill_every_neuron(net):
    for block in net.transformer.h:
        block.mlp.act = torch.nn.Threshold(1e9, 0.0)


SABOTAGE = [
    (_count_a_layer_more, "as many layers.*says 4, the table finds 3"),
    (_bypass, r"every layer is met.*never passed transformer.h.0.mlp.c_proj \(layer 0\)"),
    (_double, "what the ffn writes.*transformer.h.1.mlp.c_proj"),
    (_shake, "change no bit"),
    (_mix_rows, "rows do not see each other"),
    (_share_a_weight, "zeroing their value slots.*transformer.h.0.mlp.c_proj"),
    (_kill_every_neuron, "zeroing their value slots.*nothing changes"),
    (_cut_gradient, "gradient comes back.*none leaves the logits"),
    (_cut_gradient_below_the_top, "gradient comes back.*layer 0"),
    (_leave_a_hook_at_every_pass, "as before also after an error.*the hooks"),
]


@pytest.mark.parametrize(("sabotage", "breach"), SABOTAGE, ids=lambda x: getattr(x, "__name__", ""))
def test_a_breach_is_named_with_its_family_and_clause(sabotage, breach):
    net, tokenizer = tiny("gpt2")
    sabotage(net)
    with pytest.raises(ContractBroken, match=f"(?s)the family gpt2 breaks .*{breach}"):
        check_family(Model.wrap(net, tokenizer))


@pytest.mark.parametrize(
    ("wrong", "breach"),
    [
        ({"head": "transformer.h.2"}, "what it says there among all.*RuntimeError"),
        ({"head": "transformer.wte"}, "head Embedding gets"),
        ({"stacks": (Stack("transformer.h", "mlp.c_fc"),)}, "mlp.c_fc writes vectors of 24, the hidden states have 16"),
    ],
)
def test_a_wrong_table_is_noticed(wrong, breach):
    net, tokenizer = tiny("gpt2")
    model = Model(net, tokenizer, replace(families()["gpt2"], **wrong))
    with pytest.raises(ContractBroken, match=breach):
        check_family(model)


def test_prompts_that_check_nothing_are_noticed():
    model = Model.wrap(*tiny("bert"))
    with pytest.raises(ContractBroken, match="two prompts of equal length"):
        check_family(model, PROMPTS[:1])
    with pytest.raises(ContractBroken, match="no answer of several tokens"):
        check_family(model, PROMPTS[:3])


def test_a_causal_family_that_looks_ahead_is_noticed():
    with pytest.raises(ContractBroken, match="gemma3 breaks 'a causal model does not look ahead'"):
        check_family(Model.wrap(*tiny("gemma3_text", use_bidirectional_attention=True)))
