"""ParaRel's form, which LAMA, mParaRel and the shipped facts share, and the marks of which all data sets use.

A template is a sentence with one `[X]` for the subject and one `[Y]` for the answer; a fact is a line with `sub_label`
and `obj_label`; a relation is a line with `relation`, `label`, `type` (1-1, N-1 or N-M) and `description`.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import NotOneBlank
from ..facts import BLANK, SUBJECT, Fact, Prompt, Relation
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


def prompt(line: Line, text: str, answer: str, against: str | None = None) -> Prompt:
    """A fact's own sentence, as this line has it. Raises BadData unless it has exactly one [Y]."""
    try:
        return Prompt(text, answer, against=against)
    except NotOneBlank as error:
        raise line.bad(str(error)) from None


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
