"""A run's folder: what was asked, which shards are done, which were given up.

manifest.json                what decides the numbers, and what there is to do; written once
shards/part-00012.parquet    the results of one case; there, and whole, or not there
shards/part-00012.sha256     its checksum, as `sha256sum -c` reads it
leases/                      who is at which shard now
quarantine/part-00012.json   a shard that ended its workers or did not fit into memory, and is not tried again
logs/                        one file for each process that worked here
damaged/                     shards that were found damaged, and are done again
summary.json                 what all shards together say, once they are done
report/                      the same for people
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..errors import BadData, BadSetting
from ..results import Report
from . import shards
from .key import RunKey, canonical

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST = "manifest.json"
SUMMARY = "summary.json"
DAMAGED = "damaged"
FORMAT = 1
PARTS = ("shards", "leases", "quarantine", "logs")
OURS = (MANIFEST, SUMMARY, "report", DAMAGED, *PARTS)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run on a disk. `sizes` says how many facts each of its shards has; `about` what is good to know of it."""

    path: Path
    key: RunKey
    sizes: tuple[int, ...]
    about: Mapping[str, Any]

    @classmethod
    def begun(cls, path: str | Path, key: RunKey, sizes: Sequence[int], about: Mapping[str, Any]) -> RunFolder:
        """Begin a run, or take up the one that lies there. Any number of processes may do so at once.

        Raises OtherRun where another lies there, BadSetting where something else does, BadData where nothing can be
        written.
        """
        folder = Path(path)
        if folder.exists() and not folder.is_dir():
            raise BadSetting(f"{folder} is a file; a run goes to a folder")
        if not (folder / MANIFEST).exists():
            foreign = [p.name for p in folder.iterdir() if not _ours(p.name)] if folder.is_dir() else []
            if foreign and not (folder / MANIFEST).exists():
                raise BadSetting(f"{folder} holds files that are not a run's, such as {min(foreign)}; name another")
            for part in PARTS:
                files.folder_at(folder / part)
            content = {
                "format": FORMAT, "id": key.id, "key": asdict(key), "shards": list(sizes), "about": dict(about),
            }  # fmt: skip
            text = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
            files.write(folder / MANIFEST, text.encode(), new=True)
        found = cls.at(folder)
        found.key.check(key, folder)
        for part in PARTS:
            files.folder_at(folder / part)
        return found

    @classmethod
    def at(cls, path: str | Path) -> RunFolder:
        """The run that lies there. Raises BadData where there is none, or its manifest is not as it was written."""
        manifest = Path(path) / MANIFEST
        try:
            found = json.loads(manifest.read_bytes())
        except FileNotFoundError:
            what = f"is no run: there is no {MANIFEST}" if Path(path).is_dir() else "is no run: there is no such folder"
            raise BadData(path, None, what) from None
        except (OSError, ValueError) as error:
            raise BadData(manifest, None, f"cannot be read ({error})") from None
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise BadData(manifest, None, f"is not a run's manifest of format {FORMAT}")
        try:
            key = RunKey.of(found["key"], manifest)
            run = cls(Path(path), key, tuple(found["shards"]), found["about"])
            if key.id != found["id"]:
                raise BadData(manifest, None, "was changed after it was written: its key and its id do not agree")
        except KeyError as error:
            raise BadData(manifest, None, f"lacks {error}") from None
        return run

    @property
    def id(self) -> str:
        """A checksum of the run's key."""
        return self.key.id

    def final(self, shard: int) -> Path:
        """Where a shard lies when it is done."""
        return self.path / "shards" / f"{name_of(shard)}.parquet"

    def done(self) -> set[int]:
        """The numbers of the shards that have their final file."""
        return set(_numbers(self.path / "shards", ".parquet")) & set(range(len(self.sizes)))

    def quarantined(self) -> dict[int, dict[str, Any]]:
        """The shards that are not tried again, and what is known of why. A shard that is done is none of them."""
        left = set(_numbers(self.path / "quarantine", ".json")) - self.done()
        return {n: files.read(self.path / "quarantine" / f"{name_of(n)}.json") for n in sorted(left)}

    def unfinished(self) -> list[int]:
        """The shards that are neither done nor quarantined, in order."""
        gone = self.done() | set(_numbers(self.path / "quarantine", ".json"))
        return [n for n in range(len(self.sizes)) if n not in gone]

    def publish(self, shard: int, result: Mapping[str, Any], columns: Mapping[str, str] | None = None) -> None:
        """Put a shard's result there, whole or not at all; `columns` are those of its rows. Raises BadData."""
        content = shards.encoded(self.id, shard, result, columns)
        final = self.final(shard)
        said = f"{files.checksum(content)}  {final.name}\n"
        files.write(final.with_suffix(".sha256"), said.encode())  # before the shard, so that no shard is without
        files.write(final, content)

    def conclude(self, report: Report) -> None:
        """Write what all shards together say. Raises BadData."""
        text = json.dumps(report.to_dict(), ensure_ascii=False, indent=1) + "\n"
        files.write(self.path / SUMMARY, text.encode())

    def quarantine(self, shard: int, why: Mapping[str, Any]) -> None:
        """Let nobody try this shard again."""
        files.write(self.path / "quarantine" / f"{name_of(shard)}.json", canonical(why), new=True)

    def retry(self) -> None:
        """Let the quarantined shards be tried again, as if they had not been tried before."""
        for n in _numbers(self.path / "quarantine", ".json"):
            for lease in (self.path / "leases").glob(f"{name_of(n)}.*"):
                lease.unlink(missing_ok=True)
            (self.path / "quarantine" / f"{name_of(n)}.json").unlink(missing_ok=True)

    def read(self, shard: int) -> tuple[pa.Table, dict[str, Any]]:
        """A shard's table, and what its file says of itself. Raises BadData for one that is missing or damaged."""
        final = self.final(shard)
        try:
            content = final.read_bytes()
        except FileNotFoundError:
            raise BadData(final, None, "is missing") from None
        except OSError as error:
            raise BadData(final, None, f"cannot be read ({error.strerror})") from error
        try:
            said = final.with_suffix(".sha256").read_text(encoding="utf-8").split()[0]
        except (OSError, ValueError, IndexError):
            raise BadData(final, None, "has no checksum beside it, so nothing says that it is whole") from None
        if said != files.checksum(content):
            raise BadData(final, None, "is damaged: it is not the file whose checksum was written")
        try:
            table, about = shards.decoded(content)
        except ValueError as error:
            raise BadData(final, None, str(error)) from error
        if (about["run"], about["shard"]) != (self.id, shard):
            raise BadData(final, None, f"is shard {about['shard']} of run {about['run']}, and does not belong here")
        return table, about


def name_of(shard: int) -> str:
    """What the files of a shard are called.

    >>> name_of(12)
    'part-00012'
    """
    return f"part-{shard:05}"


def _numbers(folder: Path, suffix: str) -> list[int]:
    names = (p.name for p in folder.iterdir()) if folder.is_dir() else iter(())
    return [int(m[1]) for name in names if (m := re.fullmatch(r"part-(\d{5,})" + re.escape(suffix), name))]


def _ours(name: str) -> bool:
    return name in OURS or (name.startswith(f".{MANIFEST}.") and name.endswith(files.UNFINISHED))
