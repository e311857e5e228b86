"""Which vector stands for a word?"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import AnswerNotWritable, BadSetting, UnsupportedModel
from ..facts import Prompt
from ..models import Model, value_slots

Embedding = Literal["input", "output"]


def token(model: Model, prompt: Prompt) -> int:
    """The one token that the prompt's answer is, as it is written there. Raises AnswerNotWritable.

    >>> import engram as eg
    >>> model = eg.load()
    >>> model.tokenizer.decode([token(model, eg.Prompt("The author of Hamlet is [Y].", "Shakespeare"))])
    'Shakespeare'
    """
    rows = model.rows(prompt)
    if len(rows) != 1:
        tokens = model.tokenizer.convert_ids_to_tokens([r.target for r in rows])
        raise AnswerNotWritable(
            f"one word embedding is to be written into the slots, and the tokenizer writes {prompt.answer!r} in "
            f"{len(rows)} tokens: {' '.join(tokens)}"
        )
    return rows[0].target


def embedding(model: Model, token: int, which: Embedding) -> Tensor:
    """The token's embedding as the weights have it, float64, [hidden]. Raises UnsupportedModel, BadSetting.

    >>> import engram as eg
    >>> embedding(eg.load(), 337, "input").shape
    torch.Size([128])
    """
    net: Any = model.net
    home = net.get_input_embeddings() if which == "input" else net.get_output_embeddings()
    if home is None:
        raise UnsupportedModel(f"{type(net).__name__} has no {which} embeddings")
    vector: Tensor = home.weight[token].detach().to("cpu", torch.float64)
    hidden = value_slots(model.layers[-1].down).shape[1]
    if hidden != len(vector):
        raise UnsupportedModel(
            f"the {which} embeddings of {type(net).__name__} have {len(vector)} numbers and its value slots {hidden}: "
            "it maps one to the other, so an embedding cannot be written into a slot"
        )
    if not vector.any():
        raise BadSetting(f"the {which} embedding of token {token} is all zeros: it has no direction")
    return vector
