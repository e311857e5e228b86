"""A preset gives the settings that were left out; a setting that was given wins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import UnknownName

FROM_PRESET: Any = None  # the default of such a setting; never seen on a finished value


def fill(settings: object, preset: str | None, presets: Mapping[str, Mapping[str, Any]]) -> None:
    """Give every setting that was left out its value: the preset's, or else that of the first of `presets`.

    Raises UnknownName.
    """
    default = next(iter(presets.values()))
    if preset is not None and preset not in presets:
        raise UnknownName(f"preset of {type(settings).__name__}", preset, presets)
    for name, value in {**default, **presets.get(preset or "", {})}.items():
        if getattr(settings, name) is FROM_PRESET:
            object.__setattr__(settings, name, value)
