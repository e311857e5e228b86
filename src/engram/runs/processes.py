"""Several processes of this machine, each with a model of its own. Started afresh, so that none inherits a thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from ..errors import BadSetting, EngramError, OtherRun
from ..experiments import Experiment
from ..facts import FactSet
from ..models import Model
from ..store import Leases, RunFolder, identity
from . import identity as identities
from . import work as parts

LOOK = 0.25  # seconds between two looks at the folder
GRACE = 10.0  # seconds in which a worker that is told to end may end
EARLY = 2  # workers that may end before they have loaded the model


@dataclass(frozen=True)
class Job:
    """All that a worker needs, to be sent to it."""

    folder: RunFolder
    experiment: Experiment
    opening: Callable[[], Model]
    facts: FactSet
    supervisor: Mapping[str, Any]
    threads: int
    patience: float


@dataclass
class _Worker:
    process: BaseProcess
    ears: Connection
    ready: bool = False


def run(job: Job, workers: int, told: Callable[[], None]) -> None:
    """Let `workers` processes do the run; one that ends is replaced. `told` is called again and again.

    Ctrl-C lets the workers give back what they have in hand. Raises BadSetting where no worker comes to its work, and
    what a worker raised.
    """
    team: list[_Worker] = []
    early = 0
    try:
        for _ in range(workers):
            _start(job, team)
        while team:
            wait([x for w in team for x in (w.ears, w.process.sentinel)], timeout=LOOK)
            for w in list(team):
                _hear(w)
                if not w.process.is_alive():
                    _hear(w)
                    w.process.join()
                    w.ears.close()
                    team.remove(w)
                    if w.process.exitcode:
                        early += not w.ready
                        _check(early, w)
                        if job.folder.unfinished():
                            _start(job, team)
            told()
    finally:
        _end(team)


def _hear(worker: _Worker) -> None:
    """Raises what the worker raised."""
    try:
        while worker.ears.poll():
            what, error = worker.ears.recv()
            worker.ready = True
            if what == "failed":
                raise error
    except (EOFError, OSError):  # it has ended, perhaps in the middle of a word
        return


def _check(early: int, worker: _Worker) -> None:
    if early >= EARLY:
        raise BadSetting(
            f"{early} workers ended before they had loaded the model, the last with exit code "
            f"{worker.process.exitcode}; is there memory for so many models? Try fewer --workers."
        )


def _start(job: Job, team: list[_Worker]) -> None:
    """One more worker."""
    context = multiprocessing.get_context("spawn")
    ears, mouth = context.Pipe(duplex=False)
    process = context.Process(target=_worker, args=(job, mouth), name="engram worker", daemon=True)
    with _deaf():
        team.append(_Worker(process, ears))  # known before a Ctrl-C that waits is heard
        process.start()
    mouth.close()


@contextmanager
def _deaf() -> Iterator[None]:
    """What is started in this block does not hear Ctrl-C; this process hears it behind the block.

    A worker is told to end by the one that started it.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # otherwise it is started on the way, and opens our ears again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(team: list[_Worker]) -> None:
    begun = [w for w in team if w.process.pid is not None]
    for w in begun:
        w.process.terminate()
    for w in begun:
        w.process.join(GRACE)
        if w.process.is_alive():
            w.process.kill()
            w.process.join()
        w.ears.close()


def _worker(job: Job, mouth: Connection) -> None:
    """What a worker does. Ends with 0 whatever it has to say; any other code is a death."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    above = os.getppid()

    def orphaned() -> None:
        if os.getppid() != above:
            os._exit(1)  # nobody waits for us any more; what is in hand is not whole, and stays so

    try:
        leases = Leases(job.folder, supervisor=job.supervisor, patience=job.patience)
        with leases.beating(orphaned), parts.threads(job.threads):
            model = _opened(job)
            mouth.send(("ready", None))
            parts.work(job.folder, job.experiment, model, job.facts, leases)
    except KeyboardInterrupt:
        return
    except EngramError as error:
        mouth.send(("failed", error))
    except Exception:  # noqa: BLE001  # a bug, told where somebody looks
        mouth.send(("failed", RuntimeError(f"a worker of this run failed:\n{traceback.format_exc()}")))


def _opened(job: Job) -> Model:
    """The model, seen to be that of the run. Raises OtherRun."""
    model = job.opening()
    own = identities.key_of(job.experiment, model, job.facts, threads=job.threads)
    if apart := list(job.folder.key.differences(own)):
        raise OtherRun(f"a worker loaded something else than the run was begun with: {'; '.join(apart[:3])}")
    return model


def job_of(
    folder: RunFolder, experiment: Experiment, opening: Callable[[], Model], facts: FactSet, threads: int,
    patience: float,
) -> Job:  # fmt: skip
    """A job whose workers this process looks after."""
    return Job(folder, experiment, opening, facts, identity(), threads, patience)
