"""The command line. A module here is a command, which its `register(app)` adds; one with an underscore is none."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run `engram` with the arguments of this process, and leave with its exit code.

    0 done, 1 failed, 2 misused, 130 interrupted.
    """
    from ._app import application

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show ⟨Ireland⟩ is no reason to stop
    application()(prog_name="engram")
