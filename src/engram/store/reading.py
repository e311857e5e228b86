"""Reading a run back: as values, as an Arrow table, as a pandas frame. Needs no model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadData, BadSetting, UnknownName
from ..facts import Fact
from ..results import Attribution, Report
from .folder import SUMMARY, RunFolder
from .records import Record
from .shards import result_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Run:
    """What lies in a run's folder: as much of it as is done. Made by `engram.open_run`.

    >>> import tempfile
    >>> import engram as eg
    >>> few = eg.experiments.Attributions(eg.Activation(), limit=1)
    >>> run = eg.run(few, eg.data.read("shipped").only(["capital"]), out=tempfile.mkdtemp())
    >>> run.complete, run.manifest["experiment"], [fact.subject for fact, scores in run.by_fact()]
    (True, 'attribution', ['Albania'])
    >>> run.table().num_rows == len(list(run.attributions()))
    True
    """

    folder: RunFolder

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder.path

    @property
    def manifest(self) -> dict[str, Any]:
        """What was asked of what, with which settings and versions."""
        key = self.folder.key
        return {
            "id": key.id, "experiment": key.experiment, "settings": dict(key.settings), "model": dict(key.model),
            "data": dict(key.data), "engram": key.engram, "versions": dict(key.versions),
            "shards": list(self.folder.sizes), "about": dict(self.folder.about),
        }  # fmt: skip

    @property
    def complete(self) -> bool:
        """Is every shard done?"""
        return len(self.folder.done()) == len(self.folder.sizes)

    @property
    def quarantined(self) -> dict[int, dict[str, Any]]:
        """The shards that ended their workers, by number."""
        return self.folder.quarantined()

    def results(self) -> Iterator[dict[str, Any]]:
        """What the experiment gave for every case, in the order of the data. Raises BadData for a damaged shard."""
        for shard in sorted(self.folder.done()):
            yield self.result(shard)

    def result(self, shard: int) -> dict[str, Any]:
        """What the experiment gave for case number `shard`. Raises BadData where it is not done, or damaged."""
        return result_of(*self.folder.read(shard))

    def summary(self) -> Report | None:
        """What all shards together say; None where the run is not done, or nothing could be said of it."""
        try:
            found = json.loads((self.path / SUMMARY).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise BadData(self.path / SUMMARY, None, f"cannot be read ({error})") from None
        return Report.of(found)

    def skipped(self) -> list[dict[str, Any]]:
        """What could not be asked, with the reason."""
        return [s for shard in sorted(self.folder.done()) for s in self.folder.read(shard)[1]["skipped"]]

    def attributions(self, relation: str | None = None) -> Iterator[Attribution]:
        """The scores of every prompt (of one relation, by id or name), in the order of the data.

        Scores below the floor were not kept: asking for them raises BelowFloor. Raises UnknownName, BadData.
        """
        for _, found in self._records(relation):
            yield found

    def by_fact(self, relation: str | None = None) -> Iterator[tuple[Fact, list[Attribution]]]:
        """The same, the prompts of a fact together."""
        for _, own in self.by_number(relation):
            if (fact := own[0].prompt.fact) is not None:
                yield fact, own

    def by_number(self, relation: str | None = None) -> Iterator[tuple[int, list[Attribution]]]:
        """The same, by the number of the fact in the data."""
        for number, group in groupby(self._records(relation), key=lambda pair: pair[0].number):
            yield number, [found for _, found in group]

    def table(self) -> pa.Table:
        """All shards as one Arrow table: a row for each prompt. Raises BadData."""
        import pyarrow as pa

        parts = [self.folder.read(shard)[0].replace_schema_metadata() for shard in sorted(self.folder.done())]
        if not parts:
            raise BadData(self.path, None, "has no shard that is done")
        return pa.concat_tables(parts)

    def frame(self) -> pd.DataFrame:
        """The same as a pandas frame. Raises BadSetting where pandas is not installed."""
        try:
            import pandas  # noqa: F401  # what Arrow would ask for in its own words
        except ImportError:
            raise BadSetting("a frame needs pandas: `pip install pandas`, or take .table()") from None
        return self.table().to_pandas(use_threads=False)

    def _records(self, relation: str | None) -> Iterator[tuple[Record, Attribution]]:
        wanted = None if relation is None else self._relation(relation)
        if self.folder.key.experiment != "attribution":
            raise BadSetting(f"{self.path} is a run of {self.folder.key.experiment}, which keeps no scores")
        for shard in sorted(self.folder.done()):
            if wanted is not None and wanted not in self.folder.about["shards"][shard]:
                continue
            result = self.result(shard)
            for r in result["records"]:
                if wanted is None or (r.prompt.fact is not None and r.prompt.fact.relation == wanted):
                    yield r, r.attribution(result["widths"], result["method"], result["settings"])

    def _relation(self, name: str) -> str:
        known: list[Mapping[str, str]] = self.folder.about["relations"]
        for r in known:
            if name in (r["id"], r["name"]):
                return r["id"]
        raise UnknownName("relation", name, {x for r in known for x in (r["id"], r["name"])})


def open_run(path: str | Path) -> Run:
    """The run in this folder, whether or not it is done. Raises BadData where there is none.

    >>> import tempfile
    >>> import engram as eg
    >>> few = eg.experiments.Attributions(eg.Activation(), limit=1)
    >>> done = eg.run(few, eg.data.read("shipped").only(["capital"]), out=tempfile.mkdtemp())
    >>> open_run(done.path).summary() == done.summary()
    True
    """
    return Run(RunFolder.at(path))
