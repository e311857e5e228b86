"""Which neurons does an answer come from? What every locator shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..facts import Prompt
from ..models import Model, detours, holding, hooks
from ..models.batching import Progress, by_shape, in_batches, rows_within
from ..models.questions import Batch, Row
from ..registry import Registry
from ..results import Attribution, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Of some rows: `neurons` one tensor [row, neuron] per layer; `change`, `gap`, `error` and `points` [row, layer].

    See `Attribution` for what they mean. None where a method has none.

    >>> Scores((torch.zeros(2, 256), torch.zeros(2, 256))).gap is None  # two rows, two layers
    True
    """

    neurons: tuple[Tensor, ...]
    change: Tensor | None = None
    gap: Tensor | None = None
    error: Tensor | None = None
    points: Tensor | None = None


class Locator(ABC):
    """Scores every neuron for rows of one shape. Subclasses are frozen dataclasses: their fields are their settings.

    >>> from dataclasses import dataclass
    >>> import engram as eg
    >>> from engram.models.replay import record
    >>> @dataclass(frozen=True)
    ... class Size(Locator):
    ...     name = "size"
    ...     def score(self, model, batch):
    ...         return Scores(tuple(w.abs() for w in record(model, batch).neurons))
    >>> found, = eg.locate(eg.load(), eg.Prompt("The author of Hamlet is [Y].", "Shakespeare"), by=Size())
    >>> found.method, found.scores.shape, bool(found.scores.min() >= 0)
    ('size', (4, 256), True)
    """

    name: ClassVar[str]

    @abstractmethod
    def score(self, model: Model, batch: Batch) -> Scores:
        """The scores of all neurons for these rows. Runs inside `locate`, which has made the network quiet."""

    def rows_at_once(self, model: Model, tokens: int) -> int:
        """How many asked rows may be scored together, within the model's budget?"""
        return rows_within(model, tokens, gradient=True)


def locate(
    model: Model,
    prompts: Iterable[Prompt] | Prompt,
    *,
    by: Locator,
    under: object = None,
    progress: Progress | None = None,
) -> list[Attribution]:
    """Which neurons do these prompts use? One Attribution per prompt, in order.

    Prompts of equal length are scored together. The scores of an answer of several tokens are the mean over its
    tokens, each asked with the gold tokens before it. Leaves the model as it was. Raises UnaskablePrompt, NotFinite,
    OutOfMemory.

    >>> import engram as eg
    >>> prompt = eg.Prompt("The author of Hamlet is [Y].", "Shakespeare")
    >>> found, = eg.locate(eg.load(), prompt, by=eg.IntegratedGradients(steps=32, rule="gauss"))
    >>> bool(abs(found.gap).max() < 0.01 * abs(found.change).max())  # a hundredth of what there is to explain
    True
    """
    asked = [prompts] if isinstance(prompts, Prompt) else list(prompts)
    rows: list[Row] = []
    owned: list[list[int]] = []
    for prompt in asked:
        mine = model.rows(prompt)
        owned.append(list(range(len(rows), len(rows) + len(mine))))
        rows += mine
    found: list[_RowScores | None] = [None] * len(rows)
    with hooks.quiet(model.net), detours.fused(model.net), holding(under, model):
        for group in by_shape([r.shape for r in rows]):
            size = max(1, by.rows_at_once(model, sum(rows[group[0]].shape)))

            def work(part: Sequence[int]) -> list[_RowScores]:
                scored = _rowwise(by.score(model, Batch.of([rows[i] for i in part], model.device)), model)
                for i, one in zip(part, scored, strict=True):
                    found[i] = one
                if progress is not None:
                    progress(sum(f is not None for f in found), len(rows))
                return scored

            in_batches(model, group, size, work)
    settings = _settings(by, model)
    return [
        _attribution(prompt, by.name, settings, [f for i in mine if (f := found[i]) is not None], model)
        for prompt, mine in zip(asked, owned, strict=True)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _RowScores:
    neurons: Floats
    change: Floats
    gap: Floats
    error: Floats
    points: Floats


def _rowwise(scores: Scores, model: Model) -> list[_RowScores]:
    widest, layers, n = max(model.widths), len(model.layers), scores.neurons[0].shape[0]
    shapes, expected = [tuple(x.shape) for x in scores.neurons], [(n, width) for width in model.widths]
    if shapes != expected:
        raise ValueError(f"a locator gives a tensor [row, neuron] for each layer: {expected}, not {shapes}")
    dense = np.zeros((n, layers, widest), np.float32)
    for layer, x in enumerate(scores.neurons):
        dense[:, layer, : x.shape[1]] = x.detach().float().cpu().numpy()
    unknown = np.full((n, layers), np.nan)
    audit = [
        unknown if x is None else x.detach().double().cpu().numpy()
        for x in (scores.change, scores.gap, scores.error, scores.points)
    ]
    return [_RowScores(dense[i], *(x[i] for x in audit)) for i in range(n)]


def _attribution(
    prompt: Prompt, name: str, settings: dict[str, Any], parts: list[_RowScores], model: Model
) -> Attribution:
    scores, gap, change = (np.mean([getattr(p, part) for p in parts], axis=0) for part in ("neurons", "gap", "change"))
    error = np.max([p.error for p in parts], axis=0)
    points = np.sum([p.points for p in parts], axis=0)
    return Attribution(prompt, name, scores, gap, change, model.widths, settings, error=error, points=points)


def _settings(by: Locator, model: Model) -> dict[str, Any]:
    chosen = asdict(by)  # type: ignore[call-overload]
    return {**chosen, "model": model.name, "dtype": str(model.net.dtype).removeprefix("torch."), "masks": model.masks}


def pairs(rows: int, each: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Every row with every one of `each` things: two index tensors [rows × each], the row's running slowest."""
    row = torch.arange(rows, device=device).repeat_interleave(each)
    return row, torch.arange(each, device=device).repeat(rows)


locators: Registry[Any] = Registry("locator", "engram.locators", Locator)
"""The locators by name; a plug-in registers its own with `@locators("name")`."""
