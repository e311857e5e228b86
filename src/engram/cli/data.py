"""`engram data`: which facts are there, and what can edits of them be judged by?"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer import Argument

from ..cases import CaseSet
from ..facts import FactSet, Prompt
from . import _cases, _run_context, _show
from ._listing import Listing
from ._options import Json, spread
from ._show import NUMBER, TEXT, WORD

HELP = "-h", "--help"


class Sets(Listing):
    """`engram data shipped` shows a data set, unless the word is a command's; such a set is shown by `data show`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `show` before what names no command."""
        if not args or args[0] not in (*self.commands, *HELP):
            args = ["show", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the command."""
    sets = typer.Typer(
        cls=Sets, help="Which data sets are there, and what is in one? `engram data NAME_OR_PATH` is short for `engram "
        "data show NAME_OR_PATH`.", subcommand_metavar="[NAME_OR_PATH | COMMAND ...]",
    )  # fmt: skip
    sets.command("show")(data)
    sets.command("counterfact-from")(spread(_cases.counterfact_from))
    sets.command("contexts-from")(spread(_run_context.contexts_from))
    app.add_typer(sets, name="data")


def data(
    name_or_path: Annotated[str | None, Argument(help="A data set, by its name, its folder or its file.")] = None,
    as_json: Json = False,
) -> None:
    """Which data sets are there, and what is in one?

    \b
    engram data
    engram data shipped
    """
    from .. import data as home

    if name_or_path is not None:
        facts = home.read(name_or_path)
        _document(facts) if as_json else _relations(facts)
        return
    entries = home.catalogue()
    if as_json:
        keys = ("name", "description", "origin", "licence", "needs_path")
        _show.document("data", data_sets=[{key: getattr(e, key) for key in keys} for e in entries])
        return
    _show.entries((e.name, e.description + (" Give its folder." if e.needs_path else "")) for e in entries)
    _show.line()
    _show.line("`engram data NAME_OR_FOLDER` lists the relations of one.")


def _relations(facts: FactSet) -> None:
    _show.line(f"{facts.name}: {len(facts)} facts in {len(facts.relations)} relations")
    _show.line()
    names = ("templates", "last", "facts", *(["own"] if facts.own else []))
    columns = [("id", WORD), ("name", TEXT), ("type", WORD), *((name, NUMBER) for name in names), ("example", TEXT)]
    rows = []
    for x in _plain(facts):
        example = ": ".join(x["example"] or ())
        numbers = {**x, "templates": len(x["templates"]), "last": x["blank_last"]}
        rows.append((x["id"], x["name"], x["type"], *(numbers[name] for name in names), example))
    _show.table(columns, rows)
    _show.line()
    meant = [("last", "how many of the templates end with their blank, so that causal models can be asked")]
    if facts.own:
        meant.append(("own", "how many of the facts are asked in sentences of their own, not in the templates"))
    _show.entries(meant)
    if isinstance(facts, CaseSet):
        _show.line()
        _cases.lines(facts)


def _document(facts: FactSet) -> None:
    judged = _cases.plain(facts) if isinstance(facts, CaseSet) else {}
    _show.document("data", name=facts.name, source=facts.source, facts=len(facts), relations=_plain(facts), **judged)


def _plain(facts: FactSet) -> list[dict[str, Any]]:
    rows = []
    for r in facts.relations:
        members = facts.facts(r.id)
        rows.append(
            {
                "id": r.id, "name": r.name, "type": r.type, "description": r.description, "templates": r.templates,
                "blank_last": sum(_blank_last(t) for t in r.templates), "facts": len(members),
                "own": sum(f.id in facts.own for f in members),
                "example": [members[0].subject, members[0].answer] if members else None,
            }
        )  # fmt: skip
    return rows


def _blank_last(template: str) -> bool:
    return Prompt(template, "").blank_last
