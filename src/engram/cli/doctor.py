"""`engram doctor`: is this installation whole, what does the machine have, and does the main job work here?"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import typer

from . import _machine, _show
from ._options import Json
from ._self_test import Check, self_test
from ._show import NUMBER, TEXT, WORD


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(*, as_json: Json = False) -> None:
    """Is this installation whole, and does the main job work on this machine?

    Shows versions, devices, extras, the hub and the caches, then asks the shipped model for a fact, finds its neurons,
    silences them, and looks whether everything is as before. Leaves with 1 where one of these checks fails. Without a
    network, nothing fails.

    \b
    engram doctor
    engram doctor --json
    """
    seen = _seen()
    if not as_json:
        _shown(seen)
    began = time.monotonic()
    checks = list(self_test())
    seconds = time.monotonic() - began
    passed = all(c.passed for c in checks)
    if as_json:
        told = {"passed": passed, "seconds": seconds, "checks": [asdict(c) for c in checks]}
        _show.document("doctor", passed=passed, **seen, self_test=told)
    else:
        _tested(checks, seconds)
    if not passed:
        raise typer.Exit(1)


def _seen() -> dict[str, Any]:
    """What is here, in plain values."""
    return {
        "system": _machine.system(),
        "libraries": [asdict(library) | {"fits": library.fits} for library in _machine.libraries()],
        "devices": _machine.devices(),
        "extras": _machine.extras(),
        "hub": asdict(_machine.hub()),
        "caches": _machine.caches(),
        "units": {"memory": "bytes", "free": "bytes", "seconds": "seconds"},
    }


def _shown(seen: dict[str, Any]) -> None:
    system, hub = seen["system"], seen["hub"]
    _show.line(f"engram {system['engram']}, Python {system['python']} on {system['system']}")
    _show.line(system["executable"])
    _show.line()
    columns = [("library", WORD), ("version", WORD), ("wanted", WORD), ("", WORD)]
    _show.table(columns, [
        (x["name"], x["version"] or "-", x["wanted"], "" if x["fits"] else "DOES NOT FIT") for x in seen["libraries"]
    ])  # fmt: skip
    _show.line()
    columns = [("device", WORD), ("there", WORD), ("memory (GiB)", NUMBER), ("free (GiB)", NUMBER), ("", TEXT)]
    _show.table(columns, [
        (x["device"], "yes" if x["there"] else "no", _gib(x["memory"]), _gib(x["free"]), x["what"])
        for x in seen["devices"]
    ])  # fmt: skip
    _show.line()
    columns = [("extra", WORD), ("there", WORD), ("for", WORD), ("", TEXT)]
    _show.table(columns, [
        (f"engram[{x['extra']}]", "yes" if x["there"] else "no", x["for"], "" if x["there"] else x["get"])
        for x in seen["extras"]
    ])  # fmt: skip
    _show.line()
    pairs = [("hub", f"{hub['endpoint']}: {hub['state']} ({hub['why']})")]
    for x in seen["caches"]:
        pairs.append((x["of"], f"{x['folder']}, {_gib(x['free'])} GiB free{'' if x['writable'] else ', NOT WRITABLE'}"))
    _show.entries(pairs)
    _show.line()


def _gib(size: int | None) -> str:
    return "-" if size is None else f"{size / _machine.GIB:.1f}"


def _tested(checks: list[Check], seconds: float) -> None:
    columns = [("self-test", WORD), ("", WORD), ("found", TEXT), ("aim", TEXT)]
    _show.table(columns, [(c.name, "passed" if c.passed else "FAILED", c.found, c.aim) for c in checks])
    _show.line()
    failed = [c for c in checks if not c.passed]
    if failed:
        _show.line(f"{len(failed)} of {len(checks)} checks failed, in {seconds:.1f} s:")
        _show.entries((c.name, c.found) for c in failed)
    else:
        _show.line(f"All {len(checks)} checks passed, in {seconds:.1f} s.")
