"""What a paper published of one experiment: figures to stand beside, never ones to be compared with by a test."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from ..errors import UnknownName


@cache
def anchors(paper: str, section: str) -> dict[str, Any]:
    """A section of the published numbers of a paper. Raises UnknownName.

    >>> anchors("niu2024", "determiners")["pairs"], anchors("niu2024", "localisation")["facts"]["gpt2"]["neurons"]
    (283, 12.5)
    """
    file = resources.files(__package__) / "published" / f"{paper}.json"
    if not paper.isalnum() or not file.is_file():
        raise UnknownName("paper with published numbers", paper, ["dai2022", "niu2024"])
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(section_of := found.get(section), dict):
        raise UnknownName(f"section of {paper}", section, [k for k, v in found.items() if isinstance(v, dict)])
    return section_of
