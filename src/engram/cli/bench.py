"""`engram bench`: how fast is it, as a ratio, on this machine?"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from . import _benched, _show
from ._bench_judging import judging
from ._bench_tracing import tracing
from ._benched import Budget, Device, Runs
from ._listing import Listing
from ._options import Json, ModelOptions, bytes_of, spread
from ._show import NUMBER, WORD

if TYPE_CHECKING:
    from ..bench import Apart, AttributionBench, RunsBench, Side

UNITS = {
    "seconds": "seconds per prompt, each run", "median": "seconds per prompt",
    "prompts": "of a side: how many prompts it was timed on",
    "memory": _benched.MEMORY,
    "flops": "floating-point operations of the matrix products of one prompt",
    "least": "the fewest that its points can cost; null: not known",
    "ratios": "how many times as fast as the peer, in each run",
    "accuracy": "largest difference of a score, of the prompt's largest score, the worst and the median prompt; "
    "sets: Jaccard index of the neurons above 0.2 of the peak, mean over prompts",
}  # fmt: skip
RUNS_UNITS = {
    "seconds": "seconds of the whole call, each round, the start of processes and models among them",
    "working": "seconds that all facts take at the rate of all workers together, each from its first shard to the end "
    "of its last, each round",
    "ratios": "of a place: how many times as fast as the first, in working time, each round; "
    "of the cost: how many times as long through the store as alone, each round",
    "cost": "seconds for all prompts in one process, each round: the experiment alone, through the store, and the "
    "store with results that are there already",
    "size": "bytes of all shards with their checksums", "extrapolated": "not measured: megabytes are 10⁶ bytes",
}  # fmt: skip
REFERENCES = ("published sum", "integral", "same rule, float32")


def register(app: typer.Typer) -> None:
    """Add the command."""
    benches = typer.Typer(
        cls=Listing, help="Measure speed, as a ratio of ways that say the same.", no_args_is_help=True
    )
    benches.command("attribution")(attribution)
    benches.command("judging")(judging)
    benches.command("runs")(spread(runs))
    benches.command("tracing")(tracing)
    app.add_typer(benches, name="bench")


def attribution(
    *,
    shape: Annotated[
        str,
        Option(help="bert-tiny, -base or -large, gpt2-tiny, gpt2 or gpt2-medium: random weights, nothing is loaded."),
    ] = "bert-base",
    prompts: Annotated[int, Option(min=1, help="How many prompts.")] = 1,
    tokens: Annotated[int, Option(min=4, help="Tokens of each.")] = 14,
    runs: Runs = 3,
    against: Annotated[
        list[str] | None, Option(help="straightforward or replication; may be given twice. [both]")
    ] = None,
    variant: Annotated[
        list[str] | None, Option(help="Of the engine, such as 'gauss 6'; may be given several times. [all]")
    ] = None,
    dtype: Annotated[str, Option(help="Of variants that do not say theirs: float32, bfloat16, float16.")] = "float32",
    device: Device = "cpu",
    few: Annotated[int, Option(min=1, help="On how many of the prompts those are timed that take one at a time.")] = 2,
    budget: Budget = "1GiB",
    as_json: Json = False,
) -> None:
    """How much faster is attribution here than the loops one writes without it, and does it say the same?

    straightforward: a prompt and a layer at a time through the whole network, parameters frozen, all points of the
    grid in one batch. replication: the calls of the program that most people use. All sides take turns in one process.

    \b
    engram bench attribution
    engram bench attribution --shape gpt2 --prompts 9 --variant literal --against replication
    """
    from ..bench import PEERS, bench_attribution

    with _show.progress("measuring") as bar:
        found = bench_attribution(
            shape, prompts=prompts, tokens=tokens, runs=runs, against=against or PEERS, variants=variant,
            dtype=dtype, device=device, few=few, budget=bytes_of(budget), progress=bar,
        )  # fmt: skip
    if as_json:
        _show.document("bench", what="attribution", units=UNITS, **found.to_dict())
        return
    asked = f"{prompts} {'prompt' if prompts == 1 else 'prompts'} of {tokens} tokens"
    _show.line(f"{shape}, {found.layers} layers, random weights; {asked}; {runs} runs, all sides in turn")
    for part in (_costs, _ratios, _differences, _sets):
        _show.line()
        part(found)
    _benched.made(found.machine, found.versions)


def runs(
    *,
    facts: Annotated[int, Option(min=1, help="How many shipped facts, of each relation its part.")] = 64,
    shard: Annotated[int, Option(min=1, help="Facts that are done and stored together.")] = 8,
    workers: Annotated[int, Option(min=1, help="Processes: 1, and so on up to so many.")] = 2,
    rounds: Annotated[int, Option(min=1, help="How often all places take their turn.")] = 3,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """What does a run cost beside the experiment: over how many workers, for the store, and on the disk?

    The scores of the same prompts, serially and in processes, in turn; all have to write the same bytes. What they
    would take for the 253,448 prompts of ParaRel is extrapolated from this run.

    \b
    engram bench runs
    engram bench runs --model gpt2 --facts 32 --workers 4 --json
    """
    from ..bench import bench_runs

    with _show.progress("measuring") as bar:
        found = bench_runs(
            opening=options.load, facts=facts, shard=shard, workers=workers, rounds=rounds, progress=bar
        )  # fmt: skip
    if as_json:
        _show.document("bench", what="runs", units=RUNS_UNITS, **found.to_dict())
        return
    _runs(found)
    _benched.made(found.machine, found.versions)


def _runs(found: RunsBench) -> None:
    _show.line(
        f"{found.facts:,} facts of {found.data}, {found.records:,} prompts, asked of {found.model}, in shards of "
        f"{found.shard} facts; {found.rounds} rounds, all places in turn"
    )
    _show.line()
    columns = [("", WORD), ("workers", NUMBER), ("facts/s", NUMBER), ("prompts/s", NUMBER)]
    columns += [(f"times as fast as {found.places[0].name}", NUMBER), ("seconds beside the work", NUMBER)]
    rows = [
        (
            p.name, p.workers, *(f"{n / statistics.median(p.working):.2f}" for n in (found.facts, found.records)),
            _benched.middle(found.ratios(p)),
            f"{statistics.median(s - w for s, w in zip(p.seconds, p.working, strict=True)):.1f}",
        )
        for p in found.places
    ]  # fmt: skip
    _show.table(columns, rows)
    _show.line()
    _show.line("All wrote the same bytes." if found.same else "They did not write the same bytes: please report this.")
    beside = [t / a for t, a in zip(found.cost.through, found.cost.alone, strict=True)]
    _show.line(f"The store takes {_benched.middle(found.micros)} µs for a record; through it, a run takes")
    _show.line(f"{_benched.middle(beside)} times as long as the experiment alone.")
    _show.line(
        f"A record takes {found.bytes_per_record:.0f} bytes. Extrapolated from these {found.records:,}, the 253,448 "
        f"prompts of ParaRel would take {found.corpus:.0f} MB."
    )


def _costs(found: AttributionBench) -> None:
    columns = [
        ("", WORD), ("", WORD), ("prompts", NUMBER), *_benched.times("prompt"), ("GFLOP/prompt", NUMBER),
        ("of the least work", NUMBER),
    ]  # fmt: skip
    rows = [
        (
            s.name, s.what, s.prompts, *_benched.cost(s), f"{s.flops / 1e9:.2f}",
            "-" if s.least is None else f"{s.flops / s.least:.2f}",
        )
        for s in found.sides
    ]  # fmt: skip
    _show.table(columns, rows)


def _ratios(found: AttributionBench) -> None:
    from ..bench import ratios

    columns = [("times as fast as", WORD), *((p.name, NUMBER) for p in found.peers)]
    _show.table(columns, [(e.name, *(_benched.middle(ratios(p, e)) for p in found.peers)) for e in found.engines])


def _differences(found: AttributionBench) -> None:
    columns = [("largest difference from", WORD), *((name, NUMBER) for name in REFERENCES)]
    _show.table(columns, [(s.name, *(_told(x.worst if x else None) for x in _against(s))) for s in found.sides])


def _sets(found: AttributionBench) -> None:
    columns = [("same neurons above 0.2 as", WORD), *((name, NUMBER) for name in REFERENCES)]
    _show.table(columns, [(s.name, *(_told(x.sets if x else None) for x in _against(s))) for s in found.sides])
    _show.line()
    n, first = found.sides[0].accuracy.prompts, found.sides[0].name
    _show.line(
        f"Differences are parts of the largest score, worst of {n} prompts; sameness is Jaccard's index, their mean. "
        f"The published sum is that of {first}; the integral has {found.points} Gauss points."
    )


def _against(side: Side) -> tuple[Apart | None, ...]:
    return side.accuracy.published, side.accuracy.integral, side.accuracy.rounding


def _told(x: float | None) -> str:
    return "-" if x is None else _show.number(x)
