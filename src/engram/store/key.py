"""What decides the numbers of a run, and whether two runs are the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..cases import CaseSet
from ..errors import BadData, OtherRun
from ..facts import FactSet
from ..files import checksum

SHOWN = 3  # differences that are named


@dataclass(frozen=True, slots=True)
class RunKey:
    """All that decides the numbers, as plain values. Two runs with the same key are the same run.

    `settings` are the experiment's, its seeds and its locator's among them; `model` its name, revision, checksums of
    weights and tokenizer, and how it is asked; `data` the name and checksum of the facts; `engram` the version of this
    package, `versions` those of the libraries below it.

    >>> a = RunKey("attribution", {"steps": 20}, {}, {}, "0.1.0", {})
    >>> b = RunKey("attribution", {"steps": 10}, {}, {}, "0.1.0", {})
    >>> list(a.differences(b)), a.id == b.id
    (['settings.steps is 20 there, and would be 10'], False)
    """

    experiment: str
    settings: Mapping[str, Any]
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    engram: str
    versions: Mapping[str, str]

    @property
    def id(self) -> str:
        """A checksum of all of it."""
        return checksum(canonical(asdict(self)))[:32]

    def differences(self, other: RunKey) -> Iterator[str]:
        """In what `other` is not this run, in words."""
        for part, there in asdict(self).items():  # in the order of the fields: first what a user chose
            yield from _differences(part, plain(there), plain(getattr(other, part)))

    def check(self, other: RunKey, folder: object) -> None:
        """May `other` go on with this run? Raises OtherRun with the first differences."""
        if apart := list(self.differences(other)):
            more = f"; and {len(apart) - SHOWN} more" if len(apart) > SHOWN else ""
            raise OtherRun(f"{folder} holds another run: {'; '.join(apart[:SHOWN])}{more}. Name another folder.")

    @classmethod
    def of(cls, found: Mapping[str, Any], path: object) -> RunKey:
        """A key as a manifest holds it. Raises BadData."""
        try:
            return cls(**found)
        except TypeError as error:
            raise BadData(path, None, f"is not a run's manifest as this version writes it ({error})") from None


def canonical(value: object) -> bytes:
    """The same bytes for the same plain values, in whatever order a mapping has its keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def plain(value: object) -> Any:
    """As JSON would give it back: tuples are lists."""
    return json.loads(canonical(value))


def data_key(facts: FactSet) -> dict[str, Any]:
    """The name of a data set, how many facts it has, and a checksum of what it says, wherever its files lie."""
    relations = [[r.id, r.name, r.templates, r.type] for r in facts.relations]
    content = [[f.relation, f.subject, f.answer, f.id] for f in facts]
    own = {f.id: [[p.text, p.answer, p.against] for p in facts.own[f.id]] for f in facts if f.id in facts.own}
    said = [relations, content, own] if own else [relations, content]  # without: as before there were any
    if isinstance(facts, CaseSet):
        said.append([asdict(c) for c in facts.cases])
    return {"name": facts.name, "facts": len(content), "checksum": checksum(canonical(said))}


def _differences(name: str, there: Any, here: Any) -> Iterator[str]:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*there, *here]):
            yield from _differences(f"{name}.{key}", there.get(key), here.get(key))
    elif there != here:
        yield f"{name} is {_short(there)} there, and would be {_short(here)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if value is not None else "nothing"
    return text if len(text) <= 60 else f"{text[:56]} …"
