"""Fang et al. (2024): many facts at once, written only where the keys of other text do not point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..errors import BadSetting
from ..models import Model
from .base import editors
from .spreading import Spreading, moments, solved


@editors("alpha_edit")
@dataclass(frozen=True, slots=True)
class AlphaEdit(Spreading):
    """Rewrite many facts by one edit of several layers, in the null space of what ordinary text uses.

    As MEMIT finds what is to leave the last block, and spreads it over `layers`; but a layer's change X solves
    (P(KᵀK + K₀ᵀK₀) + L2) X = P Kᵀ R, where P projects on the directions in which the second moments of ordinary text,
    `covariances`, have eigenvalues below `threshold` (in their own unit, the square of a neuron's value). A key without
    a part in them is answered as before. None stands for P = 1: nothing is kept.

    K₀ are the keys in `protect`, {layer: [key, neuron]}: those of earlier edits, which are to stay. `keys_of` gives
    them, under the edit. (The published code keeps them in a global that outlives the model; here they are a value.)

    A wish is one `Rewrite` or several in a tuple, `prompt` one sentence or as many. Planned under whatever is held.
    Raises BadSetting, also where no eigenvalue is below the threshold, NoSubject, UnaskablePrompt, NotFinite.

    >>> import engram as eg
    >>> model, prompt = eg.load("engram:causal"), eg.Prompt("The author of Hamlet is [Y].", "Shakespeare")
    >>> wish = eg.Fact("Hamlet", "author", "Shakespeare").becoming("Dante")
    >>> by = AlphaEdit(layers=(0, 1), covariances=None, contexts=(), token="asked")
    >>> edit = eg.rewrite(model, wish, by=by, prompt=prompt)
    >>> with eg.holding(edit, model):
    ...     keys = by.keys_of(model, wish, prompt)
    >>> later = AlphaEdit(layers=(0, 1), covariances=None, contexts=(), token="asked", protect=keys)
    """

    name: ClassVar[str] = "alpha_edit"
    threshold: float = 2e-2
    l2: float = 10.0
    protect: Mapping[int, Any] = field(default_factory=dict, repr=False, hash=False, compare=False)

    def __post_init__(self) -> None:
        Spreading.__post_init__(self)
        if not (self.threshold > 0 and 0 <= self.l2 < float("inf")):
            raise BadSetting(f"threshold is above 0 and l2 from 0 up, not {self.threshold} and {self.l2}")
        if unused := [x for x in self.protect if x not in self.layers]:
            raise BadSetting(f"protect has keys of layers {unused}, which are not among the edited {self.layers}")

    def directions(self, model: Model, layer: int, keys: Tensor) -> Tensor:
        every = torch.cat([keys, self._protected(model, layer)])
        free = self._free(model, layer)
        inside = every if free is None else every @ free @ free.T  # P k, for each
        # (P KᵀK + L2)⁻¹P Kᵀ = P Kᵀ(K P Kᵀ + L2)⁻¹: what is solved for is as large as there are keys
        gram = inside @ inside.T + self.l2 * torch.eye(len(every), dtype=torch.float64)
        found = solved(
            gram, inside,
            f"the keys of the {len(keys)} facts in layer {layer} (and {len(every) - len(keys)} to protect) are not "
            f"independent: with l2={self.l2:g} not all can be written. Take a larger one, or fewer facts.",
        )  # fmt: skip
        return found[: len(keys)]

    def own_settings(self, model: Model) -> dict[str, Any]:
        free = {str(x): model.widths[x] if (u := self._free(model, x)) is None else u.shape[1] for x in self.layers}
        kept = {str(x): len(self._protected(model, x)) for x in self.layers}
        return {"threshold": self.threshold, "l2": self.l2, "free": free, "protected": kept}

    def _free(self, model: Model, layer: int) -> Tensor | None:
        """The directions that ordinary text does not use, [neuron, direction]; None: all."""
        c = moments(self, model, layer)
        if c is None:
            return None
        sizes, vectors = c.spectrum
        if not bool((sizes < self.threshold).any()):
            raise BadSetting(
                f"no direction of layer {layer} is free: the smallest eigenvalue of its second moments is "
                f"{float(sizes[0]):.3g}, and threshold is {self.threshold:g}. Take a larger one."
            )
        free: Tensor = vectors[:, sizes < self.threshold]
        return free

    def _protected(self, model: Model, layer: int) -> Tensor:
        """The keys that are to stay, [key, neuron]."""
        width = model.widths[layer]
        kept = np.asarray(self.protect.get(layer, np.zeros((0, width))), np.float64)
        if kept.ndim != 2 or kept.shape[1] != width or not np.isfinite(kept).all():
            raise BadSetting(
                f"protect is {{layer: [key, {width}]}} of finite numbers in layer {layer}, not {kept.shape}"
            )
        return torch.tensor(kept)
