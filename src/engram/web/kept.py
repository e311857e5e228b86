"""Which edits does this session of the page know? Kept in memory, by id, until it ends."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from threading import RLock

from ..edits import Edit
from ..errors import BadSetting, UnknownName
from ..models import stacked


@dataclass(frozen=True)
class KeptEdit:
    """An edit, the name of the model it was planned for, and the Python that leaves it in the variable `edit`.

    `on` are the ids of the edits that it was planned under: it can only be held after them.
    """

    id: str
    model: str
    edit: Edit
    says: str
    python: str
    on: tuple[str, ...] = ()


@dataclass
class Kept:
    """At most `most` edits, the oldest forgotten first, but for those that the new one rests on.

    Saved ones go into `folder`, where there is one.

    >>> Kept(most=2).listed("some model")
    []
    """

    most: int = 20
    folder: Path | None = None
    _edits: OrderedDict[str, KeptEdit] = field(default_factory=OrderedDict, init=False, repr=False)
    _lock: RLock = field(default_factory=RLock, init=False, repr=False)

    def keep(self, model: str, edit: Edit, says: str, python: str, on: Sequence[str] = ()) -> str:
        """Keep it and give out its id. `says` is what a reader sees; `python` ends with `edit = …` made.

        Where it was planned under others, `python` may count on them in the mapping `edits`, by id.
        """
        with self._lock:
            # not a number: an address of an earlier server is to find nothing, not another
            name = f"edit-{token_hex(3)}"
            self._edits[name] = KeptEdit(name, model, edit, says, python, tuple(on))
            while len(self._edits) > self.most:
                oldest = next((k for k in self._edits if k not in (name, *on)), None)
                if oldest is None:
                    break  # all of them are held under the new one
                for gone in [oldest, *self._resting(oldest)]:
                    self._edits.pop(gone, None)
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

    def levels(self, names: Iterable[str], model: str) -> list[list[KeptEdit]]:
        """These edits and those they were planned under: first those of the model as it is, then those of these, …

        Raises UnknownName, BadSetting.
        """
        deep: dict[str, int] = {}

        def depth(name: str) -> int:
            if name not in deep:
                deep[name] = 1 + max((depth(other) for other in self.entry(name, model).on), default=-1)
            return deep[name]

        for name in names:
            depth(name)
        return [
            [self.entry(n, model) for n, d in deep.items() if d == i] for i in range(max(deep.values(), default=-1) + 1)
        ]

    def under(self, names: Iterable[str], model: str) -> list[Edit]:
        """The edits of these ids as one: what `under=` takes. Raises UnknownName, BadSetting, EditConflict."""
        return [stacked(*(one.edit for one in level)) for level in self.levels(names, model)]

    def python(self, names: Iterable[str], model: str) -> str:
        """Lines of Python, after `model = …`, that leave these edits in the list `under`."""
        levels = self.levels(names, model)
        if len(levels) > 1:
            made = "".join(f"{one.python.rstrip()}\nedits[{one.id!r}] = edit\n" for level in levels for one in level)
            return f"edits = {{}}\n{made}under = {self.held(names, model)}\n"
        lines, several = ["under = []"], [one for level in levels for one in level]
        for one in several:
            lines += [one.python.rstrip("\n"), "under.append(edit)"]
        if len(several) > 1:  # each was planned on the model as it is
            lines.append("under = [eg.stacked(*under)]")
        return "\n".join(lines) + "\n"

    def held(self, names: Iterable[str], model: str) -> str:
        """The list that `under=` takes, as Python that has each edit in the mapping `edits`; nothing for none."""
        parts = []
        for level in self.levels(names, model):
            own = ", ".join(f"edits[{one.id!r}]" for one in level)
            parts.append(own if len(level) == 1 else f"eg.stacked({own})")
        return f"[{', '.join(parts)}]" if parts else ""

    def listed(self, model: str) -> list[dict[str, str]]:
        """What the page shows: the id and the words of every edit of this model."""
        with self._lock:
            return [{"id": k.id, "says": k.says} for k in self._edits.values() if k.model == model]

    def forget(self, name: str) -> bool:
        """Is it gone now, having been there? Raises BadSetting where another edit was planned under it."""
        with self._lock:
            if resting := self._resting(name):
                raise BadSetting(f"{' and '.join(resting)} was planned under {name}: forget that first")
            return self._edits.pop(name, None) is not None

    def _resting(self, name: str) -> list[str]:
        """The ids of edits that were planned under this one, directly or not."""
        own = [k for k, v in self._edits.items() if name in v.on]
        return list(dict.fromkeys([*own, *(deeper for k in own for deeper in self._resting(k))]))


kept = Kept()  # of this process: one page, one user
