"""Granite 3 (Granite Team 2024), the dense ones."""

from ..family import Family, Stack

FAMILY = Family(
    name="granite",
    model_types=("granite",),
    asks="next",
    stacks=(Stack("model.layers", "mlp.down_proj", ("self_attn",)),),
    head="lm_head",
    note="gated: a neuron is act(gate) · up",
)
