"""`engram run criteria`: what should follow from edits, before them and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from typer import Option

from ._drawn import Drawing
from ._options import Json, ModelOptions
from ._run_editing import Cases, Editors
from ._running import Places

CONTROLS = ("random neurons", "toward the truth")


@dataclass(frozen=True)
class Measuring:
    """Which new answers, and how a case is said to pass."""

    new: Annotated[
        str, Option(help="The new answer: drawn (the case's), or previous (that of the fact before it, as published).")
    ] = "drawn"
    measure: Annotated[
        list[str] | None, Option(help="paper (the likelier of two answers) or code (tokens that come first). [both]")
    ] = None
    compared: Annotated[
        str, Option(help="Answers of several tokens: by tokens (the geometric mean), or the whole answer.")
    ] = "tokens"

    def settings(self) -> dict[str, Any]:
        """Those of the experiment."""
        measures = {"measures": tuple(dict.fromkeys(self.measure))} if self.measure else {}
        return {"new": self.new, "compared": self.compared, **measures}


def criteria(
    *,
    source: Cases,
    drawing: Drawing,
    editors: Editors,
    measuring: Measuring,
    control: Annotated[
        list[str] | None,
        Option(help="random neurons, random layer, toward the truth, or none. [random neurons, toward the truth]"),
    ] = None,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Does an edit reach the fact the other way round, and in another word?

    Niu et al. (2024), table 1: symmetry and synonymy, beside what the model says without any edit, under random changes
    of the same size, and to the questions it can answer at all.

    \b
    engram run criteria --by rome --layer 0 --token asked --facts 10 --out runs/criteria
    engram run criteria --model gpt2-xl --data pararel --by rome --layer 17 --new previous --out runs/table1
    """
    from ..experiments import Criteria

    editors.check()
    cases = source.cases(drawing.seed)
    known = source.read() if measuring.new == "previous" else cases
    drawn = drawing.drawn(source if measuring.new == "previous" else replace(source, relation=None), known)
    experiment = Criteria(controls=_controls(control), **measuring.settings(), **drawn)
    numbers = {number for case in experiment.cases(known) for number in case["facts"]}
    subjects = {fact.subject for i, fact in enumerate(known) if i in numbers}
    edited = {i for i, fact in enumerate(cases) if fact.subject in subjects}
    experiment = replace(experiment, by=tuple(editors.planners(options, cases, edited)))
    places.do(experiment, known, options, as_json=as_json)


def _controls(named: Sequence[str] | None) -> tuple[str, ...]:
    if named is None:
        return CONTROLS
    return () if list(named) == ["none"] else tuple(dict.fromkeys(named))
