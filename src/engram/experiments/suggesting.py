"""In which layer, and at which token, should a fact be edited? What causal tracing would say, and what trying says.

Meng et al. (2022) chose the layer to edit by tracing. Hase et al. (2023) found that where tracing points need not be
where edits succeed. So a suggestion comes with how sure tracing is of it, and, if asked for, with what edits do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..cases import Case, CaseSet
from ..errors import BadSetting, EngramError
from ..facts import Fact, FactSet, Prompt
from ..metrics.bands import Bands, bands
from ..metrics.judged import judged
from ..models import Model, ask
from ..models.batching import Progress
from ..results import Floats
from ..tracers import CausalTracing, trace
from .base import halves
from .judging import Condition, readings
from .planning import Planner

TOKENS = ("subject", "asked")
Trying = Callable[[int, str], Planner]  # the layer, and the token that is looked up


@dataclass(frozen=True, slots=True, eq=False)
class Suggestion:
    """Edit in `layer` at `token`: "subject" (its last token) or "asked" (where the answer is told).

    `effects` [token's name] are the mean effects of restoring the FFN there, by layer, with intervals over facts;
    `sure` is the part of bootstrap samples of the facts in which this layer and token come first. `facts` were traced,
    `left_out` could not be or are not known. `tried` [token's name] are, by layer, the parts of the facts that an
    edit there gives the new answer (ES), NaN where none could be planned; empty where that was not asked for.

    >>> found = Suggestion(0, "asked", 0.9, {}, (), tried={"asked": np.array([0.2, 0.8])})
    >>> found.layer, found.tried_best
    (0, (1, 'asked'))
    """

    layer: int
    token: str
    sure: float
    effects: Mapping[str, Bands]
    facts: tuple[Fact, ...]
    left_out: tuple[str, ...] = ()
    tried: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def tried_best(self) -> tuple[int, str] | None:
        """Where trying did best: layer and token, the first of equal ones; None where nothing was tried."""
        found = [(float(x), -layer, token) for token, own in self.tried.items() for layer, x in enumerate(own)]
        known = [f for f in found if np.isfinite(f[0])]
        if not known:
            return None
        _, layer, token = max(known, key=lambda f: f[:2])
        return -layer, token

    def __str__(self) -> str:
        said = (
            f"layer {self.layer}, token {self.token}: the largest mean effect of restoring an FFN over "
            f"{len(self.facts)} facts, in {100 * self.sure:.0f} % of bootstrap samples. Where tracing points need not "
            "be where edits succeed (Hase et al. 2023)"
        )
        best = self.tried_best
        if best is None:
            return f"{said}: try some layers."
        return f"{said}; trying did best in layer {best[0]}, token {best[1]} (ES {self.tried[best[1]][best[0]]:.2f})."


def suggest_layer(
    model: Model, facts: FactSet, *, n: int = 10, seed: int = 0, by: CausalTracing | None = None,
    trying: Trying | None = None, progress: Progress | None = None,
) -> Suggestion:  # fmt: skip
    """Where should facts like these be edited? Traces the first `n` known ones, in an order drawn by `seed`.

    `by` traces FFNs (by default one layer at a time). `trying`, from a layer and a token to a planner, also edits the
    same facts in every layer, which takes a `CaseSet`. Changes nothing. Raises BadSetting where no fact could be
    traced, or `by` restores something else.

    >>> import engram as eg
    >>> facts = eg.data.read("shipped").only(["capital"])
    >>> found = eg.suggest_layer(eg.load("engram:causal"), facts, n=3)
    >>> found.token, len(found.effects["asked"].mean)
    ('asked', 4)
    """
    by = by or CausalTracing(kind="ffn", window=1)
    if by.kind != "ffn":
        raise BadSetting(f"edits change FFNs, so it is FFNs that are restored: kind='ffn', not {by.kind!r}")
    if n < 1:
        raise BadSetting(f"n is a number of facts from 1 up, not {n}")
    if trying is not None and not isinstance(facts, CaseSet):
        raise BadSetting(f"to try edits takes new answers: {facts.name} has facts, and cases are needed")
    tracing, editing = halves(progress) if trying is not None else (progress, None)
    traced, left_out = _traced(model, facts, n, seed, by, tracing)
    if not traced:
        raise BadSetting(f"no fact of {facts.name} could be traced ({'; '.join(left_out[:3]) or 'it has none'})")
    effects = {t: bands([profile[t] for _, profile in traced], seed=seed) for t in TOKENS}
    draws = np.concatenate([effects[t].draws for t in TOKENS], axis=1)
    best = int(np.concatenate([effects[t].mean for t in TOKENS]).argmax())
    layers = len(model.layers)
    sure = float((draws.argmax(1) == best).mean()) if np.isfinite(draws).all() else 0.0
    chosen = tuple(fact for fact, _ in traced)
    tried = dict(_tried(model, facts, chosen, trying, editing)) if trying and isinstance(facts, CaseSet) else {}
    return Suggestion(best % layers, TOKENS[best // layers], sure, effects, chosen, tuple(left_out), tried)


def _traced(
    model: Model, facts: FactSet, n: int, seed: int, by: CausalTracing, progress: Progress | None
) -> tuple[list[tuple[Fact, dict[str, Floats]]], list[str]]:
    """Facts that the model knows with their effects by token and layer, and why others were left out."""
    known, found, out = tuple(facts), list[tuple[Fact, dict[str, Floats]]](), list[str]()
    for i in np.random.default_rng(seed).permutation(len(known)):
        if len(found) == n:
            break
        fact = known[int(i)]
        try:
            prompt = _asked(model, facts, fact)
            if prompt is None:
                continue
            seen = trace(model, prompt, subject=fact.subject, by=by)
        except EngramError as error:
            out.append(f"{fact}: {error}")
            continue
        found.append((fact, {"subject": seen.effect[seen.subject[1] - 1], "asked": seen.effect[seen.at]}))
        if progress is not None:
            progress(len(found), n)
    return found, out


def _asked(model: Model, facts: FactSet, fact: Fact) -> Prompt | None:
    """The first of its sentences that the model answers rightly."""
    prompts = facts.prompts(fact, blank_last=model.blank_last, limit=1)
    prompts = prompts if model.blank_last else tuple(p.finished for p in prompts)
    return next((p for p, a in zip(prompts, ask(model, prompts, top=1), strict=True) if a.knows), None)


def _tried(
    model: Model, facts: CaseSet, chosen: Sequence[Fact], trying: Trying, progress: Progress | None
) -> Iterator[tuple[str, Floats]]:
    """Of each token, by layer, the part of the facts that get their new answer there."""
    cases = [_bare(facts.case(f.id), model) for f in chosen]
    layers, done = len(model.layers), 0
    for token in TOKENS:
        found = np.full(layers, np.nan)
        for layer in range(layers):
            planner = trying(layer, token)
            told = []
            for number, case in enumerate(cases):
                try:
                    told.append((number, case, [Condition(planner.name, "edited", planner.plan(model, case))]))
                except EngramError:
                    continue
            done += 1
            if told:
                (own,) = judged(readings(model, told))
                found[layer] = own.scores["ES"].sum() / len(cases)
            if progress is not None:
                progress(done, len(TOKENS) * layers)
        yield token, found


def _bare(case: Case, model: Model) -> Case:
    return Case(case.id, case.fact, case.new, case.prompt if model.blank_last else case.prompt.finished)
