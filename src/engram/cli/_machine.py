"""What is installed here, what the machine has, and whether the hub answers; for `engram doctor`."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from .. import __version__

PATIENCE = 3.0  # seconds for the hub to answer
EXTRAS = {  # what cannot be done without an extra
    "web": "the page, `engram serve`",
    "ray": "runs on a cluster, `engram run --on ray`",
}
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Library:
    """A package that engram needs or can use: its version (None: not there), and the versions that would do."""

    name: str
    version: str | None
    wanted: str

    @property
    def fits(self) -> bool:
        """Is it there, in a version that engram was made for?

        >>> Library("numpy", "2.4.6", ">=1.26,<3").fits, Library("numpy", "3.0", ">=1.26,<3").fits
        (True, False)
        """
        from packaging.specifiers import SpecifierSet

        return self.version is not None and SpecifierSet(self.wanted).contains(self.version, prereleases=True)


@dataclass(frozen=True, slots=True)
class Hub:
    """Does the Hugging Face hub answer? `state` is "reachable", "not reachable" or "offline by choice"."""

    endpoint: str
    state: str
    why: str
    seconds: float | None = None


def libraries(extra: str = "") -> list[Library]:
    """What engram needs, or what an extra adds to it, as the installed engram says itself."""
    from packaging.requirements import Requirement

    def asked(need: Requirement, extra: str) -> bool:
        return need.marker is None or need.marker.evaluate({"extra": extra})

    needs = [Requirement(line) for line in requires("engram") or ()]
    own = [need for need in needs if asked(need, extra) and not (extra and asked(need, ""))]
    wanted = [",".join(sorted(map(str, need.specifier), reverse=True)) for need in own]
    return [Library(need.name, _version(need.name), w) for need, w in zip(own, wanted, strict=True)]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def system() -> dict[str, Any]:
    """engram, Python and where they run."""
    return {
        "engram": __version__, "python": platform.python_version(), "executable": sys.executable,
        "system": f"{platform.system()} {platform.machine()}",
    }  # fmt: skip


def devices() -> list[dict[str, Any]]:
    """What torch can compute on, or why it cannot; bytes of memory, None where it cannot be read."""
    try:
        import torch
    except (ImportError, OSError) as error:  # a broken installation is what one calls the doctor for
        why = f"torch cannot be imported: {error}"
        return [{"device": "cpu", "there": False, "memory": _memory(), "free": _memory(free=True), "what": why}]
    n = torch.get_num_threads()
    cpu = {
        "device": "cpu", "there": True, "memory": _memory(), "free": _memory(free=True),
        "what": f"{n} {'thread' if n == 1 else 'threads'} of torch, {os.cpu_count()} cores",
    }  # fmt: skip
    found: list[dict[str, Any]] = [cpu]
    for i in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(i)
        name = torch.cuda.get_device_name(i)
        found.append({"device": f"cuda:{i}", "there": True, "memory": total, "free": free, "what": name})
    if len(found) == 1:
        why = "no GPU is seen" if torch.version.cuda else f"torch {torch.__version__} is built without CUDA"
        found.append({"device": "cuda", "there": False, "memory": None, "free": None, "what": why})
    if there := torch.backends.mps.is_available():
        why = "Apple's GPU, which shares the memory of the machine"
    else:
        why = "not seen" if torch.backends.mps.is_built() else "torch is built without it"
    found.append({"device": "mps", "there": there, "memory": None, "free": None, "what": why})
    return found


def _memory(*, free: bool = False) -> int | None:
    """Bytes of this machine's memory; None where the system does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES" if free else "SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def extras() -> list[dict[str, Any]]:
    """What can be added to engram, whether it is there, and what it lacks."""
    found = []
    for name, what in EXTRAS.items():
        lacking = [library.name for library in libraries(name) if not library.fits]
        get = f"pip install 'engram[{name}]'"
        found.append({"extra": name, "for": what, "there": not lacking, "lacking": lacking, "get": get})
    return found


def hub(patience: float = PATIENCE) -> Hub:
    """Does the hub answer? Waits for `patience` seconds at most, the search for its address included.

    HF_HUB_OFFLINE and HF_ENDPOINT are honoured, for they are read where the models are loaded from.
    """
    try:
        from huggingface_hub import constants  # comes with transformers
    except ImportError as error:  # a broken installation, as with torch
        return Hub("-", "not reachable", f"huggingface_hub cannot be imported: {error}")
    endpoint = constants.ENDPOINT
    if constants.HF_HUB_OFFLINE:
        return Hub(endpoint, "offline by choice", "HF_HUB_OFFLINE is set; models that are in the cache can be loaded")
    said: list[str] = []
    began = time.monotonic()
    asking = threading.Thread(target=lambda: said.append(_said(endpoint, patience)), daemon=True)
    asking.start()
    asking.join(patience)  # looking up a name may take longer than the timeout of what follows
    seconds = time.monotonic() - began
    if said and not said[0]:
        return Hub(endpoint, "reachable", f"answered within {seconds:.2f} s", seconds)
    return Hub(endpoint, "not reachable", said[0] if said else f"no answer within {patience:g} s")


def _said(endpoint: str, patience: float) -> str:
    """Why nothing answers there; nothing where something does, whatever it answers."""
    import urllib.error
    import urllib.request  # not for those who only want help

    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=patience).close()
    except urllib.error.HTTPError:
        return ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return " ".join(str(reason).split()) or type(error).__name__
    return ""


def caches() -> list[dict[str, Any]]:
    """Where downloads are kept, the bytes that are free there, and whether one may write there."""
    places: dict[str, Path] = {}
    with suppress(ImportError):  # which library is not there, the list of libraries says
        from huggingface_hub import constants

        places["models"] = Path(constants.HF_HUB_CACHE)
    with suppress(ImportError):
        import pooch

        places["data sets"] = Path(pooch.os_cache("engram"))
    found = []
    for what, folder in places.items():
        there = next(p for p in (folder, *folder.parents) if p.exists())  # a folder that is yet to be made
        writable = there.is_dir() and os.access(there, os.W_OK)
        found.append({"of": what, "folder": str(folder), "free": shutil.disk_usage(there).free, "writable": writable})
    return found
