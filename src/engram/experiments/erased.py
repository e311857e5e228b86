"""What the rows of `Erasing` say: table 5 of Dai et al. (2022), accuracy and ordinary text beside it, and intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import BadSetting
from ..metrics.intervals import Resampling, percentile
from ..metrics.outcomes import ARMS, notes, nothing_tried
from ..metrics.perplexity import growth, perplexity, weighted
from ..results import Better, Floats, Score
from .base import Result

Row = Mapping[str, Any]
Said = tuple[tuple[Score, ...], dict[str, Any], tuple[str, ...]]

PLACES = {"own": "own relation", "other": "other relations", "text": "text"}


def scores_of(results: Sequence[Result], settings: dict[str, Any], *, seed: int) -> Said:
    """The scores, settings and notes of a report, each erased relation counting once. Raises BadSetting."""
    rows = [row for r in results for row in r["rows"]]
    if not rows:
        raise BadSetting(nothing_tried(results))
    measure = next(r["text_measure"] for r in results if r["rows"])
    scores: list[Score] = []
    for arm in ARMS:
        sizes = [len(r["erased"][arm]) for r in results if any(row["arm"] == arm for row in r["rows"])]
        scores.append(Score(f"{arm}: relations erased", len(sizes), len(sizes), "relations"))
        if sizes:
            scores.append(Score(f"{arm}: neurons erased", float(np.mean(sizes)), len(sizes), "neurons"))
        for place, name in PLACES.items():
            if here := [r for r in rows if (r["arm"], r["place"]) == (arm, place)]:
                scores += _on_the_mean(here, f"{arm}: {{}}, {name}", measure if place == "text" else "perplexity", seed)
    low, high = settings["neurons"]["mean"]
    said = (
        "perplexity of relations is that of the right answers, exp(mean −ln P) over all prompts; growth is the "
        "geometric mean over relations; of text it is " + measure
    )
    return tuple(scores), settings, (said, *notes([{**r, "rows": True} for r in results], (low, high)))


def by_relation(results: Sequence[Result], *, seed: int) -> tuple[Score, ...]:
    """Of every erased relation and arm: perplexity before and after at every place."""
    found: list[Score] = []
    for r in results:
        for arm in ARMS:
            for place, name in PLACES.items():
                if here := [row for row in r["rows"] if (row["arm"], row["place"]) == (arm, place)]:
                    unit = r["text_measure"] if place == "text" else "perplexity"
                    found += _of_relation(here, f"{r['relation']}, {arm}: {name}", unit, seed)
    return tuple(found)


def _of_relation(rows: Sequence[Row], name: str, unit: str, seed: int) -> Iterator[Score]:
    weights = np.array([r["prompts"] for r in rows], float)
    drawn = Resampling.of([_cluster(r) for r in rows], seed=seed)
    for when in ("before", "after"):
        values = (np.array([r[when] for r in rows]) * weights, weights)
        interval = percentile(drawn.draws(perplexity, values))
        yield Score(f"{name} {when}", float(perplexity(*values)), len(rows), unit, "neither", interval)


def _on_the_mean(rows: Sequence[Row], name: str, measure: str, seed: int) -> Iterator[Score]:
    """Each erased relation counts once, a fact by its prompts; drawn anew are facts (or texts), with all they said."""
    totals: dict[str, int] = {}
    for r in rows:
        totals[r["relation"]] = totals.get(r["relation"], 0) + r["prompts"]
    whole = np.array([totals[r["relation"]] for r in rows], float)
    weights = np.array([r["prompts"] for r in rows]) / whole
    drawn = Resampling.of([_cluster(r) for r in rows], seed=seed)

    def score(what: str, unit: str, of: Any, x: Floats, better: Better) -> Score:
        interval = percentile(drawn.draws(of, (x, weights)))
        return Score(name.format(what), float(of(x, weights)), drawn.times.shape[1], unit, better, interval)

    change = (np.array([r["after"] for r in rows]) - np.array([r["before"] for r in rows])) * weights
    own = rows[0]["place"] == "own"
    better: Better = "neither" if rows[0]["arm"] != "attribution" else "higher" if own else "lower"
    yield score(f"growth of {measure}", "geometric mean of ratios − 1", growth, change, better)
    if rows[0]["right_before"] is not None:
        for when in ("before", "after"):
            right = np.array([r[f"right_{when}"] for r in rows]) / whole
            yield score(f"accuracy {when}", "fraction", weighted, right, "neither")


def _cluster(row: Row) -> tuple[str | None, int]:
    return row["asked_relation"], row["number"]
