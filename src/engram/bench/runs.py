"""What does a run cost beside the experiment itself: over how many workers, for the store, and on the disk?"""

from __future__ import annotations

import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import data
from ..errors import BadSetting
from ..experiments import Attributions, Experiment
from ..experiments.base import Case, Result
from ..facts import FactSet
from ..locators import IntegratedGradients
from ..models import Model, load
from ..models.batching import Progress
from ..results import Report
from ..runs import run
from ..runs.work import threads as with_threads
from ..runs.work import work
from ..store import Leases, Run, RunFolder, name_of
from .results import machine, spread, versions

CORPUS = 253_448  # prompts of ParaRel, as Dai et al. asked them
BY = IntegratedGradients(rule="gauss", steps=6)


@dataclass(frozen=True, slots=True)
class Place:
    """One way of doing the run.

    `seconds`, one number a round, are those of the whole call, the start of processes and models among them; `working`
    what all facts take at the rate of all workers together, each from its first shard to the end of its last.
    """

    name: str
    workers: int
    seconds: tuple[float, ...]
    working: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds for all cases in this process, one number a round, in turn.

    The experiment `alone`, the same `through` the store, and the `store` with results that are there already.
    """

    alone: tuple[float, ...]
    through: tuple[float, ...]
    store: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RunsBench:
    """The same run in several places and rounds, in turn; `same`: did all of them write the same bytes?

    `records` are the prompts that were scored, `size` the bytes of their shards and checksums, in shards of `shard`
    facts.
    """

    model: str
    data: str
    facts: int
    shard: int
    records: int
    rounds: int
    size: int
    same: bool
    places: tuple[Place, ...]
    cost: Cost
    settings: Mapping[str, Any]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def bytes_per_record(self) -> float:
        """On the disk."""
        return self.size / self.records

    @property
    def corpus(self) -> float:
        """Extrapolated, not measured: the megabytes (10⁶) of as many records as ParaRel has prompts."""
        return self.bytes_per_record * CORPUS / 1e6

    def ratios(self, place: Place) -> list[float]:
        """How many times as fast as the first place is it, in each round? Of the working time."""
        return [first / own for first, own in zip(self.places[0].working, place.working, strict=True)]

    @property
    def micros(self) -> list[float]:
        """What the store takes for a record, in each round, in millionths of a second."""
        return [s / self.records * 1e6 for s in self.cost.store]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        document = asdict(self)
        for place, plain in zip(self.places, document["places"], strict=True):
            median = statistics.median(place.working)
            plain |= {"facts_per_second": self.facts / median, "prompts_per_second": self.records / median}
            plain["ratios"] = spread(self.ratios(place))
        through = [t / a for t, a in zip(self.cost.through, self.cost.alone, strict=True)]
        document["cost"] |= {
            "ratios": spread(through),
            "store_microseconds_per_record": spread(self.micros),
        }
        document["bytes_per_record"] = self.bytes_per_record
        document["extrapolated"] = {"prompts": CORPUS, "megabytes": self.corpus, "from_records": self.records}
        return document


class _Known(Experiment):
    """The same experiment, when its results are there already."""

    def __init__(self, experiment: Experiment, results: Sequence[Result]) -> None:
        self.experiment, self.results = experiment, results
        self.columns = experiment.columns  # type: ignore[misc]

    def cases(self, facts: FactSet) -> list[Case]:
        return self.experiment.cases(facts)

    def run(self, model: Model, facts: FactSet, case: Case, *, progress: Progress | None = None) -> Result:
        return self.results[case["shard"]]

    def settings(self) -> dict[str, Any]:
        return self.experiment.settings()

    def summary(self, results: Iterable[Result]) -> Report:
        return self.experiment.summary(results)


def bench_runs(
    model: str | None = None,
    *,
    opening: Callable[[], Model] | None = None,
    facts: int = 64,
    shard: int = 8,
    workers: int = 2,
    rounds: int = 3,
    by: IntegratedGradients = BY,
    progress: Callable[[int, int], None] | None = None,
) -> RunsBench:
    """Scores the prompts of `facts` shipped facts, serially and in 1 up to `workers` processes, `rounds` times in turn.

    `model` is what `engram.load` takes (None: the masked one shipped inside), or `opening` loads it, in every process.
    Raises BadSetting, and what `load` raises.
    """
    _check(facts, shard, rounds, workers)
    opening, known = opening or functools.partial(load, model), data.shipped()
    experiment = Attributions(by, sample=facts, shard=shard)
    places = [("serial", 1), *(("processes", n) for n in range(1, workers + 1))]
    step = _steps(rounds * (len(places) + 1), progress)
    own = opening()
    seconds: dict[tuple[str, int], list[tuple[float, float]]] = {p: [] for p in places}
    costs: list[list[float]] = []
    contents: set[tuple[bytes, ...]] = set()
    with tempfile.TemporaryDirectory() as home:
        for i in range(rounds):
            turn = i % len(places)
            for place in [*places[turn:], *places[:turn]]:
                out = Path(home) / f"{i}-{place[0]}-{place[1]}"
                last, times, content = _done(experiment, known, opening, out, place)
                seconds[place].append(times)
                contents.add(content)
                step()
            costs.append(_cost(experiment, own, known, last.folder, Path(home) / f"{i}"))
            step()
        records = last.table().num_rows
    return RunsBench(
        own.name, known.name, sum(last.folder.sizes), shard, records, rounds, sum(map(len, min(contents))),
        len(contents) == 1, tuple(Place(*p, *map(tuple, zip(*seconds[p], strict=True))) for p in places),
        Cost(*zip(*costs, strict=True)), experiment.settings(), machine(own.device), versions(),
    )  # fmt: skip


def _steps(total: int, progress: Callable[[int, int], None] | None) -> Callable[[], None]:
    """What to call after each step, so that `progress` hears of it."""
    done = iter(range(1, total + 1))

    def step() -> None:
        if progress is not None:
            progress(next(done), total)

    return step


def _check(*counts: int) -> None:
    if min(counts) < 1:
        raise BadSetting("a benchmark of runs takes at least 1 fact, 1 in a shard, 1 round and 1 worker")


def _done(
    experiment: Experiment, known: FactSet, opening: Callable[[], Model], out: Path, place: tuple[str, int]
) -> tuple[Run, tuple[float, float], tuple[bytes, ...]]:
    """The run, the seconds of the call and those of all facts at the rate of all workers together, and its files."""
    on, workers = place
    begin = time.perf_counter()
    found = run(experiment, known, opening, out=out, on=on, workers=workers)  # type: ignore[arg-type]
    whole = time.perf_counter() - begin
    if not found.complete:
        raise BadSetting(f"the run was not finished: {next(iter(found.quarantined.values()))['reason']}")
    rate = sum(_rate(log, found.folder) for log in (out / "logs").iterdir())
    files = tuple(p.read_bytes() for p in sorted((out / "shards").iterdir()))
    return found, (whole, sum(found.folder.sizes) / rate), files


def _rate(log: Path, folder: RunFolder) -> float:
    """How many facts a worker does in a second, by what it wrote of itself."""
    lines = [json.loads(x) for x in log.read_text(encoding="utf-8").splitlines()]
    times = [datetime.fromisoformat(x["at"]).timestamp() for x in lines]
    facts = {name_of(n): size for n, size in enumerate(folder.sizes)}
    return sum(facts[x["shard"]] for x in lines if x["event"] == "done") / (max(times) - min(times))


def _cost(experiment: Experiment, model: Model, known: FactSet, like: RunFolder, home: Path) -> list[float]:
    """Seconds for all cases: alone, through the store, and the store alone."""
    cases = experiment.cases(known)
    folders = [RunFolder.begun(home / name, like.key, like.sizes, like.about) for name in ("through", "store")]
    with with_threads(1):
        begin = time.perf_counter()
        results = [experiment.run(model, known, case) for case in cases]
        times = [time.perf_counter() - begin]
        for folder, what in zip(folders, (experiment, _Known(experiment, results)), strict=True):
            leases = Leases(folder)
            with leases.beating():
                begin = time.perf_counter()
                work(folder, what, model, known, leases)
                times.append(time.perf_counter() - begin)
    return times
