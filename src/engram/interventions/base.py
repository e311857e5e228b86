"""An intervention changes activations on the way. It is a value: it can be saved, compared, and sent elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import BadSetting
from ..models import Model, holding
from ..models.hooks import Asked, Change, asked, rewriting
from ..neurons import NeuronSet
from ..registry import Registry

Place = Literal["blank", "everywhere"]


@dataclass(frozen=True, slots=True)
class Intervention(ABC):
    """Some neurons, and where they are changed: at the blank only (as the papers do), or at every position.

    Subclasses are frozen dataclasses with a field `at`, "blank" or "everywhere".

    >>> import engram as eg
    >>> @dataclass(frozen=True)
    ... class Negated(Intervention):
    ...     at: Place = "blank"
    ...     def change(self, x, layer, index, ids):
    ...         return -x
    >>> model, prompt = eg.load(), eg.Prompt("The capital of Ireland is [Y].", "Dublin")
    >>> turned, = eg.ask(model, prompt, under=Negated(eg.NeuronSet.parse("L3.187 L3.242")))
    >>> turned.probability < eg.ask(model, prompt)[0].probability
    True
    """

    neurons: NeuronSet

    @property
    @abstractmethod
    def at(self) -> Place:
        """Where they are changed: "blank", the asked position, or "everywhere"."""

    @abstractmethod
    def change(self, x: Tensor, layer: int, index: Tensor, ids: Tensor | None) -> Tensor:
        """What these neurons become. `x` [row, position, len(index)] are the neurons `index` of `layer`.

        `ids` [row, token] are the rows' tokens where engram asks, None in a forward pass of the user's own.
        """


@holding.register(Intervention)
@contextmanager
def _hold(condition: Intervention, model: Model) -> Iterator[None]:
    if condition.at not in ("blank", "everywhere"):
        raise BadSetting(f"an intervention acts at 'blank' or 'everywhere', not at {condition.at!r}")
    model.check(condition.neurons)
    changes = {
        layer: _change(condition, model, layer, indices) for layer, indices in condition.neurons.by_layer().items()
    }
    with rewriting(model.net, model.layers, changes):
        yield


def _change(condition: Intervention, model: Model, layer: int, indices: list[int]) -> Change:
    index = torch.tensor(indices)
    side = model.layers[layer].side

    def change(x: Tensor) -> Tensor:
        columns = index.to(x.device)
        about: Asked | None = asked.get()
        ids = about.ids if about is not None else None
        if condition.at == "everywhere":
            x[..., columns] = condition.change(x[..., columns], layer, columns, ids).to(x.dtype)
            return x
        if about is None:
            raise BadSetting(
                "this intervention acts at the blank, and a forward pass of your own has none: "
                "ask through engram, or use at='everywhere'"
            )
        rows = torch.arange(x.shape[0], device=x.device)
        at = about.at[side].to(x.device)
        here = x[rows, at][:, None, columns]
        x[rows[:, None], at[:, None], columns[None]] = condition.change(here, layer, columns, ids)[:, 0].to(x.dtype)
        return x

    return change


interventions: Registry[Any] = Registry("intervention", "engram.interventions")
"""The interventions by name; a plug-in registers its own with `@interventions("name")`."""
