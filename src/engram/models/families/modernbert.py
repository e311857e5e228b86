"""ModernBERT (Warner et al. 2024)."""

from ..family import Family, Stack

FAMILY = Family(
    name="modernbert",
    model_types=("modernbert",),
    asks="mask",
    stacks=(Stack("model.layers", "mlp.Wo", ("attn",)),),
    head="head",
    note="gated: a neuron is act(gate) · up",
)
