"""Mistral 7B (Jiang et al. 2023)."""

from ..family import Family, Stack

FAMILY = Family(
    name="mistral",
    model_types=("mistral",),
    asks="next",
    stacks=(Stack("model.layers", "mlp.down_proj", ("self_attn",)),),
    head="lm_head",
    note="gated: a neuron is act(gate) · up",
)
