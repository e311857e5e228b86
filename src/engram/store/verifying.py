"""Is a run whole, and is every file still what was written?"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from .. import files
from ..errors import BadData
from ..files import UNFINISHED
from .folder import DAMAGED, OURS, RunFolder, name_of


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found in a run's folder. `damaged` and `quarantined` say why, by the name of the shard.

    `rows` and `skipped` count the records of the shards that are whole; `foreign` are files that no run writes.
    `aside` is where the damaged ones were put, by the name of the shard, where that was asked for.

    Made by `verify`.

    >>> found = Verified(2, 1, 8, 0, ("part-00001",), {}, {}, ())
    >>> found.complete
    False
    """

    shards: int
    whole: int
    rows: int
    skipped: int
    missing: tuple[str, ...]
    damaged: dict[str, str]
    quarantined: dict[str, dict[str, Any]]
    foreign: tuple[str, ...]
    aside: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Is every shard there, and whole?"""
        return self.whole == self.shards


def verify(path: str | Path, *, repair: bool = False) -> Verified:
    """Read every shard of a run, derive its checksum again, and compare. Changes nothing unless asked to `repair`.

    That puts what is damaged into the folder `damaged`, so that the next run does it again. Raises BadData where there
    is no run, its manifest was changed, or a file cannot be moved.

    >>> import tempfile
    >>> import engram as eg
    >>> few = eg.experiments.Attributions(eg.Activation(), limit=1)
    >>> run = eg.run(few, eg.data.read("shipped").only(["capital"]), out=tempfile.mkdtemp())
    >>> verify(run.path).complete
    True
    """
    folder = RunFolder.at(path)
    done, given_up = folder.done(), folder.quarantined()
    rows = skipped = 0
    damaged = {}
    aside = {}
    for shard in sorted(done):
        try:
            table, about = folder.read(shard)
        except BadData as error:
            damaged[name_of(shard)] = error.what
            if repair:
                aside[name_of(shard)] = _aside(folder, shard)
        else:
            rows += table.num_rows
            skipped += len(about["skipped"])
    missing = [name_of(n) for n in range(len(folder.sizes)) if n not in done and n not in given_up]
    return Verified(
        len(folder.sizes), len(done) - len(damaged), rows, skipped, tuple(missing), damaged,
        {name_of(n): why for n, why in given_up.items()}, tuple(_foreign(folder)), aside,
    )  # fmt: skip


def _aside(folder: RunFolder, shard: int) -> str:
    """Take a shard and its checksum out of the run; where they are now. Nothing that lies there is written over."""
    final = folder.final(shard)
    home = folder.path / DAMAGED
    files.folder_at(home)
    free = next(n for n in count(1) if not any(home.glob(f"{final.stem}.{n}.*")))
    try:
        for path in (final, final.with_suffix(".sha256")):  # in this order: a kill between them leaves a missing shard
            if path.exists():
                path.rename(home / f"{path.stem}.{free}{path.suffix}")
        files.to_disk(final.parent)
    except OSError as error:
        raise BadData(final, None, f"cannot be put aside ({error.strerror})") from error
    return f"{DAMAGED}/{final.stem}.{free}{final.suffix}"


def _foreign(folder: RunFolder) -> list[str]:
    names = {name_of(n) for n in range(len(folder.sizes))}
    found = [p.name for p in folder.path.iterdir() if p.name not in OURS and not _unfinished(p)]
    found += [
        f"shards/{p.name}"
        for p in (folder.path / "shards").iterdir()
        if not (p.stem in names and p.suffix in (".parquet", ".sha256")) and not _unfinished(p)
    ]
    return sorted(found)


def _unfinished(path: Path) -> bool:
    return path.name.startswith(".") and path.suffix == UNFINISHED
