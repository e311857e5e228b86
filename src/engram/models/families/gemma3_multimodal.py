"""Gemma 3 that also sees (Gemma Team 2025): its language model, asked with text."""

from ..family import Family, Stack

FAMILY = Family(
    name="gemma3-multimodal",
    model_types=("gemma3",),
    asks="next",
    stacks=(Stack("model.language_model.layers", "mlp.down_proj", ("self_attn",)),),
    head="lm_head",
    note="the FFN output is normalised: see its gap; gated: a neuron is act(gate) · up; pictures are not asked about",
)
