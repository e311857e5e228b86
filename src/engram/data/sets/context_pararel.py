"""context-ParaRel (Wen & Bai): facts of ParaRel asked behind four demonstrations each, in the sentences they drew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from ...facts import BLANK, SUBJECT, Fact, FactSet, Prompt, Relation
from .. import form, wikidata
from ..base import DataSet, data_sets
from ..contexts import APART
from ..jsonl import Line, existing, lines
from ..records import has

_ENDS = ". ,"  # marks at the end, of which the published sentences have lost some


@data_sets("context_pararel")
@dataclass(frozen=True)
class ContextParaRel(DataSet):
    """2,153 facts of 22 relations in 17,042 prompts, each behind four other facts in the same words (Wen & Bai).

    The folder holds `patterns.jsonl` (a line a template: `relation`, `pattern`, and if you like `label` and `type`) and
    `prompts.jsonl` (a line a prompt: `uuid`, `relation`, `template_idx`, `answer`, and `prompt`, which has a
    demonstration a line and ends before the answer). A fact's subject is read from its sentences; its id is its uuid.
    `data.with_demonstrations` builds such a set from other facts, and `data.save_contexts` writes it.

    Raises BadData, and BadSetting without a path.

    >>> import engram as eg
    >>> eg.data.context_pararel()
    Traceback (most recent call last):
    engram.errors.BadSetting: ContextParaRel needs a path. Get the files from https://github.com/SedimentaryRockStar/...
    """

    origin: ClassVar[str] = (
        "https://github.com/SedimentaryRockStar/Localization_Model_Knowledge (knowledge_editing/notebooks/para_expand, "
        "para.json), one line a prompt and one a template"
    )
    licence: ClassVar[str] = "MIT"
    layout: ClassVar[str] = "patterns.jsonl and prompts.jsonl, plain or gzipped"
    needs_path: ClassVar[bool] = True

    @classmethod
    def fits(cls, folder: Path) -> bool:
        return (folder / "patterns.jsonl").is_file() and any(
            has(folder / name, "template_idx") for name in ("prompts.jsonl", "prompts.jsonl.gz")
        )

    def read(self) -> FactSet:
        folder = self.folder
        relations: dict[str, Relation] = {}
        for line in lines(existing(folder / "patterns.jsonl")):
            r = _relation(line)
            there = relations.setdefault(r.id, r)
            relations[r.id] = replace(there, templates=(*there.templates, form.template(line, "pattern")))
        members: dict[str, dict[str, Fact]] = {id_: {} for id_ in relations}
        own: dict[str, list[Prompt]] = {}
        for line in lines(existing(folder / "prompts.jsonl")):
            fact, prompt = _read(line, relations)
            if members[fact.relation].setdefault(fact.id, fact) != fact:
                raise line.bad(f"{fact.id} is {members[fact.relation][fact.id]} in the lines before, and {fact} here")
            own.setdefault(fact.id, []).append(prompt)
        facts = {id_: tuple(known.values()) for id_, known in members.items()}
        asked = {id_: tuple(prompts) for id_, prompts in own.items()}
        return FactSet("context_pararel", tuple(relations.values()), facts, str(folder), asked)


def _relation(line: Line) -> Relation:
    """That of a template, called as the line has it or as Wikidata does."""
    known = wikidata.named(line.text("relation"))
    return replace(known, name=line.text("label", "") or known.name, type=line.text("type", "") or known.type)


def _read(line: Line, relations: dict[str, Relation]) -> tuple[Fact, Prompt]:
    """The fact and the prompt of one line, with its blank and the mark behind it put back. Raises BadData."""
    id_, number = line.text("relation"), _whole(line, "template_idx")
    if id_ not in relations or not 0 <= number < len(relations[id_].templates):
        raise line.bad(f"there is no template {number} of relation {id_!r} in patterns.jsonl")
    template = relations[id_].templates[number]
    *demonstrations, last = line.text("prompt").split(APART)
    asked = last.rstrip(_ENDS)
    before, after = template.replace(BLANK, "").rstrip(_ENDS).split(SUBJECT)
    subject = asked.removeprefix(before).removesuffix(after)
    if not subject.strip() or before + subject + after != asked:
        raise line.bad(f"the last line of the prompt is not {template!r} up to its blank: {last!r}")
    fact = Fact(subject, id_, line.text("answer"), line.text("uuid"))
    text = APART.join([*demonstrations, template.replace(SUBJECT, subject)])
    return fact, replace(form.prompt(line, text, fact.answer), fact=fact, template=number)


def _whole(line: Line, key: str) -> int:
    value = line.values.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise line.bad(f"{key!r} is to be a whole number, not {value!r}")
    return value
