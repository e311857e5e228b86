"""StarCoder 2 (Lozhkov et al. 2024), as a plug-in would add it."""

from engram.models.family import Family, Stack

FAMILY = Family(
    name="starcoder2",
    model_types=("starcoder2",),
    asks="next",
    stacks=(Stack("model.layers", "mlp.c_proj", ("self_attn",)),),
    head="lm_head",
)
