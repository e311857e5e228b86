"""Qwen 3 (Yang et al. 2025), the dense ones."""

from ..family import Family, Stack

FAMILY = Family(
    name="qwen3",
    model_types=("qwen3",),
    asks="next",
    stacks=(Stack("model.layers", "mlp.down_proj", ("self_attn",)),),
    head="lm_head",
    note="gated: a neuron is act(gate) · up",
)
