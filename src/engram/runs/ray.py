"""Actors on a Ray cluster, each with a model that stays, on cores or a GPU of its own. The only mention of Ray.

They work as any process does, through the leases in the run's folder, which all nodes have to share. Ray says where
they are, and at once when one is lost: no node sees the processes of another.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadData, BadSetting
from ..store import RunFolder, identity
from .job import Job, Owner, Watch, orphaned, sent
from .work import threads, work

START = 60.0  # seconds in which a cluster has to answer
LOOK = 0.5  # seconds between two looks at the folder
GRACE = 10.0  # seconds in which an actor that is told to end may give back what it has
STORE = 2**27  # bytes of shared memory for a cluster of our own: hardly anything is sent


@dataclass
class _Worker:
    actor: Any
    does: Any  # what is awaited of it: that it is ready, then that it is done
    owner: Owner | None = None  # until it has loaded the model
    why: str = ""  # we ended it ourselves


def run(job: Job, workers: int, told: Callable[[], None], address: str | None = None) -> None:
    """Let `workers` actors do the run; one that is lost is replaced. `told` is called again and again.

    Each has `job.threads` cores, and as many GPUs as the model lies on. `address` is "auto" or host:port of a cluster
    that runs; None starts one on this machine, for as long as this takes. One that this process has joined before is
    used, and left. Ctrl-C lets the actors give back what they have in hand. Raises BadSetting where no cluster answers,
    none of its nodes is large enough, one does not see the folder, or no worker comes to its work; and what a worker
    raised.
    """
    with _cluster(address, workers * job.threads) as ray, _sign(job.folder) as sign:
        _room(ray, job)
        kind = ray.remote(Actor).options(num_cpus=job.threads, num_gpus=len(job.gpus), max_concurrency=2)
        parcel = ray.put(job)

        def start() -> _Worker:
            actor = kind.remote(parcel, sign)
            return _Worker(actor, actor.ready.remote())

        _look_after(ray, job, [start() for _ in range(workers)], start, told)


class Actor:
    """A worker on a node. What goes wrong it gives back: raised, Ray would wrap it."""

    def __init__(self, job: Job, sign: Path) -> None:
        self.job, self.sign, self.leases, self.orphaned = job, sign, job.leases(), orphaned()

    def ready(self) -> Owner | Exception:
        """Load the model, and say who this is."""
        try:
            _shared(self.job.folder, self.sign)
            self.model = self.job.opened()
        except Exception as error:  # noqa: BLE001  # told where somebody looks
            return sent(error)
        return identity()

    def work(self) -> Exception | None:
        """Do what there is to do."""
        job = self.job
        try:
            with self.leases.beating(self.orphaned), threads(job.threads):
                work(job.folder, job.experiment, self.model, job.facts, self.leases, stopped=lambda: self.leases.closed)
        except Exception as error:  # noqa: BLE001  # told where somebody looks
            return sent(error)
        return None

    def close(self) -> None:
        """Give back what is in hand, while another thread works."""
        self.leases.close()


def _look_after(
    ray: Any, job: Job, team: list[_Worker], start: Callable[[], _Worker], told: Callable[[], None]
) -> None:  # fmt: skip
    watch = Watch(job)
    try:
        while team and (job.folder.unfinished() or any(w.owner for w in team)):
            heard, _ = ray.wait([w.does for w in team], timeout=LOOK)
            for w in [w for w in team if w.does in heard]:
                if lost := _hear(ray, w, team):
                    watch.ended(w.owner, w.why or lost)
                    if job.folder.unfinished():
                        team.append(start())
            late = watch.late()
            for w in team:
                if w.owner in late and not w.why:
                    w.why = watch.told_late
                    watch.ended(w.owner, w.why)  # first, so that whoever takes it over knows
                    ray.kill(w.actor)
            told()
    finally:
        _end(ray, team)


def _hear(ray: Any, w: _Worker, team: list[_Worker]) -> str:
    """Let one go on that is ready, and go that is done; how it was lost, if it was. Raises what it raised."""
    try:
        said = ray.get(w.does)
    except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
        ray.kill(w.actor)  # it may only be out of reach
        team.remove(w)
        lines = [line for line in str(error).splitlines() if line.strip()]
        causes = [line for line in lines if line.startswith("The actor is dead because")]
        return f"lost by Ray: {(causes or lines)[-1].strip()[:300]}"
    if isinstance(said, Exception):
        raise said
    if w.owner is None:
        w.owner, w.does = said, w.actor.work.remote()
    else:
        ray.kill(w.actor)
        team.remove(w)
    return ""


def _end(ray: Any, team: list[_Worker]) -> None:
    if closing := [w.actor.close.remote() for w in team if w.owner is not None]:
        ray.wait(closing, num_returns=len(closing), timeout=GRACE)
    for w in team:
        ray.kill(w.actor)


@contextmanager
def _sign(folder: RunFolder) -> Iterator[Path]:
    """A file by which an actor knows this very folder, and not a copy of it, for the length of a block."""
    path = folder.path / "leases" / f"sign-{secrets.token_hex(8)}"
    try:
        path.touch()
        yield path
    finally:
        path.unlink(missing_ok=True)


def _shared(folder: RunFolder, sign: Path) -> None:
    """Is the folder the same one here? Raises BadSetting."""
    try:
        same = RunFolder.at(folder.path).id == folder.id and sign.exists()
    except BadData:
        same = False
    if not same:
        raise BadSetting(
            f"the node {socket.gethostname()} does not see the run in {folder.path}; over several machines, "
            "a run goes to a folder that lies on a disk of them all, at the same path"
        )


def _room(ray: Any, job: Job) -> None:
    """Is there a node that can hold a worker? Raises BadSetting."""
    cores, gpus = job.threads, len(job.gpus)
    nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    if not any(n.get("CPU", 0) >= cores and n.get("GPU", 0) >= gpus for n in nodes):
        have = "; ".join(f"{n.get('CPU', 0):g} and {n.get('GPU', 0):g}" for n in nodes)
        raise BadSetting(f"a worker needs {cores} cores and {gpus} GPUs on one node; the nodes have {have}")


@contextmanager
def _cluster(address: str | None, cores: int) -> Iterator[Any]:
    """Ray, joined or started for the length of a block. Raises BadSetting.

    Done in a thread that stays: a cluster of our own ends with the thread that started it, and an answer that does not
    come is not waited for.
    """
    ray = _imported()
    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"address": "local", "num_cpus": cores, "include_dashboard": False, "object_store_memory": STORE}
    else:
        _answers(address)
    begun, over = threading.Event(), threading.Event()
    wrong: list[BaseException] = []

    def keep() -> None:
        try:
            ray.init(**options)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # told below
            wrong.append(error)
            return
        finally:
            begun.set()
        over.wait()
        ray.shutdown()

    keeper = threading.Thread(target=keep, daemon=True, name="ray")
    keeper.start()
    try:
        if not begun.wait(START):
            raise BadSetting(f"Ray did not start within {START:g} s ({address or 'on this machine'})")
        if wrong:
            raise BadSetting(f"Ray did not start: {_first(wrong[0])}") from wrong[0]
        yield ray
    finally:
        over.set()
        keeper.join(GRACE)


def _answers(address: str) -> None:
    """Does a cluster answer there? Asked in another process, for Ray ends the one whose question has no answer.

    Raises BadSetting.
    """
    nobody = f"no Ray cluster answers at {address}: `ray start --head` starts one, no address one of our own"
    host, _, port = address.rpartition(":")
    try:
        if host and port.isdecimal():
            socket.create_connection((host.strip("[]"), int(port)), timeout=START).close()
        asked = [] if address == "auto" else ["--address", address]
        command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", *asked]
        done = subprocess.run(command, capture_output=True, timeout=START, check=False)
    except (OSError, OverflowError, subprocess.TimeoutExpired) as error:
        raise BadSetting(f"{nobody} ({_first(error)})") from error
    if done.returncode:
        raise BadSetting(nobody)


def _imported() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what it will do, without a warning that it will
    try:
        import ray
    except ImportError:
        raise BadSetting("on='ray' needs Ray: `pip install 'engram[ray]'`") from None
    return ray


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
