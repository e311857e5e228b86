"""Which edits does this session of the page know? Kept in memory, by id, until it ends."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from threading import Lock

from ..edits import Edit
from ..errors import BadSetting, UnknownName
from ..models import stacked


@dataclass(frozen=True)
class KeptEdit:
    """An edit, the name of the model it was planned for, and the Python that leaves it in the variable `edit`."""

    id: str
    model: str
    edit: Edit
    says: str
    python: str


@dataclass
class Kept:
    """At most `most` edits, the oldest forgotten first; saved ones go into `folder`, where there is one.

    >>> Kept(most=2).listed("some model")
    []
    """

    most: int = 20
    folder: Path | None = None
    _edits: OrderedDict[str, KeptEdit] = field(default_factory=OrderedDict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def keep(self, model: str, edit: Edit, says: str, python: str) -> str:
        """Keep it and give out its id. `says` is what a reader sees; `python` ends with `edit = …` made."""
        with self._lock:
            name = (
                f"edit-{token_hex(3)}"  # not a number: an address of an earlier server is to find nothing, not another
            )
            self._edits[name] = KeptEdit(name, model, edit, says, python)
            while len(self._edits) > self.most:
                self._edits.popitem(last=False)
            return name

    def entry(self, name: str, model: str) -> KeptEdit:
        """That of this id. Raises UnknownName, and BadSetting where it is another model's."""
        with self._lock:
            found = self._edits.get(name)
            known = [k for k, v in self._edits.items() if v.model == model]
        if found is None:
            raise UnknownName("kept edit", name, known, "Edits are forgotten when the server ends; plan it again.")
        if found.model != model:
            raise BadSetting(f"{name} was planned for {found.model}, not for {model}")
        return found

    def under(self, names: Iterable[str], model: str) -> list[Edit]:
        """The edits of these ids as one: what `under=` takes. Raises UnknownName, BadSetting, EditConflict."""
        edits = [self.entry(name, model).edit for name in names]
        return [stacked(*edits)] if len(edits) > 1 else edits

    def python(self, names: Iterable[str], model: str) -> str:
        """Lines of Python, after `model = …`, that leave these edits in the list `under`."""
        lines, several = ["under = []"], list(names)
        for name in several:
            lines += [self.entry(name, model).python.rstrip("\n"), "under.append(edit)"]
        if len(several) > 1:  # each was planned on the model as it is
            lines.append("under = [eg.stacked(*under)]")
        return "\n".join(lines) + "\n"

    def listed(self, model: str) -> list[dict[str, str]]:
        """What the page shows: the id and the words of every edit of this model."""
        with self._lock:
            return [{"id": k.id, "says": k.says} for k in self._edits.values() if k.model == model]

    def forget(self, name: str) -> bool:
        """Is it gone now, having been there?"""
        with self._lock:
            return self._edits.pop(name, None) is not None


kept = Kept()  # of this process: one page, one user
