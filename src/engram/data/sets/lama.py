"""LAMA's T-REx part (Petroni et al. 2019): 41 relations, one template each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from ...errors import BadData
from ...facts import Fact, FactSet, Relation
from .. import form
from ..base import DataSet, data_sets
from ..jsonl import by_name, existing


@data_sets("lama")
@dataclass(frozen=True)
class LAMA(DataSet):
    """T-REx facts of LAMA, one template a relation (Petroni et al. 2019).

    Relations stand in the order of `relations.jsonl`; one without a file in `TREx` is left out, as in LAMA's own
    script. LAMA's filters by vocabulary and length are not applied. A fact's id is its `uuid`.

    Raises BadData, and BadSetting without a path.

    >>> import engram as eg
    >>> eg.data.lama()
    Traceback (most recent call last):
    engram.errors.BadSetting: LAMA needs a path. Get the files from https://dl.fbaipublicfiles.com/LAMA/data.zip ...
    """

    origin: ClassVar[str] = "https://dl.fbaipublicfiles.com/LAMA/data.zip (github.com/facebookresearch/LAMA)"
    licence: ClassVar[str] = "CC BY-NC 4.0"
    layout: ClassVar[str] = "relations.jsonl and TREx/P*.jsonl, here or in data/"
    needs_path: ClassVar[bool] = True

    @classmethod
    def fits(cls, folder: Path) -> bool:
        return (_home(folder) / "TREx").is_dir()

    def read(self) -> FactSet:
        home = _home(self.folder)
        files = by_name(home / "TREx")
        described = form.relations(existing(home / "relations.jsonl"))
        relations: list[Relation] = []
        members: dict[str, tuple[Fact, ...]] = {}
        for id_, (relation, line) in described.items():
            if id_ in files:
                relations.append(replace(relation, templates=(form.template(line, "template"),)))
                members[id_] = form.facts(files[id_], id_)
        if not relations:
            raise BadData(home, None, "no relation of relations.jsonl has a file in TREx")
        return FactSet("lama", tuple(relations), members, str(home))


def _home(folder: Path) -> Path:
    return folder / "data" if (folder / "data" / "TREx").is_dir() else folder
