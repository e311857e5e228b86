"""Why the numbers of a reproduction and the published ones cannot be compared, and what is wrong with the latter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from ..results import Report
from ..store import Run

_MASKED = ("bert", "electra", "deberta", "xlm")  # in the names of families that fill masks
_TWO_STACKS = ("t5", "bart")


def kind_of(run: Run) -> Literal["causal", "masked"] | None:
    """Does this run's model continue texts, or fill masks? None for one with an encoder and a decoder."""
    family = run.manifest["model"]["family"]
    if any(part in family for part in _TWO_STACKS):
        return None
    return "masked" if any(part in family for part in _MASKED) else "causal"


def remarks(recipe: Mapping[str, Any], runs: Mapping[str, Run], paper: Mapping[str, Any]) -> Iterator[str]:
    """One sentence or two each."""
    run = next(iter(runs.values()))
    model, data = run.manifest["model"]["name"], recipe["settings"].get("data") or run.manifest["data"]["name"]
    settings = recipe["settings"]
    theirs = _theirs(paper, run)
    same = model.rpartition("/")[2] in theirs.split(", ")
    if not same:
        sizes = f"; {paper['sizes']}" if "sizes" in paper else ""
        yield (
            f"Another model: the paper's numbers are of {theirs}, these of {model}. Signs and the order of "
            f"rows can be compared, sizes cannot{sizes}."
        )
    report = runs["neurons"].summary() if "neurons" in runs else None
    known = {s.name: s.n for s in report.scores} if report is not None else {}
    n = known.get("attribution: neurons per fact", 0)
    if "facts" not in paper:
        pass  # it asks no fixed set of facts
    elif data != paper["data"]:
        tried = f"{n:,} of {data!r} were tried" if n else f"those of {data!r}"
        yield f"Other facts: the paper asked {paper['facts']:,} of {paper['asked']}, here {tried}."
    elif n < paper["facts"]:
        yield f"A sample: {n:,} of the {paper['facts']:,} facts of the paper."
    yield from _chosen(settings, runs, paper)
    if "layers" in paper:
        yield paper["layers"] + _layers(report)
    if same and "facts" in paper and data == paper["data"] and n >= paper["facts"] and settings["like"] != "engram":
        yield "Model, facts and settings are those of the paper: all of it can be compared."
    yield from recipe.get("left_out", ())
    yield from _refused(runs)
    yield from paper.get("remarks", ())


def _theirs(paper: Mapping[str, Any], run: Run) -> str:
    """The paper's model, of the kind of this one where it has both."""
    models: Mapping[str, str] = paper.get("models", {})
    return models.get(kind_of(run) or "", paper["model"])


def _chosen(settings: Mapping[str, Any], runs: Mapping[str, Run], paper: Mapping[str, Any]) -> Iterator[str]:
    """What the settings of the recipe make different."""
    if (facts := settings.get("facts")) is not None:
        erased = (
            f" Erasures were judged on at most {4 * facts} facts of the relation and {facts} of each other."
            if any(run.manifest["experiment"] == "erasing" for run in runs.values())
            else ""
        )
        yield (
            f"At most {facts} facts of each relation were drawn (seed {settings['seed']}), so that it ends "
            f"soon; intervals say how much that leaves open, and the option facts sets another number.{erased}"
        )
    if settings.get("known_only"):
        yield "Only facts that the model knows were tried; the paper tries all of them."
    if settings["like"] == "engram" and "engram" in paper:
        yield paper["engram"]
    if "activation_by_prompt" in runs:
        texts = runs["activation_by_prompt"].manifest["settings"]["texts"]["name"]
        if texts != "bingrel":
            yield f"Tables 3 and 4 are of other texts ({texts!r}) than the paper's, which came from a web search."


def _refused(runs: Mapping[str, Run]) -> Iterator[str]:
    """Editors that planned no edit in some of the cases."""
    for run in runs.values():
        report = run.summary() if run.manifest["experiment"] == "editing" else None
        if report is None:
            continue
        planned = {s.name: s.n for s in report.scores}
        n = planned["cases"]
        found = [(by["called"], n - planned.get(f"{by['called']}: ES", 0)) for by in report.settings["by"]]
        if said := "; ".join(f"{name}: {refused} of {n}" for name, refused in found if refused):
            yield f"Cases in which an editor refused, for it could change nothing or had nowhere to write: {said}."


def _layers(report: Report | None) -> str:
    shares = [s for s in report.scores if s.name.startswith("attribution: layer ")] if report is not None else []
    if not shares:
        return "."
    upper = shares[len(shares) // 2 :]
    total = 100 * sum(s.value for s in upper)
    return (
        f"; here {total:.0f} % of the (fact, neuron) pairs (n = {upper[0].n:,}) lie in the upper half of {len(shares)}."
    )
