"""A folder of runs that were made together: what it was made by, and which of its runs are done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import BadData
from ..store import Run, open_run


def made(folder: str | Path, by: str, command: str) -> tuple[Mapping[str, Any], dict[str, Run]]:
    """What the file `by` in this folder says of itself, and by name the runs of its steps that are done.

    Raises BadData where there is no such file, or no run of it that is done: `command` says what goes on with it.
    """
    path = Path(folder) / by
    try:
        said = json.loads(path.read_bytes())
        names = [step["name"] for step in said["steps"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(path, None, f"cannot be read ({error})") from None
    there = {n: open_run(path.parent / n) for n in names if (path.parent / n / "manifest.json").is_file()}
    runs = {name: run for name, run in there.items() if run.complete}
    if not runs:
        raise BadData(folder, None, f"has no run that is done yet: {command} again, and it goes on")
    return said, runs
