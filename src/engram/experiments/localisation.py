"""How localised are facts, and how localised is syntax? Niu et al. (2024), section 3.4: tables 8 and 9, figure 5."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from ..errors import BadSetting, EngramError, UnaskablePrompt
from ..facts import FINAL_MARKS, Fact, FactSet, Prompt
from ..locators import IntegratedGradients, Locator, locate
from ..metrics.levels import LEVELS, kinds, levels, r1_squared
from ..models import Model
from ..models.batching import Progress
from ..results import Attribution, Report, Score
from ..selectors import Shared, search_share
from .base import Case, Result, experiments
from .drawn import Drawn, LeftOut, Skipped, left_out
from .neurons import plain_selector

EVALUATIONS = 20  # shares that the search tries, as the published code does


@experiments("localisation")
@dataclass(frozen=True, slots=True)
class Localisation(Drawn):
    """Of every set of prompts (a fact, or sentences with one property) how localised its scores are, in three ways.

    How many neurons are refined at the threshold and share of `selector` (|KN|; π = 0.2, τ = 0.7); the share at which
    there are `mean` of them, searched for each set from there on (τ); and how alike the prompts' maps of scores are in
    direction (R1², `metrics.levels.r1_squared`). `syntax` names the relations that are paradigms of agreement; the
    others count as facts. Sets of sentences are made by `data.sentence_sets`, and put beside facts by `data.together`.
    `prompts` takes the first so many that can be asked of each set; a set with fewer than two is left out. `known_only`
    is no setting here: the published tables have all facts.

    >>> Localisation(facts=5, syntax=("subject_be",)).selector.threshold
    0.2
    """

    name: ClassVar[str] = "localisation"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "kind": "text", "number": "whole", "subject": "text", "answer": "text", "prompts": "whole",
        "neurons": "whole", "share": "real", "found": "flag", "searched": "texts", "r1": "real",
    }  # fmt: skip
    locator: Locator = field(default_factory=lambda: IntegratedGradients(rule="gauss"))
    selector: Shared = field(default_factory=Shared)
    mean: tuple[float, float] = (2, 5)
    prompts: int | None = None
    syntax: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        Drawn.__post_init__(self)
        if self.prompts is not None and self.prompts < 2:
            raise BadSetting(f"a set has prompts from 2 up, not {self.prompts}: one map is like no other")

    def cases(self, facts: FactSet) -> list[Case]:
        """The numbers of the sets of each shard. Raises UnknownName for a paradigm that is not there."""
        _ = [facts.relation(name) for name in self.syntax]
        return Drawn.cases(self, facts)

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for every set."""
        syntax = {facts.relation(name).id for name in self.syntax}
        known = tuple(facts)
        skipped: Skipped = []
        rows: list[dict[str, Any]] = []
        kept: dict[str, list[int]] = {name: [0, 0] for name in sorted(syntax)}
        for done, number in enumerate(case["facts"], 1):
            fact = known[number]
            try:
                sentences = one_each(facts.prompts(fact, blank_last=model.blank_last))
                asked = list(_askable(model, sentences, one_token=fact.relation in syntax))
                if fact.relation in syntax:
                    kept[fact.relation] = [
                        n + k for n, k in zip(kept[fact.relation], (len(asked), len(sentences)), strict=True)
                    ]
                if len(asked) < 2:
                    raise UnaskablePrompt(
                        f"{len(asked)} of {len(sentences)} sentences can be asked, and two are needed"
                    )
                found = locate(model, asked[: self.prompts], by=self.locator)
                rows.append(self._row(number, fact, "syntax" if fact.relation in syntax else "facts", found))
            except EngramError as error:
                skipped.append(left_out(number, fact, None, error))
            if progress is not None:
                progress(done, len(case["facts"]))
        return {"rows": rows, "skipped": skipped, "kept": kept, "widths": list(model.widths)}

    def summary(self, results: Iterable[Result]) -> Report:
        """Each level of facts, of syntax, of their difference, and of every relation; 95 % bootstraps over sets.

        Raises BadSetting where no set was asked.
        """
        done = list(results)
        rows = [row for r in done for row in r["rows"]]
        if not rows:
            raise LeftOut.of(done).nothing("set was asked")
        n = len(rows)
        scores = [Score("sets", n, n, "sets"), LeftOut.of(done).score(n, "sets")]
        for kind, found in kinds(rows, seed=self.seed).items():
            scores += [replace(score, name=f"{kind}: {level}") for level, score in found.items()]
        for each in levels(rows, seed=self.seed):
            scores += [replace(score, name=f"{each.relation}: {level}") for level, score in each.scores.items()]
        scores += _kept(done)
        return Report("localisation", tuple(scores), self.settings(), tuple(_notes(rows)))

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        return {
            "locator": {"name": self.locator.name, **asdict(self.locator)},  # type: ignore[call-overload]
            "selector": plain_selector(self.selector), "mean": list(self.mean), "evaluations": EVALUATIONS,
            "prompts": self.prompts, "syntax": list(self.syntax), **self.drawing(),
        }  # fmt: skip

    def _row(self, number: int, fact: Fact, kind: str, scores: Sequence[Attribution]) -> dict[str, Any]:
        found = search_share([scores], self.selector, mean=self.mean, limit=EVALUATIONS)
        valid = np.arange(max(scores[0].widths))[None] < np.asarray(scores[0].widths)[:, None]
        r1 = r1_squared(np.stack([a.dense()[valid] for a in scores]).astype(float))
        return {
            "relation": fact.relation, "kind": kind, "number": number, "subject": fact.subject, "answer": fact.answer,
            "prompts": len(scores), "neurons": int(found.tried[0][1]), "share": float(found.share),
            "found": found.found, "searched": [str(n) for n in found.sets[0]], "r1": r1,
        }  # fmt: skip


