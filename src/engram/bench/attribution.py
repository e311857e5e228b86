"""How much faster is the engine than the straightforward loop, and does it say the same?"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ..errors import BadSetting
from ..facts import Prompt
from ..locators import IntegratedGradients, locate, quadrature
from ..models import Model, hooks
from ..models.questions import Batch
from ..results import Floats
from .shapes import network


@dataclass(frozen=True, slots=True)
class AttributionBench:
    """Medians of interleaved runs in one process, seconds per prompt; `ratio` is straightforward / engine."""

    shape: str
    prompts: int
    tokens: int
    rule: str
    steps: int
    runs: int
    engine: tuple[float, ...]
    straightforward: tuple[float, ...]
    difference: float
    threads: int
    torch: str
    machine: str

    @property
    def ratios(self) -> list[float]:
        """One per run."""
        return [s / e for s, e in zip(self.straightforward, self.engine, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the runs' ratios."""
        return statistics.median(self.ratios)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "ratio": self.ratio, "ratios": self.ratios}


def bench_attribution(
    shape: str = "bert-base",
    *,
    prompts: int = 9,
    tokens: int = 12,
    steps: int = 20,
    rule: str = "right",
    runs: int = 3,
    progress: Callable[[int, int], None] | None = None,
) -> AttributionBench:
    """Engine and straightforward loop in turn, on the same random network and prompts of `tokens` tokens.

    `difference` is the largest difference of their scores relative to the largest score.
    Raises BadSetting, UnknownName.
    """
    if min(prompts, runs, steps) < 1 or tokens < 4:
        raise BadSetting("a benchmark takes at least 1 prompt, run and step, and 4 tokens")
    model = network(shape)
    questions = _questions(model, prompts, tokens)
    by = IntegratedGradients(steps=steps, rule=rule)
    engine, plain, difference = [], [], 0.0
    locate(model, questions[:1], by=IntegratedGradients(steps=2))  # the first pass of a process is not typical
    for run in range(runs):
        begin = time.perf_counter()
        ours = [a.dense() for a in locate(model, questions, by=by)]
        middle = time.perf_counter()
        theirs = straightforward(model, questions, steps=steps, rule=rule)
        end = time.perf_counter()
        engine.append((middle - begin) / prompts)
        plain.append((end - middle) / prompts)
        largest = max(float(np.abs(t).max()) for t in theirs)
        apart = max(float(np.abs(o - t).max()) for o, t in zip(ours, theirs, strict=True))
        difference = max(difference, apart / largest)
        if progress is not None:
            progress(run + 1, runs)
    return AttributionBench(
        shape, prompts, tokens, rule, steps, runs, tuple(engine), tuple(plain), difference,
        torch.get_num_threads(), torch.__version__, platform.processor() or platform.machine(),
    )  # fmt: skip


def straightforward(model: Model, prompts: Sequence[Prompt], *, steps: int, rule: str) -> list[Floats]:
    """The loop as one would write it: a prompt and a layer at a time, every pass through the whole network.

    Parameters are frozen and the grid is one batch; the vocabulary is computed at every position, as the network does.
    """
    nodes, weights = quadrature(rule, steps)
    with hooks.quiet(model.net):
        return [np.stack([_layer(model, p, n, nodes, weights) for n in range(len(model.layers))]) for p in prompts]


def _layer(model: Model, prompt: Prompt, layer: int, nodes: Floats, weights: Floats) -> Floats:
    (row,) = model.rows(prompt)
    batch = Batch.of([row], model.device)
    down, at = model.layers[layer].down, int(batch.answered_at[0])
    seen: list[torch.Tensor] = []
    handle = down.register_forward_pre_hook(lambda _m, args: seen.append(args[0][0, at].detach().clone()))
    with torch.no_grad():
        model.net(**batch.inputs)
    handle.remove()
    scaled = (torch.tensor(nodes, dtype=torch.float32)[:, None] * seen[0]).requires_grad_()

    def put(_m: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        x = args[0].clone()
        x[:, at] = scaled
        return (x, *args[1:])

    handle = down.register_forward_pre_hook(put)
    inputs = Batch.of([row] * len(nodes), model.device).inputs
    said = model.net(**inputs).logits[:, at].softmax(-1)[:, row.target]
    handle.remove()
    (slope,) = torch.autograd.grad(said.sum(), scaled)
    return (seen[0] * (slope * torch.tensor(weights, dtype=torch.float32)[:, None]).sum(0)).numpy()


def _questions(model: Model, prompts: int, tokens: int) -> list[Prompt]:
    """Prompts of random words, of exactly so many tokens as the network reads them."""
    rng = np.random.default_rng(0)
    words = tokens - 3 if not model.blank_last else tokens
    texts = []
    for _ in range(prompts):
        chosen = [f"w{i}" for i in rng.integers(0, 10_000, words)]
        blank = words - 1 if model.blank_last else words // 2
        texts.append(" ".join([*chosen[: blank + model.blank_last], "[Y]", *chosen[blank + model.blank_last :]]))
    return [Prompt(t, f"w{rng.integers(0, 10_000)}") for t in texts]
