"""ParaRel's form, which LAMA, mParaRel and the shipped facts share.

A template is a sentence with one `[X]` for the subject and one `[Y]` for the answer; a fact is a line with `sub_label`
and `obj_label`; a relation is a line with `relation`, `label`, `type` (1-1, N-1 or N-M) and `description`.
"""

from __future__ import annotations

from pathlib import Path

from ..facts import BLANK, SUBJECT, Fact, Relation
from .jsonl import Line, lines

TYPES = ("1-1", "N-1", "N-M")


def template(line: Line, key: str) -> str:
    """The template under `key`. Raises BadData unless it has exactly one [X] and one [Y]."""
    text = line.text(key)
    if text.count(SUBJECT) != 1 or text.count(BLANK) != 1:
        raise line.bad(f"a template has exactly one {SUBJECT} and one {BLANK}: {text!r}")
    return text


def templates(path: Path) -> tuple[str, ...]:
    """The templates of one relation, under the key `pattern`, in the file's order. Raises BadData."""
    return tuple(template(line, "pattern") for line in lines(path))


def facts(path: Path, relation: str, *, id_key: str = "uuid") -> tuple[Fact, ...]:
    """The facts of one relation, in the file's order, repeated ones included. Raises BadData.

    `id_key` is the key of the data set's own name for a fact; a fact without it has none.
    """
    return tuple(
        Fact(line.text("sub_label"), relation, line.text("obj_label"), str(line.values.get(id_key, "")))
        for line in lines(path)
    )


def relations(path: Path) -> dict[str, tuple[Relation, Line]]:
    """What a `relations.jsonl` says of each relation (its templates are still to come), by id, in its order.

    Raises BadData, also for a relation that stands there twice.
    """
    out: dict[str, tuple[Relation, Line]] = {}
    for line in lines(path):
        r = Relation(line.text("relation"), line.text("label"), (), line.text("type", ""), line.text("description", ""))
        if r.type and r.type not in TYPES:
            raise line.bad(f"the type of a relation is one of {', '.join(TYPES)}, not {r.type!r}")
        if r.id in out:
            raise line.bad(f"relation {r.id!r} stands here a second time")
        out[r.id] = (r, line)
    return out
