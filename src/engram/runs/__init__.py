"""An experiment over processes, into a folder that survives them: begun, taken up where it stopped, finished."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

from ..errors import BadSetting, UnknownName
from ..experiments import Experiment
from ..facts import FactSet
from ..models import Model, load
from ..store import PATIENCE, Leases, Run, RunFolder, open_run
from . import processes, ray
from .identity import key_of
from .job import Job
from .work import Meter, relations_of, sizes, work
from .work import threads as with_threads

On = Literal["serial", "processes", "ray"]
Rate = Callable[[int, int, float], None]  # facts done, facts in all, facts per second

__all__ = ["key_of", "run"]


def run(
    experiment: Experiment,
    facts: FactSet,
    model: Model | str | Callable[[], Model] | None = None,
    *,
    out: str | Path,
    on: On = "serial",
    workers: int = 1,
    threads: int = 1,
    retry: bool = False,
    patience: float = PATIENCE,
    timeout: float | None = None,
    address: str | None = None,
    progress: Rate | None = None,
) -> Run:
    """Do all cases of an experiment that are not done yet, into the folder `out`; called again, it goes on.

    `model` is one that is loaded, the name of one (nothing: the one shipped inside), or a function that loads it;
    processes other than this one need to load it themselves. `on` says where the work is done: "serial", in this
    process; "processes", in `workers` new ones, in turn on the GPUs; or "ray", by `workers` actors of the cluster at
    `address` ("auto", host:port; None: one of its own). The same shards, byte for byte. Several such calls at once, on
    machines that share the disk, share the work. `threads` are torch's, in each process; they belong to the run, for
    sums depend on them.

    A shard at which two workers ended, or that does not fit into memory, is quarantined, and tried again with `retry`.
    A worker is taken for lost after `patience` seconds without a sign of life, and is ended when it has been at one
    shard for `timeout` seconds. `progress` is told (facts done, facts in all, facts per second). Raises OtherRun where
    the folder holds another run, BadSetting, BadData, and what `engram.load` raises.

    >>> import tempfile
    >>> import engram as eg
    >>> facts = eg.data.read("shipped").only(["capital"])
    >>> folder = tempfile.mkdtemp()
    >>> done = eg.run(eg.experiments.Attributions(eg.Activation(), limit=2), facts, out=folder)
    >>> done.complete, len(list(done.by_fact()))
    (True, 2)
    """
    _check(on, model, workers, threads, timeout, address)
    opening = model if callable(model) else functools.partial(load, model)
    own = model if isinstance(model, Model) else opening()
    folder = _begun(experiment, own, facts, out, threads)
    if retry:
        folder.retry()
    meter = Meter(folder, progress)
    meter()
    if on == "serial":
        leases = Leases(folder, patience=patience)
        with leases.beating(), with_threads(threads):
            work(folder, experiment, own, facts, leases, meter)
    else:
        job = Job.of(
            folder, experiment, opening, facts, own, threads=threads, patience=patience, timeout=timeout
        )  # fmt: skip
        del own  # this process only looks after the others
        team = min(workers, max(1, len(folder.unfinished())))
        if on == "ray":
            ray.run(job, team, meter, address)
        else:
            processes.run(job, team, meter)
    return _concluded(folder, experiment)


def _concluded(folder: RunFolder, experiment: Experiment) -> Run:
    """The run, with its summary if it is done."""
    done = open_run(folder.path)
    if done.complete:
        with suppress(BadSetting):  # that nothing could be asked is a result too
            folder.conclude(experiment.summary(done.results()))
    return done


def _check(on: str, model: object, workers: int, threads: int, timeout: float | None, address: str | None) -> None:
    """Raises UnknownName, BadSetting."""
    if on not in get_args(On):
        raise UnknownName("place to run on", on, get_args(On))
    if workers < 1 or threads < 1:
        raise BadSetting(f"workers and threads are numbers from 1 up, not {workers} and {threads}")
    if timeout is not None and not timeout > 0:
        raise BadSetting(f"a timeout is a number of seconds above 0, not {timeout}")
    if address is not None and on != "ray":
        raise BadSetting(f"an address is that of a Ray cluster: on='ray' goes with it, not {on!r}")
    if on == "serial" and workers > 1:
        raise BadSetting(f"one process is one worker, not {workers}: on='processes' starts several")
    if on == "serial" and timeout is not None:
        raise BadSetting("a timeout needs a process that looks after the one at work: on='processes' starts it")
    if on != "serial" and isinstance(model, Model):
        raise BadSetting("a model that is loaded stays in its process: give its name, or a function that loads it")


def _begun(experiment: Experiment, model: Model, facts: FactSet, out: str | Path, threads: int) -> RunFolder:
    key = key_of(experiment, model, facts, threads=threads)
    cases = experiment.cases(facts)
    about = {
        "relations": [{"id": r.id, "name": r.name} for r in facts.relations],
        "source": facts.source,
        "device": str(model.device),
        "shards": relations_of(cases, facts),
    }
    return RunFolder.begun(out, key, sizes(cases), about)
