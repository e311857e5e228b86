"""What did this edit do? One edit, asked everything: its fact, other words, neighbours, the reverse, ordinary text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..cases import Case, CaseSet
from ..data import case_of
from ..editors.controls import CONTROLS
from ..edits import Edit, said
from ..errors import BadSetting, UnaskablePrompt, UnknownName
from ..facts import Fact, FactSet, Prompt, Rewrite
from ..metrics.changes import Mean
from ..metrics.collapse import LIMIT, alarm, told
from ..metrics.intervals import bootstrap
from ..metrics.judged import BEFORE, PARTS, against, judged, summaries
from ..models import Model
from ..models.batching import Progress
from ..models.perplexity import kind_of_perplexity, surprise
from ..models.scoring import score
from ..results import Floats, Report, Score
from .base import halves
from .before_after import sizes
from .erasing import TEXTS
from .judging import UNEDITED, Condition, each_sentence, readings

EDITED = "edited"


def judge(
    model: Model, edit: Edit, data: Case | FactSet, *, seed: int = 0, controls: Sequence[str] = tuple(CONTROLS),
    others: int = 30, texts: Sequence[str] = TEXTS, syntax: FactSet | None = None, limit: float = LIMIT,
    progress: Progress | None = None,
) -> Report:  # fmt: skip
    """Did this edit do what it was to do, and what else did it do? Nothing in the model changes.

    Its cases (`engram.Case`) are found in `data`, a `CaseSet`, or made of the facts there as CounterFact was: sentences
    that should change, and others that should stay. Scores are those of `metrics.judged`: before ("no edit"), after
    ("edited"), and for `controls`, the same change of random neurons of the same layer, or in a random layer. Of
    several facts, n and intervals are over facts, of one over its sentences. `others` facts of other relations of the
    data ("elsewhere") should be answered as before; `texts` should surprise the model no more; of `syntax` (BLiMP),
    pairs are told apart before and after. Where perplexity grows past `limit` times, a note gives the alarm.

    Raises BadSetting where the data have nothing on the edit's fact, UnknownName, OtherWeights where the edit was not
    made from these weights.

    >>> import engram as eg
    >>> model, facts = eg.load("engram:causal"), eg.data.shipped()
    >>> prompt = facts.prompts(facts.fact("Ireland", "capital"), blank_last=True)[0]
    >>> neurons = eg.select(eg.locate(model, prompt, by=eg.IntegratedGradients(rule="gauss")), by=eg.Top(5))
    >>> wish = facts.fact("Ireland", "capital").becoming("Paris")
    >>> edit = eg.rewrite(model, wish, by=eg.KnowledgeSurgery(neurons), prompt=prompt)
    >>> report = eg.judge(model, edit, facts, others=5)
    >>> report["edited: ES"].value, report["no edit: ES"].value
    (1.0, 0.0)
    """
    for name in controls:
        if name not in CONTROLS:
            raise UnknownName("control", name, CONTROLS)
    cases = cases_of(edit, data, model, seed)
    conditions = [UNEDITED, Condition(EDITED, EDITED, edit)]
    for i, name in enumerate(controls):
        control = CONTROLS[name](model, edit, seed=seed + i)
        conditions += [] if control is None else [Condition(EDITED, name, control)]
    first, second = halves(progress)
    rows = readings(model, [(i, c, conditions) for i, c in enumerate(cases)], speaks=True, progress=first)
    found = judged(rows if len(cases) > 1 else each_sentence(rows))
    scores = [s for each in found for s in summaries(each, seed=seed)]
    for each in (f for f in found if f.arm == EDITED):
        apart = (against(each, control, part, seed=seed) for part in PARTS for control in found if control is not each)
        scores += [s for s in apart if s is not None]
    scores += _elsewhere(model, edit, data, cases, others, seed)
    kind = kind_of_perplexity(model)
    grown = told(surprise(model, texts), surprise(model, texts, under=edit), kind) if texts else ()
    scores += grown
    second(1, 2)
    scores += _syntax(model, edit, syntax, seed) if syntax is not None else []
    second(2, 2)
    settings = {
        "edit": edit.method, "wish": said(edit.wish), "data": getattr(data, "name", ""), "seed": seed,
        "controls": list(controls), "others": others, "texts": len(texts), "syntax": syntax and syntax.name,
    }  # fmt: skip
    harm = alarm(grown[-1].value, max(sizes(model, edit).values(), default=0.0), limit=limit) if grown else None
    return Report(f"{edit.method} of {said(edit.wish)}", tuple(scores), settings, tuple(_notes(cases, harm)))


def cases_of(edit: Edit, data: Case | FactSet, model: Model, seed: int) -> list[Case]:
    """What this edit is judged by: its own cases in the data, or made of the data's facts. Raises BadSetting."""
    every = edit.wish if isinstance(edit.wish, tuple) else (edit.wish,)
    wishes = [w for w in every if isinstance(w, Rewrite)]
    if not wishes:
        raise BadSetting(
            f"judge asks of facts, and this edit is of {said(edit.wish)}: `engram run erasing` judges those"
        )
    if isinstance(data, Case):
        found = [_wished(data, wishes[0])]
    else:
        found = [_case(wish, data, model, seed) for wish in wishes]
    return found if model.blank_last else [c.finished for c in found]


