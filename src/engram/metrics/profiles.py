"""How far does each word move when some neurons fall silent? What is made of the results of `Profile`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..results import Floats, Score
from .changes import average, symmetric_fold
from .cooccurrence import Shift, Slope, log_odds, regress
from .intervals import Resampling, percentile
from .significance import false_discovery, paired_test

SUPPRESSED, CHANCE = "suppressed", "chance"
LOG_RATIO = "mean log ratio, nats"
FOLD = "symmetric fold change"
GROUPS = ("plural", "singular", "neutral")
_SURE = 0.05

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """What one set of neurons does: log-probabilities before and after, [prompt, word], in the order of `words`.

    `groups[i]` says how word i is marked; `chance` [draw, prompt, word] is the same with random neurons; `numbers` are
    the facts of the prompts.
    """

    relation: str
    label: str
    neurons: tuple[str, ...]
    words: tuple[str, ...]
    groups: tuple[str, ...]
    numbers: tuple[int, ...]
    before: Floats
    after: Floats
    chance: Floats


@dataclass(frozen=True, slots=True)
class WordChange:
    """One word: its changes with 95 % intervals over prompts, the same by chance, and both tests.

    `chance` has the symmetric fold change under each draw of random neurons. `published` is the p-value of the unpaired
    t-test of Niu et al., `paired` that of sign flips over the same prompts, `q` its false discovery rate over words.
    """

    word: str
    group: str
    fold: Score
    log_ratio: Score
    chance: tuple[float, ...]
    before: float
    after: float
    published: float
    paired: float
    q: float

    @property
    def significant(self) -> bool:
        """By the paired test, at a false discovery rate of 5 %?"""
        return self.q < _SURE


def tables(results: Iterable[Mapping[str, Any]]) -> list[Table]:
    """One for each relation and label, in order; words in the order of the results."""
    found: dict[tuple[str, str], list[Row]] = {}
    for result in results:
        for row in result["rows"]:
            found.setdefault((row["relation"], row["label"]), []).append(row)
    return [_table(*key, rows) for key, rows in found.items()]


def _table(relation: str, label: str, rows: Sequence[Row]) -> Table:
    own = [r for r in rows if r["condition"] == SUPPRESSED]
    words = [r["word"] for r in own]
    draws = sorted({r["draw"] for r in rows if r["condition"] == CHANCE})
    by = {(r["draw"], r["word"]): r["after"] for r in rows if r["condition"] == CHANCE}
    chance = np.array([np.stack([by[d, w] for w in words], axis=1) for d in draws])
    return Table(
        relation, label, tuple(own[0]["neurons"]), tuple(words), tuple(r["group"] for r in own),
        tuple(own[0]["numbers"]), np.stack([r["before"] for r in own], axis=1),
        np.stack([r["after"] for r in own], axis=1), chance,
    )  # fmt: skip


def word_changes(table: Table, *, seed: int = 0) -> list[WordChange]:
    """Every word of a table. Tests and intervals take prompts for their unit; q is over the words of this table."""
    before, after = np.exp(table.before), np.exp(table.after)
    chance = np.exp(table.chance)
    drawn = Resampling.of(table.numbers, seed=seed)
    tests = [_tests(before[:, i], after[:, i], table.numbers, seed) for i in range(len(table.words))]
    qs = false_discovery([paired for _, paired in tests])
    found = []
    for i, (word, group) in enumerate(zip(table.words, table.groups, strict=True)):
        name, n = f"{called(table)}: {word}", len(set(table.numbers))
        values, logs = (before[:, i], after[:, i]), (table.after[:, i] - table.before[:, i],)
        fold = Score(
            name, float(symmetric_fold(*values)), n, FOLD, interval=percentile(drawn.draws(symmetric_fold, values))
        )
        ratio = Score(
            f"{name}, log ratio", float(average(*logs)), n, LOG_RATIO, interval=percentile(drawn.draws(average, logs))
        )
        random = tuple(float(symmetric_fold(before[:, i], own[:, i])) for own in chance)
        said = float(before[:, i].mean()), float(after[:, i].mean())
        found.append(WordChange(word, group, fold, ratio, random, *said, *tests[i], float(qs[i])))
    return found


def _tests(before: Floats, after: Floats, numbers: Sequence[int], seed: int) -> tuple[float, float]:
    """The p-values of the published test and of the paired one; 1 where nothing can be told."""
    from scipy import stats

    if np.array_equal(before, after) or len(set(numbers)) < 2:
        return 1.0, 1.0
    with np.errstate(all="ignore"):
        p = float(stats.ttest_ind(before, after).pvalue) if np.ptp([before, after]) else 1.0
    return p if np.isfinite(p) else 1.0, paired_test(before, after, numbers, seed=seed).p


def called(table: Table) -> str:
    """What its neurons are called, with the relation."""
    return f"{table.relation}, {table.label} neurons"


def scores_of(table: Table, changes: Sequence[WordChange], *, seed: int = 0) -> Iterator[Score]:
    """The fold change of every word, the mean log ratio of each group, and how many words move, by either test."""
    name, n = called(table), len(set(table.numbers))
    yield Score(f"{name}: prompts", n, n, "prompts")
    yield Score(f"{name}: neurons", len(table.neurons), n, "neurons")
    yield from (c.fold for c in changes)
    drawn = Resampling.of(table.numbers, seed=seed)
    for group in GROUPS:
        if not (own := [i for i, g in enumerate(table.groups) if g == group]):
            continue
        moved = (table.after - table.before)[:, own].mean(1)
        interval = percentile(drawn.draws(average, (moved,)))
        yield Score(f"{name}: {group} words", float(moved.mean()), n, LOG_RATIO, interval=interval)
        if len(table.chance):
            by_draw = (table.chance - table.before)[:, :, own].mean((1, 2))
            yield Score(f"{name}: {group} words, random neurons", float(by_draw.mean()), len(by_draw), LOG_RATIO)
    k = len(changes)
    yield Score(
        f"{name}: words that move, published test", sum(c.published < _SURE for c in changes) / k, k, "fraction"
    )
    yield Score(f"{name}: words that move, paired test", sum(c.significant for c in changes) / k, k, "fraction")


def slopes(
    table: Table, of: Mapping[str, Sequence[int]], *, by: Shift = "log ratio", seed: int = 0
) -> dict[str, Slope | None]:
    """The shift on the log-odds of a plural noun: of all words, and of those that are not marked for number."""
    odds = log_odds(of, table.words)
    which = {
        "all words": [i for i, w in enumerate(table.words) if w in odds],
        "neutral words": [i for i, w in enumerate(table.words) if w in odds and table.groups[i] == "neutral"],
    }
    return {
        name: regress(
            table.before[:, own], table.after[:, own], [odds[table.words[i]] for i in own], by=by, seed=seed
        ) if own else None
        for name, own in which.items()
    }  # fmt: skip


def slope_scores(table: Table, found: Mapping[str, Slope | None], by: Shift) -> Iterator[Score]:
    """Each slope with its interval over words, the same with that over prompts, and the rank correlation."""
    unit = "nats per nat of log-odds" if by == "log ratio" else f"{FOLD} per nat of log-odds"
    for which, slope in found.items():
        if slope is None:
            continue
        name = f"{called(table)}: co-occurrence, {which}"
        yield Score(f"{name}: slope", slope.value, slope.words, unit, interval=slope.over_words)
        yield Score(f"{name}: slope, over prompts", slope.value, slope.prompts, unit, interval=slope.over_prompts)
        if slope.spearman is not None:
            interval = slope.spearman_interval
            yield Score(f"{name}: rank correlation", slope.spearman, slope.words, "rank correlation", interval=interval)
