"""Files of texts about facts: those shipped inside, one's own in the same form, and BingRel (Dai et al. 2022)."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import BadData, UnknownName
from ..facts import BLANK, SUBJECT, Fact, FactSet
from ..texts import Mentions, Texts
from .jsonl import Line, by_name, lines, whole

HERE = Path(__file__).parent / "shipped" / "texts"
ORDINARY = "neither"
BING = "final_distant_allbags_*_new.json*"
LAYOUTS = (
    f"<relation>.jsonl with a line a text, {SUBJECT} for the subject and {BLANK} for the answer (and {ORDINARY}.jsonl "
    "for ordinary texts), or BingRel's final_distant_allbags_<relation>_new.json"
)


def texts(name_or_path: str | Path, facts: FactSet) -> Texts:
    """The texts about these facts that are shipped with engram ("shipped"), or lie in this folder.

    Shipped are sentences written for engram, in which every fact of a relation takes its turn: each relation has at
    least six that mention subject and answer and six that mention the subject alone, and there are ordinary ones that
    mention no subject and no answer. BingRel has web texts for each fact (`final_distant_allbags_<relation>_new.json`,
    in the folder itself or where Dai et al.'s repository has them), aligned with Dai's facts by position: a file may
    end before the facts do, and is refused where it has more, or where its texts are about other subjects.

    Raises BadData, and UnknownName where there is no such folder.

    >>> from engram import data
    >>> facts = data.read("shipped").only(["capital"])
    >>> mentions = texts("shipped", facts).of("capital", 19)
    >>> str(facts.facts("capital")[19]), mentions.head[0]
    ('⟨Ireland, capital, Dublin⟩', 'We bought a large map of Ireland and hung it in the kitchen.')
    """
    name = str(name_or_path)
    folder = HERE if name == "shipped" else Path(name).expanduser().resolve()
    if not folder.is_dir():
        raise UnknownName("set of texts", name, ["shipped"], hint="Nor is there a folder of that name.")
    kind = "shipped" if folder == HERE else folder.name
    if bags := _bags(folder):
        kind, ordinary = "bingrel", tuple[str, ...]()
        found = {r.id: _bag(bags[r.id], facts.facts(r.id)) for r in facts.relations if r.id in bags}
    else:
        found, ordinary = _written(folder, facts)
    if not found:
        raise BadData(folder, None, f"holds no texts for a relation of {facts.name}. Texts lie in files {LAYOUTS}")
    return Texts(kind, found, ordinary, str(folder), functools.partial(texts, str(folder), facts))


def _written(folder: Path, facts: FactSet) -> tuple[dict[str, tuple[Mentions, ...]], tuple[str, ...]]:
    files = by_name(folder)
    ordinary = tuple(_ordinary(files.pop(ORDINARY))) if ORDINARY in files else ()
    found = {}
    for relation in facts.relations:
        if relation.id in files:
            frames = [_frame(line) for line in lines(files[relation.id])]
            found[relation.id] = tuple(_about(fact, frames) for fact in facts.facts(relation.id))
    return found, ordinary


def _frame(line: Line) -> str:
    text = line.text("text")
    if text.count(SUBJECT) != 1 or text.count(BLANK) > 1:
        raise line.bad(f"a text about a fact has one {SUBJECT}, and at most one {BLANK}: {text!r}")
    return text


def _ordinary(path: Path) -> Iterator[str]:
    for line in lines(path):
        text = line.text("text")
        if SUBJECT in text or BLANK in text:
            raise line.bad(f"an ordinary text has no {SUBJECT} and no {BLANK}: {text!r}")
        yield text


def _about(fact: Fact, frames: list[str]) -> Mentions:
    def filled(with_answer: bool) -> tuple[str, ...]:
        own = (f for f in frames if (BLANK in f) == with_answer)
        return tuple(f.replace(SUBJECT, fact.subject).replace(BLANK, fact.answer) for f in own)

    return Mentions(filled(True), filled(False))


def _bags(folder: Path) -> dict[str, Path]:
    """The files of BingRel by relation: of the folder, or of where the authors' repository has them."""
    inner = Path("BingDistantTREx") / "final"
    for home in (folder, folder / "final", folder / inner, folder / "data" / inner):
        if files := sorted(home.glob(BING)):
            return {p.name.split("_allbags_")[1].split("_new.json")[0]: p for p in files}
    return {}


def _bag(path: Path, facts: tuple[Fact, ...]) -> tuple[Mentions, ...]:
    entries = whole(path)
    if not isinstance(entries, list):
        raise BadData(path, None, "is to be a list with an entry for each fact")
    own = tuple(_entry(path, i, entry) for i, entry in enumerate(entries))
    if len(own) > len(facts):
        raise BadData(
            path, None, f"has {len(own)} entries for {len(facts)} facts. They belong together by position: are these "
            'the facts of Dai et al. (`preset="dai"`)?'
        )  # fmt: skip
    strange = [i for i, (m, fact) in enumerate(zip(own, facts, strict=False)) if not _is_about(m, fact)]
    if 2 * len(strange) > sum(any(m) for m in own):
        i = strange[0]
        raise BadData(
            path, None, f"is not aligned with the facts: entry {i} is to be about {facts[i]}, and no text there "
            f"mentions {facts[i].subject!r}; so it is with {len(strange)} of {len(own)} entries"
        )  # fmt: skip
    return own


def _entry(path: Path, i: int, entry: Any) -> Mentions:
    if not isinstance(entry, dict) or not {"th_bags", "h_bags"} <= entry.keys():
        raise BadData(path, None, f"entry {i}: is to be an object with 'th_bags' and 'h_bags'")
    for key in ("th_bags", "h_bags"):
        if not isinstance(entry[key], list) or not all(isinstance(t, str) for t in entry[key]):
            raise BadData(path, None, f"entry {i}: {key!r} is to be a list of texts")
    return Mentions(tuple(entry["th_bags"]), tuple(entry["h_bags"]))


def _is_about(mentions: Mentions, fact: Fact) -> bool:
    """Does a text mention the subject, or is there none?"""
    every = (*mentions.both, *mentions.head)
    return not every or any(fact.subject in text for text in every)
