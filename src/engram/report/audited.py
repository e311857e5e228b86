"""What each run of an audit lets one say, as statements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from ..metrics import Pairs, bootstrap, paired_test
from ..metrics.choices import BEFORE as AS_IT_IS
from ..metrics.choices import accuracy, choices, difference, mcnemar, together
from ..metrics.intervals import of_cases
from ..metrics.likeness import Pair, compared
from ..metrics.outcomes import pairs_of
from ..metrics.traced import rows_of
from ..results import Floats, Report, Score
from ..store import Run
from .audited_edits import costs, edits, follows, whole
from .statements import ABOVE, BELOW, CHANGE, DIFFERENCE, LIKENESS, NEURONS, POINTS, RANKS, SHARE, SIGNS, Statement

EXACT = "McNemar, exact"
FACTS, MATTER, AGREE = "where facts sit", "whether neurons matter", "whether methods agree"
SYNTAX = "syntax"
SYNTAX_TOO = "facts and syntax"
IG = "integrated gradients"


def _located(run: Run, report: Report) -> Iterator[Statement]:
    """How many neurons, in what share of prompts, in which layers, and how many of them are the relation's."""
    results = list(run.results())
    asked = sum(r["askable"] for r in results)
    if all(r["known"] is not None for r in results) and asked:
        knows = np.arange(asked) < sum(r["known"] for r in results)
        yield Statement(FACTS, "The model knows the facts that are asked", _mean("known", knows), SHARE, "facts", 0.5)
    size = report["attribution: neurons per fact"]
    widths = run.manifest["model"]["widths"]
    yield Statement(FACTS, "A fact has few neurons", size, NEURONS, "facts", beside=(
        f"by construction: the share below was looked for until there were two to five, of {sum(widths):,}"
    ))  # fmt: skip
    shares = [float(Fraction(r["shares"]["attribution"]["share"])) for r in results if r["shares"]]
    beside = "mean over relations of the share that gives two to five neurons"
    yield Statement(FACTS, "Most of a fact's prompts name the same neurons", _mean("share", shares), SHARE,
                    "relations", 0.5, beside=beside)  # fmt: skip
    layers = [s for s in report.scores if s.name.startswith("attribution: layer ")]
    if layers:
        fullest = max(layers, key=lambda s: s.value)
        name = fullest.name.rpartition(" ")[2]
        yield Statement(FACTS, f"Facts sit in one layer, L{name}, more than in all others", fullest, SHARE,
                        "(fact, neuron) pairs", 0.5, beside=f"spread evenly: {100 / len(widths):.0f} %")  # fmt: skip
    known = {s.name: s for s in report.scores}
    if (shared := known.get("attribution: shared within")) is not None:
        across = known.get("attribution: shared across")
        beside = f"half of a fact's neurons would be {size.value / 2:.2f}"
        beside += f"; facts of other relations share {across.value:.2f}" if across else ""
        yield Statement(FACTS, "A fact's neurons are its own: few are another's of the relation", shared,
                        NEURONS, "pairs of facts", high=size.value / 2, beside=beside)  # fmt: skip


def _matters(run: Run, report: Report) -> Iterator[Statement]:
    """Suppression beside its controls."""
    results = list(run.results())
    pairs = {c: p for c in ("suppressed", "baseline suppressed", "chance suppressed", "same relation", "other relation",
                            "amplified") if (p := pairs_of(results, c)) is not None}  # fmt: skip
    said: tuple[tuple[str, str, float | None, float | None], ...] = (
        ("suppressed", "Neurons found in some of a fact's templates matter in others: P(answer) falls without them",
         None, -0.15),
        ("chance suppressed", "As many random neurons of the same layers do not", -0.02, 0.02),
        ("other relation", "Facts of other relations are spared", -0.02, 0.02),
        ("same relation", "Another fact of the same relation is spared", -0.02, 0.02),
        ("amplified", "With its neurons amplified, P(answer) rises", ABOVE, None),
    )  # fmt: skip
    held = run.manifest["settings"]["neurons"]["held_out"]
    for condition, says, low, high in said:
        if condition in pairs:
            p = pairs[condition]
            facts = len(set(p.facts))
            beside = "" if held else "found and tried on the same templates"
            yield Statement(MATTER, says, report[condition], CHANGE, f"prompts of {facts:,} facts", low, high, beside,
                            SIGNS.format("facts"), _p(p.before, p.after, p.facts))  # fmt: skip
    for other, called in (("chance suppressed", "by chance"), ("baseline suppressed", "by activation alone")):
        if "suppressed" in pairs and other in pairs:
            score, p_ = _beyond(pairs["suppressed"], pairs[other])
            facts = len(set(pairs[other].facts))
            yield Statement(MATTER, f"P(answer) falls further than without neurons chosen {called}", score, CHANGE,
                            f"prompts of {facts:,} facts", high=BELOW, how=SIGNS.format("facts"), p=p_)  # fmt: skip


