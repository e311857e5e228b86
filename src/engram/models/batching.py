"""Work in batches of bounded memory. What does not fit is tried in halves, and only then given up."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

from ..errors import OutOfMemory
from .model import Model

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[int, int], None]  # (done, in all)
_halvings: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def rows_within(model: Model, tokens: int, *, gradient: bool) -> int:
    """How many rows of so many tokens may go through the network at once, within the model's budget?

    An estimate from the shapes: what a block keeps of one row for the way back, or while it runs.
    """
    config = model.config
    hidden = int(getattr(config, "hidden_size", 0) or value_width(model))
    heads = int(getattr(config, "num_attention_heads", 1) or 1)
    kept = len(model.layers) if gradient else 2
    row = tokens * (14 * hidden + 4 * max(model.widths) + 3 * heads * tokens) * kept + 4 * int(config.vocab_size)
    return max(1, (model.budget >> _halvings.get(model.net, 0)) // (4 * row))


def value_width(model: Model) -> int:
    """The width of what a block gives out."""
    slots = model.layers[0].down.weight
    return int(min(slots.shape))  # type: ignore[arg-type]


def by_shape(shapes: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Numbers of equal shape together, in order of first appearance: batches without padding."""
    groups: dict[tuple[int, int], list[int]] = {}
    for i, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(i)
    yield from groups.values()


def in_batches(model: Model, items: Sequence[T], size: int, work: Callable[[Sequence[T]], Sequence[R]]) -> list[R]:
    """`work` on at most `size` items at a time; halved when memory runs out, and said. Raises OutOfMemory at one.

    What did not fit is remembered for this network: `rows_within` halves its answers from then on.
    """
    done: list[R] = []
    while len(done) < len(items):
        size = min(size, len(items) - len(done))
        try:
            done += work(items[len(done) : len(done) + size])
        except (RuntimeError, MemoryError) as error:
            if not _memory_ran_out(error):
                raise
            if size == 1:
                raise OutOfMemory(
                    "not even one row fits into memory: use a smaller model or dtype, "
                    "a shorter prompt, or another device"
                ) from error
            size //= 2
            _halvings[model.net] = _halvings.get(model.net, 0) + 1
        else:
            continue
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        warnings.warn(f"out of memory: going on with {size} rows at a time", RuntimeWarning, stacklevel=2)
    return done


def _memory_ran_out(error: BaseException) -> bool:
    if isinstance(error, OutOfMemory):
        return False
    text = str(error)
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError))
        or "not enough memory" in text
        or "can't allocate" in text
    )
