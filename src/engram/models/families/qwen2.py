"""Qwen 2 and 2.5 (Yang et al. 2024)."""

from ..family import Family, Stack

FAMILY = Family(
    name="qwen2",
    model_types=("qwen2",),
    asks="next",
    stacks=(Stack("model.layers", "mlp.down_proj", ("self_attn",)),),
    head="lm_head",
    note="gated: a neuron is act(gate) · up",
)
