"""BART (Lewis et al. 2020): an encoder reads one mask, a decoder writes the sentence again."""

from ..family import Family, Stack

FAMILY = Family(
    name="bart",
    model_types=("bart",),
    asks="infill",
    stacks=(
        Stack("model.encoder.layers", "fc2", ("self_attn",)),
        Stack("model.decoder.layers", "fc2", ("self_attn", "encoder_attn"), side="output"),
    ),
    head="lm_head",
    note="layers 0 to n-1 are the encoder's, the decoder's follow",
)
