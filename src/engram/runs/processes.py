"""Several processes of this machine, each with a model of its own. Started afresh, so that none inherits a thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from ..store import identity
from .job import Job, Owner, Watch, orphaned, sent
from .work import threads, work

LOOK = 0.25  # seconds between two looks at the folder
GRACE = 10.0  # seconds in which a worker that is told to end may end
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass
class _Worker:
    number: int
    process: BaseProcess
    ears: Connection
    owner: Owner | None = None  # until it has loaded the model
    why: str = ""  # we ended it ourselves


def run(job: Job, workers: int, told: Callable[[], None]) -> None:
    """Let `workers` processes do the run; one that ends is replaced. `told` is called again and again.

    A model on the first GPU of several is loaded by each worker on another one, in turn. Ctrl-C lets the workers give
    back what they have in hand. Raises BadSetting where no worker comes to its work, and what a worker raised.
    """
    team: list[_Worker] = []
    watch = Watch(job)
    try:
        for number in range(workers):
            _start(job, team, number)
        while team:
            wait([x for w in team for x in (w.ears, w.process.sentinel)], timeout=LOOK)
            for w in list(team):
                _hear(w)
                if not w.process.is_alive():
                    _buried(w, team, watch)
                    if w.process.exitcode and job.folder.unfinished():
                        _start(job, team, w.number)
            _hurry(team, watch)
            told()
    finally:
        _end(team)


def _hear(worker: _Worker) -> None:
    """Raises what the worker raised."""
    try:
        while worker.ears.poll():
            owner, error = worker.ears.recv()
            worker.owner = owner
            if error is not None:
                raise error
    except (EOFError, OSError):  # it has ended, perhaps in the middle of a word
        return


def _buried(w: _Worker, team: list[_Worker], watch: Watch) -> None:
    """One has ended: hear its last words, and note what nobody does any more."""
    _hear(w)
    w.process.join()
    w.ears.close()
    team.remove(w)
    if w.process.exitcode:
        watch.ended(w.owner, w.why or f"with exit code {w.process.exitcode}")


def _hurry(team: list[_Worker], watch: Watch) -> None:
    """Who has been at one shard for too long is ended, and the shard has one more strike."""
    late = watch.late()
    for w in team:
        if w.owner in late and not w.why:
            w.why = watch.told_late
            watch.ended(w.owner, w.why)  # first, so that whoever takes it over knows
            w.process.kill()


def _start(job: Job, team: list[_Worker], number: int) -> None:
    """One more worker, on the place of that number."""
    context = multiprocessing.get_context("spawn")
    ears, mouth = context.Pipe(duplex=False)
    process = context.Process(target=_worker, args=(job, mouth), name="engram worker", daemon=True)
    with _deaf(), _seeing(device(number) if job.gpus == (0,) else None):
        team.append(_Worker(number, process, ears))  # known before a Ctrl-C that waits is heard
        process.start()
    mouth.close()


def device(number: int) -> str | None:
    """Which GPU the worker of this number is given: the next one, round and round. None: there is no choice."""
    n = torch.cuda.device_count()
    if n < 2:
        return None
    known = os.environ.get(VISIBLE)
    names = [x.strip() for x in known.split(",")] if known else [str(i) for i in range(n)]
    return names[number % n]


@contextmanager
def _seeing(gpu: str | None) -> Iterator[None]:
    """What is started in this block sees this GPU alone, as its first."""
    before = os.environ.get(VISIBLE)
    if gpu is not None:
        os.environ[VISIBLE] = gpu
    try:
        yield
    finally:
        if gpu is not None:
            os.environ.pop(VISIBLE)
            os.environ.update({} if before is None else {VISIBLE: before})


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
    owner = identity()
    try:
        leases = job.leases()
        with leases.beating(orphaned()), threads(job.threads):
            model = job.opened()
            mouth.send((owner, None))
            work(job.folder, job.experiment, model, job.facts, leases)
    except KeyboardInterrupt:
        return
    except Exception as error:  # noqa: BLE001  # told where somebody looks
        mouth.send((owner, sent(error)))
