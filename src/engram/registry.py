"""Names for the command line and for saved settings. Python callers import the class and need none of this.

A plug-in is an entry point of an installed package, in the group of its kind. Its module is loaded when a name of that
kind is first looked up, and registers what is called like the entry point.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from .errors import BrokenPlugin, UnknownName

T = TypeVar("T")
C = TypeVar("C")

GROUPS: Mapping[str, str] = {
    "engram.locators": "locator",
    "engram.selectors": "selector",
    "engram.editors": "editor",
    "engram.metrics": "metric",
    "engram.data.sets": "data set",
    "engram.experiments": "experiment",
    "engram.families": "family",
    "engram.tracers": "tracer",
    "engram.interventions": "intervention",
}


@dataclass(frozen=True, slots=True)
class Plugin:
    """What an installed package says that it brings: something called `name`, in `module`.

    `distribution` and `version` are the package's, "" where it does not say.

    >>> Plugin("engram.locators", "written", "my_locator", "my-package", "1.0").kind
    'locator'
    """

    group: str
    name: str
    module: str
    distribution: str
    version: str

    @property
    def kind(self) -> str | None:
        """What it is; None where nothing reads its group."""
        return GROUPS.get(self.group)


def plugins() -> tuple[Plugin, ...]:
    """Which plug-ins are installed? Told by their packages; nothing of theirs is imported.

    Groups that begin with `engram.` and that nobody reads are there too: most likely they are misspelt.

    >>> [p.name for p in plugins() if p.group == "engram.no_such_kind"]
    []
    """
    groups = [group for group in entry_points().groups if group.startswith("engram.")]
    found = [_told(entry) for group in groups for entry in entry_points(group=group)]
    return tuple(sorted(set(found), key=dataclasses.astuple))


class Registry(Generic[T]):
    """Every class of one kind, by name. Looking a name up reads each file of `package`, and each plug-in, once.

    A plug-in is an entry point in the group `package`: its module registers itself when it is loaded. A plug-in that
    does not is left out, and says so (BrokenPlugin) when it is asked for; where names are listed, it is warned of.
    `base` is what every class of the kind is a subclass of; then each is a finished dataclass, too.

    >>> from engram.locators import locators
    >>> locators["ablation"].__name__, "ablation" in locators.names()
    ('Ablation', True)
    """

    def __init__(self, kind: str, package: str, base: type[Any] | None = None) -> None:
        self.kind, self.package, self.base = kind, package, base
        self._classes: dict[str, type[T]] = {}
        self._broken: dict[str, BrokenPlugin] = {}
        self._read = self._warned = False
        self._reading = threading.RLock()

    def __call__(self, name: str) -> Callable[[type[C]], type[C]]:
        """Class decorator: register under `name`. Raises ValueError, TypeError: a mistake in the program."""

        def keep(cls: type[C]) -> type[C]:
            if name in self._classes:
                both = " and ".join(f"{c.__module__}.{c.__qualname__}" for c in (self._classes[name], cls))
                raise ValueError(f"two {self.kind}s are called {name!r}: {both}")
            if self.base is not None:
                _check(self.kind, name, cls, self.base)
            self._classes[name] = cls  # type: ignore[assignment]
            return cls

        return keep

    def names(self) -> list[str]:
        """All names there are. Warns of plug-ins that are broken, the first time."""
        self._read_all()
        if self._broken and not self._warned:
            self._warned = True
            for error in self._broken.values():
                warnings.warn(str(error), stacklevel=2)
        return sorted(self._classes)

    def __contains__(self, name: object) -> bool:
        """Is there such a thing, or a plug-in that should be?"""
        self._read_all()
        return name in self._classes or name in self._broken

    def __getitem__(self, name: str) -> type[T]:
        """The class of this name. Raises UnknownName, BrokenPlugin."""
        self._read_all()
        if name in self._broken:
            raise self._broken[name]
        try:
            return self._classes[name]
        except KeyError:
            raise UnknownName(self.kind, name, self._classes, hint=told(self.broken())) from None

    def broken(self) -> tuple[BrokenPlugin, ...]:
        """Why which plug-ins of this kind cannot be used."""
        self._read_all()
        return tuple(self._broken.values())

    def _read_all(self) -> None:
        with self._reading:  # whoever asks meanwhile, in another thread, waits for the whole
            if self._read:
                return
            self._read = True
            home = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(home.__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            for entry in entries(self.package):
                try:
                    self._plug_in(entry)
                except BrokenPlugin as error:
                    self._broken[entry.name] = error

    def _plug_in(self, entry: EntryPoint) -> None:
        """Raises BrokenPlugin where it fails, does not register its name, or that name was another's before."""
        before = dict(self._classes)
        try:
            load(entry)
        except BrokenPlugin:
            self._classes = before  # without what it registered before it failed
            raise
        if entry.name not in self._classes:
            raise broken(entry, f"it registers no {self.kind} of that name")
        other = before.get(entry.name)
        if other is not None and other.__module__.partition(".")[0] != entry.module.partition(".")[0]:
            raise broken(entry, f"there is a {self.kind} of that name in {other.__module__}")


def entries(group: str) -> tuple[EntryPoint, ...]:
    """The plug-ins of a group, as importlib has them."""
    return tuple(entry_points(group=group))


def load(entry: EntryPoint) -> Any:
    """What an entry point names. Raises BrokenPlugin, whatever it is that fails."""
    try:
        return entry.load()
    except Exception as error:
        # a plug-in is another's code: it may fail in any way, and the cause is kept
        raise broken(entry, f"{type(error).__name__}: {error}") from error


def broken(entry: EntryPoint, why: str) -> BrokenPlugin:
    """The error that says which plug-in of which package it is."""
    p = _told(entry)
    whose = f" of {p.distribution} {p.version}".rstrip() if p.distribution else ""
    return BrokenPlugin(f"The plug-in {p.name!r}{whose} ({p.group}: {p.name} = {p.module}) cannot be used: {why}")


def told(errors: tuple[BrokenPlugin, ...]) -> str:
    """These errors in one text."""
    return " ".join(f"{error}." for error in errors)


def _told(entry: EntryPoint) -> Plugin:
    whose = entry.dist
    return Plugin(entry.group, entry.name, entry.value, whose.name if whose else "", whose.version if whose else "")


def _check(kind: str, name: str, cls: type[Any], base: type[Any]) -> None:
    """Raises TypeError for a class that is none of this kind, or not finished."""
    here = f"the {kind} {name!r}, {cls.__module__}.{cls.__qualname__},"
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        raise TypeError(f"{here} is no subclass of {base.__module__.removesuffix('.base')}.{base.__name__}")
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise TypeError(f"{here} lacks {', '.join(missing)}")
    made = vars(cls).get("__dataclass_params__")
    if made is None or not made.frozen:
        raise TypeError(f"{here} is no frozen dataclass: @dataclass(frozen=True) stands below the name's decorator")
    if (own := getattr(cls, "name", name)) != name:
        raise TypeError(f"{here} calls itself {own!r}")
