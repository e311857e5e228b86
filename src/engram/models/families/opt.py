"""OPT (Zhang et al. 2022)."""

from ..family import Family, Stack

FAMILY = Family(
    name="opt",
    model_types=("opt",),
    asks="next",
    stacks=(Stack("model.decoder.layers", "fc2", ("self_attn",)),),
    head="lm_head",
    note="ReLU: many neurons are exactly 0",
)
