"""Is it knowledge? What a reproduction of Niu et al. (2024) says, each statement with its test and n."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..metrics.criteria import KNOWN, STRINGS, Criterion
from ..metrics.judged import BEFORE
from ..results import Score
from ..store import Run
from .bars import number
from .chapters.criteria import FEW, told
from .page import Items, Part, Section

Said = tuple[str, str]  # a statement, and whether it holds: yes, no or open; nothing where it only describes
_SURE = 0.05
_TRACED = "ffn: last subject: its layer"
LEVELS = {
    "neurons": "refined neurons (|KN|)",
    "share": "share of prompts that agree (τ)",
    "r1": "likeness of maps (R1²)",
}


def closing(recipe: str, runs: Mapping[str, Run]) -> Iterator[Section]:
    """The section for this recipe, where it has one."""
    if recipe == "niu2024" and (parts := list(is_it_knowledge(_scores(runs)))):
        yield Section("Is it knowledge?", parts)


def is_it_knowledge(known: Mapping[str, Mapping[str, Score]]) -> Iterator[Part]:
    """Three questions, what was found, and what follows; `known` are the scores of each run by its name.

    >>> syntax, facts = Score("", 2.8, 14, "neurons", interval=(2.5, 3.1)), Score("", 4.1, 58, "neurons")
    >>> (section,) = is_it_knowledge({"localisation": {"syntax: neurons": syntax, "facts: neurons": facts}})
    >>> section.title, section.parts[0].entries
    ('Where does it sit?', ['refined neurons (|KN|): syntax 2.8 [2.5, 3.1] (n = 14 sets), facts 4.1 (n = 58 sets)'])
    """
    for title, said, follows in (
        ("Where does it sit?", _where(known), _sits),
        ("What is lost without it?", _lost(known), _misses),
        ("Does what should follow from an edit follow?", _followed(known), _reaches),
    ):
        if found := list(said):
            words = follows(known)
            items = Items([words for words, _ in found], [kind for _, kind in found])
            yield Section(title, [items, words] if words else [items])


def _scores(runs: Mapping[str, Run]) -> dict[str, dict[str, Score]]:
    found = {name: run.summary() for name, run in runs.items()}
    return {name: {s.name: s for s in report.scores} for name, report in found.items() if report is not None}


def _where(known: Mapping[str, Mapping[str, Score]]) -> Iterator[Said]:
    """Levels of localisation, and layers."""
    levels = known.get("localisation", {})
    for level, words in LEVELS.items():
        syntax, facts, apart = (levels.get(f"{kind}: {level}") for kind in ("syntax", "facts", "difference"))
        if syntax is None or facts is None:
            continue
        said = f"{words}: syntax {_n(syntax, 'sets')}, facts {_n(facts, 'sets')}"
        if apart is None:
            yield said, ""
            continue
        differ = "they differ" if _away(apart) else "no difference is seen" if apart.interval else "too few to tell"
        yield f"{said}; difference {number(apart, signs=True, digits=2)}, sets resampled: {differ}", ""
    own, theirs = (
        _upper(known.get(run, {}), start) for run, start in (("determiners", ""), ("neurons", "attribution: "))
    )
    if own is not None and theirs is not None:
        yield (
            f"in the upper half of the layers lie {own[0]:.0f} % of the neurons of determiners (n = {own[1]:,}, "
            f"counted once for each pair) and {theirs[0]:.0f} % of those of facts (n = {theirs[1]:,})", "",
        )  # fmt: skip
    agreement, facts = (known.get(f"tracing_{what}", {}).get(_TRACED) for what in ("agreement", "facts"))
    if agreement is not None and facts is not None:
        yield (
            f"restored FFNs at the subject's last token bring most back in layer {_layer(agreement)} for agreement "
            f"(n = {agreement.n:,} pairs) and in layer {_layer(facts)} for facts (n = {facts.n:,})", "",
        )  # fmt: skip


def _sits(known: Mapping[str, Mapping[str, Score]]) -> str:
    syntax = known.get("localisation", {}).get("syntax: neurons")
    if syntax is None or syntax.value == 0:
        return ""
    return "Agreement has neurons of its own, as facts have. That something can be localised does not make it a fact."


def _lost(known: Mapping[str, Mapping[str, Score]]) -> Iterator[Said]:
    """Accuracy and margin without the neurons of a number, and what moves."""
    pairs = known.get("minimal_pairs", {})
    one = next((n.removesuffix(": matching") for n in ("all pairs: matching",) if n in pairs), None) or next(
        (n.removesuffix(": matching") for n in pairs if n.endswith(": matching")), None
    )
    if one is not None:
        before, after, p = (pairs.get(f"{one}: {w}") for w in ("as it is", "matching", "matching, change, McNemar's p"))
        if before and after and p:
            yield (
                f"the right word is the likelier one in {number(before, 100)} % of the pairs as the model is, and in "
                f"{number(after, 100)} % without the neurons of its number (n = {after.n:,} pairs, McNemar's p = "
                f"{p.value:.2g})", "yes" if p.value < _SURE else "no",
            )  # fmt: skip
        shift, p = (pairs.get(f"{one}: matching, change of margin{more}") for more in ("", ", p"))
        if shift and p:
            yield (
                f"its lead over the wrong word changes by {number(shift, digits=2, signs=True)} nats (n = {shift.n:,} "
                f"pairs, sign flips, p = {p.value:.2g})", "yes" if p.value < _SURE else "no",
            )  # fmt: skip
    for name, score in known.get("profile", {}).items():
        if name.endswith("co-occurrence, all words: slope"):
            which = name.partition(":")[0]
            yield (
                f"{which}: how far a word moves follows how much rather it stands with a plural noun by "
                f"{number(score, digits=3, signs=True)} nats per nat (n = {score.n:,} words resampled)",
                "yes" if _away(score) else "open",
            )  # fmt: skip


def _misses(known: Mapping[str, Mapping[str, Score]]) -> str:
    pairs = known.get("minimal_pairs", {})
    p = pairs.get("all pairs: matching, change, McNemar's p")
    if p is None:
        return ""
    if p.value < _SURE:
        return "The neurons carry part of the choice; whether they carry nothing else, words that move will say."
    return (
        "No change of choice is seen. A neuron that scores high, and whose loss moves probabilities, need not be what "
        "decides."
    )


def _followed(known: Mapping[str, Mapping[str, Score]]) -> Iterator[Said]:
    """Of each criterion: can it be judged here, and what each editor does to it."""
    own = known.get("criteria", {})
    for criterion in STRINGS:
        before = own.get(f"{criterion}, {BEFORE}: passed, paper")
        if before is None:
            continue
        yield told(own, criterion)
        for editor in _editors(own, criterion):
            yield from _edited(own, criterion, editor, before)


def _editors(own: Mapping[str, Score], criterion: Criterion) -> Iterator[str]:
    """Those that were compared with no edit."""
    start, end = f"{criterion}, ", f": passed, paper, above {BEFORE}"
    for name in own:
        if name.startswith(start) and name.endswith(end):
            yield name.removeprefix(start).removesuffix(end)


def _edited(own: Mapping[str, Score], criterion: Criterion, editor: str, before: Score) -> Iterator[Said]:
    after, works = (own.get(f"{criterion}, {editor}: {kind}, paper") for kind in ("passed", "reliability"))
    apart = own.get(f"{criterion}, {editor}: passed, paper, above {BEFORE}")
    if after and works and apart:
        yield (
            f"{editor}, {criterion}: the edited sentence succeeds in {number(works, 100)} % of {works.n:,} cases; what "
            f"should follow passes in {number(after, 100)} %, and without any edit in {number(before, 100)} % "
            f"(difference {number(apart, 100, signs=True)} points, n = {apart.n:,} cases resampled)",
            "yes" if _away(apart) and apart.value > 0 else "no",
        )  # fmt: skip
    judged = _beyond(own, criterion, editor)
    if judged is not None and judged.n >= FEW:
        yield (
            f"{editor}, {criterion}, of the {judged.n:,} cases that the model answers before: what should follow "
            f"passes by {number(judged, 100, signs=True)} points more often than under random changes of the same size "
            "(cases resampled)", "yes" if _away(judged) and judged.value > 0 else "no",
        )  # fmt: skip


def _beyond(own: Mapping[str, Score], criterion: Criterion, editor: str) -> Score | None:
    """Of the cases answered before: no edit cannot be the control, for of these it fails by choice."""
    return own.get(f"{criterion}, {editor}: passed, paper, above random neurons, {KNOWN}")


def _reaches(known: Mapping[str, Mapping[str, Score]]) -> str:
    own = known.get("criteria", {})
    there = [c for c in STRINGS if f"{c}, {BEFORE}: passed, paper" in own]
    judged = [c for c in there if told(own, c)[1] == "yes"]
    others = [c for c in there if c not in judged]
    said = f"Of {' and '.join(others)} nothing can be concluded on this model. " if others else ""
    for criterion in judged:
        above = [s for e in _editors(own, criterion) if (s := _beyond(own, criterion, e)) is not None]
        some = any(_away(s) and s.value > 0 for s in above)
        said += (
            f"By {criterion}, an edit reaches beyond its own sentence. " if some
            else f"By {criterion}, no edit is seen to reach beyond its own sentence. "
        )  # fmt: skip
    return said.strip()


def _upper(scores: Mapping[str, Score], start: str) -> tuple[float, int] | None:
    """The share of neurons in the upper half of the layers, in percent, and of how many."""
    layers = [s for name, s in scores.items() if name.startswith(f"{start}layer ")]
    if not layers:
        return None
    return 100 * sum(s.value for s in layers[len(layers) // 2 :]), layers[0].n


def _layer(score: Score) -> str:
    return number(score, digits=0)


def _away(score: Score) -> bool:
    """Is 0 outside its interval?"""
    return score.interval is not None and not score.interval[0] <= 0 <= score.interval[1]


def _n(score: Score, what: str) -> str:
    digits = 1 if score.unit == "neurons" else 2
    return f"{number(score, digits=digits)} (n = {score.n:,} {what})"
