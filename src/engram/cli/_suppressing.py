"""What `engram run suppression` and `engram demo` share: the experiment over relations, and what is shown of it."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from . import _show
from ._show import NUMBER, WORD

if TYPE_CHECKING:
    from ..experiments import Suppression
    from ..experiments.base import Case, Result
    from ..facts import FactSet
    from ..models import Model
    from ..report import Outcome, Section

REPORT = "report.html"


def tried(
    experiment: Suppression, model: Model, facts: FactSet, cases: Sequence[Case], show: Callable[[int, int], None]
) -> list[Result]:
    """Every case, with progress over all of them in facts."""
    total = sum(len(case["facts"]) for case in cases)
    results: list[Result] = []
    done = 0
    for case in cases:
        size = len(case["facts"])

        def part(i: int, n: int, done: int = done, size: int = size) -> None:
            show(int(done + size * i / n), total)

        results.append(experiment.run(model, facts, case, progress=part))
        done += size
        show(done, total)
    return results


def outcome(experiment: Suppression, results: Sequence[Result], model: Model, facts: FactSet) -> Outcome:
    """What the results say, and what they were made with. Raises BadSetting where no fact was tried."""
    from ..metrics.outcomes import CONDITIONS
    from ..report import Outcome

    said, relations = experiment.judged(results)
    about = {
        "model": f"{model.name} ({model.family.name}, {len(model.layers)} layers of {_widths(model)} neurons)",
        "numbers": f"{str(model.net.dtype).removeprefix('torch.')} on {model.device}",
        "data": f"{facts.name}: {len(results)} of {len(facts.relations)} relations",
        **versions(),
    }
    return Outcome(results, said, relations, CONDITIONS, called(facts), about)


def called(facts: FactSet) -> dict[str, str]:
    """What each relation is called: its name, with its id where two have the same."""
    often = Counter(r.name for r in facts.relations)
    return {r.id: r.name if r.name and often[r.name] == 1 else f"{r.name} ({r.id})".strip() for r in facts.relations}


def versions() -> dict[str, str]:
    """What the numbers depend on besides the settings, and when they were made."""
    import numpy
    import torch
    import transformers

    return {
        "engram": __version__,
        "torch": f"{torch.__version__}, threads: {torch.get_num_threads()}",
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }


def lines(found: Outcome) -> None:
    """How many facts there were, the table of conditions, and what came of the aims."""
    from ..report import percent, verdicts
    from ..report.aims import WORDS

    _show.line(found.counts)
    _show.line()
    columns = [
        ("", WORD), ("P(answer)", WORD), ("answered first (%)", WORD), ("change of P (%)", WORD),
        ("mean over relations (%)", WORD), ("prompts", NUMBER), ("facts", NUMBER),
    ]  # fmt: skip
    rows = []
    for e in found.effects:
        right = [100 * found.report[f"{e.condition}: accuracy {when}"].value for when in ("before", "after")]
        rows.append(
            (
                e.condition, f"{e.before.value:.3f} → {e.after.value:.3f}", f"{right[0]:.1f} → {right[1]:.1f}",
                percent(e.change), percent(found.relations[e.condition].mean), e.change.n, e.facts,
            )
        )  # fmt: skip
    _show.table(columns, rows)
    _show.line()
    _show.entries((e.condition, found.conditions[e.condition]) for e in found.effects)
    _show.line()
    _show.table([("aim", WORD), ("", WORD)], [(WORDS[v.kind], str(v)) for v in verdicts(found.report.scores)])


def notes(found: Outcome) -> None:
    """What was left out, one line each."""
    for note in found.report.notes:
        _show.line(f"note: {note}")


def write(
    found: Outcome, folder: Path, *, kind: str, title: str, under: str, before: Sequence[Section] = (),
    more: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """The page, its pictures, the summary and the results, in this folder; whole or not at all."""
    from .. import report

    drawn = found.pictures()
    files = {f"{name}.svg": report.standalone(report.svg(figure)) for name, figure in drawn.items()}
    files[REPORT] = found.page(drawn, title=title, under=under, before=before).html()
    files["summary.json"] = json.dumps(found.document(), ensure_ascii=False, indent=1) + "\n"
    report.write(
        folder, files, {"kind": kind, "settings": found.report.settings, **(more or {}), "results": found.results}
    )


def _widths(model: Model) -> str:
    return "/".join(map(str, sorted(set(model.widths))))