def _case(wish: Rewrite, data: FactSet, model: Model, seed: int) -> Case:
    about = [f for f in data if f.subject == wish.fact.subject and f.answer.strip() == wish.fact.answer.strip()]
    same = [f for f in about if f.relation == wish.fact.relation]
    fact = next(iter(same or about), None)
    if fact is None:
        raise BadSetting(
            f"{data.name} has nothing to say of {wish.fact.subject!r} with the answer {wish.fact.answer!r}: judge by "
            "data that have the fact, or by a case of your own"
        )
    if isinstance(data, CaseSet):
        return _wished(data.case(fact.id), wish)
    return case_of(data, fact.becoming(wish.answer), seed=seed, masked=not model.blank_last)


def _wished(case: Case, wish: Rewrite) -> Case:
    """The case with the answer of this wish; what follows from another new answer is left out."""
    if wish.answer is None or wish.answer.strip() == case.new.strip():
        return case
    return replace(case, new=wish.answer, attribute=(), reverse=(), synonym=(), onward=())


def _elsewhere(
    model: Model, edit: Edit, data: Case | FactSet, cases: Sequence[Case], others: int, seed: int
) -> Iterator[Score]:
    """Facts of other relations, which should be answered as before."""
    asked = list(_others(model, data, cases, others, seed)) if isinstance(data, FactSet) else []
    if not asked:
        return
    before, after = (score(model, asked, edits=[under]) for under in (None, edit))
    named, n = list(range(len(asked))), len(asked)
    for when, found in ((BEFORE, before), (EDITED, after)):
        hits = np.array([x.hits == 1 for x in found], float)
        yield Score(
            f"{when}: elsewhere: exact", float(hits.mean()), n, "fraction", interval=bootstrap(_mean, [hits], named)
        )
    nll = np.array([[x.nll for x in found] for found in (before, after)])
    yield Score("elsewhere: perplexity of the true answers, ratio", float(_ratio(nll[0], nll[1])), n, "ratio", "lower",
                bootstrap(_ratio, [*nll], named))  # fmt: skip


def _others(model: Model, data: FactSet, cases: Sequence[Case], others: int, seed: int) -> Iterator[Prompt]:
    """The first sentence that can be asked of facts drawn from other relations."""
    relations, subjects = {c.fact.relation for c in cases}, {c.fact.subject for c in cases}
    far: list[Fact] = [f for f in data if f.relation not in relations and f.subject not in subjects]
    left = others
    for i in np.random.default_rng(seed).permutation(len(far)):
        if not left:
            return
        for prompt in data.prompts(far[int(i)], blank_last=model.blank_last):
            try:
                model.rows(prompt)
            except UnaskablePrompt:
                continue
            left -= 1
            yield prompt
            break


def _syntax(model: Model, edit: Edit, pairs: FactSet, seed: int) -> list[Score]:
    """Of minimal pairs, the part in which the right word is likelier than the wrong one."""
    asked = [
        p for f in pairs for p in pairs.prompts(f, blank_last=model.blank_last)[:1] if p.against and _can(model, p)
    ]
    if not asked:
        raise BadSetting(f"{pairs.name} has no pairs that {model.name} can be asked")
    found = []
    both = [q for p in asked for q in (p, p.asking_for(str(p.against)))]
    right: list[Floats] = []
    for name, under in ((BEFORE, None), (EDITED, edit)):
        nll = np.array([x.nll for x in score(model, both, edits=[under])]).reshape(-1, 2)
        right.append((nll[:, 0] < nll[:, 1]).astype(float))
        interval = bootstrap(_mean, [right[-1]], range(len(asked)), seed=seed)
        found.append(Score(f"{name}: syntax", float(right[-1].mean()), len(asked), "fraction", interval=interval))
    apart = right[1] - right[0]
    interval = bootstrap(_mean, [apart], range(len(asked)), seed=seed)
    return [*found, Score("syntax, change", float(apart.mean()), len(asked), "fraction", interval=interval)]


def _can(model: Model, prompt: Prompt) -> bool:
    try:
        return len(model.rows(prompt)) > 0 and len(model.rows(prompt.asking_for(str(prompt.against)))) > 0
    except UnaskablePrompt:
        return False


def _mean(x: Floats, mean: Mean = np.mean) -> Floats:
    return np.asarray(mean(x))


def _ratio(before: Floats, after: Floats, mean: Mean = np.mean) -> Floats:
    return np.asarray(np.exp(mean(after) - mean(before)))


def _notes(cases: Sequence[Case], harm: str | None) -> Iterator[str]:
    """What a reader of the numbers must know."""
    asked = {group: sum(len(c.asked(group)) for c in cases) for group in ("paraphrase", "neighbour")}
    facts = "1 fact" if len(cases) == 1 else f"{len(cases)} facts"
    yield f"{facts}, {asked['paraphrase']} paraphrases, {asked['neighbour']} neighbours"
    if len(cases) == 1:
        yield "n and intervals are over the sentences of one fact: of other edits of the kind they say nothing"
    if harm:
        yield f"ALARM: {harm}"
