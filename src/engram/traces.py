"""Where in a network the answer comes back: what tracers return. No torch, no model, no open file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .facts import Prompt
from .results import Floats

Kind = Literal["block", "ffn", "attention"]
KINDS: tuple[Kind, ...] = ("block", "ffn", "attention")
Category = Literal[
    "first subject", "middle subject", "last subject", "first subsequent", "further", "before", "last", "mask"
]
CATEGORIES: tuple[Category, ...] = (
    "before", "first subject", "middle subject", "last subject", "first subsequent", "further", "last", "mask",
)  # fmt: skip
UNITS = {"probability": "probability", "logprob": "nats", "logit_difference": "logits", "rank": "ranks"}


def unit(metric: str) -> str:
    """Of a metric's values; its own name where it is a plug-in's.

    >>> unit("logprob"), unit("probability")
    ('nats', 'probability')
    """
    return UNITS.get(metric, metric)


def turned(metric: str) -> int:
    """The sign of an effect that brings the answer back: −1 for ranks, of which 1 is best."""
    return -1 if metric == "rank" else 1


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """How much of the answer does one restored site bring back? One number for every token and layer.

    The subject's embeddings were corrupted `samples` times, and each time the site (`kind`, at this token, in this
    layer or the layers of its window) was given what it was in the clean run. `effect` [token, layer] is the metric
    restored minus corrupted, mean over samples, and `spread` its standard deviation over samples (NaN with one sample);
    both in the unit of `metric`, as are `clean` and `corrupted`. `tokens` are the prompt's as the tokenizer writes
    them, `subject` the first of the subject's and the one behind its last, `at` the number of the token that answers
    (the mask, or the last). `windows` [layer] says which layers were restored in that column, from the first to behind
    the last. `notes` is what should not be overlooked.

    >>> import engram as eg
    >>> prompt = eg.Prompt("The capital of Ireland is [Y]", "Dublin")
    >>> trace = eg.trace(eg.load("engram:causal"), prompt, subject="Ireland", by=eg.CausalTracing(samples=3))
    >>> trace.effect.shape == (len(trace.tokens), 4), trace.tokens[trace.subject[0]]
    (True, 'ĠIreland')
    """

    prompt: Prompt
    method: str
    kind: Kind
    tokens: tuple[str, ...]
    subject: tuple[int, int]
    at: int
    answer: str
    metric: str
    effect: Floats
    spread: Floats
    clean: float
    corrupted: float
    samples: int
    windows: tuple[tuple[int, int], ...]
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """The total effect: the metric clean minus corrupted."""
        return self.clean - self.corrupted

    @property
    def restored(self) -> Floats:
        """The metric with the site restored, [token, layer]: what ROME's code calls scores."""
        found: Floats = self.effect + self.corrupted
        return found

    @property
    def normalised(self) -> Floats | None:
        """The effect as part of the total effect, [token, layer]; None where the corruption takes nothing away."""
        return self.effect / self.total if turned(self.metric) * self.total > 0 else None

    @property
    def peak(self) -> tuple[int, int]:
        """The token and layer that bring most of the answer back; of equal ones the first."""
        token, layer = np.unravel_index(int(np.argmax(turned(self.metric) * self.effect)), self.effect.shape)
        return int(token), int(layer)

    @property
    def categories(self) -> dict[Category, list[int]]:
        """The numbers of the tokens of each category, those with none left out; see `categories`."""
        return categories(len(self.tokens), self.subject, self.at, masked=self.at != len(self.tokens) - 1)


def categories(tokens: int, subject: tuple[int, int], at: int, *, masked: bool) -> dict[Category, list[int]]:
    """Which tokens of a prompt are what? As Meng et al. (2022) group them, and the mask of a masked model.

    A one-token subject is both its first and its last token, and one token behind it is both first subsequent and last.

    >>> categories(6, (1, 4), 5, masked=False)  # doctest: +NORMALIZE_WHITESPACE
    {'before': [0], 'first subject': [1], 'middle subject': [2], 'last subject': [3], 'first subsequent': [4],
     'last': [5]}
    """
    first, end = subject
    found: dict[Category, list[int]] = {
        "before": [i for i in range(first) if not (masked and i == at)],
        "first subject": [first],
        "middle subject": list(range(first + 1, end - 1)),
        "last subject": [end - 1],
        "first subsequent": [end] if end < tokens and not (masked and end == at) else [],
        "further": [i for i in range(end + 1, tokens - 1) if not (masked and i == at)],
        "last": [tokens - 1],
    }
    if masked:
        found["mask"] = [at]
    return {name: own for name, own in found.items() if own}


def windows(width: int, layers: int) -> tuple[tuple[int, int], ...]:
    """Which layers are restored together, for each layer: `[l − w//2, l + w − w//2)`, clipped, as in ROME's code.

    >>> windows(4, 5)
    ((0, 2), (0, 3), (0, 4), (1, 5), (2, 5))
    """
    return tuple((max(0, i - width // 2), min(layers, i - (-width // 2))) for i in range(layers))


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """The `k` units with the largest effects restored together, beside as many random ones of the same layer.

    `effect` is that of the best, `chance` [draw] those of the random sets; unit: the metric's.
    """

    k: int
    effect: float
    chance: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Mediation:
    """How much of the answer does each single neuron of one site bring back?

    `effect` [neuron] is the metric with this neuron alone as in the clean run, minus corrupted, mean over samples
    (exact); `spread` its standard deviation over samples; `first_order` [neuron] the linear estimate of the same, the
    difference of the activations times the gradient in the corrupted run. Either is None where it was not asked for.
    `token` and `layer` say where, `all_units` what restoring the whole site brings back, `controls` what its best units
    do together. Otherwise as in `Trace`.

    >>> import engram as eg
    >>> prompt = eg.Prompt("The capital of Ireland is [Y]", "Dublin")
    >>> found = eg.mediate(eg.load("engram:causal"), prompt, subject="Ireland", by=eg.UnitMediation(layer=0, samples=3))
    >>> found.effect.shape, found.samples, bool(found.best(1)[0][1] == found.effect.max())
    ((256,), 3, True)
    """

    prompt: Prompt
    method: str
    tokens: tuple[str, ...]
    subject: tuple[int, int]
    token: int
    layer: int
    answer: str
    metric: str
    effect: Floats | None
    spread: Floats | None
    first_order: Floats | None
    all_units: float
    controls: tuple[Control, ...]
    clean: float
    corrupted: float
    samples: int
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def scores(self) -> Floats:
        """The exact effects, or else those of first order. [neuron]"""
        found = self.effect if self.effect is not None else self.first_order
        return found if found is not None else np.full(0, np.nan)

    @property
    def total(self) -> float:
        """The total effect: the metric clean minus corrupted."""
        return self.clean - self.corrupted

    def best(self, k: int) -> list[tuple[int, float]]:
        """The k neurons with the largest effects, best first; ties by index."""
        order = np.argsort(-self.scores, kind="stable")[:k]
        return [(int(i), float(self.scores[i])) for i in order]
