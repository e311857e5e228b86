"""DeBERTa v2 and v3 (He et al. 2021)."""

from ..family import Family, Stack

FAMILY = Family(
    name="deberta-v2",
    model_types=("deberta-v2",),
    asks="mask",
    stacks=(Stack("deberta.encoder.layer", "output.dense", ("attention",), "attention.output.dense"),),
    head=("cls", "lm_predictions"),
    note="the head is cls, or lm_predictions where the configuration says legacy=False",
)
