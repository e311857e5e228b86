"""The first steps of `engram demo`: what does the model know, and which neurons does it know a few facts by?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UnaskablePrompt
from ..metrics import bootstrap
from ..metrics.changes import accuracy, average
from ..report import Folded, Section, Table, decimal, signed
from ..results import Answer, Score
from . import _show
from ._show import NUMBER, TEXT, WORD
from ._suppressing import called

if TYPE_CHECKING:
    from ..experiments import Neurons
    from ..facts import Fact, FactSet, Prompt, Split
    from ..models import Model

WELL_KNOWN = (
    ("capital", "Ireland"), ("continent", "Kenya"), ("currency", "Japan"), ("author", "Hamlet"),
    ("developer", "Windows"), ("symbol", "gold"),
)  # fmt: skip
CLOSER = 3  # of these, the neurons are shown
LOUDER = 2.0  # times, of amplified neurons
ASKED = 40  # facts per relation


def chosen(facts: FactSet) -> list[Fact]:
    """Some facts that everybody knows, one of a relation; where one is missing, its relation's first."""
    found = []
    for relation, subject in WELL_KNOWN:
        of = facts.facts(relation)
        found.append(next((f for f in of if f.subject == subject), of[0]))
    return found


def examples(model: Model, facts: FactSet) -> None:
    """A few facts, each asked in the first of its test prompts."""
    from ..models import ask

    _show.line(f"1. Does {model.name} know them? A few, in templates kept for the test")
    _show.line()
    answers = ask(model, [p[0] for f in chosen(facts) if (p := _askable(model, facts, f, "test"))])
    columns = [("prompt", TEXT), ("answer", WORD), ("P", NUMBER), ("rank", NUMBER), ("says", WORD)]
    _show.table(
        columns, [(a.prompt.text, a.prompt.answer, f"{a.probability:.3f}", a.rank, a.top[0][0]) for a in answers]
    )
    _show.line()


def knows(model: Model, facts: FactSet, *, seed: int) -> Section:
    """Up to 40 facts of every relation in all their test prompts: P and accuracy."""
    from ..models import ask

    rng = np.random.default_rng(seed)
    names = called(facts)
    rows: list[tuple[str, list[Answer]]] = []
    with _show.progress("asking") as bar:
        for i, relation in enumerate(facts.relations):
            of = facts.facts(relation.id)
            drawn = [of[j] for j in sorted(rng.permutation(len(of))[:ASKED])]
            rows.append((names[relation.id], ask(model, [p for f in drawn for p in _askable(model, facts, f, "test")])))
            bar(i + 1, len(facts.relations))
    right, sure = (_over([a for _, answers in rows for a in answers], what) for what in ("accuracy", "P(answer)"))
    every = sorted((_over(answers, "accuracy").value, name) for name, answers in rows if answers)
    n, asked = len({a.prompt.fact for _, answers in rows for a in answers}), right.n
    (worst, low), (best, high) = every[0], every[-1]
    said = (
        f"Of all relations, {n:,} facts in {asked:,} test prompts: in {_share(right)} % of the prompts the model's "
        f"first word is right, from {100 * worst:.0f} % ({low}) to {100 * best:.0f} % ({high}); mean P(answer) "
        f"{decimal(sure)}. In brackets: 95 % intervals, facts resampled."
    )
    _show.line(said)
    _show.line()
    table = Table(
        "In test prompts; the shipped models never saw a fact in its test templates",
        ("relation", "first word right (%) #", "mean P(answer) #", "prompts #", "facts #"),
        [
            [
                name, _share(_over(a, "accuracy")), decimal(_over(a, "P(answer)")), f"{len(a):,}",
                f"{len({x.prompt.fact for x in a}):,}",
            ]
            for name, a in rows
            if a
        ],
    )  # fmt: skip
    return Section("Does it know the facts?", (said, Folded("Each relation", (table,))))


def neurons(model: Model, facts: FactSet, how: Neurons) -> Section:
    """The neurons of the facts it knows best among a few, and what each fact's prompts say without them."""
    from ..models import ask

    _show.line("2. Which neurons carry a fact? Found in its discovery templates, silenced in its test templates")
    _show.line()
    tables = []
    asked = [(f, _askable(model, facts, f, "discovery"), _askable(model, facts, f, "test")) for f in chosen(facts)]
    askable = [(f, discovery, test) for f, discovery, test in asked if discovery and test]
    surest = sorted(askable, key=lambda x: -float(average([a.knows for a in ask(model, x[1])])))
    for fact, discovery, test in surest[:CLOSER]:
        columns, rows, said = _closer(model, discovery, test, how)
        _show.line(f"{fact}: {said}")
        if rows:
            _show.table([(c.removesuffix(" #"), NUMBER if c.endswith("#") else WORD) for c in columns], rows)
        _show.line()
        tables.append(Table(f"{fact}: {said}", columns, rows))
    return Section(
        "The neurons of a few facts",
        (
            "A neuron is kept if it scores above 0.2 of the largest score in more than 7 of 10 discovery prompts.",
            *tables,
        ),
    )


def _closer(
    model: Model, discovery: Sequence[Prompt], test: Sequence[Prompt], how: Neurons
) -> tuple[tuple[str, ...], list[list[str]], str]:
    """Columns and rows of its neurons, and in words what happens to P(answer)."""
    from ..interventions import amplified, suppressed
    from ..locators import locate
    from ..models import ask

    found = locate(model, discovery, by=how.locator)
    votes = how.selector.votes(found)
    kept = how.selector.select(found)
    mean = {n: float(np.mean([a.scores[n] for a in found])) for n in kept}
    rows = [[str(n), f"{votes[n]} of {len(found)}", f"{mean[n]:.4f}"] for n in sorted(kept, key=lambda n: -mean[n])]
    columns = ("neuron", "prompts that name it #", "mean score (probability) #")
    if not kept:
        return columns, rows, "no neuron is named by most of its prompts"
    before, silent, loud = (
        float(np.mean([a.probability for a in ask(model, test, under=under)]))
        for under in (None, suppressed(kept), amplified(kept, by=LOUDER))
    )
    changes = [f"{p:.3f} ({signed(100 * (p / before - 1))} %)" for p in (silent, loud)]
    return columns, rows, f"P {before:.3f}, silent {changes[0]}, amplified {changes[1]}, over {len(test)} test prompts"


def _over(answers: Sequence[Answer], what: str) -> Score:
    of, values = (
        (accuracy, [a.rank for a in answers]) if what == "accuracy" else (average, [a.probability for a in answers])
    )
    interval = bootstrap(of, (values,), [a.prompt.fact for a in answers])
    return Score(what, float(of(values)), len(answers), "fraction", interval=interval)


def _share(score: Score) -> str:
    around = "" if score.interval is None else " [{:.1f}, {:.1f}]".format(*(100 * x for x in score.interval))
    return f"{100 * score.value:.1f}{around}"


def _askable(model: Model, facts: FactSet, fact: Fact, split: Split) -> list[Prompt]:
    """Its prompts of this split, those that the model can be asked."""
    kept = []
    for prompt in facts.prompts(fact, split=split, blank_last=model.blank_last):
        try:
            model.rows(prompt)
        except UnaskablePrompt:
            continue
        kept.append(prompt)
    return kept
