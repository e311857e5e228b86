"""A group of commands whose help shows the whole of each command's question."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperGroup


class Listing(TyperGroup):
    """Lists its commands, each with the first sentence of its help, on as many lines as that takes."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The names, and what they ask."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, _first(command.help)) for name, command in found if command is not None and not command.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _first(text: str | None) -> str:
    """The first sentence of a help.

    >>> _first("Are there neurons for . and ? in it?"), _first("How fast? In turns.")
    ('Are there neurons for . and ? in it?', 'How fast?')
    """
    lines = (text or "").strip().splitlines()
    return re.split(r"(?<=\w[.?])\s+(?=[A-Z`])", lines[0])[0] if lines else ""
