"""Which facts do two models know differently: a model and its fine-tuning, two checkpoints, or one under an edit?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..edits import Edit, Slot
from ..errors import BadSetting, EngramError, UnaskablePrompt
from ..facts import Fact, FactSet, Prompt
from ..metrics.collapse import told
from ..metrics.differing import Changed, changed, report
from ..models import Model, ask, load
from ..models.batching import Progress
from ..models.identity import model_key, tokenizer_of
from ..models.perplexity import kind_of_perplexity, surprise
from ..results import Answer, Report, Score
from .base import Case, Result, experiments, halves
from .drawn import Drawn, LeftOut, Skipped, left_out
from .erasing import TEXTS

CALLED = ("first model", "second model")


@experiments("differing")
@dataclass(frozen=True, slots=True)
class Differing(Drawn):
    """Ask two models the same prompts: the one that is run, and the `other`.

    `other` is a model, or the name or folder of one; None is the same model again. `under` are edits that are held on
    the second one. Both are asked the prompts that both can be asked: of a masked and a causal model those with their
    blank last. What is compared is the log-probability of the whole answer, and whether every token of it comes first,
    so tokenizers may differ. `texts` of ordinary language (none: not read) are only compared where both models have the
    same tokenizer and are asked in the same way. `largest` changes are named in the summary. Which facts are drawn is a
    setting of `Drawn`. Raises BadSetting.

    >>> Differing(facts=5).other is None
    True
    """

    name: ClassVar[str] = "differing"
    columns: ClassVar[Mapping[str, str]] = {
        "relation": "text", "number": "whole", "subject": "text", "answer": "text", "templates": "wholes",
        "first": "reals", "second": "reals", "rank_first": "wholes", "rank_second": "wholes", "says_first": "texts",
        "says_second": "texts", "tokens_first": "wholes", "tokens_second": "wholes",
    }  # fmt: skip
    other: Model | str | Path | None = field(default=None, repr=False)
    under: tuple[Edit, ...] = ()
    texts: tuple[str, ...] = TEXTS
    largest: int = 20

    def __post_init__(self) -> None:
        Drawn.__post_init__(self)
        if self.largest < 0:
            raise BadSetting(f"the largest changes that are named are a number from 0 up, not {self.largest}")
        if not isinstance(self.under, tuple) or not all(isinstance(e, Edit) for e in self.under):
            raise BadSetting(f"under is a tuple of edits that are held on the second model, not {self.under!r}")

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        """A row for each fact, with what both say to each of its prompts; the first shard reads the texts as well."""
        other, (one, two) = self._other(model), halves(progress)
        skipped: Skipped = []
        asked = list(_askable(model, other, facts, case["facts"], skipped))
        prompts = [p for _, own in asked for p in own]
        before = iter(ask(model, prompts, top=1, progress=one))
        after = iter(ask(other, prompts, under=list(self.under), top=1, progress=two))
        known = tuple(facts)
        rows = [
            _row(known[number], number, [next(before) for _ in own], [next(after) for _ in own])
            for number, own in asked
            if own
        ]
        alike = _alike(model, other)
        texts = self._read(model, other, alike) if case["shard"] == 0 else {}
        about = {"first": model.name, "second": self._called(other), "alike": alike,
                 "last_only": model.blank_last != other.blank_last}  # fmt: skip
        return {**about, "rows": rows, "skipped": skipped, "asked": len(prompts), "texts": texts}

    def summary(self, results: Iterable[Result]) -> Report:
        """Facts on the whole and by relation, with both tests; the largest changes, each under its fact's name.

        Means over facts, 95 % bootstraps over facts. Raises BadSetting where no fact could be asked of both.
        """
        done = list(results)
        facts = changed(row for r in done for row in r["rows"])
        if not facts:
            why = next((s["reason"] for r in done for s in r["skipped"]), "nothing was drawn")
            raise BadSetting(f"no fact could be asked of both models: {why}")
        texts = next((r["texts"] for r in done if r["texts"]), None)
        read = told(texts["before"], texts["after"], texts["kind"]) if texts else ()
        named = [Score(_whose(s.name), s.value, s.n, s.unit, s.better, s.interval) for s in read]
        out = sum(len(r["skipped"]) for r in done)
        asked = sum(r["asked"] for r in done)
        extra = [Score("left out", out, out + asked, "prompts or facts"), *named]
        return report(facts, self.largest, self.settings(), list(_notes(done, facts, named)), extra)

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain values."""
        other = None if self.other is None else model_key(_loaded(self.other))
        under = [{"edit": str(e), "patches": _digest(e)} for e in self.under]
        own = {"other": other, "under": under, "texts": list(self.texts), "largest": self.largest}
        return {**own, **self.drawing()}

    def _other(self, model: Model) -> Model:
        return model if self.other is None else _loaded(self.other)

    def _called(self, other: Model) -> str:
        return " under ".join([other.name, *(str(e) for e in self.under)])

    def _read(self, model: Model, other: Model, alike: bool) -> dict[str, Any]:
        """−ln P of the tokens of the texts; nothing where the two kinds of perplexity cannot be compared."""
        if not self.texts or not alike:
            return {}
        after = surprise(other, self.texts, under=list(self.under))
        return {"kind": kind_of_perplexity(model), "before": surprise(model, self.texts), "after": after}


