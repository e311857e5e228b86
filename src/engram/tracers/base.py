"""Where does the answer come back? What every tracer shares: clean and corrupted runs, and how they are read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import BadSetting, NoSubject, UnknownName
from ..facts import Prompt
from ..models import Model, detours, holding, hooks
from ..models.batching import Progress
from ..models.passes import Runs, runs
from ..models.patching import Cell, patched
from ..models.questions import Batch, Row
from ..models.spans import Span, span_of
from ..registry import Registry
from ..results import Floats
from ..traces import KINDS, Kind, Trace, turned, windows
from .metrics import Metric, metric_of
from .noise import Corruption, Rng, Spread, corruption, drawn

ANSWERS = ("gold", "argmax")
WINDOW = 10  # layers, of ffn and attention, as Meng et al. have it for 48


@dataclass(frozen=True, slots=True)
class Corrupting:
    """How the subject is corrupted, and in what the answer is measured: settings of all tracers.

    `noise`: 0.1 is an absolute standard deviation, "3s" three of the embeddings' own; "uniform:3s" draws from −1 to 1
    times that; "covariance:3" has three times the embeddings' covariance root, "student:5" that with Student's t of 5
    degrees of freedom; "zero", "mean" and "resample" put nothing, the mean embedding or random words there, and
    "replace:Italy" another subject of as many tokens. The embeddings' spread is that of the whole table, or of the
    tokens of `spread_of`. `rng="rome"` draws as ROME's code (RandomState(1), the same for every prompt). `metric` is
    probability (mean over samples of probabilities), logprob, logit_difference (with `Prompt.against`) or rank (lower
    is better). `answers="argmax"` measures what the model says first in place of the prompt's own answer. Raises
    BadSetting, UnknownName.
    """

    samples: int = 10
    noise: float | str = "3s"
    rng: Rng = "numpy"
    seed: int | None = None
    metric: str = "probability"
    answers: Literal["gold", "argmax"] = "gold"
    spread_of: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise BadSetting(f"a trace takes at least 1 sample, not {self.samples}")
        if self.rng not in ("numpy", "rome"):
            raise UnknownName("rng", str(self.rng), ("numpy", "rome"))
        if self.answers not in ANSWERS:
            raise UnknownName("answers", str(self.answers), ANSWERS)
        if self.seed is not None and self.seed < 0:
            raise BadSetting(f"a seed is not negative, this one is {self.seed}")
        corruption(self.noise)
        metric_of(self.metric)

    @property
    def luck(self) -> int:
        """The seed: 1 with ROME's draws, else 0, where none was given."""
        return self.seed if self.seed is not None else int(self.rng == "rome")

    @property
    def same(self) -> tuple[Any, ...]:
        """What decides the clean and the corrupted runs."""
        return tuple(getattr(self, name) for name in Corrupting.__dataclass_fields__ if name != "metric")


