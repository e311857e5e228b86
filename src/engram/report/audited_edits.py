"""What the runs of an audit that edit let one say: what edits do, what follows from them, and what many cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..metrics import paired_test
from ..metrics.criteria import KNOWN, Passed, passed
from ..metrics.judged import BEFORE, Judged, judged
from ..results import Floats, Report, Score
from ..store import Run
from .statements import POINTS, SHARE, SIGNS, TIMES, Statement

EDITS, FOLLOWS, COSTS = "what edits do", "what follows from edits", "what edits cost"


def edits(run: Run, report: Report) -> Iterator[Statement]:
    """Each editor: what it was to change, what should go with it, and what should stay."""
    found = {(j.editor, j.arm): j for j in judged(row for r in run.results() for row in r["rows"])}
    known = {s.name: s for s in report.scores}
    plain = found["", BEFORE]
    for editor in (by["called"] for by in report.settings["by"]):
        edited = found.get((editor, "edited"))
        if edited is None:
            continue
        about = f"{EDITS} ({editor})"
        for part, says, low in (
            ("ES", "An edit takes: the new answer is likelier than the old", 0.9),
            ("PS", "An edit changes paraphrases too", 0.75),
        ):
            if (score := known.get(f"{editor}: {part}")) is not None:
                yield Statement(about, says, score, SHARE, "cases", low, None, _others(known, editor, part),
                                SIGNS.format("cases"), _apart(plain, edited, part))  # fmt: skip
        if (score := known.get(f"{editor}: NS, above {BEFORE}")) is not None:
            beside = f"{whole(known.get(f'{BEFORE}: NS'))} before, {whole(known.get(f'{editor}: NS'))} after"
            yield Statement(about, "Neighbours stay as they were", score, POINTS, "cases", -0.05, None, beside,
                            SIGNS.format("cases"), _apart(plain, edited, "NS"))  # fmt: skip


def follows(run: Run, report: Report) -> Iterator[Statement]:
    """Symmetry and synonymy, of the cases that the model could answer before."""
    says = {"symmetry": "An edit holds the other way round", "synonymy": "An edit holds in another word"}
    known = {s.name: s for s in report.scores}
    rows = [row for r in run.results() for row in r["rows"]]
    found = passed(rows, report.settings["compared"])
    for editor in (by["called"] for by in report.settings["by"]):
        for each in found:
            name = f"{each.criterion}, {editor}: passed, paper"
            if (score := known.get(name)) is None:
                continue
            before = known.get(f"{each.criterion}, {BEFORE}: passed, paper")
            random = known.get(f"{each.criterion}, {editor}, random neurons: passed, paper")
            answered = known.get(f"{each.criterion}: {KNOWN}")
            beside = (
                f"without an edit {whole(before)}, random neurons edited {whole(random)}; the model answers such "
                f"sentences in {whole(answered)} of the cases"
            )
            silent = answered is None or not answered.value
            beside += ", so this decides nothing" if silent else ""
            yield Statement(f"{FOLLOWS} ({editor})", says[each.criterion], score, SHARE, "cases", 0.75, None, beside,
                            SIGNS.format("cases"), _gain(each, editor), undecided=silent)  # fmt: skip


def costs(run: Run, report: Report) -> Iterator[Statement]:
    """After the last check of edits in turn."""
    known = {s.name: s for s in report.scores}
    last: dict[str, tuple[int, str]] = {}
    for r in run.results():
        for check in r["checked"]:
            last[check["editor"]] = check["edits"], r["text_measure"]
    for editor, (edits, kind) in last.items():
        about, name = f"{COSTS} ({editor})", f"{editor}, after {edits}"
        if (score := known.get(f"{name}: {kind}, ratio")) is not None and score.value is not None:
            yield Statement(about, f"After {edits} edits ordinary text is no more surprising: {kind} over what it was",
                            score, TIMES, "texts", high=1.05)  # fmt: skip
        for part, says, low in (
            ("ES", f"After {edits} edits, one after the other, all of them still hold", 0.9),
            ("NS", f"After {edits} edits, neighbours keep their answers", 0.9),
        ):
            if (score := known.get(f"{name}: {part}")) is not None:
                before = known.get(f"{BEFORE}: {part}")
                yield Statement(about, says, score, SHARE, "cases", low, beside=f"without an edit {whole(before)}")


def _apart(plain: Judged, edited: Judged, part: str) -> float | None:
    x, y = (j.scores.get(part) for j in (plain, edited))
    return None if x is None or y is None else _both(x, y)


def _gain(found: Passed, editor: str) -> float | None:
    x, y = (found.conditions.get(who, {}).get("passed, paper") for who in (("", BEFORE), (editor, "edited")))
    return None if x is None or y is None else _both(x, y)


def _both(x: Floats, y: Floats) -> float | None:
    """The paired test of those cases that have both."""
    there = np.isfinite(x) & np.isfinite(y)
    return paired_test(x[there], y[there], range(int(there.sum()))).p if there.any() else None


def _others(known: Mapping[str, Score], editor: str, part: str) -> str:
    plain, random = known.get(f"{BEFORE}: {part}"), known.get(f"{editor}, random neurons: {part}")
    return f"without an edit {whole(plain)}, random neurons edited {whole(random)}"


def whole(score: Score | None) -> str:
    return "–" if score is None else f"{100 * score.value:.0f} %"
