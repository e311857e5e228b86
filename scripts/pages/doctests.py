"""Doctests stand in docstrings as they are; for a page they are blocks of code."""

from __future__ import annotations

from typing import Any

import griffe


def fenced(text: str) -> str:
    """A docstring whose examples are fenced, each from its first prompt to the next empty line.

    >>> fenced("Asks.\\n\\n>>> 1 + 1\\n2").splitlines()
    ['Asks.', '', '```pycon', '>>> 1 + 1', '2', '```']
    """
    lines: list[str] = []
    open_ = False
    for line in [*text.splitlines(), ""]:
        if line.startswith(">>>") and not open_:
            lines.append("```pycon")
            open_ = True
        elif open_ and not line.strip():
            lines.append("```")
            open_ = False
        lines.append(line)
    return "\n".join(lines[:-1])


class Doctests(griffe.Extension):
    """Fences the examples of every docstring that is read."""

    def on_object(self, *, obj: griffe.Object, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        """Once for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
