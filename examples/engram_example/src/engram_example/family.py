"""Where the neurons of the home-made architecture are. Its network says so to transformers when it is imported."""

from engram.models.family import Family, Stack

from . import network

FAMILY = Family(
    name="home_made",
    model_types=(network.HomeMadeConfig.model_type,),
    asks="next",
    stacks=(Stack("blocks", "ffn.down", ("attention",)),),
    head="head",
)
