"""Gemma (Gemma Team 2024)."""

from ..family import Family, Stack

FAMILY = Family(
    name="gemma",
    model_types=("gemma",),
    asks="next",
    stacks=(Stack("model.layers", "mlp.down_proj", ("self_attn",)),),
    head="lm_head",
    note="gated: a neuron is act(gate) · up",
)
