"""What a worker needs to know, wherever it is, and how one looks after workers."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import BadSetting, EngramError, OtherRun
from ..experiments import Experiment
from ..facts import FactSet
from ..models import Model
from ..store import Leases, RunFolder, identity
from .identity import key_of

EARLY = 2  # workers that may end before they have loaded the model

Owner = Mapping[str, Any]  # a process, as `store.identity` says who it is


@dataclass(frozen=True)
class Job:
    """All that a worker needs, to be sent to it.

    `timeout` is how many seconds a shard may take, None: as many as it wants; `gpus` are the numbers of those that the
    model lies on where it was loaded first.
    """

    folder: RunFolder
    experiment: Experiment
    opening: Callable[[], Model]
    facts: FactSet
    supervisor: Owner
    threads: int
    patience: float
    timeout: float | None = None
    gpus: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, folder: RunFolder, experiment: Experiment, opening: Callable[[], Model], facts: FactSet, own: Model, *,
        threads: int, patience: float, timeout: float | None,
    ) -> Job:  # fmt: skip
        """A job whose workers this process looks after; `own` is the model as this one opened it."""
        places = {p.device for p in own.net.parameters()}
        gpus = tuple(sorted(p.index or 0 for p in places if p.type == "cuda"))
        folder = replace(folder, path=folder.path.absolute())  # for workers may begin elsewhere
        return cls(folder, experiment, opening, facts, identity(), threads, patience, timeout, gpus)

    def leases(self) -> Leases:
        """Those of this run, for the process that asks."""
        return Leases(self.folder, supervisor=self.supervisor, patience=self.patience)

    def opened(self) -> Model:
        """The model, seen to be that of the run. Raises OtherRun."""
        model = self.opening()
        own = key_of(self.experiment, model, self.facts, threads=self.threads)
        if apart := list(self.folder.key.differences(own)):
            raise OtherRun(f"a worker loaded something else than the run was begun with: {'; '.join(apart[:3])}")
        return model


class Watch:
    """What the one who looks after workers knows of them: who is late, who came to his end early."""

    def __init__(self, job: Job) -> None:
        self.leases, self.timeout = job.leases(), job.timeout
        self._since: dict[str, float] = {}
        self._early = 0

    def late(self) -> list[Owner]:
        """Who has been at one shard for longer than the timeout, by the watch of this process."""
        if self.timeout is None:
            return []
        held = self.leases.holders()
        now = time.monotonic()
        self._since = {token: self._since.get(token, now) for token in held}
        return [owner for token, owner in held.items() if now - self._since[token] > self.timeout]

    @property
    def told_late(self) -> str:
        """How one who was late has ended."""
        return f"stopped after {self.timeout:g} s"

    def ended(self, owner: Owner | None, how: str) -> None:
        """A worker ended without a word; `owner` is None where it had not yet loaded the model. Raises BadSetting."""
        if owner is not None:
            self.leases.lost(owner, how)
            return
        self._early += 1
        if self._early >= EARLY:
            raise BadSetting(
                f"{self._early} workers ended before they had loaded the model, the last one {how}. "
                "Where memory is short for so many models, try fewer --workers."
            )


def orphaned() -> Callable[[], None]:
    """Ends this process, when it is called, if the one that started it has ended."""
    above = os.getppid()

    def check() -> None:
        if os.getppid() != above:
            os._exit(1)  # nobody waits for us any more; what is in hand is not whole, and stays so

    return check


def sent(error: Exception) -> Exception:
    """An error as it is told to the process that looks after this one: a bug with the place where it is."""
    if isinstance(error, EngramError):
        return error
    return RuntimeError(f"a worker of this run failed:\n{''.join(traceback.format_exception(error))}")
