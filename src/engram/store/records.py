"""The scores of one prompt, sparse; and a table of them. One row of a table is one prompt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..facts import Fact, Prompt
from ..results import Answer, Attribution, Floats

if TYPE_CHECKING:
    import pyarrow as pa

AUDIT = ("gap", "change", "error", "points")  # one number per layer each


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """What is kept of one prompt of fact number `number`: its high scores, their audit, and how it was answered.

    `layers`, `neurons` and `scores` say which neurons score at least `floor` and how much, in order of layer and
    neuron; `peak` is the largest score; `gap`, `change`, `error` and `points` have one number per layer (see
    `Attribution`); `logprob` and `rank` are the answer's.
    """

    number: int
    prompt: Prompt
    layers: NDArray[np.int16]
    neurons: NDArray[np.int32]
    scores: NDArray[np.float32]
    peak: float
    floor: float
    gap: Floats
    change: Floats
    error: Floats
    points: Floats
    logprob: float
    rank: int

    @classmethod
    def of(cls, number: int, found: Attribution, answer: Answer, *, floor: float) -> Record:
        """Keep the scores of at least `floor` of the prompt's peak, unrounded.

        Where the peak is not above 0 no part of it means anything, and only the peak itself is kept.
        """
        inside = np.arange(found.scores.shape[1])[None] < np.asarray(found.widths)[:, None]
        scores = np.where(inside, found.scores, -np.inf).astype(np.float32)
        peak = float(scores.max())
        least = floor * peak
        kept = scores >= least
        if not 0 < peak < math.inf:
            least = float(np.nextafter(np.float32(peak), np.float32(np.inf)))
            kept = np.zeros_like(inside)
            kept.flat[int(np.argmax(scores))] = True
        layers, neurons = np.nonzero(kept)
        unknown = np.full(len(found.widths), np.nan)
        audit = {k: unknown if (x := getattr(found, k)) is None else np.asarray(x, float) for k in AUDIT}
        return cls(
            number, found.prompt, layers.astype(np.int16), neurons.astype(np.int32), scores[kept], peak, least,
            logprob=answer.logprob, rank=answer.rank, **audit,
        )  # fmt: skip

    def attribution(self, widths: Sequence[int], method: str, settings: Mapping[str, Any]) -> Attribution:
        """The scores as a locator gives them. Below the floor they are −inf: nothing is known of them but that."""
        scores = np.full((len(widths), max(widths)), -np.inf, np.float32)
        scores[self.layers, self.neurons] = self.scores
        return Attribution(
            self.prompt, method, scores, self.gap, self.change, tuple(widths), settings, self.floor, self.error,
            self.points,
        )  # fmt: skip


def schema() -> pa.Schema:
    """The columns of a table of records."""
    import pyarrow as pa

    words = [(name, pa.string()) for name in ("relation", "subject", "answer", "fact_id", "text", "against")]
    numbers = [("probability", pa.float64()), ("logprob", pa.float64()), ("rank", pa.int32())]
    numbers += [("peak", pa.float64()), ("floor", pa.float64())]
    sparse = [("layers", pa.list_(pa.int16())), ("neurons", pa.list_(pa.int32())), ("scores", pa.list_(pa.float32()))]
    audit = [(name, pa.list_(pa.float64())) for name in AUDIT]
    return pa.schema([("fact", pa.int32()), *words, ("template", pa.int32()), *numbers, *sparse, *audit])


def table(records: Sequence[Record]) -> pa.Table:
    """One row for each record."""
    import pyarrow as pa

    return pa.Table.from_pylist([_row(r) for r in records], schema=schema())


def records(found: pa.Table) -> Iterator[Record]:
    """The records of a table, to the last bit as they were."""
    for row in found.to_pylist():
        known = row["relation"] is not None
        fact = Fact(row["subject"], row["relation"], row["answer"], row["fact_id"]) if known else None
        yield Record(
            row["fact"], Prompt(row["text"], row["answer"], fact, row["template"], row["against"]),
            np.array(row["layers"], np.int16), np.array(row["neurons"], np.int32), np.array(row["scores"], np.float32),
            row["peak"], row["floor"], logprob=row["logprob"], rank=row["rank"],
            **{name: np.array(row[name], float) for name in AUDIT},
        )  # fmt: skip


def _row(r: Record) -> dict[str, Any]:
    fact = r.prompt.fact
    known: dict[str, str | None] = {"relation": None, "subject": None, "fact_id": None}
    if fact is not None:
        known = {"relation": fact.relation, "subject": fact.subject, "fact_id": fact.id}
    return {
        "fact": r.number, **known, "answer": r.prompt.answer, "text": r.prompt.text, "against": r.prompt.against,
        "template": r.prompt.template, "probability": math.exp(r.logprob), "logprob": r.logprob, "rank": r.rank,
        "peak": r.peak, "floor": r.floor, "layers": r.layers, "neurons": r.neurons, "scores": r.scores,
        **{name: getattr(r, name) for name in AUDIT},
    }  # fmt: skip
