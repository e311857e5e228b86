"""ALBERT (Lan et al. 2020): layers share their weights, every application counts as a layer of its own."""

from ..family import Family, Stack

FAMILY = Family(
    name="albert",
    model_types=("albert",),
    asks="mask",
    stacks=(
        Stack(
            "albert.encoder.albert_layer_groups",
            "ffn_output",
            ("attention",),
            "attention.dense",
            per_block="albert_layers",
            repeats=True,
        ),
    ),
    head="predictions",
    note="shared weights: a neuron lives in one application, its value slot is shared by all",
)
