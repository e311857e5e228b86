"""`engram verify`: is a run whole, and still what was written?"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from . import _show
from ._options import Json

if TYPE_CHECKING:
    from ..store import Verified


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    run: Annotated[Path, Argument(help="The folder of a run.")],
    repair: Annotated[
        bool, Option("--repair", help="Put damaged shards aside, so that the next run does them again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Is a run whole, and is every file still what was written?

    Reads every shard, derives its checksum again, and names what is missing, damaged or quarantined. Ends with 1
    unless every shard is there and whole. Changes nothing, but for what --repair moves; foreign files it leaves alone.

    \b
    engram verify runs/gpt2
    engram verify runs/gpt2 --repair
    """
    from .. import store

    found = store.verify(run, repair=repair)
    if as_json:
        _show.document("verify", **dataclasses.asdict(found), complete=found.complete)
    else:
        _lines(run, found)
    if not found.complete:
        raise typer.Exit(1)


def _lines(run: Path, found: Verified) -> None:
    _show.line(
        f"{run}: {found.whole} of {found.shards} shards are whole, {found.rows:,} rows, {found.skipped:,} skipped"
    )
    for name, why in found.damaged.items():
        moved = f"; put aside as {found.aside[name]}, and to be done again" if name in found.aside else ""
        _show.line(f"damaged: {name} {why}{moved}")
    for name, why_not in found.quarantined.items():
        _show.line(f"quarantined: {name} ({why_not.get('reason', 'nobody says why')})")
    if found.missing:
        more = f", … ({len(found.missing)} in all)" if len(found.missing) > 10 else ""
        _show.line(f"missing: {', '.join(found.missing[:10])}{more}")
    for name in found.foreign:
        _show.line(f"foreign: {name}, which no run writes")
