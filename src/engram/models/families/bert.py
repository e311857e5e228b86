"""BERT (Devlin et al. 2019)."""

from ..family import Family, Stack

FAMILY = Family(
    name="bert",
    model_types=("bert",),
    asks="mask",
    stacks=(Stack("bert.encoder.layer", "output.dense", ("attention",), "attention.output.dense"),),
    head="cls",
)
