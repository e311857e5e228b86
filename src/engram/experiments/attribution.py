"""The scores of all prompts of a data set, kept sparse: the dear step, done once, for every threshold afterwards."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..errors import BadSetting, NotFinite, UnaskablePrompt
from ..facts import Fact, FactSet, Prompt
from ..locators import IntegratedGradients, Locator, locate
from ..models import Model, ask
from ..models.batching import Progress
from ..results import Report, Score
from ..store import Record
from .base import Case, Experiment, Result, experiments

Asked = tuple[int, Prompt]  # the number of the fact, and one of its prompts


@experiments("attribution")
@dataclass(frozen=True, slots=True)
class Attributions(Experiment):
    """Score every neuron for every prompt of every fact, and ask the prompt.

    Scores of at least `floor` of a prompt's largest are kept (0.1, as the authors' code does). `limit` takes the
    first so many facts; `sample` draws so many by `seed`, of each relation as many as its part of the facts is;
    `facts` draws so many of each relation, the same that `Neurons` draws with its `facts` and this seed. `shard` is
    how many facts, in the order of the data, make a case. `relations` names those that are asked, by id or name. A
    causal model is asked the templates that have their blank last. Raises BadSetting, UnknownName.
    """

    name: ClassVar[str] = "attribution"
    locator: Locator = field(default_factory=IntegratedGradients)
    floor: float = 0.1
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    shard: int = 32
    facts: int | None = None
    relations: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.floor < 1:
            raise BadSetting(f"a floor is a part of the largest score, between 0 and 1, not {self.floor:g}")
        if sum(x is not None for x in (self.limit, self.sample, self.facts)) > 1:
            raise BadSetting("a limit takes the first facts, sample and facts draw some: give one of them")
        for name in ("limit", "sample", "facts", "shard"):
            if (n := getattr(self, name)) is not None and n < 1:
                raise BadSetting(f"{name} is a number of facts from 1 up, not {n}")
        if self.seed < 0:
            raise BadSetting(f"a seed is not negative, this one is {self.seed}")
        if getattr(self.locator, "target", None) == "logit_difference":
            raise BadSetting("the facts of a data set name no wrong answer: 'logit_difference' cannot be their target")

    def cases(self, facts: FactSet) -> list[Case]:
        """The numbers of the facts of each shard, counted from 0 in the order of the data."""
        drawn = self._drawn(facts)
        return [
            {"shard": i, "facts": drawn[start : start + self.shard]}
            for i, start in enumerate(range(0, len(drawn), self.shard))
        ]

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A record for each prompt that can be asked."""
        skipped: list[dict[str, Any]] = []
        asked = list(self._askable(model, facts, case["facts"], skipped))
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
        chosen = {name: getattr(self, name) for name in ("floor", "limit", "sample", "facts", "seed", "shard")}
        return {"locator": locator, **chosen, "relations": self.relations and list(self.relations)}

    def _drawn(self, facts: FactSet) -> list[int]:
        wanted = {facts.relation(r).id for r in self.relations or ()}
        asked = [(number, f.relation) for number, f in enumerate(facts) if not wanted or f.relation in wanted]
        if self.sample is None and self.facts is None:
            return [number for number, _ in asked][: self.limit]
        groups: dict[str, list[int]] = {}
        for number, relation in asked:
            groups.setdefault(relation, []).append(number)
        sizes = [len(g) for g in groups.values()]
        counts = [self.facts] * len(sizes) if self.sample is None else stratified(sizes, self.sample)
        drawn: list[int] = []
        for (relation, numbers), n in zip(groups.items(), counts, strict=True):
            order = np.random.default_rng([self.seed, zlib.crc32(relation.encode())]).permutation(len(numbers))
            drawn += [numbers[i] for i in order[:n]]
        return sorted(drawn)

    def _askable(
        self, model: Model, facts: FactSet, numbers: Sequence[int], skipped: list[dict[str, Any]]
    ) -> Iterator[Asked]:
        known = tuple(facts)
        for number in numbers:
            fact = known[number]
            prompts = facts.prompts(fact, blank_last=model.blank_last)
            if not prompts:
                error = UnaskablePrompt(f"no template of {fact.relation!r} can be asked of this model")
                skipped.append(_left_out(number, fact, None, error))
            for prompt in prompts:
                try:
                    model.rows(prompt)
                except UnaskablePrompt as error:
                    skipped.append(_left_out(number, fact, prompt.template, error))
                else:
                    yield number, prompt

    def _scored(
        self, model: Model, part: Sequence[Asked], skipped: list[dict[str, Any]], about: dict[str, Any]
    ) -> list[Record]:
        """All together; where one of them has no finite answer, each by itself."""
        prompts = [prompt for _, prompt in part]
        try:
            found = locate(model, prompts, by=self.locator)
            answers = ask(model, prompts, top=1)
        except NotFinite as error:
            if len(part) > 1:
                return [r for one in part for r in self._scored(model, [one], skipped, about)]
            ((number, prompt),) = part
            skipped.append(_left_out(number, prompt.fact, prompt.template, error))
            return []
        about["settings"] = dict(found[0].settings)
        return [
            Record.of(number, a, answer, floor=self.floor)
            for (number, _), a, answer in zip(part, found, answers, strict=True)
        ]


def stratified(sizes: Sequence[int], n: int) -> list[int]:
    """How many of `n` fall to each group, by its size; what rounding leaves goes to the largest remainders.

    >>> stratified([60, 30, 10], 7)
    [4, 2, 1]
    """
    total = sum(sizes)
    if n >= total:
        return list(sizes)
    counts = [n * size // total for size in sizes]
    order = sorted(range(len(sizes)), key=lambda i: (-(n * sizes[i] % total), i))
    for i in order[: n - sum(counts)]:
        counts[i] += 1
    return counts


def _missed(r: Record) -> float:
    """The largest gap of a layer, as part of the largest change of one; NaN where the method promises no sum."""
    change = np.abs(r.change).max()
    return float(np.abs(r.gap).max() / change) if change > 0 else np.nan


def _left_out(number: int, fact: Fact | None, template: int | None, error: Exception) -> dict[str, Any]:
    who = [fact.subject, fact.relation, fact.answer] if fact is not None else None
    return {"number": number, "fact": who, "template": template, "reason": f"{type(error).__name__}: {error}"}
