"""A data set of moons: one file `moons.tsv`, a line a fact, moon and planet."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from engram.data import DataSet, data_sets
from engram.errors import BadData
from engram.facts import Fact, FactSet, Relation

MOON = Relation("moon", "moon of", ("[X] is a moon of [Y].", "The planet that [X] circles is [Y]."), type="N-1")


@data_sets("moons")
@dataclass(frozen=True)
class Moons(DataSet):
    """Moons and their planets: 18 facts, or those of a file of one's own."""

    origin: ClassVar[str] = "https://example.org/moons"
    licence: ClassVar[str] = "CC0"
    layout: ClassVar[str] = "moons.tsv"

    @classmethod
    def fits(cls, folder: Path) -> bool:
        return (folder / "moons.tsv").is_file()

    def read(self) -> FactSet:
        file = (Path(__file__).parent if self.path is None else self.folder) / "moons.tsv"
        facts: list[Fact] = []
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            moon, tab, planet = line.partition("\t")
            if not (moon and tab and planet):
                raise BadData(file, number, f"is to be moon, tab, planet, not {line!r}")
            facts.append(MOON.fact(moon, planet))
        return FactSet("moons", (MOON,), {MOON.id: tuple(facts)}, source=str(file))