def _agrees(run: Run, report: Report) -> Iterator[Statement]:
    """Methods on the same prompts."""
    results = list(run.results())
    tops = report.settings["tops"]
    found = {(p.a, p.b): p for p in compared(results, tops, seed=report.settings["seed"])}
    layers = len(run.manifest["model"]["widths"])
    for other, says in (
        ("ablation", "Two methods name the same neurons: integrated gradients rank them as silencing each alone does"),
        ("mediation", "… and as restoring each alone in a corrupted run does"),
    ):
        if (pair := _pair(found, IG, other)) is not None and pair.neurons is not None:
            x = [r["neuron_correlation"] for r in rows_of(results) if (r["a"], r["b"]) == (pair.a, pair.b)]
            best = "; ".join(f"of the {k} best both name {100 * s.value:.0f} %, by chance "
                             f"{100 * report[f'best {k} neurons: by chance'].value:.0f} %"
                             for k, s in zip(tops, pair.shared, strict=False))  # fmt: skip
            beside = f"Spearman, over all neurons; {best}"
            yield Statement(AGREE, says, pair.neurons, RANKS, "facts", 0.5, None, beside, SIGNS.format("facts"),
                            _above_nothing(x))  # fmt: skip
    peaks: dict[str, dict[int, int]] = {}
    for r in (r for r in rows_of(results) if r["a"] == r["b"]):
        peaks.setdefault(r["a"], {})[r["number"]] = int(np.argmax(r["profile"]))
    for other, says in (
        ("ffn, asked token", "Neurons and traces peak in the same layer, fact by fact, at the asked token"),
        ("block, any token", "… and where a trace of whole blocks peaks, at any token"),
    ):
        if (pair := _pair(found, IG, other)) is not None and pair.same_peak is not None:
            crossed = _crossed(peaks[pair.a], peaks[pair.b])
            beside = f"of two different facts: {100 * crossed:.0f} %; layers drawn blindly: {100 / layers:.0f} %"
            low = max(0.5, crossed) if np.isfinite(crossed) else 0.5
            yield Statement(AGREE, says, pair.same_peak, SHARE, "facts", low, beside=beside)


def _syntax(run: Run, report: Report) -> Iterator[Statement]:
    """Minimal pairs: accuracy, and whether the neurons of a number matter more than others."""
    found = choices(run.results())
    if not found:
        return
    one = together(found) if len(found) > 1 else found[0]
    worst = min(found, key=lambda c: float(c.right[AS_IT_IS].mean()))
    low = accuracy(worst, AS_IT_IS)
    yield Statement(SYNTAX, "The model prefers the right word of minimal pairs", accuracy(one, AS_IT_IS), SHARE,
                    "pairs", 0.75, beside=f"by chance 50 %; least in {worst.name}: {whole(low)}")  # fmt: skip
    if "matching" not in one.right:
        return
    size = report.settings.get("size", 1)
    p = mcnemar(one.right[AS_IT_IS], one.right["matching"])
    margins = [float(one.margin[c].mean()) for c in (AS_IT_IS, "matching")]
    beside = (
        f"{size} for each number; ln P(right) − ln P(wrong) is {margins[0]:.2f} nats, without them {margins[1]:.2f}"
    )
    yield Statement(SYNTAX, "Neurons of a number, found in one half of the pairs, matter in the other: without them "
                    "the right word is preferred less often", difference(one, AS_IT_IS, "matching"), POINTS, "pairs",
                    high=-0.05, beside=beside, how=EXACT, p=p)  # fmt: skip
    if (chance := one.right.get("random, as matching")) is not None:
        p = _p(chance, one.right["matching"], one.pairs)
        yield Statement(SYNTAX, "… more so than as many random neurons of the same layers",
                        difference(one, "random, as matching", "matching"), POINTS, "pairs", high=BELOW,
                        how=SIGNS.format("pairs"), p=p)  # fmt: skip


