"""Who a process is, so that another one, perhaps on another machine, can tell whether it still runs."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROC = Path("/proc")


@functools.cache
def here() -> str:
    """A name of this machine, as it was last started, and of what numbers its processes here."""
    parts = [socket.gethostname()]
    try:
        parts.append((PROC / "sys/kernel/random/boot_id").read_text().strip())
        parts.append(str((PROC / "self/ns/pid").readlink()))  # containers may share a name, not their numbers
    except OSError:
        return parts[0]
    return " ".join(parts)


def identity(process: int | None = None) -> dict[str, Any]:
    """This process (or that of this number on this machine), in plain values."""
    number = os.getpid() if process is None else process
    return {"host": here(), "process": number, "started": _started(number)}


def lives(owner: Mapping[str, Any]) -> bool | None:
    """Does this process still run? None where that cannot be seen from here."""
    if owner.get("host") != here() or owner.get("started") is None:
        return None
    return bool(_started(int(owner["process"])) == owner["started"])


def _started(process: int) -> str | None:
    """When a process began, in the system's own ticks: numbers are used again. None where it has ended.

    A process that has ended and was not yet waited for counts as ended.
    """
    try:
        text = (PROC / str(process) / "stat").read_text()
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
