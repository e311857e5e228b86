"""DistilBERT (Sanh et al. 2019)."""

from ..family import Family, Stack

FAMILY = Family(
    name="distilbert",
    model_types=("distilbert",),
    asks="mask",
    stacks=(Stack("distilbert.transformer.layer", "ffn.lin2", ("attention",)),),
    head="vocab_transform",
)
