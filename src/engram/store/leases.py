"""Who is at which shard. Processes that share nothing but a disk share a run through these files.

A lease is a file that only one can make. Its owner touches it again and again; when it ends, the file stays. Nobody
takes a lease away: whoever finds the first one stale makes the second, and again only one can. So `part-00012.2.json`
says that a process was lost at shard 12, and another is at it.

A lease is stale when its owner is known to have ended, or when it was not touched for so long as `patience` says, by
the watch of the one who looks: clocks of machines differ, and jump. That an owner has ended is seen on its own machine,
and anywhere else from a note beside the lease, `part-00012.1.lost`, by whoever looked after it. Only where that one
lived on is the shard to blame.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import files
from ..errors import BadData
from . import owners
from .folder import RunFolder, name_of
from .key import canonical

PATIENCE = 60.0  # seconds without a sign of life
STRIKES = 2  # workers that a shard may end before it is quarantined


@dataclass(frozen=True, slots=True)
class Lease:
    """One process's right to a shard. `strikes`: how many workers ended at it while their run went on."""

    path: Path
    shard: int
    turn: int
    strikes: int

    def mine(self) -> bool:
        """Is it still there, and has nobody taken the shard over?"""
        return self.path.exists() and not _lease(self.path.parent, self.shard, self.turn + 1).exists()


@dataclass
class Leases:
    """The leases of a run, as one process takes and watches them.

    `supervisor` is the process that would go on if this one ended. Where it ended too, the whole run was stopped, and
    no shard is to blame for that.
    """

    folder: RunFolder
    supervisor: Mapping[str, Any] = field(default_factory=owners.identity)
    patience: float = PATIENCE
    closed: bool = field(default=False, init=False)
    _seen: dict[Path, tuple[int, float]] = field(default_factory=dict, init=False, repr=False)
    _held: Path | None = field(default=None, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def current(self) -> dict[int, int]:
        """Which shards have leases, living or stale, and the last turn of each."""
        turns: dict[int, int] = {}
        for path in (self.folder.path / "leases").iterdir():
            if m := re.fullmatch(r"part-(\d{5,})\.(\d+)\.json", path.name):
                turns[int(m[1])] = max(turns.get(int(m[1]), 0), int(m[2]))
        return turns

    def take(self, shard: int, turn: int = 0) -> Lease | None:
        """The lease of a shard whose last turn is `turn` (0: it has none); None where somebody else is at it.

        A shard that has ended its workers too often is quarantined instead.
        """
        strikes = 0
        if turn:
            path = _lease(self.folder.path / "leases", shard, turn)
            if not self._stale(path):
                return None
            strikes = self._strikes(path)
            if strikes >= STRIKES:
                content = _content(path)
                reason = f"{strikes} workers ended at it, the last one {_lost(path, content) or 'without a word'}"
                self.folder.quarantine(shard, {"shard": shard, "strikes": strikes, "reason": reason, "last": content})
                return None
        with self._lock:
            return None if self.closed else self._made(shard, turn + 1, strikes)

    @contextmanager
    def held(self, lease: Lease) -> Iterator[None]:
        """Touch the lease for the length of a block, and give it back however that ends; a kill leaves it."""
        try:
            yield
        finally:
            self._held = None
            lease.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give back what another thread of this process holds, and take nothing more: the process is to be killed."""
        with self._lock:
            self.closed = True
            if (path := self._held) is not None:
                path.unlink(missing_ok=True)

    def holders(self) -> dict[str, Mapping[str, Any]]:
        """Who is at a shard, living or ended, by the token of the lease."""
        found = map(_content, (self.folder.path / "leases").glob("part-*.json"))
        return {content["token"]: content["owner"] for content in found if content}

    def lost(self, owner: Mapping[str, Any], reason: str) -> None:
        """Note that this process was seen to end, and how: others, wherever they are, know that what it held is free.

        For the process that looked after it, and goes on. Raises BadData.
        """
        for path in (self.folder.path / "leases").glob("part-*.json"):
            if (content := _content(path)).get("owner") == owner:
                files.write(_note(path), canonical({"token": content["token"], "reason": reason}))

    def forget(self, shard: int) -> None:
        """The shard is done: remove what earlier turns left."""
        for path in (self.folder.path / "leases").glob(f"{name_of(shard)}.*"):
            path.unlink(missing_ok=True)
        for path in (self.folder.path / "shards").glob(f".{name_of(shard)}.*"):
            path.unlink(missing_ok=True)

    @contextmanager
    def beating(self, each: Callable[[], None] = lambda: None) -> Iterator[None]:
        """For the length of a block, touch what is held several times within `patience`, and call `each`."""
        stopped = threading.Event()

        def beat() -> None:
            while not stopped.wait(min(1.0, self.patience / 4)):
                each()
                if (path := self._held) is not None:
                    _touch(path)

        thread = threading.Thread(target=beat, daemon=True, name="heartbeat")
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def _made(self, shard: int, turn: int, strikes: int) -> Lease | None:
        path = _lease(self.folder.path / "leases", shard, turn)
        content = {
            "owner": owners.identity(), "supervisor": dict(self.supervisor), "token": secrets.token_hex(8),
            "strikes": strikes,
        }  # fmt: skip
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return None
        except OSError as error:
            raise BadData(path, None, f"cannot be written ({error.strerror})") from error
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file)
        except OSError as error:
            path.unlink(missing_ok=True)  # it says nothing, and would have others wait for its end
            raise BadData(path, None, f"cannot be written ({error.strerror})") from error
        self._held = path
        return Lease(path, shard, turn, strikes)

    def _stale(self, path: Path) -> bool:
        try:
            touched = path.stat().st_mtime_ns
        except FileNotFoundError:
            return False  # given back just now
        content = _content(path)
        if _lost(path, content) or _fallen(content):
            return True
        before, since = self._seen.get(path, (None, 0.0))
        if touched != before:
            self._seen[path] = (touched, time.monotonic())
            return False
        return time.monotonic() - since > self.patience

    def _strikes(self, path: Path) -> int:
        content = _content(path)
        if not content:
            return 0
        survived = _lost(path, content) or owners.lives(content["supervisor"])
        return int(content["strikes"]) + (1 if survived else 0)


def _fallen(content: Mapping[str, Any]) -> bool:
    """Is its owner seen from here to have ended, and whether the one who looked after it did?

    Where that one is elsewhere, it will leave a note; not to wait for it would be to lose count.
    """
    if not content or owners.lives(content["owner"]) is not False:
        return False
    return owners.lives(content["supervisor"]) is not None


def _lease(folder: Path, shard: int, turn: int) -> Path:
    return folder / f"{name_of(shard)}.{turn}.json"


def _note(path: Path) -> Path:
    return path.with_suffix(".lost")


def _lost(path: Path, content: Mapping[str, Any]) -> str:
    """How the owner of this very lease was seen to end; "" where nobody says that it did."""
    note = files.read(_note(path))
    return str(note["reason"]) if content and note.get("token") == content["token"] else ""


def _content(path: Path) -> dict[str, Any]:
    """What a lease says; nothing where its owner has only just made it, or ended while it did."""
    found = files.read(path)
    return found if {"owner", "supervisor", "token", "strikes"} <= found.keys() else {}


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:
        return  # given back between two beats, or the disk is away: then the others will see
