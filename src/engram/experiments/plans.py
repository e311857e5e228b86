"""The edits of a case by several editors, and what each is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..cases import Case
from ..edits import Edit
from ..errors import EngramError
from ..models import Model
from .base import luck
from .drawn import Skipped, left_out
from .judging import Condition
from .planning import ARMS, Planner


@dataclass(slots=True)
class Plans:
    """Plans edits and their controls, case by case; `edits` learns how each was planned, `skipped` why one was not."""

    by: Sequence[Planner]
    controls: Sequence[str]
    seed: int
    skipped: Skipped
    edits: list[dict[str, Any]] = field(default_factory=list)

    def conditions(self, model: Model, number: int, record: Case) -> Iterator[Condition]:
        """What this case is asked under, beside the model as it is."""
        for planner in self.by:
            try:
                edit = planner.plan(model, record)
            except EngramError as error:
                self.skipped.append(left_out(number, record.fact, None, error))
                continue
            self.edits.append({"number": number, "editor": planner.name, **told_of(edit)})
            yield Condition(planner.name, "edited", edit)
            for arm in self.controls:
                control = self._control(model, number, record, planner, edit, arm)
                if control is not None:
                    yield Condition(planner.name, arm, control)

    def _control(self, model: Model, number: int, record: Case, planner: Planner, edit: Edit, arm: str) -> Edit | None:
        seed = int(luck(self.seed, record.fact.relation, number, ARMS.index(arm)).integers(2**31))
        try:
            return planner.control(model, record, edit, arm, seed)
        except EngramError as error:
            self.skipped.append(left_out(number, record.fact, None, f"{arm}: {type(error).__name__}: {error}"))
            return None


def told_of(edit: Edit) -> dict[str, Any]:
    """What is kept of how an edit was planned, in plain values."""
    kept = ("residual", "size", "sizes", "probability", "layer", "token", "experimental")
    return {"layers": list(edit.layers), "neurons": str(edit.neurons) if edit.neurons else None,
            **{k: edit.settings[k] for k in kept if k in edit.settings}}  # fmt: skip
