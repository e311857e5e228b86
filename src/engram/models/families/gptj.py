"""GPT-J (Wang and Komatsuzaki 2021)."""

from ..family import Family, Stack

FAMILY = Family(
    name="gpt-j",
    model_types=("gptj",),
    asks="next",
    stacks=(Stack("transformer.h", "mlp.fc_out", ("attn",)),),
    head="lm_head",
    note="attention and FFN run side by side",
)
