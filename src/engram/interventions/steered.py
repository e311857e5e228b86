"""What an FFN writes, pushed one way: the runtime change that Wen & Bai's causal neuron asks for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import BadSetting, UnsupportedModel
from ..models import Model, holding
from ..models.family import Side
from ..models.hooks import asked, called, rewriting
from .base import interventions


@interventions("steered")
@dataclass(frozen=True, slots=True)
class Steered:
    """The FFN of `layer` writes `vector` [hidden] more at one position; no weight changes.

    `scaled`: the vector counts in lengths of what the FFN writes there by itself, as its length is in that forward
    pass; else it is added as it is. `at` is "blank", the asked position of whatever prompt, or a number: the position
    in the row of tokens, from 0, special tokens counted, of the stack that the layer is in. A number means one prompt;
    where a row of engram's is shorter, that is an error (in a forward pass of your own, which may go on from a cache,
    such a row is left alone). Ask under it, or run the network yourself: `locate`, `trace` and `mediate` put something
    of their own in place of what an FFN writes, and refuse to work under it. Raises BadSetting, UnsupportedModel.

    >>> import engram as eg
    >>> model, prompt = eg.load("engram:causal"), eg.Prompt("The capital of Ireland is [Y]", "Dublin")
    >>> nothing = Steered(0, (0.0,) * 128, at=4)
    >>> eg.ask(model, prompt, under=nothing) == eg.ask(model, prompt)
    True
    """

    layer: int
    vector: tuple[float, ...]
    at: str | int = "blank"
    scaled: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "vector", tuple(float(x) for x in self.vector))
        if self.at != "blank" and (not isinstance(self.at, int) or self.at < 0):
            raise BadSetting(f"a model is steered at 'blank' or at a position from 0 up, not at {self.at!r}")
        if not self.vector or not all(map(math.isfinite, self.vector)):
            raise BadSetting("a model is steered by a vector of finite numbers")


@holding.register(Steered)
@contextmanager
def _hold(steer: Steered, model: Model) -> Iterator[None]:
    if not 0 <= steer.layer < len(model.layers):
        raise BadSetting(f"{model.name} has no layer {steer.layer}: it has layers 0 to {len(model.layers) - 1}")
    vector, side = torch.tensor(steer.vector), model.layers[steer.layer].side

    def change(x: Tensor) -> Tensor:
        if x.shape[-1] != len(vector):
            raise BadSetting(f"layer {steer.layer} writes {x.shape[-1]} numbers, and the vector has {len(vector)}")
        at = _positions(steer, side, x)
        if at is None:
            return x
        rows = torch.arange(x.shape[0], device=x.device)
        own = x[rows, at].to(torch.promote_types(x.dtype, torch.float32))
        push = vector.to(own) * (own.norm(dim=-1, keepdim=True) if steer.scaled else 1)
        x[rows, at] = (own + push).to(x.dtype)
        return x

    with rewriting(model.net, model.layers, {steer.layer: change}, place="ffn"):
        yield


def _positions(steer: Steered, side: Side, x: Tensor) -> Tensor | None:
    """Where each row of x [row, position, hidden] is steered, [row]; None where the pass has no such position."""
    about = asked.get()
    if called.get() is not None:
        raise UnsupportedModel(  # replay takes a ValueError for a network that it cannot run, and would go on without
            f"a block of layer {steer.layer} was to be run by itself (locate, trace and mediate do so), and what its "
            "FFN writes would be steered twice, or at another position: ask under a Steered"
        )
    if isinstance(steer.at, int):
        if steer.at < x.shape[1]:
            return torch.full((x.shape[0],), steer.at, device=x.device)
        if about is None:
            return None
        raise BadSetting(f"this steers at position {steer.at}, and a row asked under it has {x.shape[1]}")
    if about is None:
        raise BadSetting(
            "this steers at the blank, and a forward pass of your own has none: ask through engram, or give a position"
        )
    return about.at[side].to(x.device)
