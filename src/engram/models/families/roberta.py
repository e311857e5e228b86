"""RoBERTa (Liu et al. 2019): BERT's blocks; positions count from behind the padding's row."""

from ..family import Family, Stack

FAMILY = Family(
    name="roberta",
    model_types=("roberta",),
    asks="mask",
    stacks=(Stack("roberta.encoder.layer", "output.dense", ("attention",), "attention.output.dense"),),
    head="lm_head",
    reserved_positions=2,
)
