"""BLOOM (Le Scao et al. 2022)."""

from ..family import Family, Stack

FAMILY = Family(
    name="bloom",
    model_types=("bloom",),
    asks="next",
    stacks=(Stack("transformer.h", "mlp.dense_4h_to_h", ("self_attention",), "self_attention.dense"),),
    head="lm_head",
    note="with slow_but_exact the FFN goes around its second map: no neuron can be read or changed then",
)
