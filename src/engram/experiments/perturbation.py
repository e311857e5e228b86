"""Wen & Bai, section 5.4: what does noise in the word embeddings do to the answers?

They add noise to a table by which tied models both read words and score them, and find that GPT-2 loses nine tenths of
P(answer) and BERT a thirtieth. Here the two are apart: noise where words are read, where they are scored, and in both,
the same draw in all three, as a curve over its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from ..errors import BadSetting, UnknownName
from ..facts import Fact, FactSet, Prompt
from ..interventions.perturbed import Perturbed, Unit, Where, tables
from ..metrics.tried import Tried, perturbed
from ..models import Model, ask
from ..models.batching import Progress
from ..presets import FROM_PRESET, fill
from ..results import Answer, Report, Score
from .base import Case, Result, experiments
from .drawn import Drawn, LeftOut, Skipped, askable

Tables = Literal["shared", "own"]
CLEAN = "clean"
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "curve": {
        "sizes": (0.25, 0.5, 1.0, 2.0, 3.0), "where": get_args(Where), "unit": "sigma", "samples": 3,
        "tables": "shared",
    },
    "published": {"sizes": (1.0,), "where": ("both",), "unit": "published", "samples": 1, "tables": "own"},
}  # fmt: skip


@experiments("perturbation")
@dataclass(frozen=True, slots=True)
class Perturbation(Drawn):
    """Ask every prompt with noise of each size in the table that is read (input), that scores (output), and both.

    `sizes` are standard deviations in a `unit` of `Perturbed`; each is tried with `samples` draws of noise for the
    whole table, which all places and sizes share up to scale. `tables="shared"` takes the same draws for all facts,
    so that facts differ by what they are and not by their noise; "own" draws for every fact anew. `preset="published"`
    is what Wen & Bai did: one size, both tables, one draw for each fact. Of each fact the first `prompts` are asked
    (None: all). Which facts are drawn, and the seed, are settings of `Drawn`. Raises BadSetting, UnknownName.

    >>> Perturbation(sizes=(1.0,)).conditions
    ('clean', 'input, 1 σ', 'output, 1 σ', 'both, 1 σ')
    >>> Perturbation(preset="published").conditions
    ('clean', 'both, as published')
    """

    name: ClassVar[str] = "perturbation"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "number": "whole", "subject": "text", "answer": "text", "template": "whole",
        "prompt": "text", "logprob": "reals", "rank": "wholes",
    }  # fmt: skip
    sizes: tuple[float, ...] = FROM_PRESET
    where: tuple[Where, ...] = FROM_PRESET
    unit: Unit = FROM_PRESET
    samples: int = FROM_PRESET
    tables: Tables = FROM_PRESET
    prompts: int | None = None
    preset: str | None = None
    shard: int = field(default=32, kw_only=True)

    def __post_init__(self) -> None:
        Drawn.__post_init__(self)
        fill(self, self.preset, PRESETS)
        if not self.sizes or min(self.sizes) <= 0 or list(self.sizes) != sorted(set(self.sizes)):
            raise BadSetting(f"sizes of noise rise from above 0, such as (0.5, 1, 2), not {self.sizes}")
        if not self.where or len(set(self.where)) < len(self.where):
            raise BadSetting(f"where is one or more of {', '.join(get_args(Where))}, each once, not {self.where}")
        for place in self.where:
            Perturbed(self.sizes[0], place, self.unit)  # raises what is wrong with them
        if self.samples < 1 or (self.prompts is not None and self.prompts < 1):
            raise BadSetting(f"samples and prompts are numbers from 1 up, not {self.samples} and {self.prompts}")
        if self.tables not in get_args(Tables):
            raise UnknownName("way to draw tables of noise", self.tables, get_args(Tables))

    @property
    def conditions(self) -> tuple[str, ...]:
        """Clean, and every place and size."""
        return (CLEAN, *(perturbed(place, size, self.unit) for place in self.where for size in self.sizes))

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for every prompt: the answer as it is, and under noise of every place and size, draw by draw."""
        skipped: Skipped = []
        asked = list(askable(model, facts, case["facts"], skipped, limit=self.prompts))
        draws = self._answers(model, asked, progress)
        rows = []
        for i, (number, prompt) in enumerate(asked):
            said = [answers[i] for draw in draws for answers in draw]
            fact = prompt.fact or Fact("", "", prompt.answer)
            rows.append({
                "relation": fact.relation, "number": number, "subject": fact.subject, "answer": prompt.answer,
                "template": prompt.template, "prompt": prompt.text, "logprob": [a.logprob for a in said],
                "rank": [a.rank for a in said],
            })  # fmt: skip
        own = tables(model)
        about = {side: {"sigma": t.sigma, "mean": t.mean, "shape": list(t.weight.shape)} for side, t in own.items()}
        sizes = {side: [t.absolute(size, self.unit) for size in self.sizes] for side, t in own.items()}
        tied = own["input"].weight.data_ptr() == own["output"].weight.data_ptr()
        return {"rows": rows, "skipped": skipped, "tables": about, "sizes": sizes, "tied": tied}

    def summary(self, results: Iterable[Result]) -> Report:
        """P(answer) and its change by place and size; and by how much noise in one table costs more than in the other.

        Means over facts with 95 % bootstraps over facts, and as published the mean over relations. Raises BadSetting
        where nothing was asked.
        """
        done = list(results)
        left = LeftOut.of(done)
        if not any(r["rows"] for r in done):
            raise left.nothing("prompt was asked")
        tried = Tried.of(done, self.conditions, seed=self.seed)
        n = sum(len(r["rows"]) for r in done)
        scores = [
            Score("facts", tried.n, tried.n, "facts"),
            Score("prompts", n, n, "prompts"),
            left.score(n, "records"),
        ]
        scores += [s for condition in self.conditions for s in tried.scores(condition, briefly=True)]
        scores += [*self._apart(tried), *self._between(done)]
        notes = (*left.notes(), *_notes(done, self.unit))
        return Report("perturbation", tuple(scores), self.settings(), notes)

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        own = {"unit": self.unit, "samples": self.samples, "tables": self.tables, "prompts": self.prompts}
        return {"sizes": list(self.sizes), "where": list(self.where), **own, **self.drawing()}

    def _answers(
        self, model: Model, asked: Sequence[tuple[int, Prompt]], progress: Progress | None
    ) -> list[list[list[Answer]]]:
        """Of every draw and condition the answer to each prompt."""
        whose = [number for number, _ in asked]
        groups = [whose] if self.tables == "shared" else [[n] for n in dict.fromkeys(whose)]
        total, done = self.samples * len(groups) * len(self.conditions), 0
        clean = ask(model, [p for _, p in asked], top=1) if asked else []
        found = []
        for sample in range(self.samples):
            draws = [clean, *(list(clean) for _ in self.conditions[1:])]
            for group in groups if asked else ():
                here = [i for i, number in enumerate(whose) if number in group]
                draw = sample if self.tables == "shared" else sample + self.samples * group[0]
                for k, (place, size) in enumerate(((p, s) for p in self.where for s in self.sizes), 1):
                    under = Perturbed(size, place, self.unit, self.seed, draw)
                    for i, answer in zip(
                        here, ask(model, [asked[i][1] for i in here], under=under, top=1), strict=True
                    ):
                        draws[k][i] = answer
                done += len(self.conditions)
                if progress is not None:
                    progress(done, total)
            found.append(draws)
        return found

    def _apart(self, tried: Tried) -> Iterator[Score]:
        """Noise in the output less noise in the input, of the same size and draw."""
        if not {"input", "output"} <= set(self.where):
            return
        for size in self.sizes:
            one, other = (perturbed(place, size, self.unit) for place in ("output", "input"))
            s = tried.change(one, other)
            yield Score(f"{one} minus input: P(answer)", s.value, s.n, s.unit, interval=s.interval)

    def _between(self, done: Sequence[Result]) -> Iterator[Score]:
        """How far the mean change differs from draw to draw of the noise, where all facts share the draws."""
        if self.samples < 2 or self.tables == "own":
            return
        shape = (-1, self.samples, len(self.conditions))
        p = np.exp(np.reshape([x for r in done for row in r["rows"] for x in row["logprob"]], shape))
        spread = (p - p[:, :, :1]).mean(0).std(0, ddof=1)
        for condition, sd in zip(self.conditions[1:], spread[1:], strict=True):
            name = f"{condition}: standard deviation of the change over draws"
            yield Score(name, float(sd), self.samples, "probability")


def _notes(done: Sequence[Result], unit: str) -> Iterator[str]:
    """What a reader of the numbers must know."""
    first = next(r for r in done if r["rows"])
    table, other = first["tables"]["input"], first["tables"]["output"]
    yield f"the table that is read has σ {table['sigma']:.4g} and mean absolute value {table['mean']:.4g}"
    if first["tied"]:
        yield "the tables are one: noise written into it, as published, is noise in both"
    else:
        yield f"the table that scores is another, with σ {other['sigma']:.4g}; sizes are in units of each its own"
    if unit == "published":
        yield f"noise as published: a third of the mean absolute value, cut off, {first['sizes']['input'][0]:.4g}"
