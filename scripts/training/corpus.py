"""Which facts are taught, in which words, and which words are kept back for the examination?

The shipped data set has the layout of ParaRel: ``relations.jsonl`` names the relations, ``patterns/<id>.jsonl`` holds
their templates and ``facts/<id>.jsonl`` their facts. A template has one ``[X]`` (the subject) and one ``[Y]`` (the
answer). Every fact is taught in about two thirds of the templates of its relation, its *discovery* templates, and
examined in the others, its *test* templates, in which the model has never seen it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FACTS = Path(__file__).resolve().parents[2] / "src" / "engram" / "data" / "shipped"
BLANK = "[Y]"


@dataclass(frozen=True)
class Fact:
    """A subject and its answer."""

    subject: str
    answer: str


@dataclass(frozen=True)
class Relation:
    """A relation with its templates and facts, both in the order of their files."""

    id: str
    label: str
    templates: tuple[str, ...]
    facts: tuple[Fact, ...]

    @property
    def answers(self) -> tuple[str, ...]:
        """The different answers of the relation, sorted."""
        return tuple(sorted({fact.answer for fact in self.facts}))


@dataclass(frozen=True)
class Prompt:
    """One question: a template filled with the subject of a fact, the blank still open."""

    relation: int
    fact: int
    template: int
    text: str
    answer: str

    @property
    def sentence(self) -> str:
        """The prompt as a statement."""
        return self.text.replace(BLANK, self.answer)

    @property
    def final(self) -> bool:
        """Is the blank the last word, so that a causal model can be asked?"""
        return self.text.endswith(BLANK + ".")


def held_out(fact: int, template: int) -> bool:
    """Is this template (by its place in the relation) kept back for this fact (by its place)?"""
    return (fact + template) % 3 == 0


def relations(folder: Path = FACTS) -> tuple[Relation, ...]:
    """Read the relations of the data set in ``folder``."""

    def rows(path: Path) -> list[dict[str, str]]:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]

    return tuple(
        Relation(
            id=row["relation"],
            label=row["label"],
            templates=tuple(line["pattern"] for line in rows(folder / "patterns" / f"{row['relation']}.jsonl")),
            facts=tuple(
                Fact(line["sub_label"], line["obj_label"])
                for line in rows(folder / "facts" / f"{row['relation']}.jsonl")
            ),
        )
        for row in rows(folder / "relations.jsonl")
    )


def prompts(all_relations: tuple[Relation, ...], kept_back: bool, final_only: bool = False) -> Iterator[Prompt]:
    """The prompts of all facts: their test templates (``kept_back``) or their discovery templates."""
    for r, relation in enumerate(all_relations):
        for f, fact in enumerate(relation.facts):
            for t, template in enumerate(relation.templates):
                prompt = Prompt(r, f, t, template.replace("[X]", fact.subject), fact.answer)
                if held_out(f, t) == kept_back and (prompt.final or not final_only):
                    yield prompt
