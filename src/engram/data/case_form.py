"""CounterFact's form (Meng et al. 2022): a record a case, as it is published, and as cases are written here.

A prompt breaks off where its answer belongs. Beside the published keys there are `reverse_prompts`, `synonym_prompts`
and `onward_prompts` (each a list of `prompt`, `answer` and, where there is one, `against`) and, in the first record,
`notes`. A prompt whose blank is not its end has it marked `[Y]`, which other readers of this form do not know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..cases import Case, CaseSet
from ..errors import BadData, BadSetting
from ..facts import BLANK, Fact, Prompt
from ..files import write
from . import form
from .jsonl import Line
from .records import objects, texts

SLOT = "{}"
LINES = {"paraphrase": "paraphrase_prompts", "neighbour": "neighborhood_prompts", "attribute": "attribute_prompts"}
FURTHER = {"reverse": "reverse_prompts", "synonym": "synonym_prompts", "onward": "onward_prompts"}


def case(line: Line, id: str) -> Case:  # noqa: A002
    """The case of one record. Raises BadData."""
    wish = _inner(line, "requested_rewrite")
    old, new = _target(wish, "target_true"), _target(wish, "target_new")
    if old == new:
        raise line.bad(f"the new answer {new!r} is the old one")
    fact = Fact(wish.text("subject"), wish.text("relation_id"), old, id)
    text = wish.text("prompt")
    if text.count(SLOT) != 1:
        raise line.bad(f"the prompt that is edited has one {SLOT} for the subject: {text!r}")
    if BLANK in fact.subject:
        raise line.bad(f"a subject has no {BLANK}: {fact.subject!r}")
    right = {"paraphrase": old, "neighbour": old, "attribute": new}
    asked = {group: tuple(_asked(line, t, right[group]) for t in texts(line, key)) for group, key in LINES.items()}
    asked["paraphrase"] = tuple(replace(p, fact=fact) for p in asked["paraphrase"])
    further = {group: tuple(_further(line, x) for x in objects(line, key)) for group, key in FURTHER.items()}
    prompt = replace(_asked(line, text.replace(SLOT, fact.subject), old), fact=fact)
    return Case(id, fact, new, prompt, **asked, **further, texts=texts(line, "generation_prompts"))


def record(case: Case) -> dict[str, Any]:
    """The record of one case, in plain values. Raises BadSetting for a prompt without its subject."""
    out: dict[str, Any] = {"case_id": int(case.id) if re.fullmatch(r"0|[1-9]\d*", case.id) else case.id}
    out["requested_rewrite"] = {
        "prompt": _slotted(case), "relation_id": case.fact.relation, "target_new": {"str": case.new},
        "target_true": {"str": case.fact.answer}, "subject": case.fact.subject,
    }  # fmt: skip
    for group, key in LINES.items():
        out[key] = [_bare(p.text) for p in getattr(case, group)]
    out["generation_prompts"] = list(case.texts)
    for group, key in FURTHER.items():
        if prompts := getattr(case, group):
            out[key] = [_plain(p) for p in prompts]
    return out


def save_cases(cases: CaseSet, path: str | Path) -> None:
    """Write these cases in CounterFact's form, JSON Lines, whole or not at all; `data.cases(path)` reads the same ones.

    The notes stand in the first record. Raises BadData where the file cannot be written, and BadSetting for a case that
    the form has no place for: a paraphrase with another answer than the fact's, say.

    >>> import tempfile
    >>> from engram import data
    >>> cases = data.cases("shipped", records=3, relations=["capital"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_cases(cases, f"{folder}/capitals.jsonl")
    ...     data.cases(f"{folder}/capitals.jsonl").cases == cases.cases
    True
    """
    path = Path(path).expanduser()
    rows = []
    for number, each in enumerate(cases.cases):
        row = record(each)
        if not _reads_the_same(path, number + 1, row, each):
            raise BadSetting(f"case {each.id} of {cases.name} holds what CounterFact's form has no place for")
        rows.append({**row, "notes": list(cases.notes)} if not number and cases.notes else row)
    write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def notes(rows: Sequence[Line]) -> tuple[str, ...]:
    """What the records themselves have noted, each thing once. Raises BadData."""
    return tuple(dict.fromkeys(note for line in rows for note in texts(line, "notes")))


def _reads_the_same(path: Path, number: int, row: dict[str, Any], written: Case) -> bool:
    try:
        return case(Line(path, number, row), written.id) == written
    except BadData:
        return False


def _inner(line: Line, key: str) -> Line:
    """The object under `key`, which what is wrong with it is said of as of the line. Raises BadData."""
    if not isinstance(value := line.values.get(key), dict):
        raise line.bad(f"{key!r} is to be an object with keys, not {value!r}")
    return replace(line, values=value)


def _target(wish: Line, key: str) -> str:
    return _inner(wish, key).text("str").strip()


def _asked(line: Line, text: str, answer: str, against: str | None = None) -> Prompt:
    return form.prompt(line, text if BLANK in text else f"{text.rstrip()} {BLANK}", answer, against)


def _further(line: Line, values: dict[str, Any]) -> Prompt:
    inner = replace(line, values=values)
    against = inner.text("against") if "against" in values else None
    return _asked(inner, inner.text("prompt"), inner.text("answer"), against)


def _plain(p: Prompt) -> dict[str, str]:
    rest = {} if p.against is None else {"against": p.against}
    return {"prompt": _bare(p.text), "answer": p.answer, **rest}


def _bare(text: str) -> str:
    """The text up to its blank, where that is its end behind one space; else as it is."""
    bare = text.removesuffix(f" {BLANK}")
    return bare if BLANK not in bare and bare == bare.rstrip() and bare else text


def _slotted(case: Case) -> str:
    """The edited prompt with {} for its subject: the first whole word, or where there is none, the first place."""
    text, subject = case.prompt.text, case.fact.subject
    free = text.replace(BLANK, "\0")  # the subject may be the letter Y
    found = re.search(rf"(?<!\w){re.escape(subject)}(?!\w)", free) or re.search(re.escape(subject), free)
    if found is None or SLOT in free:
        raise BadSetting(f"case {case.id}: the subject {subject!r} is not in the prompt {text!r}, or {SLOT} is")
    return _bare((free[: found.start()] + SLOT + free[found.end() :]).replace("\0", BLANK))
