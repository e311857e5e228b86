"""Suppression: figures 4 and 5 of Dai et al. (2022), with the controls beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...metrics import RelationChanges
from ...metrics.outcomes import CONDITIONS, UNRELATED, changes
from ...results import Report
from ...store import Run
from ..bars import Bars, Series
from ..canvas import BLUE, GREY, ORANGE
from ..page import Picture, Section
from ..suppression import Outcome
from .base import Chapter, drawn, made_with, names_of, rest, still

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ARMS = (("{}", "refined neurons", BLUE), ("baseline {}", "by activation (baseline)", ORANGE),
         ("chance {}", "random, same layers", GREY))  # fmt: skip


def chapter(run: Run, report: Report) -> Chapter:
    """From the rows of every fact and condition."""
    results = list(run.results())
    names = names_of(run)
    found = changes(results, seed=report.settings["neurons"]["seed"])
    outcome = Outcome(results, report, found, {**CONDITIONS, **UNRELATED}, names, dict(made_with(run)))
    figures: dict[str, Figure] = {}
    pictures: dict[str, list[Picture]] = {}
    for name, figure in outcome.pictures().items():
        pictures[name] = [] if name == "relations" else [still(figures, name, figure)]
    if "conditions" in pictures:
        pictures["conditions"].append(drawn(figures, "mean", _means(found)))
    pictures["relations"] = [
        drawn(figures, f"figure-{number}", by_relation(found, names, verb, number))
        for verb, number in (("suppressed", 4), ("amplified", 5))
        if verb in found
    ]
    *told, _ = outcome.sections(pictures)
    sections = (*told, Section("Left out, and settings", (outcome.counts, *rest(run, report))))
    asks = "What happens to the right answer when its neurons fall silent, or speak up?"
    return Chapter("suppression", "Suppression and amplification", asks, sections, figures)


def by_relation(found: Mapping[str, RelationChanges], names: Mapping[str, str], verb: str, number: int) -> Bars:
    """The change of P(answer) of every relation under the three arms of a verb."""
    own = {r.relation: r.change for r in found[verb].rows}
    series = [
        Series(called, colour, {r.relation: r.change for r in found[c].rows})
        for pattern, called, colour in _ARMS
        if (c := pattern.format(verb)) in found
    ]
    facts, prompts = sum(r.facts for r in found[verb].rows), sum(r.change.n for r in found[verb].rows)
    return Bars(
        f"P(answer) with the neurons {verb}, relation by relation",
        f"Figure {number} of Dai et al. (2022): (mean after − mean before) / mean before, over the prompts of a "
        f"relation. {facts:,} facts in {prompts:,} prompts of {len(own)} relations. Lines: 95 % intervals, facts "
        "resampled.",
        "change of P(answer) (%)", sorted(own, key=lambda r: own[r].value), series, 100, names, signs=True,
    )  # fmt: skip


def _means(found: Mapping[str, RelationChanges]) -> Bars:
    series = Series("mean over relations", BLUE, {c: changes.mean for c, changes in found.items()})
    n = max(changes.mean.n for changes in found.values())
    facts = max(sum(r.facts for r in changes.rows) for changes in found.values())
    return Bars(
        "Mean change over relations",
        f"Each of {n} relations counts once, as in the headline of Dai et al. (2022); {facts:,} facts. Lines: 95 % "
        "intervals, facts resampled within relations.",
        "change of P(answer) (%)", list(found), (series,), 100, signs=True,
    )  # fmt: skip
