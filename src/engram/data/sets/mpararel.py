"""mParaRel (Fierro and Søgaard 2022): ParaRel's relations in 46 languages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from ...errors import UnknownName
from ...facts import FactSet
from .. import form, wikidata
from ..base import DataSet, data_sets
from ..jsonl import by_name


@data_sets("mpararel")
@dataclass(frozen=True)
class MParaRel(DataSet):
    """ParaRel in 46 languages, translated by machine and partly reviewed (Fierro and Søgaard 2022).

    `language` is a folder's name: en, de, zh-hans … A relation is read where it has both templates and facts; P19
    stands before P106. A fact's id is its `lineid`, the same in every language: it is how facts are matched across
    languages. Names of relations are Wikidata's English ones.

    Raises BadData, BadSetting without a path, and UnknownName for a language that is not there.

    >>> import engram as eg
    >>> eg.data.mpararel(language="de")
    Traceback (most recent call last):
    engram.errors.BadSetting: MParaRel needs a path. Get the files from https://github.com/coastalcph/mpararel ...
    """

    origin: ClassVar[str] = "https://github.com/coastalcph/mpararel"
    licence: ClassVar[str] = "none stated; the facts are Wikidata's (CC0)"
    layout: ClassVar[str] = (
        "patterns/<language>/P*.jsonl and tuples/<language>/P*.jsonl, here or in data/mpararel_reviewed/"
    )
    needs_path: ClassVar[bool] = True

    language: str = "en"

    @classmethod
    def fits(cls, folder: Path) -> bool:
        return all((_home(folder) / part).is_dir() for part in ("patterns", "tuples"))

    def read(self) -> FactSet:
        home = _home(self.folder)
        languages = [p.name for p in (home / "patterns").iterdir() if (home / "tuples" / p.name).is_dir()]
        if self.language not in languages:
            raise UnknownName("language of mParaRel", self.language, languages)
        templates = by_name(home / "patterns" / self.language)
        facts = by_name(home / "tuples" / self.language)
        both = [id_ for id_ in templates if id_ in facts]
        return FactSet(
            f"mpararel-{self.language}",
            tuple(replace(wikidata.named(id_), templates=form.templates(templates[id_])) for id_ in both),
            {id_: form.facts(facts[id_], id_, id_key="lineid") for id_ in both},
            str(home),
        )


def _home(folder: Path) -> Path:
    inner = folder / "data" / "mpararel_reviewed"
    return inner if inner.is_dir() else folder
