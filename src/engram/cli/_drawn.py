"""Options of experiments over a data set: which set, which of its relations, which of its facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

if TYPE_CHECKING:
    from ..facts import FactSet


@dataclass(frozen=True)
class Source:
    """Which data set, and which of its relations."""

    data: Annotated[str, Option("--data", "-d", help="A data set: name or path.")] = "shipped"
    relation: Annotated[
        list[str] | None, Option("--relation", "-r", help="Only this relation, by id or name; may be given again.")
    ] = None

    def read(self) -> FactSet:
        """The whole data set. Raises what `engram.data.read` raises."""
        from .. import data

        return data.read(self.data)

    def relations(self, known: FactSet) -> Sequence[str] | None:
        """The ids of the relations that were named; None where none was. Raises UnknownName."""
        return [known.relation(r).id for r in self.relation] if self.relation else None


@dataclass(frozen=True)
class Pairs(Source):
    """Which minimal pairs, and which of their paradigms."""

    data: Annotated[str, Option("--data", "-d", help="Minimal pairs: pairs (shipped), or BLiMP's folder.")] = "pairs"


@dataclass(frozen=True)
class Drawing:
    """Which facts of a data set are asked, and how many of them are done together."""

    limit: Annotated[
        int | None, Option(min=1, help="The first so many facts, whatever their relation: --sample takes some of each.")
    ] = None
    sample: Annotated[int | None, Option(min=1, help="So many facts, of each relation its part, by --seed.")] = None
    facts: Annotated[
        int | None, Option(min=1, help="So many facts of each relation, those that `run neurons --facts` draws.")
    ] = None
    seed: Annotated[int, Option(min=0, help="Of the draw.")] = 0
    shard: Annotated[int | None, Option(min=1, help="Facts that are done and stored together. [32; traced 8]")] = None

    def drawn(self, source: Source, known: FactSet) -> dict[str, Any]:
        """The settings of `Drawn`; the experiment's own shard, where none was given. Raises UnknownName."""
        relations = source.relations(known)
        given = {name: getattr(self, name) for name in ("limit", "sample", "facts", "seed")}
        size = {} if self.shard is None else {"shard": self.shard}
        return {**given, **size, "relations": tuple(relations) if relations else None}
