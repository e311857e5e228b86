"""The scores of all prompts of a data set, kept sparse: the dear step, done once, for every threshold afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..errors import BadSetting, NotFinite
from ..facts import FactSet, Prompt
from ..locators import IntegratedGradients, Locator, locate
from ..models import Model, ask
from ..models.batching import Progress
from ..results import Report, Score
from ..store import Record
from .base import Case, Result, experiments
from .drawn import Drawn, Skipped, askable, left_out

Asked = tuple[int, Prompt]  # the number of the fact, and one of its prompts


@experiments("attribution")
@dataclass(frozen=True, slots=True)
class Attributions(Drawn):
    """Score every neuron for every prompt of every fact, and ask the prompt.

    Scores of at least `floor` of a prompt's largest are kept (0.1, as the authors' code does). Which facts are asked is
    a setting of `Drawn`. A causal model is asked the templates that have their blank last. Raises BadSetting,
    UnknownName.

    >>> import engram as eg
    >>> facts = eg.data.read("shipped").only(["capital"])
    >>> Attributions(sample=10, shard=5, seed=1).cases(facts)[0]["shard"], Attributions().floor
    (0, 0.1)
    """

    name: ClassVar[str] = "attribution"
    locator: Locator = field(default_factory=IntegratedGradients)
    floor: float = 0.1

    def __post_init__(self) -> None:
        Drawn.__post_init__(self)
        if not 0 < self.floor < 1:
            raise BadSetting(f"a floor is a part of the largest score, between 0 and 1, not {self.floor:g}")
        if getattr(self.locator, "target", None) == "logit_difference":
            raise BadSetting("the facts of a data set name no wrong answer: 'logit_difference' cannot be their target")

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A record for each prompt that can be asked."""
        skipped: Skipped = []
        asked = list(askable(model, facts, case["facts"], skipped))
        records: list[Record] = []
        about: dict[str, Any] = {"widths": list(model.widths), "method": self.locator.name, "settings": {}}
        size = max(1, model.budget // (16 * len(model.widths) * max(model.widths)))  # a quarter, for dense scores
        for start in range(0, len(asked), size):
            part = asked[start : start + size]
            records += self._scored(model, part, skipped, about)
            if progress is not None:
                progress(start + len(part), len(asked))
        return {**about, "records": records, "skipped": skipped}

    def summary(self, results: Iterable[Result]) -> Report:
        """How many prompts were scored and left out, how they were answered, and how whole the scores are."""
        said: list[tuple[float, bool, int, float]] = []  # of each prompt; a run may be too large to be held at once
        left_out = 0
        for result in results:
            left_out += len(result["skipped"])
            said += [(float(np.exp(r.logprob)), r.rank == 1, len(r.scores), _missed(r)) for r in result["records"]]
        if not said:
            raise BadSetting("no prompt was scored")
        n = len(said)
        right, first, kept, missed = (np.array(column, float) for column in zip(*said, strict=True))
        scores = [
            Score("prompts", n, n, "prompts"),
            Score("left out", left_out, n, "records"),
            Score("P(answer)", float(right.mean()), n, "probability"),
            Score("accuracy", float(first.mean()), n, "fraction"),
            Score("scores kept per prompt", float(kept.mean()), n, "neurons"),
        ]
        if len(missed := missed[np.isfinite(missed)]):
            unit = "fraction of the largest change"
            scores.append(Score("median gap", float(np.median(missed)), len(missed), unit, "lower"))
        return Report("attribution", tuple(scores), self.settings())

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        locator: dict[str, Any] = {"name": self.locator.name, **asdict(self.locator)}  # type: ignore[call-overload]
        return {"locator": locator, "floor": self.floor, **self.drawing()}

    def _scored(self, model: Model, part: Sequence[Asked], skipped: Skipped, about: dict[str, Any]) -> list[Record]:
        """All together; where one of them has no finite answer, each by itself."""
        prompts = [prompt for _, prompt in part]
        try:
            found = locate(model, prompts, by=self.locator)
            answers = ask(model, prompts, top=1)
        except NotFinite as error:
            if len(part) > 1:
                return [r for one in part for r in self._scored(model, [one], skipped, about)]
            ((number, prompt),) = part
            skipped.append(left_out(number, prompt.fact, prompt.template, error))
            return []
        about["settings"] = dict(found[0].settings)
        return [
            Record.of(number, a, answer, floor=self.floor)
            for (number, _), a, answer in zip(part, found, answers, strict=True)
        ]


def _missed(r: Record) -> float:
    """The largest gap of a layer, as part of the largest change of one; NaN where the method promises no sum."""
    change = np.abs(r.change).max()
    return float(np.abs(r.gap).max() / change) if change > 0 else np.nan
