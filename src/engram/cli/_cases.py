"""`engram data counterfact-from`, and how cases are shown: what edits of these facts are judged by."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from ..cases import GROUPS, CaseSet
from ..errors import BadSetting
from ..facts import Prompt
from . import _show
from ._options import Json
from ._show import NUMBER, TEXT, WORD

ENDING = ".jsonl"
MEANT = (
    ("paraphrase", "the fact in other words"),
    ("neighbour", "other subjects with the same answer, in zsRE an unrelated question: should stay as it is"),
    ("attribute", "other subjects whose answer is the new one"),
    ("reverse", "from the new answer to the subject"),
    ("synonym", "the fact through another word"),
    ("onward", "what follows from the fact, one step further"),
    ("texts", "beginnings of texts about the subject"),
)


@dataclass(frozen=True)
class Making:
    """How many sentences of each kind, and the draws."""

    seed: Annotated[int, Option(min=0, help="Of every draw.")] = 0
    records: Annotated[
        int | None, Option(min=1, help="So many cases: the first of those that would be made without it. [all]")
    ] = None
    paraphrases: Annotated[int, Option(min=0, help="Sentences about the fact in other words, at most.")] = 2
    neighbours: Annotated[int, Option(min=0, help="Sentences about others with the same answer, at most.")] = 10
    attributes: Annotated[int, Option(min=0, help="Sentences about others with the new answer, at most.")] = 10
    texts: Annotated[int, Option(min=0, help="Beginnings of texts about the subject, at most.")] = 10
    masked: Annotated[
        bool, Option("--masked", help="For masked models: whole sentences, their blank wherever it is.")
    ] = False

    def settings(self) -> dict[str, Any]:
        """As `data.counterfact_from` takes them."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def counterfact_from(
    dataset: Annotated[str, Argument(help="The facts: a data set, by its name or its folder.")],
    *,
    out: Annotated[
        Path | None, Option("--out", "-o", help="Write the cases into this file, JSON Lines in CounterFact's form.")
    ] = None,
    relation: Annotated[
        list[str] | None, Option("--relation", "-r", help="Only this relation, by id or name; may be given again.")
    ] = None,
    making: Making,
    as_json: Json = False,
) -> None:
    """Make cases for editing of facts, as CounterFact was made.

    To each fact another answer of its relation, and the sentences that an edit to that end is judged by: paraphrases,
    neighbours, attributes, and where there are any the fact reversed, in another word, and one step further. The same
    seed makes the same cases, byte by byte. Without --out they are counted, and not kept.

    \b
    engram data counterfact-from shipped --records 200
    engram data counterfact-from pararel --relation P36 --relation P19 --out cases.jsonl
    """
    from .. import data

    if out is not None:
        _writable(out)
    cases = data.counterfact_from(data.read(dataset), relations=relation, **making.settings())
    if out is not None:
        data.save_cases(cases, out)
    if as_json:
        _show.document("data counterfact-from", out=out, name=cases.name, source=cases.source, **plain(cases))
        return
    _show.line(f"{cases.name}: {len(cases):,} cases in {len(cases.relations)} relations")
    _show.line()
    lines(cases)
    if out is not None:
        _show.line()
        _show.line(f"Written to {out}.")


def lines(cases: CaseSet) -> None:
    """How many sentences the cases of each relation have, one case whole, and the notes."""
    shown = [name for name, _ in MEANT if any(_number(cases, name).values())]
    counted = {name: _number(cases, name) for name in shown}
    rows = [
        [r.id, len(members), *(counted[name][r.id] for name in shown)]
        for r in cases.relations
        if (members := cases.members[r.id])
    ]
    if len(rows) > 1:
        rows.append(["all", len(cases), *(sum(counted[name].values()) for name in shown)])
    _show.table([("cases", WORD), ("n", NUMBER), *((name, NUMBER) for name in shown)], rows)
    _show.line()
    _show.entries(pair for pair in MEANT if pair[0] in shown)
    case = cases.cases[0]
    _show.line()
    _show.table([(f"case {case.id}", WORD), (f"{case.fact} → {case.new}", TEXT)], _example(cases))
    if cases.notes:
        _show.line()
        for note in cases.notes:
            _show.line(f"{note}.")


def plain(cases: CaseSet) -> dict[str, Any]:
    """The same in plain values: numbers of sentences by relation, the first case whole, and the notes."""
    counted = {name: _number(cases, name) for name, _ in MEANT}
    case = cases.cases[0]
    return {
        "cases": {
            r.id: {"cases": len(cases.members[r.id]), **{name: n[r.id] for name, n in counted.items()}}
            for r in cases.relations
        },
        "first": {
            "id": case.id, "subject": case.fact.subject, "relation": case.fact.relation, "answer": case.fact.answer,
            "new": case.new, "rewrite": case.prompt.text, "texts": case.texts,
            **{group: [[p.text, p.answer] for p in case.asked(group)] for group in GROUPS},
        },
        "notes": cases.notes,
    }  # fmt: skip


def _number(cases: CaseSet, name: str) -> dict[str, int]:
    """How many sentences of this kind, or texts, the cases of each relation have."""
    out = {r.id: 0 for r in cases.relations}
    for case in cases.cases:
        out[case.fact.relation] += len(getattr(case, name))
    return out


def _example(cases: CaseSet) -> list[tuple[str, str]]:
    """The first sentence of each kind that a case has, each with its answer."""
    case = cases.cases[0]
    rows = [("rewrite", _filled(case.prompt, case.new))]
    for group in GROUPS:
        rows += [(group, _filled(p, p.answer)) for p in case.asked(group)[:1]]
    return rows + [("texts", f"{text} …") for text in case.texts[:1]]


def _filled(prompt: Prompt, answer: str) -> str:
    return f"{prompt.text}: {answer}"


def _writable(out: Path) -> None:
    """Raises BadSetting, before anything takes long."""
    if out.suffix != ENDING:
        raise BadSetting(f"cases are written as {ENDING}, not as {out.name!r}")
    if not out.parent.is_dir():
        raise BadSetting(f"--out {out}: there is no folder {str(out.parent)!r}")
