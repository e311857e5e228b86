"""Writes the minimal pairs that are shipped with engram.

    PYTHONPATH=scripts python -m training.shipped_pairs

Of what :func:`training.pairs.minimal_pairs` draws by a seed that no examination uses, each pair once, and each pair of
determiner and noun asked both ways. The shipped models never saw these combinations.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from engram.data.sets.pairs import HERE, PARADIGMS
from training.pairs import Pair, minimal_pairs
from training.words import SELF_DEEDS, THESE, THIS

SEED, DRAWN = 2024, 3000
EACH = {"determiner_noun": 120, "noun_determiner": 120}  # of the others 60
OTHER = {**dict(zip(THIS, THESE, strict=True)), **dict(zip(THESE, THIS, strict=True))}
CALLED = {"subject and verb": "subject_verb", "subject and be": "subject_be", "subject and have": "subject_have"}


def told(pair: Pair) -> Iterator[tuple[str, dict[str, Any]]]:
    """The paradigms in which a pair is asked, and what is written of it there."""
    good, bad = pair.good.rstrip(".").split(" "), pair.bad.rstrip(".").split(" ")
    at = next(i for i, (a, b) in enumerate(zip(good, bad, strict=True)) if a != b)
    sentences = {"sentence_good": pair.good, "sentence_bad": pair.bad}
    if pair.phenomenon == "determiner and noun":
        (place,) = [i for i, word in enumerate(good) if word in OTHER]
        yield "determiner_noun", {**sentences, "subject": good[place]}
        wrong = " ".join([*good[:place], OTHER[good[place]], *good[place + 1 :]]) + "."
        yield "noun_determiner", {"sentence_good": pair.good, "sentence_bad": wrong, "subject": good[-1]}
    elif pair.phenomenon == "reflexive":
        number = "themselves" in (good[at], bad[at])
        verb = next(i for i, word in enumerate(good) if word in SELF_DEEDS)
        yield f"reflexive_{'number' if number else 'gender'}", {**sentences, "subject": " ".join(good[:verb])}
    else:
        yield CALLED[pair.phenomenon], {**sentences, "subject": " ".join(good[:at])}


def main() -> None:
    """Write a file for each paradigm."""
    found: dict[str, dict[str, dict[str, Any]]] = {paradigm: {} for paradigm in PARADIGMS}
    for pair in minimal_pairs(SEED, DRAWN):
        for paradigm, line in told(pair):
            found[paradigm].setdefault(line["sentence_good"], line)
    HERE.mkdir(parents=True, exist_ok=True)
    for paradigm, pairs in found.items():
        kept = islice(pairs.values(), EACH.get(paradigm, 60))
        rows = [{"pairID": number, **line} for number, line in enumerate(kept)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (HERE / f"{paradigm}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
