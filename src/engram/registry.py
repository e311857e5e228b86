"""Names for the command line and for saved settings. Python callers import the class and need none of this."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from .errors import UnknownName

T = TypeVar("T")
C = TypeVar("C")


class Registry(Generic[T]):
    """Every class of one kind, by name. Looking a name up reads each file of `package`, and each plug-in, once.

    A plug-in is an entry point in the group `package`: its module registers itself when it is loaded.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self._classes: dict[str, type[T]] = {}
        self._read = False

    def __call__(self, name: str) -> Callable[[type[C]], type[C]]:
        """Class decorator: register under `name`."""

        def keep(cls: type[C]) -> type[C]:
            if name in self._classes:
                raise ValueError(f"two {self.kind}s are called {name!r}")
            self._classes[name] = cls  # type: ignore[assignment]
            return cls

        return keep

    def names(self) -> list[str]:
        """All names there are."""
        self._read_all()
        return sorted(self._classes)

    def __getitem__(self, name: str) -> type[T]:
        self._read_all()
        try:
            return self._classes[name]
        except KeyError:
            raise UnknownName(self.kind, name, self._classes) from None

    def _read_all(self) -> None:
        if self._read:
            return
        self._read = True
        home = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(home.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        for entry in entry_points(group=self.package):
            entry.load()
