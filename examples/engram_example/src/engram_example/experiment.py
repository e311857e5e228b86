"""An experiment of one's own: is a fact answered alike, however one asks for it?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

from engram.errors import BadSetting
from engram.experiments.base import Case, Result, experiments
from engram.experiments.drawn import Drawn, Skipped, askable
from engram.facts import FactSet, Prompt
from engram.metrics import average, bootstrap
from engram.models import Model, ask
from engram.models.batching import Progress
from engram.results import Report, Score


@experiments("consistency")
@dataclass(frozen=True, slots=True)
class Consistency(Drawn):
    """The share of pairs of a fact's templates in which the model says the same first word (Elazar et al. 2021).

    Which facts are asked is a setting of `Drawn`. A fact that can be asked in one template only says nothing.
    """

    name: ClassVar[str] = "consistency"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "number": "whole", "said": "texts", "right": "real", "same": "real",
    }  # fmt: skip

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for every fact: what was said, and the share of right answers and of equal pairs."""
        skipped: Skipped = []
        of: dict[int, list[Prompt]] = {}
        for number, prompt in askable(model, facts, case["facts"], skipped):
            of.setdefault(number, []).append(prompt)
        rows = []
        for done, (number, prompts) in enumerate(of.items(), 1):
            answers = ask(model, prompts, top=1)
            said = [a.top[0][0] for a in answers]
            pairs = [a == b for a, b in combinations(said, 2)]
            if pairs:
                right, same = sum(a.knows for a in answers) / len(answers), sum(pairs) / len(pairs)
                relation = prompts[0].fact.relation if prompts[0].fact else ""
                rows.append({"relation": relation, "number": number, "said": said, "right": right, "same": same})
            if progress is not None:
                progress(done, len(of))
        return {"rows": rows, "skipped": skipped}

    def summary(self, results: Iterable[Result]) -> Report:
        """Means over facts, with 95 % bootstraps over facts. Raises BadSetting where no fact was asked twice."""
        rows = [row for result in results for row in result["rows"]]
        if not rows:
            raise BadSetting("no fact could be asked in two templates")
        scores = []
        for name, column in (("accuracy", "right"), ("consistency", "same")):
            values = [row[column] for row in rows]
            interval = bootstrap(average, [values], [row["number"] for row in rows], seed=self.seed)
            scores.append(Score(name, float(average(values)), len(rows), "fraction", "higher", interval))
        return Report("consistency", tuple(scores), self.settings())

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        return self.drawing()
