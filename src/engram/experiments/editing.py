"""Do edits do what they are to do, and nothing else? Many cases, several editors, and what they are compared with.

Meng et al. (2022), section 3.4 and table 4 (Wen & Bai's table 3): each case is edited by itself, and judged on the
sentence that was edited, on its paraphrases, and on sentences about others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..cases import Case as Record
from ..cases import CaseSet
from ..errors import BadSetting, EngramError, UnknownName
from ..facts import FactSet
from ..metrics.judged import BEFORE, PARTS, Judged, against, columns, judged, summaries
from ..models import Model
from ..models.batching import Progress
from ..results import Report, Score
from .base import Case, Result, experiments, halves
from .drawn import Drawn, LeftOut, Skipped, left_out
from .judging import UNEDITED, readings, sentences
from .planning import ARMS, ByNeurons, Planner
from .plans import Plans


@experiments("editing")
@dataclass(frozen=True, slots=True)
class Editing(Drawn):
    """Edit each case by every planner of `by`, and judge the edits beside their controls.

    The model as it is is asked once for all of them ("no edit"). `controls`: "random neurons" and "random layer" are
    changes of the same size elsewhere, "toward the truth" tells the model what is so already. A case that one of the
    editors cannot plan is left out of that editor's figures, and said. A causal model that `speaks` also answers by
    itself, and where it `writes`, goes on from the cases' texts to so many tokens, for their entropy. Nothing is
    written to the weights while edits are judged. Which cases are drawn is a setting of `Drawn`; the data are a
    `CaseSet`.

    >>> Editing(facts=5).controls
    ('random neurons', 'random layer', 'toward the truth')
    """

    name: ClassVar[str] = "editing"
    columns: ClassVar[Mapping[str, str]] = columns()
    by: tuple[Planner, ...] = field(default_factory=lambda: (ByNeurons(),))
    controls: tuple[str, ...] = ARMS
    speaks: bool = True
    writes: int = 0
    shard: int = field(default=8, kw_only=True)

    def __post_init__(self) -> None:
        Drawn.__post_init__(self)
        names = [p.name for p in self.by]
        if not names or len(set(names)) < len(names):
            raise BadSetting(f"editing takes at least one editor, each under a name of its own, not {names}")
        if self.writes < 0:
            raise BadSetting(f"writes is a number of tokens from 0 (none) up, not {self.writes}")
        for arm in self.controls:
            if arm not in ARMS:
                raise UnknownName("control", arm, ARMS)

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for each case, condition and group of sentences; `edits` say how each was planned."""
        planning, judging = halves(progress)
        skipped: Skipped = []
        plans = Plans(self.by, self.controls, self.seed, skipped)
        told = []
        records = dict(records_of(facts, case["facts"], model))
        for done, (number, record) in enumerate(records.items(), 1):
            try:
                sentences(model, record)
            except EngramError as error:
                skipped.append(left_out(number, record.fact, None, error))
            else:
                told.append((number, record, [UNEDITED, *plans.conditions(model, number, record)]))
            planning(done, len(records))
        rows = readings(model, told, speaks=self.speaks, writes=self.writes, seed=self.seed, progress=judging)
        return {"rows": rows, "edits": plans.edits, "skipped": skipped, "asked": len(told)}

    def summary(self, results: Iterable[Result]) -> Report:
        """Every score of every editor and control, S, and how far each editor is above its controls.

        Means over cases, 95 % bootstraps over cases. Raises BadSetting where no case was judged.
        """
        done = list(results)
        rows = [row for r in done for row in r["rows"]]
        if not rows:
            raise LeftOut.of(done).nothing("case was judged")
        found = judged(rows)
        n = len({(row["relation"], row["number"]) for row in rows})
        scores = [Score("cases", n, n, "cases"), LeftOut.of(done).score(n, "records")]
        for each in found:
            scores += summaries(each, seed=self.seed)
        scores += _apart(found, self.seed)
        return Report("editing", tuple(scores), self.settings(), tuple(_notes(done)))

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        by = [{"called": p.name, **p.settings()} for p in self.by]
        own = {"controls": list(self.controls), "speaks": self.speaks, "writes": self.writes}
        return {"by": by, **own, **self.drawing()}


def records_of(facts: FactSet, numbers: Sequence[int], model: Model | None = None) -> Iterator[tuple[int, Record]]:
    """The cases of the facts with these numbers, in whole sentences where the model is a masked one.

    Raises BadSetting where there are facts only.
    """
    if not isinstance(facts, CaseSet):
        raise BadSetting(
            f"{facts.name} has facts, and to judge edits takes cases: data.cases({facts.name!r}), or "
            "data.counterfact_from(facts)"
        )
    known = tuple(facts)
    for number in numbers:
        case = facts.case(known[number].id)
        yield number, case.finished if model is not None and not model.blank_last else case


def _apart(found: Sequence[Judged], seed: int) -> Iterator[Score]:
    """Every editor against what it is to be compared with."""
    (plain,) = (f for f in found if f.arm == BEFORE)
    for each in (f for f in found if f.arm == "edited"):
        controls = [f for f in found if f.editor == each.editor and f.arm != "edited"]
        for control in (plain, *controls):
            for name in (*PARTS, "rewrite: says the old answer", "rewrite: P(old answer)"):
                if (score := against(each, control, name, seed=seed)) is not None:
                    yield score


def _notes(done: Sequence[Result]) -> Iterator[str]:
    """What a reader of the numbers must know."""
    yield from LeftOut.of(done).notes()
    yield "S is the harmonic mean of the means of ES, PS and NS over cases, not a mean of harmonic means"
    yield "magnitudes are differences of geometric-mean token probabilities, not of probabilities of whole answers"
