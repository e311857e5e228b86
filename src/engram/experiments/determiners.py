"""Niu et al. (2024), section 3.2: which neurons tell the number of determiners? Their table 4, and figures 2 and 5."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from ..data.determiners import DETERMINER, NOUN, determiner_of, determiner_pairs
from ..errors import BadSetting, EngramError, UnaskablePrompt, UnknownName
from ..facts import Fact, FactSet
from ..locators import IntegratedGradients, Locator, locate
from ..metrics import bootstrap
from ..metrics.changes import average
from ..metrics.incidence import Incidence, number_neurons, set_of, shares_of
from ..metrics.overlaps import layer_shares
from ..models import Model
from ..models.batching import Progress
from ..presets import FROM_PRESET, fill
from ..results import Attribution, Report, Score
from ..selectors import Shared, ShareSearch, search_share
from .base import Case, Result, experiments
from .drawn import Drawn, LeftOut, Skipped, left_out
from .neurons import plain_selector

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "engram": {"locator": IntegratedGradients(rule="gauss"), "selector": Shared()},
    "niu": {"locator": IntegratedGradients(preset="eleuther"), "selector": Shared(preset="niu")},
}
EVALUATIONS = 20  # shares that the search tries, as the published code does
SHOWN = 12  # neurons in the summary


@experiments("determiners")
@dataclass(frozen=True, slots=True)
class Determiners(Drawn):
    """Find the neurons of every pair of a determiner and a noun, and count in which part of the pairs each occurs.

    The facts are minimal pairs, BLiMP's or the shipped ones. `asked` "determiner" asks which determiner goes with the
    noun behind it, "noun" which noun goes with the determiner before it, as causal models must be asked. Each pair is
    asked in the sentences of the whole paradigm (`paradigm`; by default the first there is): in `templates` of them,
    drawn by `seed`, or in all (None; so the paper, with 1000). Scores by `locator`; a pair's neurons are those high in
    a share of its sentences (`selector`), searched from there until there are `mean` of them. What is drawn (`limit`,
    `sample`, `facts`) are pairs.

    Presets: "engram" (default), the integral itself; "niu", the sum and the search of the published code. That code
    scores another quantity in GPT-2 and in gated models, and leaves the last sentence out; neither is repeated. Raises
    BadSetting, UnknownName.

    >>> Determiners(templates=5).asked, Determiners(preset="niu").locator.rule
    ('determiner', 'linspace')
    """

    name: ClassVar[str] = "determiners"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "number": "whole", "determiner": "text", "noun": "text", "prompts": "whole",
        "share": "text", "found": "flag", "neurons": "texts",
    }  # fmt: skip
    asked: str = DETERMINER
    templates: int | None = 20
    locator: Locator = FROM_PRESET
    selector: Shared = FROM_PRESET
    mean: tuple[float, float] = (2, 5)
    paradigm: str | None = None
    preset: str | None = None

    def __post_init__(self) -> None:
        Drawn.__post_init__(self)
        fill(self, self.preset, PRESETS)
        if self.asked not in (DETERMINER, NOUN):
            raise UnknownName("word of a determiner and its noun", self.asked, (DETERMINER, NOUN))
        if self.templates is not None and self.templates < 1:
            raise BadSetting(f"templates is a number of sentences from 1 up, not {self.templates}")
        if self.relations is not None:
            raise BadSetting("determiners are asked in one paradigm: give it as paradigm, not as relations")

    def pairs(self, facts: FactSet) -> FactSet:
        """The pairs that are asked, in their sentences. Raises BadSetting, UnknownName."""
        return determiner_pairs(
            facts, self.asked, paradigm=self.paradigm, templates=self.templates, seed=self.seed
        )  # fmt: skip

    def cases(self, facts: FactSet) -> list[Case]:
        """The numbers of the pairs of each shard, counted from 0 in the order of the data."""
        pairs = self.pairs(facts)
        return [{**case, "relation": pairs.relations[0].id} for case in Drawn.cases(self, pairs)]

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for every pair. Raises BadSetting where a causal model is to be asked for a determiner."""
        if self.asked == DETERMINER and model.blank_last:
            raise BadSetting(
                f"{model.name} reads no noun behind a determiner, for it is causal: ask for the noun (asked='noun')"
            )
        pairs = self.pairs(facts)
        known = tuple(pairs)
        skipped: Skipped = []
        rows = []
        for done, number in enumerate(case["facts"], 1):
            try:
                scores = self._located(model, pairs, known[number])
            except EngramError as error:
                skipped.append(left_out(number, known[number], None, error))
            else:
                found = search_share([scores], self.selector, mean=self.mean, limit=EVALUATIONS)
                rows.append(_row(number, known[number], len(scores), found))
            if progress is not None:
                progress(done, len(case["facts"]))
        about = {"widths": list(model.widths), "templates": len(pairs.relations[0].templates)}
        return {**about, "rows": rows, "skipped": skipped, "asked": len(case["facts"]), "pairs": len(known)}

    def summary(self, results: Iterable[Result]) -> Report:
        """Of the neurons that most pairs have the part of each determiner's pairs; layers; neurons per pair.

        Means over pairs, 95 % intervals over pairs. Raises BadSetting where no pair was asked.
        """
        done = list(results)
        rows = [row for r in done for row in r["rows"]]
        if not rows:
            raise LeftOut.of(done).nothing("pair was asked")
        n = len(rows)
        found, own = shares_of(rows, seed=self.seed), [set_of(row) for row in rows]
        sizes = [float(len(x)) for x in own]
        around = bootstrap(average, [sizes], range(n), seed=self.seed)
        scores = [
            Score("pairs", n, n, "pairs"), LeftOut.of(done).score(n, "pairs"),
            Score("nouns", len({row["noun"] for row in rows}), n, "nouns"),
            Score("neurons per pair", float(np.mean(sizes)), n, "neurons", interval=around),
            Score("searches that ended within", float(np.mean([r["found"] for r in rows])), n, "fraction of pairs"),
            Score("of one pair: by chance", float(np.mean(sizes)) / sum(done[0]["widths"]), n, "fraction of pairs"),
        ]  # fmt: skip
        scores += [s for i in found[:SHOWN] for s in i.shares.values()]
        scores += layer_shares(own, len(done[0]["widths"]), seed=self.seed)
        notes = [*self._notes(found), f"each pair in {done[0]['templates']} sentences"]
        return Report("determiners", tuple(scores), self.settings(), tuple(notes))

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        return {
            "asked": self.asked, "templates": self.templates, "paradigm": self.paradigm,
            "locator": {"name": self.locator.name, **asdict(self.locator)},  # type: ignore[call-overload]
            "selector": plain_selector(self.selector), "mean": list(self.mean), "evaluations": EVALUATIONS,
            **self.drawing(),
        }  # fmt: skip

    def _located(self, model: Model, pairs: FactSet, fact: Fact) -> Sequence[Attribution]:
        """The scores of one pair, in every sentence. Raises UnaskablePrompt."""
        prompts = pairs.prompts(fact, blank_last=model.blank_last)
        if not prompts:
            raise UnaskablePrompt(f"no sentence of {fact.relation!r} can be asked of this model")
        for prompt in prompts:
            if len(model.rows(prompt)) != 1:
                raise UnaskablePrompt(f"more than one token: {fact.answer!r}, and a pair is asked by one")
        return locate(model, prompts, by=self.locator)

    def _notes(self, found: Sequence[Incidence]) -> Iterator[str]:
        """Which neurons stand for a number."""
        for number, neuron in number_neurons(found).items():
            yield f"the neuron of the {number}: {neuron or 'none'}"


def _row(number: int, fact: Fact, prompts: int, found: ShareSearch) -> dict[str, Any]:
    determiner = determiner_of(fact)
    noun = fact.subject if determiner == fact.answer else fact.answer
    return {
        "relation": fact.relation, "number": number, "determiner": determiner, "noun": noun, "prompts": prompts,
        "share": str(found.share), "found": found.found, "neurons": [str(n) for n in found.sets[0]],
    }  # fmt: skip
