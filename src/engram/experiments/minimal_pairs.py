"""Niu et al. (2024), figure 6: how often does a model still choose the right word without a number's neurons?

The paper does not say whether the neurons of the right word's number fall silent, or those of both numbers; here each
is a condition of its own, beside as many random neurons of the same layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import BadSetting
from ..facts import FactSet, Prompt
from ..interventions import suppressed
from ..metrics.choices import BEFORE, CHANCE, choices, scores_of, together
from ..models import Model
from ..models.batching import Progress
from ..models.words import logprobs
from ..neurons import NeuronSet
from ..results import Floats, Report
from .base import Case, Result, experiments, halves
from .drawn import Rows, Skipped
from .numbered import Carrier, Numbered, Pair
from .profile import nothing, shares


@experiments("minimal_pairs")
@dataclass(frozen=True, slots=True, kw_only=True)
class MinimalPairs(Numbered):
    """Ask whether P(right word) > P(wrong word), as the model is and with neurons silent at the blank.

    Silent are the neurons of the right word's label ("matching"), of the other label where there are two ("other"), of
    all labels ("both"), and as many random neurons of the same layers, in several draws. A label is a number; of
    reflexives that differ in gender alone, the gender. Both words are to be one token. What finds and limits is a
    setting of `Numbered`. Raises BadSetting.

    >>> MinimalPairs(size=2).size
    2
    """

    name: ClassVar[str] = "minimal_pairs"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "label": "text", "condition": "text", "draw": "whole", "neurons": "texts",
        "numbers": "wholes", "good": "reals", "bad": "reals",
    }  # fmt: skip

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for every label, condition and draw: the log-probabilities of the right and the wrong words."""
        finding, trying = halves(progress)
        skipped: Skipped = []
        relation = case["relation"]
        pairs = self.pairs(model, facts, case, skipped)
        found, tried = self.carriers(model, relation, pairs, progress=finding)
        rows: Rows = []
        for done, label in enumerate(found, 1):
            own = [p for p in tried if p.label == label]
            if own and found[label].neurons:
                rows += list(self._rows(model, relation, label, found, own))
            trying(done, len(found))
        said = {label: shares(c) for label, c in found.items()}
        return {"relation": relation, "rows": rows, "skipped": skipped, "asked": len(pairs), "found": said}

    def summary(self, results: Iterable[Result]) -> Report:
        """The accuracy of each relation under every condition, and of all pairs together.

        Intervals are 95 % bootstraps over pairs; of accuracies of 0 and 1 the exact ones. Raises BadSetting where
        nothing was tried.
        """
        done = list(results)
        found = choices(done)
        if not found:
            raise BadSetting(nothing(done, "a label: a determiner, verb, noun or reflexive of one number"))
        every = [*found, together(found)] if len(found) > 1 else found
        notes = [
            f"{r['relation']}: no neuron counts more often for {label} than for the others; its pairs are not tried"
            for r in done for label, said in r["found"].items() if not said
        ]  # fmt: skip
        return Report("minimal pairs", tuple(scores_of(every, seed=self.seed)), self.settings(), tuple(notes))

    def _rows(
        self, model: Model, relation: str, label: str, found: Mapping[str, Carrier], own: Sequence[Pair]
    ) -> Iterator[dict[str, Any]]:
        asked = [_both(model, p.prompt) for p in own]
        for condition, draw, silent in self._tried(model, relation, label, found):
            under = suppressed(silent) if silent else None
            said: Floats = np.stack(logprobs(model, asked, under=under))
            yield {
                "relation": relation, "label": label, "condition": condition, "draw": draw,
                "neurons": [str(n) for n in silent], "numbers": [p.number for p in own],
                "good": said[:, 0].tolist(), "bad": said[:, 1].tolist(),
            }  # fmt: skip

    def _tried(
        self, model: Model, relation: str, label: str, found: Mapping[str, Carrier]
    ) -> Iterator[tuple[str, int, NeuronSet]]:
        """What falls silent when the pairs of this label are asked."""
        yield BEFORE, 0, NeuronSet()
        own = {"matching": found[label].neurons, "both": NeuronSet.of(n for c in found.values() for n in c.neurons)}
        others = [c.neurons for name, c in found.items() if name != label]
        if len(others) == 1 and others[0]:
            yield "other", 0, others[0]
        for condition, neurons in own.items():
            yield condition, 0, neurons
            for draw, random in enumerate(self.chance(model, relation, neurons)):
                yield CHANCE[condition], draw, random


def _both(model: Model, prompt: Prompt) -> tuple[Any, list[int]]:
    """The row of a prompt, and the tokens of its right and its wrong word."""
    (row,) = model.rows(prompt)
    return row, [row.target, row.against] if row.against is not None else [row.target]