@dataclass(frozen=True, slots=True)
class Tracer(Corrupting):
    """Traces one `kind` of site: what leaves the block, what the FFN's second map or what attention gives out.

    A `window` of w layers is restored together, `[l − w//2, l + w − w//2)`, clipped at the ends as in ROME's code.
    None is 1 for blocks; for the others 10, as published for 48 layers, but no more than a quarter of the model's.

    Subclasses are frozen dataclasses: their fields are their settings.

    >>> import engram as eg
    >>> @dataclass(frozen=True)
    ... class Nothing(Tracer):
    ...     name = "nothing"
    ...     def effects(self, asked, corrupted):
    ...         return np.zeros((asked.tokens, len(asked.model.layers), len(corrupted)))
    >>> prompt = eg.Prompt("The capital of Ireland is [Y]", "Dublin")
    >>> trace(eg.load("engram:causal"), prompt, subject="Ireland", by=Nothing()).effect.shape
    (6, 4)
    """

    name: ClassVar[str]
    kind: Kind = "block"
    window: int | None = None

    def __post_init__(self) -> None:
        Corrupting.__post_init__(self)
        if self.kind not in KINDS:
            raise UnknownName("kind", str(self.kind), KINDS)
        if self.window is not None and self.window < 1:
            raise BadSetting(f"a window has at least 1 layer, not {self.window}")
        if self.kind == "block" and self.window not in (None, 1):
            raise BadSetting(
                f"a block's state holds all that the layers below it did: its window is 1, not {self.window}; "
                'kind="ffn" and kind="attention" take wider ones'
            )

    def layers_restored(self, layers: int) -> int:
        """The window, with its default in a model of so many layers."""
        return self.window or (1 if self.kind == "block" else max(1, min(WINDOW, layers // 4)))

    def windows(self, layers: int) -> tuple[tuple[int, int], ...]:
        """Which layers are restored together, for each layer of a model of so many: from the first to behind the last.

        >>> from engram.tracers import CausalTracing
        >>> CausalTracing(kind="ffn", window=4).windows(5)
        ((0, 2), (0, 3), (0, 4), (1, 5), (2, 5))
        """
        return windows(self.layers_restored(layers), layers)

    @abstractmethod
    def effects(self, asked: Asked, corrupted: Floats) -> Floats:
        """The metric restored minus `corrupted` [sample]: [token, layer, sample].

        Runs inside `trace`, which has made the network quiet.
        """


@dataclass(slots=True, eq=False)
class Asked:
    """A prompt with its subject's tokens corrupted: `runs` one pass for each token of its answer."""

    model: Model
    prompt: Prompt
    rows: list[Row]
    span: Span
    runs: list[Runs]
    answer: str
    nothing: bool
    progress: Progress | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Of the prompt; those of the answer are not among them."""
        return len(self.rows[0].ids)

    def reader(self, metric: Metric, i: int) -> Any:
        """Reads the metric of the answer's i-th token off logits [row, vocabulary]."""
        row = Batch.of([self.rows[i]])

        def read(logits: Tensor) -> Tensor:
            where = torch.zeros(len(logits), dtype=torch.long)
            return metric.read(logits, row.take(where))

        return read

    def patched(self, metric: Metric, cells: Sequence[Cell]) -> Floats:
        """The metric with each cell put in place, [cell, sample]."""
        parts = [
            patched(self.model, own, cells, self.reader(metric, i), progress=self.progress).cpu().numpy()
            for i, own in enumerate(self.runs)
        ]
        return metric.joined(parts)

    def said(self, metric: Metric) -> tuple[float, Floats]:
        """The metric in the clean run, and in each corrupted one [sample]."""
        parts = [self.reader(metric, i)(r.logits).double().cpu().numpy() for i, r in enumerate(self.runs)]
        every = metric.joined(parts)
        return float(every[0]), every[1:]


def trace(
    model: Model,
    prompt: Prompt,
    *,
    subject: str | None = None,
    by: Tracer,
    under: object = None,
    progress: Progress | None = None,
) -> Trace:
    """Where in the network does the answer come back, when one site is as it was before the subject was corrupted?

    Meng et al. (2022), section 2.1. `subject` is written as in the prompt; None takes that of the prompt's fact. Of a
    masked model every token and layer is run; of a causal one, what stands before the subject or cannot reach the
    answer is known without running it, and has an effect of exactly 0. An answer of several tokens is measured given
    its own tokens so far. Leaves the model as it was. Raises NoSubject, UnaskablePrompt, UnsupportedModel, NotFinite.

    >>> import engram as eg
    >>> prompt = eg.Prompt("The capital of Ireland is [Y]", "Dublin")
    >>> trace = eg.trace(eg.load("engram:causal"), prompt, subject="Ireland", by=eg.CausalTracing(kind="block"))
    >>> trace.clean > 0.2 > trace.corrupted, trace.tokens[trace.subject[0]], trace.effect.shape
    (True, 'ĠIreland', (6, 4))
    """
    (found,) = trace_each(model, prompt, subject, [by], under=under, progress=progress)
    return found


def trace_each(
    model: Model, prompt: Prompt, subject: str | None, by: Sequence[Tracer], *, under: object = None,
    spread: Spread | None = None, progress: Progress | None = None,
) -> list[Trace]:  # fmt: skip
    """One trace for each tracer; those that corrupt alike, one after the other, share their runs.

    `spread` spares reading the embeddings, where it is of what a tracer's `spread_of` names.
    """
    found: list[Trace] = []
    same: tuple[Any, ...] | None = None
    with hooks.quiet(model.net), detours.fused(model.net), holding(under, model):
        for one in by:
            if one.same != same:
                spread = (
                    spread if spread is not None and spread.texts == one.spread_of else Spread(model, one.spread_of)
                )
                shared, same = corrupted(model, prompt, subject, one, spread), one.same
            found.append(_traced(one, replace(shared, progress=progress, notes=list(shared.notes))))
    return found


def corrupted(model: Model, prompt: Prompt, subject: str | None, by: Corrupting, spread: Spread) -> Asked:
    """The clean and the corrupted runs of a prompt. Raises NoSubject, and what asking it raises."""
    name = subject if subject is not None else prompt.fact.subject if prompt.fact is not None else None
    if name is None:
        raise NoSubject(f"name the subject, the words to corrupt, of {prompt.text!r}")
    rows = model.rows(prompt)
    span = span_of(model, prompt, name, rows[0])
    what: Corruption = corruption(by.noise)
    samples = by.samples if what.random else 1
    notes = list(span.notes)
    if by.samples > 1 and samples == 1:
        notes.append(f"noise {by.noise!r} is the same in every sample: one was run")
    corrupt = drawn(
        model, prompt, name.strip(), span, what, samples=samples, rng=by.rng, seed=by.luck, spread=spread
    )  # fmt: skip
    answer = prompt.answer
    if by.answers == "argmax":
        first = runs(model, rows[0], corrupt, samples, span.first)
        rows = [replace(rows[0], target=int(first.logits[0].argmax()))]
        answer = str(model.tokenizer.decode([rows[0].target])).strip()
        passes = [first]
    else:
        passes = [runs(model, row, corrupt, samples, span.first) for row in rows]
    return Asked(model, prompt, rows, span, passes, answer, what.nothing, None, notes)


def _traced(by: Tracer, asked: Asked) -> Trace:
    model, metric = asked.model, metric_of(by.metric)
    clean, low = asked.said(metric)
    if asked.nothing:
        low = np.full_like(low, clean)
        effects: Floats = np.zeros((asked.tokens, len(model.layers), len(low)))
    else:
        effects = by.effects(asked, low)
    spread = effects.std(-1, ddof=1) if len(low) > 1 else np.full(effects.shape[:2], np.nan)
    corrupted_ = float(low.mean())
    notes = [*asked.notes]
    if by.metric == "rank":
        notes.append("ranks: 1 is best, so an effect below 0 brings the answer back")
    if turned(by.metric) * (clean - corrupted_) <= 0:
        notes.append("the corruption does not take the answer away: there is no total effect to bring back")
    return Trace(
        asked.prompt, by.name, by.kind, tuple(model.tokenizer.convert_ids_to_tokens(list(asked.rows[0].ids))),
        (asked.span.first, asked.span.end), asked.rows[0].at, asked.answer, by.metric, effects.mean(-1), spread, clean,
        corrupted_, len(low), by.windows(len(model.layers)), by.luck, settings_of(by, model), tuple(notes),
    )  # fmt: skip


def settings_of(by: Corrupting, model: Model) -> dict[str, Any]:
    """All settings as plain values, and the model they were used on."""
    return {**asdict(by), "model": model.name, "dtype": str(model.net.dtype).removeprefix("torch."),
            "masks": model.masks}  # fmt: skip


tracers: Registry[Any] = Registry("tracer", "engram.tracers")
"""The tracers by name; a plug-in registers its own with `@tracers("name")`."""
