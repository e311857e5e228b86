"""What a check may change for a moment, and all that it must leave as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from ..models import Model


@contextmanager
def zeroed(slots: Tensor, index: Tensor) -> Iterator[None]:
    """Within the block, these value slots are 0."""
    kept = slots[index].clone()
    slots[index] = 0
    try:
        yield
    finally:
        slots[index] = kept


def state_of(model: Model) -> dict[str, Any]:
    """All that engram might leave behind: hooks, patched methods, modes, gradients, weights."""
    modules = list(model.net.named_modules())
    state: dict[str, Any] = {
        "the hooks": [(name, len(m._forward_hooks), len(m._forward_pre_hooks)) for name, m in modules],
        "the forward method of a block": [(name, m.__dict__.get("forward")) for name, m in modules],
        "the training mode": [(name, m.training) for name, m in modules],
    }
    for name, parameter in model.net.named_parameters():
        state[f"requires_grad of {name}"] = parameter.requires_grad
        state[f"the weight {name}"] = parameter.detach().clone()
    return state
