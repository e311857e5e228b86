"""What is measured: cells, each one shape, length and batch with all sides in turn, from cheap to dear."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
import transformers

from engram.bench import VARIANTS, bench_accuracy, bench_attribution

LENGTHS, BATCHES, DEPTHS = (8, 14, 32, 64, 128), (1, 9, 64), (3, 6, 24)
TINY, BASE, LARGE = ("bert-tiny", "gpt2-tiny"), ("bert-base", "gpt2"), ("bert-large", "gpt2-medium")
USUAL = 14  # tokens: about what a prompt of ParaRel has
RATE = 120e9  # floating-point operations a second, for a rough guess of how long a cell takes


@dataclass(frozen=True)
class Cell:
    """One measurement. `stress` is for accuracy, the other settings are for speed."""

    kind: Literal["speed", "accuracy"]
    model: str
    prompts: int = 1
    tokens: int = USUAL
    runs: int = 5
    few: int = 2
    stress: float = 1.0
    device: str = "cpu"
    threads: int | None = None

    @property
    def key(self) -> str:
        """Equal for cells that measure the same: these settings, and those of every variant."""
        variants = {name: [v.described(), str(v.by)] for name, v in VARIANTS.items()}
        return json.dumps({**asdict(self), "variants": variants}, sort_keys=True)

    @property
    def minutes(self) -> float:
        """Roughly how long, on two cores; from the work of a prompt of the replication."""
        if self.kind == "accuracy":
            return 2.0
        layers, width, vocabulary = _size(self.model)
        rows = 21 * layers * self.tokens
        once = rows * (24 * width**2 * layers * 1.5 + 3 * width * vocabulary) / RATE  # one prompt of the replication
        peers, engine = min(self.few, self.prompts) * 1.7, self.prompts * (0.1 if "gpt" in self.model else 0.7)
        return once * (peers + engine) * (self.runs + 1) / 60

    def measure(self) -> dict[str, Any]:
        """What it finds, in plain values."""
        if self.kind == "accuracy":
            return bench_accuracy(
                self.model, prompts=self.prompts, stress=self.stress, device=self.device
            ).to_dict()  # fmt: skip
        return bench_attribution(
            self.model, prompts=self.prompts, tokens=self.tokens, runs=self.runs, few=self.few,
            device=self.device,            budget=(16 if self.device.startswith("cuda") else 1) * 2**30,
        ).to_dict()  # fmt: skip


def plan(*, quick: bool = False, device: str = "cpu", threads: int | None = None) -> list[Cell]:
    """All cells, cheap ones first; `quick` leaves those of the small shapes, fewer of them and with fewer runs."""
    cells = _small() if quick else [*_small(), *_large()]
    if device.startswith("cuda") and not quick:
        cells += [Cell("speed", shape, n) for shape in (*BASE, *LARGE) for n in (256, 1024)]
    cells = [replace(c, few=min(c.few, c.prompts), device=device, threads=threads) for c in cells]
    return sorted(dict.fromkeys(cells), key=lambda c: c.minutes)


def in_own_process(cell: Cell) -> dict[str, Any]:
    """A cell in a fresh process, so that no cell inherits another's memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, cell).result()


def _measured(cell: Cell) -> dict[str, Any]:
    transformers.utils.logging.disable_progress_bar()
    if cell.threads is not None:
        torch.set_num_threads(cell.threads)
    return cell.measure()


def _small() -> list[Cell]:
    trained = [Cell("accuracy", f"engram:{kind}", 12) for kind in ("masked", "causal")]
    shaped = [Cell("accuracy", shape, 4, stress=x) for shape in TINY for x in (1.0, 16.0)]
    return [
        *trained, *shaped,
        *(Cell("speed", shape, tokens=tokens) for shape in TINY for tokens in LENGTHS),
        *(Cell("speed", shape, prompts) for shape in TINY for prompts in BATCHES),
        *(Cell("speed", f"{shape}@{layers}") for shape in TINY for layers in (4, 8)),
    ]  # fmt: skip


def _large() -> list[Cell]:
    return [
        *(Cell("accuracy", shape, 4, stress=x) for shape in BASE for x in (1.0, 4.0)),
        *(Cell("speed", shape, tokens=tokens, runs=_runs(tokens)) for shape in BASE for tokens in LENGTHS),
        *(Cell("speed", "gpt2", 9, tokens=tokens, runs=_runs(tokens), few=1) for tokens in LENGTHS),
        *(Cell("speed", "bert-base", 9, tokens=tokens, few=1) for tokens in LENGTHS if tokens <= 32),
        *(Cell("speed", shape, prompts, runs=3 if prompts > 9 else 5, few=1) for shape in BASE for prompts in BATCHES),
        *(Cell("speed", f"{shape}@{layers}", runs=3) for shape in BASE for layers in DEPTHS),
        *(Cell("speed", shape, tokens=tokens, runs=3) for shape in LARGE for tokens in LENGTHS if tokens <= 32),
        *(Cell("speed", shape, 9, runs=3, few=1) for shape in LARGE),
    ]  # fmt: skip


def _runs(tokens: int) -> int:
    return 5 if tokens <= 32 else 3


def _size(shape: str) -> tuple[int, int, int]:
    """Layers, width and vocabulary."""
    name, _, layers = shape.partition("@")
    known: dict[str, Sequence[int]] = {"tiny": (2, 128), "base": (12, 768), "large": (24, 1024)}
    size = {"gpt2": "base", "gpt2-medium": "large"}.get(name, name.rpartition("-")[2])
    depth, width = known[size]
    return int(layers or depth), width, 50257 if name.startswith("gpt2") else 30522
