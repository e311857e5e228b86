"""Is a run whole, and is every file still what was written?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadData
from .files import UNFINISHED
from .folder import MANIFEST, PARTS, RunFolder, name_of


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found in a run's folder. `damaged` and `quarantined` say why, by the name of the shard.

    `rows` and `skipped` count the records of the shards that are whole; `foreign` are files that no run writes.
    """

    shards: int
    whole: int
    rows: int
    skipped: int
    missing: tuple[str, ...]
    damaged: dict[str, str]
    quarantined: dict[str, dict[str, Any]]
    foreign: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Is every shard there, and whole?"""
        return self.whole == self.shards


def verify(path: str | Path) -> Verified:
    """Read every shard of a run, derive its checksum again, and compare. Changes nothing.

    Raises BadData where there is no run, or its manifest was changed.
    """
    folder = RunFolder.at(path)
    done, given_up = folder.done(), folder.quarantined()
    rows = skipped = 0
    damaged = {}
    for shard in sorted(done):
        try:
            table, about = folder.read(shard)
        except BadData as error:
            damaged[name_of(shard)] = error.what
        else:
            rows += table.num_rows
            skipped += len(about["skipped"])
    missing = [name_of(n) for n in range(len(folder.sizes)) if n not in done and n not in given_up]
    return Verified(
        len(folder.sizes), len(done) - len(damaged), rows, skipped, tuple(missing), damaged,
        {name_of(n): why for n, why in given_up.items()}, tuple(_foreign(folder)),
    )  # fmt: skip


def _foreign(folder: RunFolder) -> list[str]:
    names = {name_of(n) for n in range(len(folder.sizes))}
    found = [p.name for p in folder.path.iterdir() if p.name not in (MANIFEST, *PARTS) and not _unfinished(p)]
    found += [
        f"shards/{p.name}"
        for p in (folder.path / "shards").iterdir()
        if not (p.stem in names and p.suffix in (".parquet", ".sha256")) and not _unfinished(p)
    ]
    return sorted(found)


def _unfinished(path: Path) -> bool:
    return path.name.startswith(".") and path.suffix == UNFINISHED
