"""What is named on the command line, and its settings: `--metric "halved part=0.25"`, `--by mass --set part=0.8`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import BadSetting, UnknownName

if TYPE_CHECKING:
    from ..registry import Registry


def named(kinds: Registry[Any], text: str) -> Any:
    """The value that a name and settings behind it mean. Raises UnknownName, BadSetting.

    >>> from engram.selectors import selectors
    >>> named(selectors, "top k=3")
    Top(k=3)
    """
    name, *settings = text.split() or [""]
    return made(kinds, name, settings)


def made(
    kinds: Registry[Any], name: str, settings: Sequence[str] = (), given: Mapping[str, Any] | None = None
) -> Any:  # fmt: skip
    """The value of this name with these settings, `name=value` each. Raises UnknownName, BadSetting, BrokenPlugin.

    `given` are those that have options of their own; where the class has no such field, it is UnknownName too.

    >>> from engram.selectors import selectors
    >>> made(selectors, "top")
    Traceback (most recent call last):
    engram.errors.BadSetting: top needs a k: it is set by k=...
    """
    kind = kinds[name]
    fields = {f.name: f for f in dataclasses.fields(kind) if f.init}
    chosen = {**(given or {}), **dict(map(_pair, settings))}
    for setting in chosen:
        if setting not in fields:
            raise UnknownName(f"setting of {name}", setting, fields)
    for setting, f in fields.items():
        if f.default is f.default_factory is dataclasses.MISSING and setting not in chosen:
            raise BadSetting(f"{name} needs a {setting}: it is set by {setting}=...")
    try:
        return kind(**chosen)
    except TypeError as error:
        raise BadSetting(f"{name} cannot be set like this: {error}") from error


def _pair(text: str) -> tuple[str, Any]:
    name, equals, given = text.partition("=")
    if not equals:
        raise BadSetting(f"a setting is given as name=value, not {text!r}")
    return name, value(given)


def value(text: str) -> Any:
    """As JSON has it, or else the text itself; lists are tuples.

    >>> value("[1, 2]"), value("0.5"), value("mean")
    ((1, 2), 0.5, 'mean')
    """
    try:
        return _tuples(json.loads(text))
    except ValueError:
        return text


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
