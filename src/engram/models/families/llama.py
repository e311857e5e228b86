"""Llama 1 to 3 (Touvron et al. 2023, Grattafiori et al. 2024)."""

from ..family import Family, Stack

FAMILY = Family(
    name="llama",
    model_types=("llama",),
    asks="next",
    stacks=(Stack("model.layers", "mlp.down_proj", ("self_attn",)),),
    head="lm_head",
    note="gated: a neuron is act(gate) · up",
)
