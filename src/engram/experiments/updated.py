"""What the rows of `Updating` say: table 6 of Dai et al. (2022), its intervals, and what was not measured there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import BadSetting
from ..metrics.changes import Mean, accuracy, log_change, mean_reciprocal_rank
from ..metrics.intervals import Resampling, percentile
from ..metrics.outcomes import ARMS, notes, nothing_tried
from ..results import Better, Floats, Score
from .base import Result

Row = Mapping[str, Any]
Said = tuple[tuple[Score, ...], dict[str, Any], tuple[str, ...]]

PLACES = {"asked": "", "paraphrases": ", paraphrases"}
ELSEWHERE = {"same relation": "intra", "other relation": "inter"}


def changed(ranks_before: ArrayLike, ranks_after: ArrayLike, mean: Mean = np.mean) -> Floats:
    """Of the prompts whose answer was the model's first, in which part is it no longer? NaN where there were none.

    >>> float(changed([1, 1, 3], [2, 1, 5]))
    0.5
    """
    right = np.asarray(ranks_before) == 1
    among = mean(right.astype(float))
    gone = mean((right & (np.asarray(ranks_after) != 1)).astype(float))
    return np.asarray(np.divide(gone, among, out=np.full_like(np.asarray(gone), np.nan), where=among != 0))


def among_five(ranks: ArrayLike, mean: Mean = np.mean) -> Floats:
    """The part of prompts with a rank of 5 or better.

    >>> float(among_five([1, 5, 6, 7]))
    0.5
    """
    return mean((np.asarray(ranks) <= 5).astype(float))


def perplexity_change(before: ArrayLike, after: ArrayLike, mean: Mean = np.mean) -> Floats:
    """exp(mean after) − exp(mean before), of −ln P, one value for each edit: ΔPPL of table 6.

    >>> import math
    >>> round(float(perplexity_change([0.0, math.log(4)], [math.log(4)] * 2)), 6)
    2.0
    """
    return np.asarray(np.exp(mean(np.asarray(after, float))) - np.exp(mean(np.asarray(before, float))))


def scores_of(results: Sequence[Result], settings: dict[str, Any], *, seed: int) -> Said:
    """The scores, settings and notes of a report. Raises BadSetting where no fact was edited."""
    rows = [row for r in results for row in r["rows"]]
    if not rows:
        unknown, bare = (sum(r[key] for r in results) for key in ("unknown", "without_neurons"))
        raise BadSetting(
            f"{nothing_tried(results)}: {unknown} facts are not known in the prompt drawn for them, and {bare} have no "
            "neuron that is theirs rather than their relation's"
        )
    scores = [score for arm in ARMS for score in _of_arm([r for r in rows if r["arm"] == arm], arm, seed)]
    return tuple(scores), settings, tuple(_notes(results, settings))


def _of_arm(rows: Sequence[Row], arm: str, seed: int) -> Iterator[Score]:
    sizes = [len(r["neurons"]) for r in rows if r["place"] == "asked"]
    yield Score(f"{arm}: edits", len(sizes), len(sizes), "facts")
    if not sizes:
        return
    yield Score(f"{arm}: neurons per edit", float(np.mean(sizes)), len(sizes), "neurons")
    wanted: tuple[Better, Better] = ("higher", "lower") if arm == "attribution" else ("neither", "neither")
    for place, suffix in PLACES.items():
        if here := [r for r in rows if r["place"] == place]:
            for name, unit, of, keys in _EFFECTS:
                better = wanted[0] if name.startswith(("change", "success")) else "neither"
                yield _score(f"{arm}: {name}{suffix}", unit, of, here, keys, seed, better)
    for place, short in ELSEWHERE.items():
        if here := [_nats(r) for r in rows if r["place"] == place]:
            name = f"{arm}: ΔPPL {short}"
            yield _score(name, "perplexity", perplexity_change, here, ("before", "after"), seed, wanted[1])


_EFFECTS: tuple[tuple[str, str, Callable[..., Floats], tuple[str, ...]], ...] = (
    ("change rate", "fraction", changed, ("rank_before", "rank_after")),
    ("success rate", "fraction", accuracy, ("new_rank_after",)),
    ("success@5", "fraction", among_five, ("new_rank_after",)),
    ("Δ log P(old)", "nats", log_change, ("before", "after")),
    ("Δ log P(new)", "nats", log_change, ("new_before", "new_after")),
    ("reciprocal rank of the new before", "mean of 1/rank", mean_reciprocal_rank, ("new_rank_before",)),
    ("reciprocal rank of the new after", "mean of 1/rank", mean_reciprocal_rank, ("new_rank_after",)),
)


def _nats(row: Row) -> dict[str, Any]:
    """The mean −ln P of all prompts of a place, as one value for the edit."""
    said = {key: [-float(np.mean(row[key]))] for key in ("before", "after")}
    return {**said, "relation": row["relation"], "number": row["number"]}


def _score(
    name: str, unit: str, of: Callable[..., Floats], rows: Sequence[Row], keys: Sequence[str], seed: int, better: Better
) -> Score:
    values = [np.array([v for r in rows for v in r[key]], float) for key in keys]
    drawn = Resampling.of([(r["relation"], r["number"]) for r in rows for _ in r[keys[0]]], seed=seed)
    return Score(name, float(of(*values)), len(values[0]), unit, better, percentile(drawn.draws(of, values)))


def _notes(results: Sequence[Result], settings: Mapping[str, Any]) -> Iterator[str]:
    low, high = settings["neurons"]["mean"]
    yield from notes([{**r, "rows": True} for r in results], (low, high))  # why there are no rows is said below
    tried, unknown, bare = (sum(r[key] for r in results) for key in ("tried", "unknown", "without_neurons"))
    yield (
        f"{tried} facts were tried: {unknown} were passed over because the model does not know them in the prompt "
        f"drawn, {bare} because no neuron is theirs rather than their relation's"
    )
