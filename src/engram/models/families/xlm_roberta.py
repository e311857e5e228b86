"""XLM-R (Conneau et al. 2020): RoBERTa in a hundred languages."""

from ..family import Family, Stack

FAMILY = Family(
    name="xlm-roberta",
    model_types=("xlm-roberta",),
    asks="mask",
    stacks=(Stack("roberta.encoder.layer", "output.dense", ("attention",), "attention.output.dense"),),
    head="lm_head",
    reserved_positions=2,
)
