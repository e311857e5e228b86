"""`engram bench judging`: how much faster are edits judged here, and does it say the same?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Option

from . import _benched, _show
from ._benched import Budget, Device, Loops, Runs
from ._options import Json, bytes_of
from ._show import NUMBER, WORD

if TYPE_CHECKING:
    from ..bench import JudgingBench

UNITS = {
    "seconds": "seconds per edit, each run", "median": "seconds per edit",
    "questions": "of a case: each sentence with the true and with the new answer; asked before and after the edit",
    "memory": _benched.MEMORY,
    "flops": "floating-point operations of the matrix products of one edit",
    "calls": "of the network, for all edits", "rows": "sequences in these calls",
    "positions": _benched.POSITIONS,
    "moved": "nats, by which an edit moves an answer's mean −ln P, mean over answers",
    "difference": "nats, largest difference of an answer's mean −ln P, before or after, from the first side's",
    "ratios": "how many times as fast as the peer, in each run",
}  # fmt: skip


def judging(
    *,
    shape: Annotated[str, Option(help="gpt2-tiny, gpt2 or gpt2-medium: random weights.")] = "gpt2",
    edits: Annotated[int, Option(min=1, help="How many, each with a case of its own.")] = 100,
    tokens: Annotated[int, Option(min=5, help="Tokens of a sentence, up to 4 more or less.")] = 9,
    layer: Annotated[
        int | None, Option(help="The layer that is edited, from 0. [at five twelfths, ROME's place in GPT-2]")
    ] = None,
    runs: Runs = 3,
    against: Loops = None,
    device: Device = "cpu",
    budget: Budget = "1GiB",
    as_json: Json = False,
) -> None:
    """How much faster are edits judged here than by the loops one writes without it, and does it say the same?

    straightforward: the published way, an edit at a time is written to the weights and all its sentences are asked in
    one batch with the vocabulary at every position, after and before. written well: each sentence once for both
    answers, the vocabulary where it is asked. All sides take turns in one process, with the same edits and cases.

    \b
    engram bench judging
    engram bench judging --edits 20 --against straightforward --json
    """
    from ..bench import bench_judging
    from ..bench.judging import PEERS

    with _show.progress("measuring") as bar:
        found = bench_judging(
            shape, edits=edits, tokens=tokens, layer=layer, runs=runs, against=against or PEERS, device=device,
            budget=bytes_of(budget), progress=bar,
        )  # fmt: skip
    if as_json:
        _show.document("bench", what="judging", units=UNITS, **found.to_dict())
        return
    _shown(found)


def _shown(found: JudgingBench) -> None:
    _show.line(
        f"{found.shape}, {found.layers} layers, random weights; {found.edits} edits of rank one in layer "
        f"{found.layer}, each with {found.questions} questions of about {found.tokens} tokens, before and after; "
        f"{found.runs} runs, all sides in turn"
    )
    for part in (_costs, _ratios, _sameness):
        _show.line()
        part(found)
    _benched.made(found.machine, found.versions)


def _costs(found: JudgingBench) -> None:
    columns = [("", WORD), *_benched.times("edit"), ("GFLOP/edit", NUMBER), *_benched.PASSED]
    rows = [(s.name, *_benched.cost(s), f"{s.flops / 1e9:.1f}", *_benched.passed(s)) for s in found.sides]
    _show.table(columns, rows)
    _show.line()
    _show.line("Calls, rows and positions are those of all edits; positions are of all rows through all FFNs.")


def _ratios(found: JudgingBench) -> None:
    columns = [("times as fast as", WORD), *((p, NUMBER) for p in found.peers)]
    _show.table(columns, [(e, *(_benched.middle(found.ratios(p, e)) for p in found.peers)) for e in found.engines])
    _show.line()
    _show.line("Before kept: what the network said before is known from another edit of the same cases.")


def _sameness(found: JudgingBench) -> None:
    _show.table(
        [("", WORD), ("largest difference (nats)", NUMBER)],
        [(s.name, f"{s.difference:.1e}" if s.difference else "0") for s in found.sides],
    )
    _show.line()
    _show.line(
        f"Of an answer's mean −ln P, before or after, from the first side's; an edit moves it by {found.moved:.2g} "
        "nats in the mean."
    )
