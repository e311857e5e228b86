"""Texts that speak of facts: with the answer, with the subject alone, with neither (Dai et al. 2022, section 4.4)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from .errors import BadData


class Mentions(NamedTuple):
    """The texts about one fact: those that mention subject and answer, and those that mention the subject."""

    both: tuple[str, ...] = ()
    head: tuple[str, ...] = ()


@dataclass(frozen=True)
class Texts:
    """Texts about the facts of a data set, aligned with them by position, and ordinary ones that name no entity of it.

    `members[relation][number]` are those of fact `number` of that relation; there may be fewer than facts. `reading`
    reads the same texts again: where it is given, a copy for another process is no more than that and a checksum.

    >>> ireland = Mentions(("Dublin lies in Ireland.",), ("Ireland is green.",))
    >>> texts = Texts("mine", {"P36": (ireland,)}, ("It rains.",))
    >>> texts.of("P36", 0).head, texts.of("P36", 7).head
    (('Ireland is green.',), ())
    """

    name: str
    members: Mapping[str, tuple[Mentions, ...]] = field(repr=False)
    neither: tuple[str, ...] = field(default=(), repr=False)
    source: str = ""
    reading: Callable[[], Texts] | None = field(default=None, repr=False, compare=False)

    def of(self, relation: str, number: int) -> Mentions:
        """The texts about fact `number` of a relation, by its id: none where there are none."""
        own = self.members.get(relation, ())
        return own[number] if number < len(own) else Mentions()

    @cached_property
    def everything(self) -> tuple[str, ...]:
        """All texts about facts, fact by fact, as often as they are there."""
        return tuple(self._each())

    @cached_property
    def checksum(self) -> str:
        """Of what the texts say, wherever they lie."""
        content = [[[r, own] for r, own in self.members.items()], self.neither]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()

    def settings(self) -> dict[str, Any]:
        """Which texts these are, in plain values."""
        return {"name": self.name, "checksum": self.checksum}

    def _each(self) -> Iterator[str]:
        for own in self.members.values():
            for mentions in own:
                yield from mentions.both
                yield from mentions.head

    def __reduce__(self) -> tuple[Any, ...]:
        if self.reading is None:
            return type(self), (self.name, self.members, self.neither, self.source)
        return _again, (self.reading, self.checksum)


def _again(reading: Callable[[], Texts], checksum: str) -> Texts:
    """What the process that sent this had. Raises BadData where the files have changed since."""
    texts = reading()
    if texts.checksum != checksum:
        raise BadData(texts.source, None, "holds other texts than it did when this run read them first")
    return texts
