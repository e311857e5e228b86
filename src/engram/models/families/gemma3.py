"""Gemma 3 (Gemma Team 2025), text only."""

from ..family import Family, Stack

FAMILY = Family(
    name="gemma3",
    model_types=("gemma3_text",),
    asks="next",
    stacks=(Stack("model.layers", "mlp.down_proj", ("self_attn",)),),
    head="lm_head",
    note="the FFN output is normalised: see its gap; gated: a neuron is act(gate) · up",
)
