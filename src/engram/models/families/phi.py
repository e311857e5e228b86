"""Phi-1, 1.5 and 2 (Li et al. 2023)."""

from ..family import Family, Stack

FAMILY = Family(
    name="phi",
    model_types=("phi",),
    asks="next",
    stacks=(Stack("model.layers", "mlp.fc2", ("self_attn",)),),
    head="lm_head",
    note="attention and FFN run side by side",
)
