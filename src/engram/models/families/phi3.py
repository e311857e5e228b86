"""Phi-3 (Abdin et al. 2024)."""

from ..family import Family, Stack

FAMILY = Family(
    name="phi3",
    model_types=("phi3",),
    asks="next",
    stacks=(Stack("model.layers", "mlp.down_proj", ("self_attn",)),),
    head="lm_head",
    note="gated: a neuron is act(gate) · up",
)