def _askable(model: Model, sentences: Sequence[Prompt], *, one_token: bool) -> Iterator[Prompt]:
    """Those that this model can be asked; of minimal pairs, those whose words are one of its tokens each."""
    for prompt in sentences:
        try:
            rows = model.rows(prompt)
        except UnaskablePrompt:
            continue
        if len(rows) == 1 or not one_token:
            yield prompt


def one_each(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts, each once, without those that are another one cut off behind its blank.

    >>> whole, cut = Prompt("The mice [Y] gone.", "have"), Prompt("The mice [Y]", "have")
    >>> [p.text for p in one_each([whole, cut])], [p.text for p in one_each([cut])]
    (['The mice [Y] gone.'], ['The mice [Y]'])
    """
    texts = [p.text for p in prompts]
    once = {(p.text, p.answer): p for p in reversed(prompts)}
    return [
        p
        for p in reversed(once.values())
        if not p.blank_last or not any(len(t) > len(p.text) and t.startswith(p.text.rstrip(FINAL_MARKS)) for t in texts)
    ]


def _kept(done: Sequence[Result]) -> Iterator[Score]:
    """Which part of a paradigm's sentences could be asked: the one-token filter of this model's tokenizer."""
    counts: Counter[tuple[str, int]] = Counter()
    for r in done:
        for relation, (kept, of) in r["kept"].items():
            counts[relation, 0] += kept
            counts[relation, 1] += of
    for relation in dict.fromkeys(name for name, _ in counts):
        if of := counts[relation, 1]:
            yield Score(f"{relation}: kept", counts[relation, 0] / of, of, "fraction of sentences")


def _notes(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What a reader of the numbers must know."""
    yield f"the levels are {', '.join(f'{k} ({unit})' for k, unit in LEVELS.items())}; relations weigh the same"
    if missed := sum(not row["found"] for row in rows):
        yield f"of {missed} of {len(rows)} sets, no share that was tried leaves 2 to 5 neurons: the nearest is taken"
    if flat := sum(row["r1"] is None for row in rows):
        yield f"{flat} of {len(rows)} sets have no direction to compare: all their scores are 0"
    yield (
        "the prompts of a fact, and of a determiner with a noun, ask for one word; those of other sets of syntax ask "
        "for several of one number or gender, so that their maps have less in common for that alone"
    )
