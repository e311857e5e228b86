"""Meng et al. (2023): many facts at once, written into several layers by least squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import BadSetting
from ..models import Model
from .base import editors
from .spreading import Spreading, moments, solved


@editors("memit")
@dataclass(frozen=True, slots=True)
class MEMIT(Spreading):
    """Rewrite many facts by one edit of several layers: a rank for each fact in each of them.

    For each fact z is found: what is to leave the block of the last of `layers` at the `token` looked up (as in ROME;
    the subject's last). Each layer in turn takes its share R of what is missing, by W ← W + (λC + KᵀK)⁻¹KᵀR, with K the
    keys of the facts, one per row, and the layers below already changed. `covariances` are C for each layer, second
    `Moments` or matrices, and have to be chosen: None is the identity. `ridge` is added to C's diagonal, as part of its
    mean. λ is `balance`: the larger, the less is written and the less is disturbed; at 0 every fact is written whole.
    It was published as 20,000 (GPT-2 XL) and 15,000 (GPT-J), where a key's kᵀC⁻¹k is that large; of ordinary text it is
    the number of the layer's neurons, so a narrow model wants less. `Edit.settings` says what was left over.

    The search for z is ROME's with a clamp of 0.75, its loss read from the model's own logits. A fact's key is the mean
    of the sentence's own and the mean over `contexts`: (tokens, how many) pairs that the model writes by itself, drawn
    by `seed`, or texts, or () for the sentence alone.

    A wish is one `Rewrite` or several in a tuple, `prompt` one sentence or as many. Planned under whatever is held. A
    masked model can be edited too, which nobody has published: `Edit.settings` says so. Raises BadSetting, NoSubject,
    UnaskablePrompt, NotFinite.

    >>> import engram as eg
    >>> model = eg.load("engram:causal")
    >>> wish = eg.Fact("Hamlet", "author", "Shakespeare").becoming("Dante")
    >>> by = MEMIT(layers=(0, 1), covariances=None, contexts=(), balance=1.0, token="asked")
    >>> edit = eg.rewrite(model, wish, by=by, prompt=eg.Prompt("The author of Hamlet is [Y].", "Shakespeare"))
    >>> print(edit)
    memit of ⟨Hamlet, author, Shakespeare⟩ → Dante: rank 1 in layer 0, rank 1 in layer 1
    """

    name: ClassVar[str] = "memit"
    balance: float = 20_000.0
    ridge: float = 1e-3

    def __post_init__(self) -> None:
        Spreading.__post_init__(self)
        if not (0 <= self.balance < float("inf") and self.ridge >= 0):
            raise BadSetting(f"balance and ridge are numbers from 0 up, not {self.balance} and {self.ridge}")

    def directions(self, model: Model, layer: int, keys: Tensor) -> Tensor:
        c = moments(self, model, layer)
        along = keys if c is None else c.solve(keys, ridge=self.ridge)
        # (λC + KᵀK)⁻¹Kᵀ = C⁻¹Kᵀ(λ + K C⁻¹Kᵀ)⁻¹: what is solved for is as large as there are facts
        gram = keys @ along.T
        gram = (gram + gram.T) / 2 + self.balance * torch.eye(len(keys), dtype=torch.float64)
        return solved(
            gram, along,
            f"the keys of the {len(keys)} facts in layer {layer} are not independent: with balance={self.balance:g} "
            "not all can be written. Take a larger one, or fewer facts.",
        )  # fmt: skip

    def own_settings(self, model: Model) -> dict[str, Any]:
        return {"balance": self.balance, "ridge": self.ridge}
