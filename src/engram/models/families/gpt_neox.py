"""GPT-NeoX (Black et al. 2022) and Pythia (Biderman et al. 2023)."""

from ..family import Family, Stack

FAMILY = Family(
    name="gpt-neox",
    model_types=("gpt_neox",),
    asks="next",
    stacks=(Stack("gpt_neox.layers", "mlp.dense_4h_to_h", ("attention",)),),
    head="lm_head",
    note="Pythia among them; attention and FFN run side by side",
)
