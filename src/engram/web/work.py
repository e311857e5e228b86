"""What the page asked for, done one after the other in one thread: with progress, and a way to stop."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from ..errors import BadSetting, EngramError, UnknownName
from ..models import Model
from .serving import serving
from .views.base import View

LOG = logging.getLogger(__name__)
WAITING = 32  # jobs that may wait
REMEMBERED = 100  # jobs whose results can still be fetched
MODELS = 2  # models that stay in memory
BEAT = 15.0  # seconds after which a silent stream says that it is alive

Event = tuple[str, str]  # name, data as JSON


class Cancelled(Exception):
    """The page wants no answer any more. Raised inside a verb's own call of `progress`."""


class Busy(EngramError):
    """Too much is waiting already."""


class Job:
    """A view of a model, on its way to a result."""

    def __init__(self, view: View, model: str) -> None:
        self.id, self.view, self.model = secrets.token_urlsafe(12), view, model
        self.asks = (type(view), view.model_dump_json(), model)
        self.cancelled = threading.Event()
        self._lock = threading.Lock()
        self._progress: str | None = None
        self._end: Event | None = None
        self._wakes: list[Callable[[], None]] = []

    @property
    def done(self) -> bool:
        """Has it ended, in whatever way?"""
        return self._end is not None

    @property
    def serves(self) -> bool:
        """Will what it says do for whoever asks the same now?"""
        if self.cancelled.is_set():
            return False
        return self._end is None or (self._end[0] == "result" and not self.view.anew)

    def progress(self, done: int, total: int, says: str = "") -> None:
        """What verbs call on their way. Raises Cancelled."""
        if self.cancelled.is_set():
            raise Cancelled
        said = {"done": done, "total": total} | ({"says": says} if says else {})
        with self._lock:
            self._progress = json.dumps(said)
        self._wake()

    def end(self, name: str, data: str) -> None:
        """Its last event: `result` or `error`, with its data as JSON."""
        with self._lock:
            self._end = self._end or (name, data)
        self._wake()

    async def events(self) -> AsyncIterator[Event | None]:
        """What happens from now on, the latest progress first, to the end. None: nothing for a while."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody listens
                loop.call_soon_threadsafe(news.set)

        self._wakes.append(wake)
        try:
            told = None
            while True:
                news.clear()
                with self._lock:
                    progress, end = self._progress, self._end
                if progress is not None and progress != told:
                    yield "progress", progress
                    told = progress
                if end is not None:
                    yield end
                    return
                try:
                    await asyncio.wait_for(news.wait(), BEAT)
                except TimeoutError:
                    yield None
        finally:
            self._wakes.remove(wake)

    def _wake(self) -> None:
        for wake in list(self._wakes):
            wake()


class Work:
    """A queue and the one thread that empties it. The thread starts with the first job, and ends with the process."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._models: OrderedDict[str, Model] = OrderedDict()

    def submit(self, view: View, model: str) -> Job:
        """Do this after all that waits; a job that asks the same serves, so that a closed page loses nothing.

        Raises Busy.
        """
        job = Job(view, model)
        with self._changed:
            if same := next((old for old in self._jobs.values() if old.asks == job.asks and old.serves), None):
                return same
            if len(self._waiting) >= WAITING:
                raise Busy(f"{WAITING} questions are waiting already; cancel some, or wait")
            self._waiting.append(job)
            self._jobs[job.id] = job
            for old in [k for k, v in self._jobs.items() if v.done][: max(0, len(self._jobs) - REMEMBERED)]:
                del self._jobs[old]
            if self._thread is None:
                self._thread = threading.Thread(target=self._empty, name="engram work", daemon=True)
                self._thread.start()
            self._changed.notify()
        return job

    def __getitem__(self, job: str) -> Job:
        """The job of this id. Raises UnknownName."""
        with self._changed:
            if job not in self._jobs:
                raise UnknownName("job", job, [], "It is long done, or the server was started anew.")
            return self._jobs[job]

    def cancel(self, job: str) -> None:
        """Stop at its next call of `progress`, or at once where it waits. Raises UnknownName."""
        found = self[job]
        found.cancelled.set()
        with self._changed:
            waits = found in self._waiting
            if waits:
                self._waiting.remove(found)
        if waits:
            _say(found, "Cancelled.")

    def close(self, patience: float = 3.0) -> None:
        """Cancel all there is, and wait so many seconds for what runs, for no process should end within a pass."""
        with self._changed:
            left = [job for job in self._jobs.values() if not job.done]
        for job in left:
            self.cancel(job.id)
        end = time.monotonic() + patience
        while any(not job.done for job in left) and time.monotonic() < end:
            time.sleep(0.02)

    def _empty(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                job = self._waiting.popleft()
            self._do(job)

    def _do(self, job: Job) -> None:
        try:
            model = self._model(job)
            job.progress(0, 0)
            found = job.view.run(model, job.progress)
            made = {**found, "python": job.view.python(job.model)}
            job.end("result", json.dumps(made, ensure_ascii=False, allow_nan=False))
        except Cancelled:
            _say(job, "Cancelled.")
        except EngramError as error:
            _say(job, str(error))
        except Exception:  # noqa: BLE001 (a bug, told to whoever reads the log; the page goes on)
            _say(job, failure())

    def _model(self, job: Job) -> Model:
        """The model that the job names, from memory if it is there. Raises what `engram.load` raises."""
        job.progress(0, 0, "" if job.model in self._models else f"Loading {job.model} …")
        if job.model not in self._models:
            while len(self._models) >= MODELS:
                self._models.popitem(last=False)
            self._models[job.model] = serving.model(job.model)
        self._models.move_to_end(job.model)
        return self._models[job.model]


def failure() -> str:
    """What is said of a bug: an id under which the log has its traceback. Call it where it is caught."""
    name = secrets.token_hex(4)
    LOG.exception("failure %s", name)
    return f"Something is wrong in engram itself, not in what was asked. The server's log says more at failure {name}."


def chosen(view: type[View], given: Any) -> View:
    """The view with what was sent. Raises BadSetting, which says in words what is wrong with it."""
    from pydantic import ValidationError

    try:
        return view.model_validate(given)
    except ValidationError as error:
        raise BadSetting(worded(error.errors())) from None


def worded(errors: Any) -> str:
    """What pydantic found, as a sentence.

    >>> worded([{"loc": ("prompt",), "msg": "Field required"}])
    'prompt: field required'
    """
    said = []
    for error in list(errors)[:5]:
        where, what = ".".join(str(part) for part in error["loc"]), str(error["msg"])
        what = what[:1].lower() + what[1:]
        said.append(f"{where}: {what}" if where else what)
    return "; ".join(said)


def _say(job: Job, message: str) -> None:
    job.end("error", json.dumps({"message": message}, ensure_ascii=False))
