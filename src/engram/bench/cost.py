"""What does a piece of work cost: seconds, peak memory, matrix products, and passes through the network?"""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.utils import flop_counter

from ..models import Model

T = TypeVar("T")

_HERE = Path("/proc/self")


def timed(run: Callable[[], T], device: torch.device) -> tuple[T, float]:
    """What it gives, and the seconds that it takes until the device is done."""
    _wait(device)
    begin = time.perf_counter()
    found = run()
    _wait(device)
    return found, time.perf_counter() - begin


def flops(run: Callable[[], object]) -> int:
    """How many floating-point operations do its matrix products have? A multiplication and an addition are two."""
    with flop_counter.FlopCounterMode(display=False, custom_mapping=_FUSED) as counter:
        run()
    return int(counter.get_total_flops())


def peak(run: Callable[[], T], device: torch.device) -> tuple[T, int | None]:
    """What it gives, and by how many bytes its peak of memory lies above what was in use before, weights included.

    On the CPU the kernel's own mark of this process, set back before (Linux only); on a GPU torch's allocator.
    None where neither can be read.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        found = run()
        torch.cuda.synchronize(device)
        return found, int(torch.cuda.max_memory_allocated(device) - before)
    resident = _marked()
    found = run()
    highest = None if resident is None else _status("VmHWM")
    return found, None if resident is None or highest is None else max(0, highest - resident)


@dataclass(slots=True)
class Passes:
    """What went through a network: its `calls`, the `rows` in them, and all rows' `positions` through all FFNs."""

    calls: int = 0
    rows: int = 0
    positions: int = 0


@contextmanager
def counting(model: Model) -> Iterator[Passes]:
    """What goes through this network within the block? Blocks that are called by themselves are seen too."""
    found = Passes()

    def called(_net: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        found.calls += 1
        found.rows += len(kwargs["input_ids"])

    def passed(_down: nn.Module, args: Sequence[Tensor], _out: Any) -> None:
        found.positions += args[0].numel() // args[0].shape[-1]

    with ExitStack() as stack:
        stack.callback(model.net.register_forward_pre_hook(called, with_kwargs=True).remove)
        for layer in model.layers:
            stack.callback(layer.down.register_forward_hook(passed).remove)
        yield found


@dataclass(frozen=True, slots=True, eq=False)
class Counted(Generic[T]):
    """What a way of doing it finds, its peak of memory in bytes, its operations, and what goes through the network."""

    found: T
    memory: int | None
    flops: int
    passes: Passes


def counted(model: Model, way: Callable[[], T]) -> Counted[T]:
    """What does one call of it find and cost, but for time?"""
    found: list[T] = []
    with counting(model) as passes:
        work, memory = peak(lambda: flops(lambda: found.append(way())), model.device)
    return Counted(found[0], memory, work, passes)


def _forth(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(flop_counter.sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _back(above: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(flop_counter.sdpa_backward_flop_count(above, query, key, value))  # type: ignore[no-untyped-call]


_FUSED: dict[Any, Any] = {  # attention on the CPU, which torch's own table leaves out; of shapes
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _forth,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _back,
}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _marked() -> int | None:
    """Sets the kernel's mark of the highest memory back to what is in use now, and says how much that is."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what is free but kept would count for nothing when it is used again
    except (OSError, AttributeError):
        return None
    try:
        (_HERE / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return None
    return _status("VmRSS")


def _status(key: str) -> int | None:
    for line in (_HERE / "status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return None
