"""What the results of an experiment say: plain values become paired probabilities, and these become scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..results import Better, Floats, Score
from .changes import absolute, accuracy, average, ratio_of_means
from .intervals import Resampling, percentile
from .pairs import Pairs
from .relations import RelationChanges, by_relation

Result = Mapping[str, Any]  # what an experiment says of one case, in plain values

ARMS = {
    "attribution": "its refined neurons",
    "activation": "neurons chosen by activation alone, the paper's baseline",
    "chance": "as many random neurons of the same layers",
}
CONDITIONS = {
    "suppressed": "its own neurons silent",
    "baseline suppressed": "neurons chosen by activation alone silent",
    "chance suppressed": "as many random neurons of the same layers silent",
    "same relation": "its neurons silent, another fact of the relation asked (with another answer)",
    "other relation": "its neurons silent, a fact of another relation asked",
    "amplified": "its own neurons amplified",
    "baseline amplified": "neurons chosen by activation alone amplified",
    "chance amplified": "as many random neurons of the same layers amplified",
}
UNRELATED = {  # what `Suppression` does only when asked to
    "same relation amplified": "its neurons amplified, another fact of the relation asked (with another answer)",
    "other relation amplified": "its neurons amplified, a fact of another relation asked",
}
_BETTER: dict[str, Better] = {"suppressed": "lower", "amplified": "higher"}


def pairs_of(results: Iterable[Result], condition: str) -> Pairs | None:
    """Probabilities before and after under one condition, clustered by the fact whose neurons were changed."""
    said = _said_under(results, condition)
    if not said:
        return None
    before, after = ([p for _, x in said for p in x[when]] for when in ("before", "after"))
    return Pairs(np.array(before), np.array(after), tuple(fact for fact, x in said for _ in x["before"]))


def _said_under(results: Iterable[Result], condition: str) -> list[tuple[tuple[str, str, str], Mapping[str, Any]]]:
    """Of every fact that was tried under this condition: (relation, subject, answer), and what was said."""
    return [
        ((row["relation"], row["subject"], row["answer"]), row)
        for r in results
        for row in r["rows"]
        if row["condition"] == condition
    ]


def changes(results: Iterable[Result], *, by: str = "ratio of means", seed: int = 0) -> dict[str, RelationChanges]:
    """Under every condition that was tried: the change (`by` which of CHANGES) of each relation, and their mean."""
    done = list(results)
    found = {}
    for condition in {**CONDITIONS, **UNRELATED}:
        groups = {r["relation"]: pairs for r in done if (pairs := pairs_of([r], condition)) is not None}
        if any(p.before.any() for p in groups.values()):
            found[condition] = by_relation(groups, change=by, seed=seed)
    return found


def scores_of(results: Iterable[Result], condition: str, mean: Score) -> list[Score]:
    """The change pooled over prompts, its `mean` over relations, and P(answer) and accuracy before and after."""
    said = _said_under(results, condition)
    if not said:
        return []
    drawn = Resampling.of([fact for fact, x in said for _ in x["before"]])
    better = _BETTER.get(condition, "neither")

    def score(name: str, unit: str, of: Callable[..., Floats], *keys: str, better: Better = "neither") -> Score:
        values = [np.array([v for _, x in said for v in x[key]], float) for key in keys]
        interval = percentile(drawn.draws(of, values))
        return Score(f"{condition}{name}", float(of(*values)), len(values[0]), unit, better, interval)

    return [
        score("", "ratio of means", ratio_of_means, "before", "after", better=better),
        replace(mean, name=f"{condition}, mean over relations", better=better),
        score(": P(answer) before", "probability", average, "before"),
        score(": P(answer) after", "probability", average, "after"),
        score(": accuracy before", "fraction", accuracy, "rank_before"),
        score(": accuracy after", "fraction", accuracy, "rank_after"),
    ]


def in_points(results: Iterable[Result], condition: str, mean: Score) -> list[Score]:
    """The absolute change of P(answer) pooled over prompts, and its `mean` over relations, as Wen & Bai report it."""
    if (pairs := pairs_of(results, condition)) is None:
        return []
    both = (pairs.before, pairs.after)
    interval = percentile(Resampling.of(pairs.facts).draws(absolute, both))
    name, better = f"{condition}: absolute change", _BETTER.get(condition, "neither")
    return [
        Score(name, float(absolute(*both)), len(both[0]), "probability", better, interval),
        replace(mean, name=f"{name}, mean over relations", better=better),
    ]


def nothing_tried(results: Sequence[Result]) -> str:
    """Why is there nothing to judge?"""
    drawn, askable = (sum(r[key] for r in results) for key in ("drawn", "askable"))
    said = f"no fact was tried: {drawn} were drawn, of which {askable} can be asked of this model"
    if askable and all(r["known"] == 0 for r in results if r["askable"]):
        return f"{said}, and none is known to it"
    reasons = Counter(x["reason"] for r in results for x in r["skipped"])
    return "; ".join([said, *(reason for reason, _ in reasons.most_common(1))])


def notes(results: Sequence[Result], mean: tuple[float, float]) -> Iterator[str]:
    """What a reader of the numbers must know: what was left out, and where no share gave the `mean` asked for."""
    for r in results:
        if r["skipped"]:
            reasons = Counter(x["reason"].partition(":")[0] for x in r["skipped"])
            why = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
            yield f"{r['relation']}: {len(r['skipped'])} of {r['drawn']} facts left out ({why})"
        for arm, share in r["shares"].items():
            if not share["found"]:
                yield (
                    f"{r['relation']}: no share that was tried gives {mean[0]:g} to {mean[1]:g} neurons per fact by "
                    f"{arm}; share {share['share']} gives {share['mean']:.2g}"
                )
        if r["askable"] and not r["rows"]:
            yield f"{r['relation']}: none of {r['askable']} facts is known, so none was tried"
