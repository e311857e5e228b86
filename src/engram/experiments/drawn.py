"""Which facts of a data set an experiment asks, in shards of them, and which of their prompts can be asked."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import BadSetting, NotFinite, UnaskablePrompt
from ..facts import Fact, FactSet, Prompt
from ..models import Model, ask
from ..models.batching import Progress
from ..results import Answer, Score
from .base import Case, Experiment

Skipped = list[dict[str, Any]]  # what was left out: number of the fact, the fact, template and reason
"""What was left out: each with the number of the fact, the fact, the template and the reason, in plain values."""
Rows = list[dict[str, Any]]
SETTINGS = ("limit", "sample", "facts", "seed", "shard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn(Experiment):
    """Facts of all relations, in shards.

    `limit` takes the first so many facts; `sample` draws so many by `seed`, of each relation as many as its part of
    the facts is; `facts` draws so many of each relation, the same that `Neurons` draws with its `facts` and this seed.
    `shard` is how many facts, in the order of the data, make a case. `relations` names those that are asked, by id or
    name. Raises BadSetting, UnknownName.

    >>> from engram.experiments import Attributions
    >>> isinstance(Attributions(sample=10), Drawn), Attributions(sample=10).drawing()["sample"]
    (True, 10)
    """

    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    shard: int = 32
    facts: int | None = None
    relations: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if sum(x is not None for x in (self.limit, self.sample, self.facts)) > 1:
            raise BadSetting("a limit takes the first facts, sample and facts draw some: give one of them")
        for name in ("limit", "sample", "facts", "shard"):
            if (n := getattr(self, name)) is not None and n < 1:
                raise BadSetting(f"{name} is a number of facts from 1 up, not {n}")
        if self.seed < 0:
            raise BadSetting(f"a seed is not negative, this one is {self.seed}")

    def cases(self, facts: FactSet) -> list[Case]:
        """The numbers of the facts of each shard, counted from 0 in the order of the data."""
        drawn = self._drawn(facts)
        return [
            {"shard": i, "facts": drawn[start : start + self.shard]}
            for i, start in enumerate(range(0, len(drawn), self.shard))
        ]

    def drawing(self) -> dict[str, Any]:
        """The settings that say which facts are asked, as plain values."""
        chosen = {name: getattr(self, name) for name in SETTINGS}
        return {**chosen, "relations": self.relations and list(self.relations)}

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


def askable(
    model: Model, facts: FactSet, numbers: Sequence[int], skipped: Skipped, *, limit: int | None = None,
    forms: Callable[[Prompt], Sequence[Prompt]] = lambda prompt: (prompt,),
) -> Iterator[tuple[int, Prompt]]:  # fmt: skip
    """Of the facts with these numbers the prompts that this model can be asked, of each the first `limit`.

    In all `forms` that it will be asked in. `skipped` learns why the others cannot.

    >>> import engram as eg
    >>> facts, skipped = eg.data.read("shipped").only(["capital"]), []
    >>> [(number, prompt.fact.subject) for number, prompt in askable(eg.load(), facts, [0, 1], skipped, limit=1)]
    [(0, 'Albania'), (1, 'Armenia')]
    """
    known = tuple(facts)
    for number in numbers:
        fact, found = known[number], 0
        prompts = facts.prompts(fact, blank_last=model.blank_last)
        if not prompts:
            error = UnaskablePrompt(f"no template of {fact.relation!r} can be asked of this model")
            skipped.append(left_out(number, fact, None, error))
        for prompt in prompts:
            if found == limit:
                break
            try:
                for form in forms(prompt):
                    model.rows(form)
            except UnaskablePrompt as error:
                skipped.append(left_out(number, fact, prompt.template, error))
            else:
                found += 1
                yield number, prompt


def answered(
    model: Model, asked: Sequence[tuple[int, Prompt]], of: Callable[[int, Prompt, Answer], Rows | str],
    skipped: Skipped, *, known_only: bool, progress: Progress | None,
) -> Rows:  # fmt: skip
    """What `of` makes of each prompt and of how the model answers it, by the number of the fact: rows, or why none.

    `skipped` learns that, and of prompts that cannot be asked, give no finite number or, `known_only`, are not answered
    first.
    """
    rows: Rows = []
    for done, (number, prompt) in enumerate(asked, 1):
        found: Rows | Exception | str
        try:
            (answer,) = ask(model, prompt, top=1)
            found = f"not known: the answer has rank {answer.rank}"
            if answer.knows or not known_only:
                found = of(number, prompt, answer)
        except (UnaskablePrompt, NotFinite) as error:
            found = error
        if isinstance(found, list):
            rows += found
        else:
            skipped.append(left_out(number, prompt.fact, prompt.template, found))
        if progress is not None:
            progress(done, len(asked))
    return rows


def contrast(facts: FactSet, prompt: Prompt, tokens: int) -> None:
    """Can the logit difference be taken? Raises BadSetting where facts name no wrong answer, else UnaskablePrompt."""
    if prompt.against is None:
        raise BadSetting(f"logit_difference needs a wrong answer, and the facts of {facts.name} name none; BLiMP's do")
    if tokens > 1:
        raise UnaskablePrompt(f"a logit difference is of one token, and {prompt.answer!r} has {tokens}")


def left_out(number: int, fact: Fact | None, template: int | None, why: Exception | str) -> dict[str, Any]:
    """A record of what was skipped, and why: an error, or words whose beginning, up to a colon, is the kind of reason.

    >>> left_out(7, None, 2, "unknown: the answer has rank 3")
    {'number': 7, 'fact': None, 'template': 2, 'reason': 'unknown: the answer has rank 3'}
    """
    who = [fact.subject, fact.relation, fact.answer] if fact is not None else None
    reason = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
    return {"number": number, "fact": who, "template": template, "reason": reason}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How much did a run leave out, and why? Records by the kind of their reason, the commonest first.

    >>> found = LeftOut.of([{"skipped": [left_out(7, None, 2, "unknown: rank 3"), left_out(8, None, 0, "unknown: 5")]}])
    >>> list(found.notes()), found.score(6, "records").value
    (['left out: 2 (unknown)'], 2.0)
    """

    why: Mapping[str, int]

    @classmethod
    def of(cls, results: Iterable[Mapping[str, Any]]) -> LeftOut:
        """Of all results of an experiment."""
        why = Counter(s["reason"].partition(":")[0] for r in results for s in r["skipped"])
        return cls(dict(why.most_common()))

    def score(self, asked: int, unit: str) -> Score:
        """How many, of those and the `asked` ones."""
        n = sum(self.why.values())
        return Score("left out", float(n), n + asked, unit)

    def notes(self) -> Iterator[str]:
        """A line for each reason."""
        return (f"left out: {n} ({reason})" for reason, n in self.why.items())

    def nothing(self, what: str) -> BadSetting:
        """The error where nothing is left; `what` says what was not done to what."""
        said = "; ".join(f"{n} {reason}" for reason, n in self.why.items())
        return BadSetting(f"no {what} ({said or 'nothing was drawn'})")


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
