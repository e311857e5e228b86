"""What one measurement says: every side's time, memory, work and accuracy, and where it was made."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from .accuracy import Accuracy


@dataclass(frozen=True, slots=True)
class Timed:
    """One way of doing it: the `engine`, or what it is compared with.

    `seconds` are one number a run; `memory` is the peak in bytes above what was in use before (the weights among it),
    None where it cannot be read; `flops` counts the matrix products.
    """

    name: str
    engine: bool
    seconds: tuple[float, ...]
    memory: int | None
    flops: int

    @property
    def median(self) -> float:
        """Seconds, the run in the middle."""
        return statistics.median(self.seconds)


@dataclass(frozen=True, slots=True)
class Passed(Timed):
    """Also what went through the network: `calls`, the `rows` in them, and all rows' `positions` through all FFNs."""

    calls: int
    rows: int
    positions: int


@dataclass(frozen=True, slots=True)
class Side(Timed):
    """One way of attribution; `what` says it in a few words.

    Seconds and operations are of one prompt, timed on `prompts` of them; `least` is the fewest operations that its
    points can cost (None: not known).
    """

    what: str
    dtype: str
    settings: Mapping[str, Any]
    prompts: int
    least: int | None
    accuracy: Accuracy


@dataclass(frozen=True, slots=True)
class AttributionBench:
    """All sides in turn, in one process, on the same random network and prompts.

    `points` are those of the Gauss rule that the integral is taken to be.
    """

    shape: str
    layers: int
    prompts: int
    tokens: int
    runs: int
    device: str
    budget: int
    points: int
    sides: tuple[Side, ...]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def peers(self) -> tuple[Side, ...]:
        """What the engine is compared with."""
        return tuple(s for s in self.sides if not s.engine)

    @property
    def engines(self) -> tuple[Side, ...]:
        """The engine's variants."""
        return tuple(s for s in self.sides if s.engine)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; beside each engine's side how many times as fast as each peer it is."""
        document = {**asdict(self), "sides": plain(self.sides)}
        for side, told in zip(self.sides, document["sides"], strict=True):
            if side.engine:
                told["ratios"] = {p.name: spread(ratios(p, side)) for p in self.peers}
        return document


def ratios(peer: Timed, side: Timed) -> list[float]:
    """How many times as fast as the peer is it, in each run?"""
    return [p / s for p, s in zip(peer.seconds, side.seconds, strict=True)]


def spread(each: Sequence[float]) -> dict[str, Any]:
    """The number in the middle, and all of them.

    >>> spread([2.0, 1.0, 4.0])
    {'median': 2.0, 'each': [2.0, 1.0, 4.0]}
    """
    return {"median": statistics.median(each), "each": each}


def plain(sides: Iterable[Timed]) -> list[dict[str, Any]]:
    """All sides as plain values, with their medians."""
    return [{**asdict(s), "median": s.median} for s in sides]


def machine(device: torch.device) -> dict[str, Any]:
    """What it was measured on."""
    on = {"processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    return {**on, "gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else on


def versions() -> dict[str, str]:
    """What the numbers depend on besides the settings."""
    import numpy
    import transformers

    return {
        "engram": __version__, "torch": str(torch.__version__), "transformers": transformers.__version__,
        "numpy": numpy.__version__, "python": platform.python_version(), "system": platform.system(),
    }  # fmt: skip


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
