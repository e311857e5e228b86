"""Falcon (Almazrouei et al. 2023)."""

from ..family import Family, Stack

FAMILY = Family(
    name="falcon",
    model_types=("falcon",),
    asks="next",
    stacks=(Stack("transformer.h", "mlp.dense_4h_to_h", ("self_attention",)),),
    head="lm_head",
    note="attention and FFN run side by side",
)
