"""ELECTRA's generator (Clark et al. 2020); its discriminator fills no masks."""

from ..family import Family, Stack

FAMILY = Family(
    name="electra",
    model_types=("electra",),
    asks="mask",
    stacks=(Stack("electra.encoder.layer", "output.dense", ("attention",), "attention.output.dense"),),
    head="generator_predictions",
    note="the generator; a discriminator fills no masks",
)