def _localised(run: Run, report: Report) -> Iterator[Statement]:  # noqa: ARG001
    """Facts and syntax by the levels of Niu et al. (2024)."""
    known = {s.name: s for s in report.scores}
    facts, syntax, apart = (known.get(f"{kind}: r1") for kind in ("facts", "syntax", "difference"))
    more = [
        f"{called} {_pair_of(known, level, digits)}"
        for level, called, digits in (("neurons", "neurons at share 0.7:", 1), ("share", "share with two to five:", 2))
        if f"facts: {level}" in known and f"syntax: {level}" in known
    ]
    for score, says in ((facts, "Prompts of one fact point to the same neurons"),
                        (syntax, "Sentences of one kind of syntax point to the same neurons")):  # fmt: skip
        if score is not None:
            beside = "likeness R1² of their maps of scores: 1 parallel, 0 orthogonal"
            yield Statement(SYNTAX_TOO, says, score, LIKENESS, "sets", 0.5, beside=beside)
    if apart is not None:
        yield Statement(SYNTAX_TOO, "Facts are more localised than syntax: R1² of syntax less that of facts", apart,
                        DIFFERENCE, "sets", high=BELOW, beside="; ".join(more))  # fmt: skip


STATEMENTS: Mapping[str, Callable[[Run, Report], Iterator[Statement]]] = {
    "neurons": _located, "suppression": _matters, "agreement": _agrees, "editing": edits, "criteria": follows,
    "in_turn": costs, "localisation": _localised, "minimal_pairs": _syntax,
}  # fmt: skip


def _mean(name: str, x: Iterable[Any]) -> Score:
    values = np.array(list(x), float)
    return Score(name, float(values.mean()), len(values), "fraction", interval=of_cases(values))


def _p(before: Floats, after: Floats, of: Any) -> float:
    return paired_test(before, after, of).p


def _above_nothing(x: Iterable[float | None]) -> float:
    values = np.array([v for v in x if v is not None and np.isfinite(v)], float)
    return paired_test(np.zeros(len(values)), values, range(len(values))).p


def _beyond(own: Pairs, other: Pairs) -> tuple[Score, float]:
    """By which part of P(answer) as it was is it lower than under another condition, prompt by prompt?"""

    def statistic(before: Floats, here: Floats, there: Floats, mean: Any = np.mean) -> Floats:
        return np.asarray((mean(here) - mean(there)) / mean(before))

    values = [own.before, own.after, other.after]
    interval = bootstrap(statistic, values, own.facts)
    score = Score("beyond", float(statistic(*values)), len(own.facts), "ratio of means", interval=interval)
    return score, _p(other.after, own.after, own.facts)


def _pair(found: Mapping[tuple[str, str], Pair], a: str, b: str) -> Pair | None:
    return found.get((a, b)) or found.get((b, a))


def _crossed(one: Mapping[int, int], other: Mapping[int, int]) -> float:
    """In which part of all pairs of different facts does one method peak where the other does?"""
    same = [one[i] == other[j] for i in one for j in other if i != j]
    return float(np.mean(same)) if same else float("nan")


def _pair_of(known: Mapping[str, Score], level: str, digits: int) -> str:
    facts, syntax = (f"{known[f'{kind}: {level}'].value:.{digits}f}" for kind in ("facts", "syntax"))
    return f"facts {facts}, syntax {syntax}"
