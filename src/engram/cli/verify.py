"""`engram verify`: is a run whole, and still what was written?"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument

from . import _show
from ._options import Json

if TYPE_CHECKING:
    from ..store import Verified


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(run: Annotated[Path, Argument(help="The folder of a run.")], as_json: Json = False) -> None:
    """Is a run whole, and is every file still what was written?

    Reads every shard, derives its checksum again, and names what is missing, damaged or quarantined. Ends with 1
    unless every shard is there and whole. Changes nothing: delete what is damaged, and run again.

    \b
    engram verify runs/gpt2
    """
    from .. import store

    found = store.verify(run)
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
        _show.line(f"damaged: {name} {why}")
    for name, why_not in found.quarantined.items():
        _show.line(f"quarantined: {name}, at which {why_not.get('strikes', 'several')} workers ended")
    if found.missing:
        more = f", … ({len(found.missing)} in all)" if len(found.missing) > 10 else ""
        _show.line(f"missing: {', '.join(found.missing[:10])}{more}")
    for name in found.foreign:
        _show.line(f"foreign: {name}, which no run writes")
