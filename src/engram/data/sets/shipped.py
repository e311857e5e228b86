"""The facts shipped with engram, in ParaRel's form; the form is also the simplest one for facts of one's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from ...errors import UnknownName
from ...facts import Fact, FactSet, Relation
from .. import form
from ..base import DataSet, data_sets
from ..jsonl import by_name, existing

HERE = Path(__file__).parent.parent / "shipped"


@data_sets("shipped")
@dataclass(frozen=True)
class Shipped(DataSet):
    """Facts and templates written for engram, which come with it; or your own, in the same form.

    The folder holds `relations.jsonl` (a line a relation: `relation`, `label`, and if you like `type` and
    `description`), `patterns/<relation>.jsonl` (a line a template: `pattern`) and `facts/<relation>.jsonl` (a line a
    fact: `sub_label`, `obj_label`, and if you like `uuid`). Relations stand in the order of `relations.jsonl`.

    Raises BadData, and UnknownName for a file whose relation `relations.jsonl` does not know.

    >>> import engram as eg
    >>> facts = eg.data.shipped()
    >>> facts.fact("Ireland", "capital").answer
    'Dublin'
    """

    origin: ClassVar[str] = "engram itself"
    licence: ClassVar[str] = "MIT; the facts are common knowledge"
    layout: ClassVar[str] = "relations.jsonl, patterns/<relation>.jsonl and facts/<relation>.jsonl"

    @classmethod
    def fits(cls, folder: Path) -> bool:
        return (folder / "patterns").is_dir() and (folder / "facts").is_dir()

    def read(self) -> FactSet:
        folder = HERE if self.path is None else self.folder
        described = form.relations(existing(folder / "relations.jsonl"))
        for part in ("patterns", "facts"):
            for name, file in by_name(folder / part).items():
                if name not in described:
                    raise UnknownName("relation", name, described, hint=f"{file} is not in relations.jsonl.")
        relations: list[Relation] = []
        members: dict[str, tuple[Fact, ...]] = {}
        for id_, (relation, _) in described.items():
            templates = form.templates(existing(folder / "patterns" / f"{id_}.jsonl"))
            relations.append(replace(relation, templates=templates))
            members[id_] = form.facts(existing(folder / "facts" / f"{id_}.jsonl"), id_)
        return FactSet("shipped" if self.path is None else folder.name, tuple(relations), members, str(folder))