def diff(
    first: Model, second: Model | None, facts: FactSet, *, under: Edit | Sequence[Edit] = (), n: int | None = None,
    relations: Sequence[str] | None = None, texts: Sequence[str] = TEXTS, largest: int = 20, seed: int = 0,
    progress: Progress | None = None,
) -> Report:  # fmt: skip
    """Which facts do two models know differently? Nothing in either changes.

    `second` is None where it is the first one under an edit; `under` is held on the second. `n` facts of each relation
    are asked, drawn by `seed` (None: all), of `relations` only, if some are named. The report has the facts on the
    whole, every relation, and the `largest` changes of log P(answer), each as a score of the fact's name. See
    `experiments.Differing`, of which a run can be kept. Raises BadSetting, UnknownName, OtherWeights.

    >>> import engram as eg
    >>> model, facts = eg.load("engram:causal"), eg.data.shipped()
    >>> wish = facts.fact("Ireland", "capital").becoming(None)
    >>> edit = eg.rewrite(model, wish, by=eg.Erasure(eg.NeuronSet.parse("L3.1 L3.2")))
    >>> report = eg.diff(model, None, facts, under=edit, n=2, relations=["capital", "symbol"])
    >>> report["facts"].value, report["lost"].unit
    (4, 'fraction')
    """
    held = (under,) if isinstance(under, Edit) else tuple(under)
    experiment = Differing(
        other=second, under=held, texts=tuple(texts), largest=largest, facts=n, seed=seed,
        relations=tuple(relations) if relations else None,
    )  # fmt: skip
    cases = experiment.cases(facts)

    def show(i: int) -> Progress:
        def told(done: int, total: int) -> None:
            if progress is not None:
                progress(i * 1000 + 1000 * done // max(total, 1), 1000 * len(cases))

        return told

    return experiment.summary([experiment.run(first, facts, c, progress=show(i)) for i, c in enumerate(cases)])


def _loaded(other: Model | str | Path) -> Model:
    return other if isinstance(other, Model) else _read_once(str(other))


@lru_cache(maxsize=1)
def _read_once(name: str) -> Model:
    return load(name)


def _askable(
    first: Model, second: Model, facts: FactSet, numbers: Sequence[int], skipped: Skipped
) -> Iterator[tuple[int, list[Prompt]]]:
    """Of each fact the prompts that both models can be asked; `skipped` learns why the others cannot."""
    known, last = tuple(facts), first.blank_last or second.blank_last
    for number in numbers:
        fact, own = known[number], list[Prompt]()
        asked = facts.prompts(fact, blank_last=last)
        if not asked:
            error = UnaskablePrompt(f"no template of {fact.relation!r} ends with its blank, as a causal model needs")
            skipped.append(left_out(number, fact, None, error))
        for prompt in asked:
            if (why := _refused(prompt, (first, second))) is None:
                own.append(prompt)
            else:
                skipped.append(left_out(number, fact, prompt.template, why))
        yield number, own


def _refused(prompt: Prompt, models: Sequence[Model]) -> str | None:
    """Which of the models cannot be asked this, and why; None where both can."""
    for called, model in zip(CALLED, models, strict=True):
        try:
            model.rows(prompt)
        except EngramError as error:
            return f"{called}, {type(error).__name__}: {error}"
    return None


def _row(fact: Fact, number: int, before: Sequence[Answer], after: Sequence[Answer]) -> dict[str, Any]:
    return {
        "relation": fact.relation, "number": number, "subject": fact.subject, "answer": fact.answer,
        "templates": [-1 if a.prompt.template is None else a.prompt.template for a in before],
        "first": [a.logprob for a in before], "second": [a.logprob for a in after],
        "rank_first": [a.rank for a in before], "rank_second": [a.rank for a in after],
        "says_first": [a.top[0][0] for a in before], "says_second": [a.top[0][0] for a in after],
        "tokens_first": [len(a.tokens) for a in before], "tokens_second": [len(a.tokens) for a in after],
    }  # fmt: skip


def _alike(first: Model, second: Model) -> bool:
    """Do both have the same tokenizer, and are asked in the same way?"""
    return first is second or (
        first.family.asks == second.family.asks and tokenizer_of(first) == tokenizer_of(second)
    )  # fmt: skip


def _digest(edit: Edit) -> str:
    """A checksum of what an edit changes."""
    digest = hashlib.sha256()
    for p in edit.patches:
        told = ("slot", p.neuron, p.before, p.after) if isinstance(p, Slot) else ("rank", p.layer, p.keys, p.values)
        for part in told:
            digest.update(part.tobytes() if isinstance(part, np.ndarray) else str(part).encode())
    return digest.hexdigest()


def _whose(name: str) -> str:
    return name.replace(" before", ", first model").replace(" after", ", second model")


def _notes(done: Sequence[Result], facts: Sequence[Changed], read: Sequence[Score]) -> Iterator[str]:
    """What a reader of the numbers must know."""
    said = done[0]
    yield f"first model: {said['first']}; second model: {said['second']}; changes are second minus first"
    if not any(f.change for f in facts) and all(f.says[0] == f.says[1] for f in facts):
        yield "both models give every answer the same log-probability, to the last bit: nothing differs"
    if said["last_only"]:
        yield (
            "one of the two continues texts and the other fills blanks: only prompts that end with their blank were "
            "asked; the one that fills blanks sees the final mark as well"
        )
    if not said["alike"]:
        yield (
            "the two write text in different tokens or are asked in different ways: log P is that of the whole answer, "
            "all of its tokens together, and an answer comes first where each of its tokens does; the perplexity of "
            "ordinary text was not compared"
        )
    elif not read:
        yield "ordinary text was not read"
    yield from LeftOut.of(done).notes()
    yield "a fact is known that comes first in at least half of its prompts; log P is the mean over them"
