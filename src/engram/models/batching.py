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
from .recording import Recording

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[int, int], None]  # (done, in all)
"""Is told how much is done, and how much there is in all."""
_halvings: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def rows_within(model: Model, tokens: int, *, gradient: bool) -> int:
    """How many rows of so many tokens may go through the network at once, within the model's budget?

    An estimate from the shapes: what a block keeps of one row for the way back, or while it runs.

    >>> import engram as eg
    >>> model = eg.load()
    >>> rows_within(model, 12, gradient=False) > rows_within(model, 24, gradient=False) > 0
    True
    """
    hidden, heads = value_width(model), _heads(model)
    kept = len(model.layers) if gradient else 2
    row = tokens * (14 * hidden + 4 * max(model.widths) + 3 * heads * tokens) * kept + 4 * int(model.config.vocab_size)
    return max(1, (model.budget >> _halvings.get(model.net, 0)) // (4 * row))


def value_width(model: Model) -> int:
    """The width of what a block gives out."""
    return int(getattr(model.config, "hidden_size", 0) or min(model.layers[0].down.weight.shape))  # type: ignore[arg-type]


def prompts_within(model: Model, tokens: int, points: int = 1) -> int:
    """Of how many prompts may a recording be kept, with gradients at so many points per layer? A quarter of the budget.

    The rest is for what runs on from them, see `in_parts`.
    """
    hidden, heads, layers = value_width(model), _heads(model), model.layers
    states = model.dtype.itemsize * tokens * (len(layers) * 2 * hidden + 4 * hidden + 2 * max(model.widths))
    attention = model.dtype.itemsize * heads * tokens * tokens * 2 if _eager(model) else 0
    ours = len(layers) * (12 * points * hidden + 24 * max(model.widths)) + 24 * int(model.config.vocab_size)
    return max(1, (model.budget >> _halvings.get(model.net, 0)) // 4 // (states + attention + ours))


def _heads(model: Model) -> int:
    return int(getattr(model.config, "num_attention_heads", 1) or 1)


def _eager(model: Model) -> bool:
    """Does attention keep a weight for every pair of positions?"""
    return getattr(model.config, "_attn_implementation", "eager") == "eager"


def start_bytes(model: Model, clean: Recording, layer: int, *, gradient: bool = True) -> int:
    """How many bytes a row that starts in this layer takes on its way through the rest of the network? An estimate."""
    tokens = clean.batch.length(model.layers[layer].side)
    positions = 1 if clean.ways[layer] == "position" else tokens
    hidden, inner = value_width(model), max(model.widths)
    eager = _heads(model) * tokens if _eager(model) else 0
    keys = 4 * tokens * hidden if positions == 1 else 0  # those of the prompt, beside the position's own
    block = positions * (10 * hidden + 3 * inner + 3 * eager) + keys
    above = len(model.layers) - 1 - layer if clean.ways[layer] != "network" else len(model.layers)
    kept = above if gradient else min(above, 1)
    return model.dtype.itemsize * (kept * block + positions * (4 * hidden + 2 * inner)) + 16 * int(
        model.config.vocab_size
    )


def in_parts(model: Model, costs: Sequence[int], work: Callable[[Sequence[int]], Sequence[int]]) -> None:
    """`work` on the numbers of the items, as many at a time as their bytes fit the budget; halved when memory runs out.

    Raises OutOfMemory when not even one fits.
    """
    done = 0
    while done < len(costs):
        left, end = (model.budget >> _halvings.get(model.net, 0)) // 2, done
        while end < len(costs) and (end == done or costs[end] <= left):
            left -= costs[end]
            end += 1
        in_batches(model, range(done, end), end - done, work)
        done = end


def by_shape(shapes: Sequence[tuple[int, ...]]) -> Iterator[list[int]]:
    """Numbers of equal shape together, in order of first appearance: batches without padding."""
    groups: dict[tuple[int, ...], list[int]] = {}
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
