"""Write the shipped sentences cut off before a mark: ``python -m training.marks`` in ``scripts``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random

from training.sentences import Speaker

FILE = Path(__file__).resolve().parents[2] / "src/engram/data/shipped/texts/marks/punctuation.jsonl"
MARKS = ".,!?;"
EACH = 60
SEED = 20


def sentences(each: int = EACH, seed: int = SEED) -> dict[str, list[tuple[str, str]]]:
    """Of every mark so many sentences of the grammar, each before and behind the mark; no two begin alike."""
    speaker = Speaker(Random(seed))
    found: dict[str, list[tuple[str, str]]] = {mark: [] for mark in MARKS}
    seen: set[str] = set()
    while any(len(own) < each for own in found.values()):
        text = speaker.say()
        for at in re.finditer(r"[.,!?;]", text):
            begun, own = text[: at.start()], found[at[0]]
            if len(own) < each and begun not in seen and " " in begun and not re.search(r"[.,!?;]", begun):
                seen.add(begun)
                own.append((begun, text[at.end() :]))
    return found


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    said = [(mark, *parts) for mark, own in sentences().items() for parts in own]
    rows = [{"mark": mark, "text": text} | ({"rest": rest} if rest else {}) for mark, text, rest in said]
    FILE.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
