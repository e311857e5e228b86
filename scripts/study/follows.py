"""What follows from the figures: sentences that are computed, or true whatever the figures are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from textwrap import fill
from typing import Any

from study.plan import BFLOAT16, DEFAULT, SECOND
from study.words import of_each, small, times

Figures = dict[str, Any]
Each = Callable[[Callable[[Figures], str]], str]  # what is said of one model, said of each


def follows(models: Mapping[str, Figures]) -> Iterator[str]:
    """The heading, and one point each for the published sums, the recommended rule, compression and bfloat16."""

    def each(say: Callable[[Figures], str]) -> str:
        return of_each({name: say(m) for name, m in models.items()})

    yield "## What follows\n"
    for say in (_published, _recommended, _tolerance, _compressed, _bfloat16):
        yield fill(say(each), 120, initial_indent="* ", subsequent_indent="  ", break_on_hyphens=False)
    yield ""


def _published(each: Each) -> str:
    return (
        "**The published sums are not the integral.** The paper's own, right 20, has a median error of "
        f"{each(lambda m: small(_error(m, 'right 20')['median']))}, at worst "
        f"{each(lambda m: small(_error(m, 'right 20')['worst']))}. It gives another refined set for "
        f"{each(lambda m: _others(m, 'right 20'))}; left 20 does for {each(lambda m: _others(m, 'left 20'))}, linspace "
        f"20 for {each(lambda m: _others(m, 'linspace 20'))}. With five times the nodes, right 100 keeps "
        f"{each(lambda m: times(_ratio(m, 'right 100', 'right 20')))} of its median error; with as many nodes, "
        f"midpoint 20 keeps {each(lambda m: times(_ratio(m, 'midpoint 20', 'right 20')))}."
    )


def _recommended(each: Each) -> str:
    return (
        f'**Recommended:** `IntegratedGradients(rule="gauss")`, {DEFAULT} in the tables. It takes '
        f"{each(lambda m: format(_of(m, DEFAULT)['evaluations'], '.1f'))} evaluations per layer. Its median error is "
        f"{each(lambda m: small(_error(m, DEFAULT)['median']))}, the worst "
        f"{each(lambda m: small(_error(m, DEFAULT)['worst']))}, and it gives another refined set for "
        f"{each(lambda m: _others(m, DEFAULT))}. Of the fixed rules in the tables, the cheapest whose worst prompt is "
        f"no worse: {each(_cheapest)}."
    )


def _tolerance(each: Each) -> str:
    return (
        f"**Its tolerance**, 0.01 of the largest score, was exceeded in {each(lambda m: _beyond(m, DEFAULT))}. The "
        f"true error was above the estimate in {each(lambda m: _above(m, DEFAULT))}."
    )


def _compressed(each: Each) -> str:
    return (
        '**To compare with published numbers**, take the preset with `grid="compressed"`. The paper\'s sum comes out '
        f"to within {each(lambda m: small(_sum(m, 'paper')['error']['median']))} of the largest score at the median, "
        f"{each(lambda m: small(_sum(m, 'paper')['error']['worst']))} at worst, from "
        f"{each(lambda m: format(_sum(m, 'paper')['evaluations'], '.1f'))} evaluations in place of "
        f"{each(lambda m: format(_sum(m, 'paper')['evaluations of the sum'], '.0f'))}; the refined set is not the "
        f"literal sum's for {each(lambda m: _count(_sum(m, 'paper'), m))}. From the integral it is as far as that sum."
    )


def _bfloat16(each: Each) -> str:
    return (
        f"**In bfloat16 the refined set is another for {each(lambda m: _count(m['rounding'], m))}**, and the coarse "
        f"sets have a Jaccard index of {each(lambda m: format(m['rounding']['coarse'], '.3f'))}, against the same rule "
        f"in float32. Scores differ by {each(lambda m: small(m['rounding']['error']['median']))} at the median and "
        f"{each(lambda m: small(m['rounding']['error']['worst']))} at worst. The cause is "
        "rounding, which no rule mends; and the rule asks for no smaller error than the rounding of the target, and "
        f"stops at {each(lambda m: format(_of(m, BFLOAT16)['evaluations'], '.1f'))} evaluations per layer."
    )


def _cheapest(m: Figures) -> str:
    """Which fixed rule is as good in its worst prompt, for the fewest evaluations?"""
    worst = _error(m, DEFAULT)["worst"]
    good = [s for s in m["settings"] if s["kind"] in ("published", "fixed") and s["error"]["worst"] <= worst]
    best = min((s for s in good if s["name"] != SECOND), key=lambda s: s["evaluations"], default=None)
    return f"{best['name']}, with {best['evaluations']:.1f} evaluations" if best else "none"


def _of(m: Figures, name: str) -> Figures:
    found: Figures = next(s for s in m["settings"] if s["name"] == name)
    return found


def _error(m: Figures, name: str) -> Figures:
    found: Figures = _of(m, name)["error"]
    return found


def _ratio(m: Figures, name: str, to: str) -> float:
    return float(_error(m, name)["median"] / _error(m, to)["median"])


def _count(s: Figures, m: Figures) -> str:
    return f"{s['other sets']} of {m['facts']} facts"


def _others(m: Figures, name: str) -> str:
    return _count(_of(m, name), m)


def _sum(m: Figures, preset: str) -> Figures:
    found: Figures = next(s for s in m["sums"] if s["name"].startswith(preset))
    return found


def _beyond(m: Figures, name: str) -> str:
    return f"{_of(m, name)['estimate']['prompts above the tolerance']} of {m['prompts']} prompts"


def _above(m: Figures, name: str) -> str:
    estimate = _of(m, name)["estimate"]
    return f"{estimate['layers above the estimate']} of {estimate['layers']} layers"
