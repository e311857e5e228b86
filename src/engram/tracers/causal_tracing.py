"""Causal tracing of Meng et al. (2022): restore one site of a corrupted run, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..errors import BadSetting, UnknownName
from ..models.hooks import Place
from ..models.patching import Cell, Put
from ..results import Floats
from .base import Asked, Tracer, tracers
from .metrics import metric_of

SEVERED = ("ffn", "attention")


@tracers("causal_tracing")
@dataclass(frozen=True, slots=True)
class CausalTracing(Tracer):
    """How much of the answer does the site bring back, when it is given what it was in the clean run?

    Every cell is exact: the rest of the network runs on from the restored site. `severed="ffn"` (or "attention") keeps
    what those modules give out at the restored token, in all layers above, at what they gave out in the same corrupted
    run: what is left of the effect did not go through them (Meng et al. 2022, figure 3). Settings as in `Tracer`.

    >>> CausalTracing(kind="ffn").layers_restored(48), CausalTracing(kind="ffn").layers_restored(12)
    (10, 3)
    """

    name: ClassVar[str] = "causal_tracing"
    severed: Literal["ffn", "attention"] | None = None

    def __post_init__(self) -> None:
        Tracer.__post_init__(self)
        if self.severed is not None and self.severed not in SEVERED:
            raise UnknownName("severed", str(self.severed), SEVERED)
        if self.severed is not None and self.kind != "block":
            raise BadSetting(f'severed paths are those above a restored block: kind="block", not {self.kind!r}')

    def effects(self, asked: Asked, corrupted: Floats) -> Floats:
        """Each cell restored by itself, at every token of the answer."""
        metric, layers = metric_of(self.metric), len(asked.model.layers)
        cells = [Cell(t, plan) for t in range(asked.tokens) for plan in self._plans(layers)]
        restored = asked.patched(metric, cells).reshape(asked.tokens, layers, -1)
        return np.asarray(restored - corrupted)

    def _plans(self, layers: int) -> Sequence[dict[int, tuple[Put, ...]]]:
        place: Place = self.kind
        plans: list[dict[int, tuple[Put, ...]]] = [
            dict.fromkeys(range(first, end), ((place, "clean"),)) for first, end in self.windows(layers)
        ]
        if self.severed is not None:
            for layer, plan in enumerate(plans):
                plan |= dict.fromkeys(range(layer + 1, layers), ((self.severed, "corrupted"),))
        return plans
