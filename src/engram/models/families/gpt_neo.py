"""GPT-Neo (Black et al. 2021)."""

from ..family import Family, Stack

FAMILY = Family(
    name="gpt-neo",
    model_types=("gpt_neo",),
    asks="next",
    stacks=(Stack("transformer.h", "mlp.c_proj", ("attn",)),),
    head="lm_head",
)
