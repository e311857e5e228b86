"""Meng et al. (2022), section 2: where do the facts of a data set come back, when one site is restored?

Each fact's subject is corrupted and its sites are restored, one token and layer (or window of layers) at a time; the
averages over token categories, and the paths through FFNs and attention severed, are their figures 3 and 7.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from ..errors import BadSetting, UnaskablePrompt
from ..facts import Fact, FactSet, Prompt
from ..metrics.traced import Gathered, called, scores_of
from ..models import Model
from ..models.batching import Progress
from ..models.spans import exchanged, span_of
from ..results import Answer, Report, Score
from ..tracers import CausalTracing, Tracer
from ..tracers.base import trace_each
from ..tracers.causal_tracing import SEVERED
from ..tracers.noise import Spread
from ..traces import KINDS, Trace, turned
from .base import Case, Result, experiments, luck
from .drawn import Drawn, Rows, Skipped, answered, askable, contrast


@experiments("tracing")
@dataclass(frozen=True, slots=True)
class Tracing(Drawn):
    """Trace facts by every tracer of `by`: blocks, FFNs and attention, as published, unless others are given.

    `severed` adds restored blocks with the FFNs, and with the attention, of the restored token severed. Of each fact
    the first `prompts` that can be asked are traced (None: all); `known_only` leaves out those that the model does not
    answer first, as Meng et al. keep what it knows. `replace` takes for noise the subject of another fact of the
    relation: with another answer, and as many tokens; a prompt that no other subject fits is left out. Which facts are
    drawn is a setting of `Drawn`. Raises BadSetting.

    >>> [(t.kind, t.severed) for t in Tracing(severed=True).tracers][2:]
    [('attention', None), ('block', 'ffn'), ('block', 'attention')]
    """

    name: ClassVar[str] = "tracing"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "number": "whole", "subject": "text", "answer": "text", "against": "text",
        "template": "whole", "prompt": "text", "rank": "whole", "method": "text", "kind": "text", "severed": "text",
        "window": "whole", "metric": "text", "noise": "text", "seed": "whole", "samples": "whole", "measured": "text",
        "tokens": "texts", "first": "whole", "end": "whole", "at": "whole", "clean": "real", "corrupted": "real",
        "layers": "whole", "effect": "reals", "spread": "reals", "notes": "texts",
    }  # fmt: skip
    by: tuple[Tracer, ...] = field(default_factory=lambda: tuple(CausalTracing(kind=kind) for kind in KINDS))
    severed: bool = False
    prompts: int | None = 1
    known_only: bool = True
    replace: bool = False
    shard: int = field(default=8, kw_only=True)

    def __post_init__(self) -> None:
        Drawn.__post_init__(self)
        if not self.by or not all(isinstance(t, Tracer) for t in self.by):
            raise BadSetting(f"by is a tuple of tracers, such as (CausalTracing(kind='ffn'),), not {self.by!r}")
        names = Counter(_key(t) for t in self.tracers)
        if twice := [called(key) for key, n in names.items() if n > 1]:
            raise BadSetting(f"a run has one tracer of a kind, and here {twice[0]} is twice: make a run of each")
        if alone := [called(key) for key in names if key[1] and (key[0], "") not in names]:
            raise BadSetting(f"what is severed is compared with what is not: by has {alone[0]}, and no block")
        if len({(t.same, t.metric) for t in self.by}) > 1:
            raise BadSetting("the tracers of a run corrupt alike and measure the same: make a run of each")
        if self.prompts is not None and self.prompts < 1:
            raise BadSetting(f"prompts per fact is a number from 1 up, not {self.prompts}; None takes all")
        if self.replace and any(t.noise != CausalTracing().noise for t in self.by):
            raise BadSetting("another subject takes the place of noise: with replace, leave noise as it is")

    @property
    def tracers(self) -> tuple[Tracer, ...]:
        """Those of `by`, and the severed ones."""
        if not self.severed:
            return tuple(self.by)
        whole = [t for t in self.by if isinstance(t, CausalTracing) and _key(t) == ("block", "")]
        if not whole:
            raise BadSetting("severed paths are those above a restored block: by has no CausalTracing(kind='block')")
        return (*self.by, *(replace(whole[0], severed=part) for part in SEVERED))  # type: ignore[arg-type]

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for every prompt that is traced, and tracer; a prompt has all of its rows, or none."""
        skipped: Skipped = []
        asked = list(askable(model, facts, case["facts"], skipped, limit=self.prompts))
        spread = Spread(model, self.by[0].spread_of)

        def traced(number: int, prompt: Prompt, answer: Answer) -> Rows | str:
            return self._rows(model, facts, number, prompt, answer, spread)

        rows = answered(model, asked, traced, skipped, known_only=self.known_only, progress=progress)
        return {"rows": rows, "skipped": skipped, "asked": len(asked)}

    def summary(self, results: Iterable[Result]) -> Report:
        """Total effects, and where each category of tokens brings most back, by every tracer.

        Means over facts, 95 % bootstraps over facts. Raises BadSetting where nothing was traced.
        """
        counts: Counter[str] = Counter()
        why: Counter[str] = Counter()

        def read() -> Iterator[Mapping[str, Any]]:
            for result in results:
                counts.update(asked=result["asked"], left_out=len(result["skipped"]))
                why.update(s["reason"].partition(":")[0] for s in result["skipped"])
                yield from result["rows"]

        found = Gathered.of(read())
        if not found.facts:
            said = "; ".join(f"{n} {reason}" for reason, n in why.most_common())
            raise BadSetting(f"no prompt was traced: {counts['asked']} could be asked ({said or 'nothing was drawn'})")
        facts = next(iter(found.facts.values()))
        n = len(facts)
        scores = [
            Score("facts", n, n, "facts"),
            Score("prompts", prompts := sum(len(of.said) for of in facts.values()), prompts, "prompts"),
            Score("left out", counts["left_out"], prompts + counts["left_out"], "records"),
            *scores_of(found, seed=self.seed),
        ]
        return Report("tracing", tuple(scores), self.settings(), tuple(_notes(found, why)))

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        by = [{"name": t.name, **asdict(t), "seed": t.luck} for t in self.tracers]
        if self.replace:
            by = [{**t, "noise": "replace"} for t in by]
        own = {name: getattr(self, name) for name in ("prompts", "known_only", "replace")}
        return {"by": by, **own, **self.drawing()}

    def _rows(
        self, model: Model, facts: FactSet, number: int, prompt: Prompt, answer: Answer, spread: Spread
    ) -> Rows | str:
        """One for each tracer; or why this prompt is left out. Raises UnaskablePrompt, NotFinite, BadSetting."""
        if any(t.metric == "logit_difference" for t in self.by):
            contrast(facts, prompt, len(answer.tokens))
        by: Sequence[Tracer] = self.tracers
        if self.replace:
            other = partner(model, facts, number, prompt, self.seed)
            if other is None:
                return "no replacement: no other subject of the relation, with another answer, is as long"
            by = [replace(t, noise=f"replace:{other}") for t in by]
        traces = trace_each(model, prompt, None, by, spread=spread)
        return [self._row(model, number, t, trace, answer) for t, trace in zip(by, traces, strict=True)]

    def _row(self, model: Model, number: int, by: Tracer, trace: Trace, answer: Answer) -> dict[str, Any]:
        prompt, (kind, severed) = trace.prompt, _key(by)
        fact = prompt.fact or Fact("", "", prompt.answer)
        return {
            "relation": fact.relation, "number": number, "subject": fact.subject, "answer": prompt.answer,
            "against": prompt.against, "template": prompt.template, "prompt": prompt.text, "rank": answer.rank,
            "method": trace.method, "kind": kind, "severed": severed, "metric": trace.metric, "noise": str(by.noise),
            "window": by.layers_restored(len(model.layers)), "seed": trace.seed, "samples": trace.samples,
            "measured": trace.answer, "tokens": list(trace.tokens), "first": trace.subject[0], "end": trace.subject[1],
            "at": trace.at, "clean": trace.clean, "corrupted": trace.corrupted, "layers": trace.effect.shape[1],
            "effect": trace.effect.ravel().tolist(), "spread": trace.spread.ravel().tolist(),
            "notes": list(trace.notes),
        }  # fmt: skip


