"""OLMo (Groeneveld et al. 2024)."""

from ..family import Family, Stack

FAMILY = Family(
    name="olmo",
    model_types=("olmo",),
    asks="next",
    stacks=(Stack("model.layers", "mlp.down_proj", ("self_attn",)),),
    head="lm_head",
    note="gated: a neuron is act(gate) · up",
)
