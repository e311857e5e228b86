"""How many edits does a model bear? One after the other, each planned on the weights that the last one left.

Edits that are harmless alone can add up until nothing works (Yang et al. 2024; Gupta et al. 2024). So after some edits
all cases edited so far are asked again, ordinary text is read, and the weights are measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch

from ..cases import Case as Record
from ..edits import Edit
from ..errors import BadSetting, EngramError
from ..facts import FactSet
from ..metrics.collapse import LIMIT, alarm
from ..metrics.judged import columns, judged, summaries
from ..models import Model, holding
from ..models.batching import Progress
from ..models.editing import slots_of
from ..models.perplexity import kind_of_perplexity, surprise
from ..results import Report, Score
from .base import Case, Result, experiments
from .drawn import Drawn, LeftOut, Skipped, left_out
from .editing import records_of
from .erasing import TEXTS
from .judging import UNEDITED, Condition, readings, sentences
from .planning import ByNeurons, Planner

CHECKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@experiments("in_turn")
@dataclass(frozen=True, slots=True)
class InTurn(Drawn):
    """Edit the drawn cases one after the other, and look what has become of all of them after `checks` edits.

    Each editor of `by` begins with the model as it was. After each check: the scores of all cases edited so far, the
    (pseudo-)perplexity of `texts` over what it was, and how far each layer's weight has moved, as part of its norm.
    Past `growth` times the perplexity an alarm is given, and, `stop`, no further case is edited. Everything is undone
    at the end, to the last bit. All cases are one shard, for each edit rests on those before.

    Raises BadSetting.

    >>> import engram as eg
    >>> experiment = InTurn(limit=3, checks=(1, 3))
    >>> experiment.cases(eg.data.cases("shipped", relations=["capital"]))
    [{'shard': 0, 'facts': [0, 1, 2]}]
    """

    name: ClassVar[str] = "in_turn"
    columns: ClassVar[Mapping[str, str]] = columns()
    by: tuple[Planner, ...] = field(default_factory=lambda: (ByNeurons(),))
    checks: tuple[int, ...] = CHECKS
    texts: tuple[str, ...] = TEXTS
    growth: float = LIMIT
    stop: bool = True

    def __post_init__(self) -> None:
        Drawn.__post_init__(self)
        names = [p.name for p in self.by]
        if not names or len(set(names)) < len(names):
            raise BadSetting(f"edits take at least one editor, each under a name of its own, not {names}")
        if not self.checks or min(self.checks) < 1 or not self.growth > 1:
            raise BadSetting(
                f"checks are numbers of edits from 1 up and growth is above 1, not {self.checks}, {self.growth}"
            )

    def cases(self, facts: FactSet) -> list[Case]:
        """One case: all that were drawn."""
        drawn = self._drawn(facts)
        return [{"shard": 0, "facts": drawn}] if drawn else []

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for each case, check and group of sentences; `checked` has what ordinary text and weights say."""
        skipped: Skipped = []
        records: dict[int, Record] = {}
        for number, record in records_of(facts, case["facts"], model):
            try:
                sentences(model, record)
                records[number] = record
            except EngramError as error:
                skipped.append(left_out(number, record.fact, None, error))
        rows = readings(model, [(n, r, [UNEDITED]) for n, r in records.items()])
        before = surprise(model, self.texts)
        checked: list[dict[str, Any]] = []
        for i, planner in enumerate(self.by):
            for done, found in enumerate(self._edited(model, planner, records, before, skipped), 1):
                if isinstance(found, tuple):
                    rows += found[0]
                    checked.append(found[1])
                if progress is not None:
                    progress(i * len(records) + done, len(self.by) * len(records))
        kind = kind_of_perplexity(model)
        return {"rows": rows, "checked": checked, "skipped": skipped, "asked": len(records), "text_measure": kind}

    def summary(self, results: Iterable[Result]) -> Report:
        """Every score after each check, of all cases edited so far. Raises BadSetting where none was."""
        done = list(results)
        rows = [row for r in done for row in r["rows"]]
        if not rows:
            raise BadSetting("no case was edited: none that was drawn can be asked")
        scores = [score for each in judged(rows) for score in summaries(each, seed=self.seed)]
        for r in done:
            for check in r["checked"]:
                name = f"{check['editor']}, after {check['edits']}"
                scores.append(
                    Score(f"{name}: {r['text_measure']}, ratio", check["perplexity"], len(self.texts), "ratio")
                )
                scores.append(Score(f"{name}: largest change of a layer", check["norm"], check["edits"], "of the norm"))
        return Report("in turn", tuple(scores), self.settings(), tuple(_notes(done)))

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        by = [{"called": p.name, **p.settings()} for p in self.by]
        own = {"checks": list(self.checks), "texts": list(self.texts), "growth": self.growth, "stop": self.stop}
        return {"by": by, **own, **self.drawing()}

    def _edited(
        self, model: Model, planner: Planner, records: Mapping[int, Record], before: list[list[float]], skipped: Skipped
    ) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]] | None]:
        """After each edit: what a check says, or None where there is none."""
        done: dict[int, Record] = {}
        last = [*records][-1]
        first: dict[int, torch.Tensor] = {}
        with ExitStack() as held:
            for number, record in records.items():
                try:
                    edit = planner.plan(model, record)
                    _remember(model, edit, first)
                    held.enter_context(holding(edit, model))
                    done[number] = record
                except EngramError as error:
                    skipped.append(left_out(number, record.fact, None, f"{planner.name}: {error}"))
                if done and (len(done) in self.checks or number == last):
                    rows, checked = self._checked(model, planner, done, before, first)
                    yield rows, checked
                    if checked["alarm"] and self.stop:
                        return
                else:
                    yield None

    def _checked(
        self, model: Model, planner: Planner, done: Mapping[int, Record], before: list[list[float]],
        first: Mapping[int, torch.Tensor],
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:  # fmt: skip
        condition = Condition(planner.name, f"after {len(done)}", None)  # the edits are in the weights
        norm = max(float((slots_of(model, i) - x).double().norm() / x.double().norm()) for i, x in first.items())
        try:
            rows = readings(model, [(n, r, [condition]) for n, r in done.items()])
            shift = np.concatenate(surprise(model, self.texts)).mean() - np.concatenate(before).mean()
            growth: float | None = float(np.exp(shift))
        except EngramError:  # nothing finite comes out any more
            rows, growth = [], None
        said = alarm(float("nan") if growth is None else growth, norm, limit=self.growth)
        about = {"editor": planner.name, "edits": len(done), "perplexity": growth, "norm": norm, "alarm": said}
        return rows, about


def _remember(model: Model, edit: Edit, first: dict[int, torch.Tensor]) -> None:
    """The weights of the layers that are changed for the first time, as they were."""
    for layer in edit.layers:
        if layer not in first:
            first[layer] = slots_of(model, layer).detach().clone()


def _notes(done: Iterable[Result]) -> Iterator[str]:
    for r in done:
        for check in r["checked"]:
            if check["alarm"]:
                yield f"ALARM, {check['editor']} after {check['edits']} edits: {check['alarm']}"
        yield from LeftOut.of([r]).notes()