def partner(model: Model, facts: FactSet, number: int, prompt: Prompt, seed: int) -> str | None:
    """Another subject that this prompt's can be exchanged for: of the same relation, with another answer, as long.

    Drawn by `seed` from those with which the sentence has the same tokens before and behind; None where there is none.
    """
    fact = prompt.fact or Fact("", "", prompt.answer)
    span = span_of(model, prompt, fact.subject, model.rows(prompt)[0])
    others = [f.subject for f in facts.facts(fact.relation) if f.answer != fact.answer and f.subject != fact.subject]
    for i in luck(seed, fact.relation, number).permutation(len(others)):
        name = others[int(i)]
        try:
            other = exchanged(model, prompt, fact.subject, name)
            there = span_of(model, other, name, model.rows(other)[0])
        except UnaskablePrompt:
            continue
        if (there.first, there.end) == (span.first, span.end):
            return name
    return None


def _key(by: Tracer) -> tuple[str, str]:
    return by.kind, getattr(by, "severed", None) or ""


def _notes(found: Gathered, why: Mapping[str, int]) -> Iterator[str]:
    """What a reader of the numbers must know."""
    for reason, n in Counter(why).most_common():
        yield f"left out: {n} ({reason})"
    key, facts = next(iter(found.facts.items()))  # of all tracers the same, for they corrupt and measure alike
    better = turned(found.metric[key])
    none = sum(better * sum(clean - low for clean, low in of.said) <= 0 for of in facts.values())
    if none:
        yield f"{none} of {len(facts)} facts have no total effect to be a part of: clean is not better than corrupted"
