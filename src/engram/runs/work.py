"""What one process does for a run: take a shard that nobody has, do it, put it there, until none is left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import torch

from ..errors import BadData, OutOfMemory
from ..experiments import Experiment
from ..experiments.base import Case
from ..facts import FactSet
from ..models import Model
from ..models.batching import Progress
from ..store import Lease, Leases, RunFolder, identity, name_of

PAUSE = 0.1  # seconds between two looks at what others are doing

Told = Callable[[], None]


def work(
    folder: RunFolder, experiment: Experiment, model: Model, facts: FactSet, leases: Leases,
    told: Told = lambda: None, stopped: Callable[[], bool] = lambda: False,
) -> None:  # fmt: skip
    """Do every shard that has no final file, or see others do it. `told` is called after each.

    A shard that another process was lost at is tried after all that nobody has tried; one that does not fit into memory
    is quarantined. Whatever ends this, the shard in hand is given back; only a kill leaves its lease, for others to
    find. Raises BadData where nothing can be written, and whatever else the experiment raises.
    """
    cases = experiment.cases(facts)
    log = _Log(folder)
    while todo := folder.unfinished():
        turns = leases.current()
        idle = True
        for shard in sorted(todo, key=lambda n: n in turns):
            if stopped():
                return
            if (lease := leases.take(shard, turns.get(shard, 0))) is not None:
                idle = False
                with leases.held(lease):
                    if not folder.final(shard).exists():  # it may have been done since we looked
                        within = told.within(shard) if isinstance(told, Meter) else None
                        _do(folder, experiment, model, facts, cases[shard], lease, log, within)
                if folder.final(shard).exists():
                    leases.forget(shard)
                told()
        if idle:
            told()
            time.sleep(PAUSE)
    for shard in leases.current().keys() & folder.done():
        leases.forget(shard)  # of one who ended between the last word and giving it back


def _do(
    folder: RunFolder, experiment: Experiment, model: Model, facts: FactSet, case: Case, lease: Lease, log: _Log,
    progress: Progress | None,
) -> None:  # fmt: skip
    log.write("began", lease)
    try:
        result = experiment.run(model, facts, case, progress=progress)
    except OutOfMemory as error:  # after the model has tried it in ever smaller parts
        log.write("out of memory", lease)
        folder.quarantine(lease.shard, {"shard": lease.shard, "reason": f"OutOfMemory: {error}"})
        return
    if not lease.mine():  # we were silent for too long, and somebody else is at it
        log.write("lost", lease)
        return
    try:
        folder.publish(lease.shard, result, experiment.columns)
    except BadData:
        if lease.mine():
            raise
        log.write("lost", lease)
        return
    log.write("done", lease)


class _Log:
    """What this process did, a line of JSON for each event."""

    def __init__(self, folder: RunFolder) -> None:
        self.owner = identity()
        name = f"{self.owner['host'].split()[0]}-{self.owner['process']}-{self.owner['started'] or 0}.jsonl"
        self.path = folder.path / "logs" / name

    def write(self, event: str, lease: Lease) -> None:
        """Raises BadData."""
        entry: dict[str, Any] = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
        entry |= {"shard": name_of(lease.shard), "turn": lease.turn}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise BadData(self.path, None, f"cannot be written ({error.strerror})") from error


class Meter:
    """How far a run is: facts done, facts in all, and facts per second since this began."""

    def __init__(self, folder: RunFolder, show: Callable[[int, int, float], None] | None) -> None:
        self.folder, self.show = folder, show
        self.start, self.before = time.monotonic(), self._done()
        self.last = -1

    def __call__(self) -> None:
        """Tell, if there is something new."""
        self._tell(self._done())

    def within(self, shard: int) -> Progress:
        """What to tell of one shard's own progress: a part of it counts as this part of its facts."""
        before, size = self._done(), self.folder.sizes[shard]
        return lambda done, total: self._tell(before + int(size * done / max(total, 1)))

    def _tell(self, done: int) -> None:
        if self.show is not None and done != self.last:
            self.last = done
            seconds = max(time.monotonic() - self.start, 1e-9)
            self.show(done, sum(self.folder.sizes), (done - self.before) / seconds)

    def _done(self) -> int:
        return sum(self.folder.sizes[n] for n in self.folder.done())


@contextmanager
def threads(n: int) -> Iterator[None]:
    """torch's number of threads, for the length of a block."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def sizes(cases: Sequence[Case]) -> list[int]:
    """How many facts each case has; a case that does not say counts as one."""
    return [len(case.get("facts", (0,))) for case in cases]


def relations_of(cases: Sequence[Case], facts: FactSet) -> list[list[str]]:
    """Of which relations the facts of each case are: that which it names, or those of its facts' numbers."""
    known = [fact.relation for fact in facts]
    return [
        [case["relation"]] if "relation" in case else list(dict.fromkeys(known[i] for i in case.get("facts", ())))
        for case in cases
    ]
