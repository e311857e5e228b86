"""SmolLM3 (Bakouch et al. 2025)."""

from ..family import Family, Stack

FAMILY = Family(
    name="smollm3",
    model_types=("smollm3",),
    asks="next",
    stacks=(Stack("model.layers", "mlp.down_proj", ("self_attn",)),),
    head="lm_head",
    note="gated: a neuron is act(gate) · up",
)
