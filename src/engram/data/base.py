"""What every data set is: a frozen value that knows where its files lie, and reads them into a FactSet."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..errors import BadData, BadSetting, UnknownName
from ..facts import FactSet
from ..registry import Registry


@dataclass(frozen=True)
class DataSet(ABC):
    """A data set in the files of its authors. Subclasses add settings as fields with defaults, and register.

    `path` is the folder of the files (the clone of their repository will do); None means that engram sees to it.

    >>> shipped = data_sets["shipped"]()
    >>> shipped.needs_path, len(shipped.read().relations)
    (False, 29)
    """

    origin: ClassVar[str]  # where the files come from
    licence: ClassVar[str]
    layout: ClassVar[str]  # what lies in the folder, in words
    needs_path: ClassVar[bool] = False

    path: str | Path | None = None

    @classmethod
    @abstractmethod
    def fits(cls, folder: Path) -> bool:
        """Do this folder's files lie as this data set's do?"""

    @abstractmethod
    def read(self) -> FactSet:
        """The relations and facts, in the order of the files; all of them, or BadData and nothing."""

    @property
    def folder(self) -> Path:
        """`path`, where it is a folder laid out as it should be. Raises BadSetting or BadData."""
        if self.path is None:
            raise BadSetting(
                f"{type(self).__name__} needs a path. Get the files from {self.origin} ({self.licence}), and give the "
                f"folder in which lie {self.layout}"
            )
        folder = Path(self.path).expanduser()
        if not folder.is_dir():
            raise BadData(folder, None, f"is to be a folder in which lie {self.layout}; there is no such folder")
        if not self.fits(folder):
            raise BadData(folder, None, f"in this folder are expected {self.layout}")
        return folder


data_sets: Registry[DataSet] = Registry("data set", "engram.data.sets", DataSet)
"""The data sets by name; a plug-in registers its own with `@data_sets("name")`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list of data sets: what is it, whose is it, and does it need a path? See `catalogue`.

    >>> {entry.name: entry.licence for entry in catalogue()}["shipped"]
    'MIT; the facts are common knowledge'
    """

    name: str
    description: str
    origin: str
    licence: str
    needs_path: bool


def catalogue() -> tuple[Entry, ...]:
    """Which data sets are there, whose are they, and which need a path?

    >>> [entry.name for entry in catalogue() if not entry.needs_path]
    ['pairs', 'pararel', 'punctuation', 'shipped']
    """
    return tuple(
        Entry(name, (inspect.getdoc(cls) or "").partition("\n")[0], cls.origin, cls.licence, cls.needs_path)
        for name, cls in ((name, data_sets[name]) for name in data_sets.names())
    )


def read(name_or_path: str | Path, **settings: Any) -> FactSet:
    """The data set of this name, or the one in this folder, whose layout is found out. For the command line.

    A name goes before a folder called the same; write `./pararel` for the folder. `settings` are those of the data
    set (for mParaRel: language="de"). Raises UnknownName, BadData, and BadSetting for one it does not have.

    >>> read("parrarel")
    Traceback (most recent call last):
    engram.errors.UnknownName: There is no data set called 'parrarel'. Did you mean pararel, mpararel, ...
    """
    return data_set(name_or_path, settings).read()


def data_set(
    name_or_path: str | Path, settings: dict[str, Any], first: Callable[[type[DataSet]], bool] = lambda _: False
) -> DataSet:
    """The data set of this name, or the one laid out like this folder, still unread. Raises as `read`.

    Where several layouts fit, a data set of which `first` is true goes before others.
    """
    name = str(name_or_path)
    if name in data_sets:
        return _with(data_sets[name], settings)
    path = Path(name).expanduser()
    if not path.exists():
        raise UnknownName("data set", name, data_sets.names(), hint="Nor is there a file or folder of that name.")
    classes = [data_sets[known] for known in data_sets.names()]
    for cls in sorted(classes, key=lambda cls: not first(cls)):
        if cls.fits(path):
            return _with(cls, {"path": path, **settings})
    layouts = "; ".join(f"{cls.__name__}: {cls.layout}" for cls in classes)
    raise BadData(path, None, f"no data set is laid out like this. There are {layouts}")


def verb(name: str) -> Callable[..., FactSet]:
    """The function that reads the data set of this name: `data.pararel` is `verb("pararel")`. Raises UnknownName."""
    cls = data_sets[name]

    @functools.wraps(cls, updated=())
    def reads(path: str | Path | None = None, **settings: Any) -> FactSet:
        return _with(cls, {"path": path, **settings}).read()

    reads.__name__ = reads.__qualname__ = name
    return reads


def _with(cls: type[DataSet], settings: dict[str, Any]) -> DataSet:
    known = [field.name for field in dataclasses.fields(cls)]
    for name in settings:
        if name not in known:
            raise UnknownName(f"setting of {cls.__name__}", name, known)
    return cls(**settings)
