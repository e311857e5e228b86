"""Facts asked behind demonstrations: other facts of the relation in the same words, as Wen & Bai's context-ParaRel.

Their set is 22 relations, 2,153 facts, 17,042 prompts; the rules that they state give 24, 2,353 and 18,142:

    variant    relations
    paper22    those that they list: P131 is among them with 3 templates, P407, P530 and P1376 are not, with 4 to 6
    auto       every one with at least four templates that end with the answer

Theirs are the first 100 facts of a relation, in the order of the data; `sampled` draws them. Which demonstrations they
drew cannot be drawn again: `data.context_pararel` reads their sentences, this builds others by the same rules, but that
no demonstration is about the subject that is asked about.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ..errors import BadData, BadSetting, UnknownName
from ..facts import BLANK, SUBJECT, Fact, FactSet, Prompt, Relation
from ..files import write

Variant = Literal["paper22", "auto"]
PAPER22 = (
    "P39", "P264", "P108", "P131", "P176", "P30", "P178", "P138", "P47", "P27", "P364", "P495", "P449", "P20", "P36",
    "P19", "P740", "P279", "P159", "P106", "P101", "P937",
)  # fmt: skip
APART = "\n"  # between demonstrations, and before the sentence that asks
_MARKS = "?.,!;"
_SAMPLE = 1 << 32  # in the seed of the draw of facts, where that of demonstrations has the number of a fact


@dataclass(frozen=True)
class InContext(FactSet):
    """Facts whose own sentences stand behind demonstrations. `notes` say what was left out, and why.

    >>> import engram as eg
    >>> facts = eg.data.with_demonstrations(eg.data.shipped(), variant="auto", demonstrations=1, most=5)
    >>> isinstance(facts, InContext), len(facts.only(["capital"]))
    (True, 5)
    """

    notes: tuple[str, ...] = ()

    def only(self, relations: Sequence[str]) -> InContext:
        """The same set with these relations only. Raises UnknownName."""
        kept = FactSet.only(self, relations)
        return InContext(kept.name, kept.relations, kept.members, kept.source, kept.own, self.notes)


def with_demonstrations(
    facts: FactSet, *, variant: Variant = "paper22", demonstrations: int = 4, most: int = 100, least: int = 4,
    seed: int = 2022, sampled: bool = False,
) -> InContext:  # fmt: skip
    """These facts, each asked behind so many demonstrations: context-ParaRel (Wen & Bai) from any data set.

    Kept are the templates whose answer comes last, with a full stop where nothing follows it; of "auto" the relations
    with at least `least` of them, of "paper22" those of the published list; of each relation the first `most` facts,
    or as many drawn by `seed` where `sampled`. A demonstration is another fact of the relation in the same template, a
    line of its own; their answers differ from the gold one and from each other, and they are drawn anew for every
    sentence, by `seed`, relation, fact and template alone. A relation with too few different answers is left out, and
    so is a fact; the notes say so. A fact whose id is missing, or another's too, is called by relation and number.

    The same sentences behind fewer demonstrations, or none, are `fewer_demonstrations`. Raises BadSetting where nothing
    is left, UnknownName.

    >>> import engram as eg
    >>> facts = eg.data.with_demonstrations(eg.data.shipped(), variant="auto", demonstrations=1, most=5)
    >>> len(facts.relations), len(facts)
    (29, 145)
    >>> print(facts.prompts(facts.facts("capital")[0])[0].text)
    The capital of Moldova is Chișinău.
    The capital of Albania is [Y].
    """
    if variant not in get_args(Variant):
        raise UnknownName("variant of context-ParaRel", variant, get_args(Variant))
    if demonstrations < 0 or most < 1 or least < 1 or seed < 0:
        raise BadSetting(
            "demonstrations and a seed are numbers from 0 up, the most facts and the least templates from 1 up, not "
            f"{demonstrations}, {seed}, {most} and {least}"
        )
    notes: list[str] = []
    members: dict[str, tuple[Fact, ...]] = {}
    own: dict[str, tuple[Prompt, ...]] = {}
    chosen = _relations(facts, variant, least, notes)
    for r in chosen:
        known = facts.facts(r.id)
        numbers = _drawn(known, r.id, most, seed if sampled else None)
        told = {n: told for n in numbers if (told := _told(r, known, n, demonstrations, seed)) is not None}
        if len(told) < len(numbers):
            notes.append(
                f"{r.id}: {len(numbers) - len(told)} of {len(numbers)} facts are left out: fewer than {demonstrations} "
                "other answers are about other subjects"
            )
        for n, prompts in told.items():
            fact = _numbered(known[n], n, own)
            members[r.id] = (*members.get(r.id, ()), fact)
            own[fact.id] = tuple(replace(p, fact=fact) for p in prompts)
    if not own:
        raise BadSetting(f"no fact of {facts.name} is left: {'; '.join(notes) or 'no relation has the templates'}")
    relations = tuple(r for r in chosen if r.id in members)
    return InContext(f"{facts.name} in context", relations, members, facts.source, own, tuple(notes))


def fewer_demonstrations(facts: FactSet, kept: int) -> FactSet:
    """The same facts in the same sentences, behind the last `kept` of their demonstrations. Raises BadSetting.

    >>> import engram as eg
    >>> facts = eg.data.with_demonstrations(eg.data.shipped(), variant="auto", demonstrations=2, most=5)
    >>> alone = eg.data.fewer_demonstrations(facts, 0)
    >>> print(alone.prompts(alone.facts("capital")[0])[0].text)
    The capital of Albania is [Y].
    """
    own = {id_: tuple(shortened(p, kept) for p in prompts) for id_, prompts in facts.own.items()}
    return replace(facts, own=own)


def shortened(prompt: Prompt, kept: int) -> Prompt:
    """The same prompt behind the last `kept` of its demonstrations. Raises BadSetting where it has fewer.

    >>> shortened(Prompt("Rome is in Italy.\\nOslo is in Norway.\\nCork is in [Y].", "Ireland"), 1).text
    'Oslo is in Norway.\\nCork is in [Y].'
    """
    lines = prompt.text.split(APART)
    if not 0 <= kept < len(lines):
        raise BadSetting(f"this prompt has {len(lines) - 1} demonstrations, not {kept}: {prompt.text[:80]!r}")
    return replace(prompt, text=APART.join(lines[len(lines) - 1 - kept :]))


def save_contexts(facts: FactSet, folder: str | Path) -> None:
    """Write these facts' sentences, demonstrations and all, into a folder, so that every model reads the same ones.

    `data.context_pararel(folder)` reads them back. Raises BadData where a file cannot be written, and BadSetting for a
    fact whose sentences are not its relation's templates, behind demonstrations or alone.

    >>> import tempfile
    >>> import engram as eg
    >>> facts = eg.data.with_demonstrations(eg.data.shipped(), variant="auto", demonstrations=2, most=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     eg.data.save_contexts(facts, folder)
    ...     eg.data.context_pararel(folder).own == facts.own
    True
    """
    folder = Path(folder).expanduser()
    patterns = [
        {"relation": r.id, "label": r.name, "type": r.type, "pattern": t} for r in facts.relations for t in r.templates
    ]
    rows = [_row(facts, fact, prompt) for fact in facts for prompt in facts.prompts(fact)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadData(folder, None, f"is to be a folder to write into ({error.strerror})") from None
    for name, lines in (("patterns.jsonl", patterns), ("prompts.jsonl", rows)):
        write(folder / name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lines).encode())


def _row(facts: FactSet, fact: Fact, prompt: Prompt) -> dict[str, Any]:
    """A prompt as a line of the file. Raises BadSetting."""
    number, last = prompt.template or 0, prompt.text.split(APART)[-1]
    templates = facts.relation(fact.relation).templates
    if not fact.id or number >= len(templates) or last != templates[number].replace(SUBJECT, fact.subject):
        raise BadSetting(f"{fact} is not asked in a template of its relation, or has no id: {prompt.text[:80]!r}")
    asked = prompt.text.partition(BLANK)[0].rstrip()
    own = {"uuid": fact.id, "relation": fact.relation, "template_idx": number}
    return {**own, "prompt": asked, "answer": prompt.answer}


def demonstrations_of(prompt: Prompt) -> int:
    """Behind how many demonstrations does this prompt ask?

    >>> demonstrations_of(Prompt("Rome is in Italy.\\nCork is in [Y].", "Ireland"))
    1
    """
    return prompt.text.count(APART)


def answer_last(template: str) -> str | None:
    """The template with a mark at its end, or None where more than a mark follows the answer.

    As published: full stops, commas and spaces around it are dropped first.

    >>> answer_last("[X], a product of [Y],"), answer_last("[Y] is the capital of [X].")
    ('[X], a product of [Y].', None)
    """
    bare = template.strip(".").strip(",").strip()
    behind = bare.partition(BLANK)[2]
    if len(behind) > 1:
        return None
    return bare if bare[-1] in _MARKS else bare + "."


def _relations(facts: FactSet, variant: Variant, least: int, notes: list[str]) -> list[Relation]:
    """Those of the variant, with the templates that end with the answer."""
    found = {}
    for r in facts.relations:
        last = tuple(t for template in r.templates if (t := answer_last(template)) is not None)
        found[r.id] = replace(r, templates=last)
    if variant == "auto":
        return [r for r in found.values() if len(r.templates) >= least]
    if not (there := [found[id_] for id_ in PAPER22 if id_ in found]):
        raise BadSetting(f"paper22 is a list of ParaRel's relations, and {facts.name} has none: variant='auto'")
    if missing := [id_ for id_ in PAPER22 if id_ not in found]:
        notes.append(f"of the published 22 relations {', '.join(missing)} are not in {facts.name}")
    return there


def _drawn(known: Sequence[Fact], relation: str, most: int, seed: int | None) -> list[int]:
    """Which facts: the first, or with a seed drawn ones, in the order of the data."""
    if seed is None or len(known) <= most:
        return list(range(min(most, len(known))))
    rng = np.random.default_rng([seed, zlib.crc32(relation.encode()), _SAMPLE])
    return sorted(int(i) for i in rng.permutation(len(known))[:most])


def _told(
    relation: Relation, known: Sequence[Fact], number: int, demonstrations: int, seed: int
) -> tuple[Prompt, ...] | None:
    """The sentences of one fact; None where too few others differ from it."""
    fact, prompts = known[number], []
    for i, template in enumerate(relation.templates):
        rng = np.random.default_rng([seed, zlib.crc32(relation.id.encode()), number, i])
        others = _others(fact, known, demonstrations, rng)
        if others is None:
            return None
        lines = [template.replace(SUBJECT, f.subject).replace(BLANK, f.answer) for f in others]
        text = APART.join([*lines, template.replace(SUBJECT, fact.subject)])
        prompts.append(Prompt(text, fact.answer, fact=fact, template=i))
    return tuple(prompts)


def _others(fact: Fact, known: Sequence[Fact], n: int, rng: np.random.Generator) -> list[Fact] | None:
    """So many other facts, about other subjects and all with answers of their own; None where there are too few."""
    found: dict[str, Fact] = {}
    for i in rng.permutation(len(known)) if n else ():
        other = known[int(i)]
        if other.answer != fact.answer and other.subject != fact.subject:
            found.setdefault(other.answer, other)
        if len(found) == n:
            break
    return list(found.values()) if len(found) == n else None


def _numbered(fact: Fact, number: int, own: Collection[str]) -> Fact:
    """The fact with an id: its own, or where it has none or another has it, its relation and number."""
    return fact if fact.id and fact.id not in own else replace(fact, id=f"{fact.relation}.{number}")
