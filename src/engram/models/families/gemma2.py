"""Gemma 2 (Gemma Team 2024)."""

from ..family import Family, Stack

FAMILY = Family(
    name="gemma2",
    model_types=("gemma2",),
    asks="next",
    stacks=(Stack("model.layers", "mlp.down_proj", ("self_attn",)),),
    head="lm_head",
    note="the FFN output is normalised: see its gap; gated: a neuron is act(gate) · up",
)
