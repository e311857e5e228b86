"""GPT-2 (Radford et al. 2019)."""

from ..family import Family, Stack

FAMILY = Family(
    name="gpt2",
    model_types=("gpt2",),
    asks="next",
    stacks=(Stack("transformer.h", "mlp.c_proj", ("attn",)),),
    head="lm_head",
)
