"""T5 (Raffel et al. 2020), Flan-T5 and mT5 (Xue et al. 2021): an encoder and a decoder."""

from ..family import Family, Stack

FAMILY = Family(
    name="t5",
    model_types=("t5", "mt5"),
    asks="sentinel",
    stacks=(
        Stack("encoder.block", "layer.1.DenseReluDense.wo", ("layer.0",)),
        Stack("decoder.block", "layer.2.DenseReluDense.wo", ("layer.0", "layer.1"), side="output"),
    ),
    head="lm_head",
    note="layers 0 to n-1 are the encoder's, the decoder's follow",
)
