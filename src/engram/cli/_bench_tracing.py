"""`engram bench tracing`: how much faster is causal tracing here, and does it say the same?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from ..errors import BadSetting
from . import _benched, _show
from ._benched import Budget, Device, Loops, Runs
from ._options import Json, bytes_of
from ._show import NUMBER, WORD

if TYPE_CHECKING:
    from ..bench import TracingBench

UNITS = {
    "seconds": "seconds per trace of a prompt, each run", "median": "seconds per trace",
    "noise": "standard deviations of the word embeddings",
    "memory": _benched.MEMORY,
    "flops": "floating-point operations of the matrix products of one trace",
    "calls": "of the network in one trace", "rows": "sequences in these calls",
    "positions": _benched.POSITIONS,
    "clean": "the answer's probability", "corrupted": "the same, mean over samples",
    "difference": "largest difference of a probability (a cell's, clean or corrupted) from the kind's first side",
    "of_total": "the same, as part of the total effect: clean minus corrupted",
    "ratios": "how many times as fast as the peer, in each run; all: of the kinds together",
}  # fmt: skip


def tracing(
    *,
    shape: Annotated[
        str, Option(help="gpt2-tiny, gpt2, gpt2-medium, bert-tiny, -base or -large: random weights.")
    ] = "gpt2",
    tokens: Annotated[int, Option(min=4, help="Tokens of the prompt.")] = 12,
    subject: Annotated[
        str | None, Option(help="The tokens to corrupt, such as 3:6 for 3, 4 and 5. [the first half]")
    ] = None,
    kind: Annotated[list[str] | None, Option(help="block, ffn or attention; may be given several times. [all]")] = None,
    samples: Annotated[int, Option(min=1, help="How often the subject is corrupted.")] = 10,
    window: Annotated[int, Option(min=1, help="Layers restored together, of ffn and attention.")] = 10,
    noise: Annotated[float, Option(help="In standard deviations of the word embeddings.")] = 3.0,
    runs: Runs = 3,
    against: Loops = None,
    device: Device = "cpu",
    budget: Budget = "1GiB",
    as_json: Json = False,
) -> None:
    """How much faster is causal tracing here than the loops one writes without it, and does it say the same?

    straightforward: the published way, for every token and layer one pass of a clean row and all corrupted rows.
    written well: the clean states recorded once, the vocabulary at the last position only. All sides take turns in
    one process, with the same noise.

    \b
    engram bench tracing
    engram bench tracing --kind block --subject 3:6 --runs 5 --json
    """
    from ..bench import bench_tracing
    from ..bench.tracing import PEERS
    from ..traces import KINDS

    kinds: Any = kind or KINDS
    with _show.progress("measuring") as bar:
        found = bench_tracing(
            shape, tokens=tokens, subject=_span(subject), kinds=kinds, samples=samples, window=window, noise=noise,
            runs=runs, against=against or PEERS, device=device, budget=bytes_of(budget), progress=bar,
        )  # fmt: skip
    if as_json:
        _show.document("bench", what="tracing", units=UNITS, **found.to_dict())
        return
    _shown(found)


def _span(written: str | None) -> tuple[int, int] | None:
    """The first token of the subject and the one behind its last.

    >>> _span("3:6")
    (3, 6)
    """
    if written is None:
        return None
    if not (m := re.fullmatch(r"(\d+):(\d+)", written)):
        raise BadSetting(f"a subject is written like 3:6, for the tokens 3, 4 and 5, not {written!r}")
    return int(m[1]), int(m[2])


def _shown(found: TracingBench) -> None:
    first, end = found.subject
    _show.line(
        f"{found.shape}, {found.layers} layers, random weights; a prompt of {found.tokens} tokens; noise of "
        f"{found.noise:g} standard deviations on tokens {first} to {end - 1}, {found.samples} samples; windows of "
        f"{found.window} layers; {found.runs} runs, all sides in turn"
    )
    for part in (_costs, _ratios, _sameness):
        _show.line()
        part(found)
    _benched.made(found.machine, found.versions)


def _costs(found: TracingBench) -> None:
    columns = [("", WORD), ("", WORD), *_benched.times("trace"), ("GFLOP", NUMBER), *_benched.PASSED]
    rows = [(s.kind, s.name, *_benched.cost(s), f"{s.flops / 1e9:.1f}", *_benched.passed(s)) for s in found.sides]
    _show.table(columns, rows)
    _show.line()
    _show.line("Positions are those of all rows through all FFNs, for the engine also of blocks called by themselves.")


def _ratios(found: TracingBench) -> None:
    columns = [("the engine is times as fast as", WORD), *((p, NUMBER) for p in found.peers)]
    _show.table(
        columns, [(kind or "all kinds", *(_benched.middle(found.ratios(p, kind)) for p in found.peers))
                  for kind in (*found.kinds, None)]
    )  # fmt: skip


def _sameness(found: TracingBench) -> None:
    columns = [
        ("", WORD), ("", WORD), ("clean", NUMBER), ("corrupted", NUMBER), ("largest difference", NUMBER),
        ("of the total effect", NUMBER),
    ]  # fmt: skip
    rows = [
        (s.kind, s.name, *(f"{x:.2e}" for x in (s.clean, s.corrupted)), *(_told(x) for x in (s.difference, s.of_total)))
        for s in found.sides
    ]
    _show.table(columns, rows)
    _show.line()
    _show.line(
        f"Probabilities of the answer, means over samples; the difference is the largest of the {found.tokens} × "
        f"{found.layers} cells, of clean and of corrupted, from the first side of the kind."
    )


def _told(x: float) -> str:
    return f"{x:.1e}" if x else "0"
