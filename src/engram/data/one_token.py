"""Which minimal pairs differ in one token of a tokenizer? The rule by which Niu et al. (2024) keep a pair of BLiMP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import BadData, BadSetting, UnknownName
from ..facts import BLANK, FactSet
from .jsonl import lines
from .sets.blimp import BLiMP, Pair, files_of

Way = Literal["masked", "decoder"]


@dataclass(frozen=True, slots=True)
class KeptPair:
    """A pair as the published code asks it: `text` with a blank, and the token (`good`) that belongs there, or not.

    `text` is put together from tokens, as the tokenizer writes them (`bert-base-uncased`: in small letters); `words`
    are the two words of the data set that differ.
    """

    paradigm: str
    id: str
    text: str
    good: str
    bad: str
    words: tuple[str, str]


@dataclass(frozen=True, slots=True)
class OneTokenPairs:
    """The pairs that are kept of each paradigm, and how many there were (`of`)."""

    kept: Mapping[str, tuple[KeptPair, ...]]
    of: Mapping[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """How many are kept of each paradigm."""
        return {paradigm: len(pairs) for paradigm, pairs in self.kept.items()}

    def __iter__(self) -> Iterator[KeptPair]:
        for pairs in self.kept.values():
            yield from pairs


def one_token_pairs(path_or_facts: str | Path | FactSet, tokenizer: Any, kind: Way = "masked") -> OneTokenPairs:
    """Which pairs of sentences differ in exactly one token, and how are they asked?

    Both sentences as tokens: what they begin with alike and what they end in alike is taken off, and a pair is kept if
    one token is left of each. "masked": the blank stands between the two; "decoder": what follows it is left out. So
    Niu et al. (2024), code: N:kn_code/blimp.py; how many are kept depends on the tokenizer. From the folder of BLiMP
    all pairs are read; a FactSet of pairs has those that its reader could tell the deciding words of. engram itself
    asks by words, and leaves out by `model.rows` what has more than one token. Raises BadData, BadSetting for facts
    without a wrong answer, UnknownName.

    >>> class Letters:
    ...     tokenize = staticmethod(lambda text: list(text.replace(" ", "_")))
    ...     convert_tokens_to_string = staticmethod(lambda tokens: "".join(tokens).replace("_", " "))
    >>> import engram as eg
    >>> found = one_token_pairs(eg.data.pairs().only(["subject_have"]), Letters())
    >>> found.counts, found.of  # has and have differ in more than a letter
    ({'subject_have': 0}, {'subject_have': 60})
    """
    if kind not in get_args(Way):
        raise UnknownName("way of asking for one token", kind, get_args(Way))
    read = _of_facts(path_or_facts) if isinstance(path_or_facts, FactSet) else _of_files(Path(path_or_facts))
    kept: dict[str, list[KeptPair]] = {}
    of: dict[str, int] = {}
    for paradigm, id_, sentences, words in read:
        found = kept.setdefault(paradigm, [])
        of[paradigm] = of.get(paradigm, 0) + 1
        good, bad = (tokenizer.tokenize(s) for s in sentences)
        start, end = _alike(good, bad)
        if len(good) - start - end == len(bad) - start - end == 1:
            text = _blanked(tokenizer, good, start, whole=kind == "masked")
            found.append(KeptPair(paradigm, id_, text, good[start], bad[start], words))
    return OneTokenPairs({paradigm: tuple(pairs) for paradigm, pairs in kept.items()}, of)


Read = Iterator[tuple[str, str, tuple[str, str], tuple[str, str]]]  # paradigm, id, the two sentences, the two words


def _of_files(path: Path) -> Read:
    folder = path.expanduser()
    if not (files := files_of(folder)):
        raise BadData(folder, None, f"in this folder are expected {BLiMP.layout}")
    for paradigm, file in files.items():
        for line in lines(file):
            pair = Pair.of(line)
            sentences = line.text("sentence_good"), line.text("sentence_bad")
            yield paradigm, f"{paradigm}.{line.values.get('pairID')}", sentences, (pair.good, pair.bad)


def _of_facts(facts: FactSet) -> Read:
    for fact in facts:
        prompt = facts.prompts(fact)[0]
        if prompt.against is None:
            raise BadSetting(f"the facts of {facts.name} name no wrong answer, and are no minimal pairs; BLiMP's are")
        words = prompt.answer, prompt.against
        good, bad = (prompt.text.replace(BLANK, word) for word in words)
        yield fact.relation, fact.id, (good, bad), words


def _alike(one: Sequence[str], other: Sequence[str]) -> tuple[int, int]:
    """How many tokens do the two begin with alike, and with how many of the others do they end alike?"""
    least = min(len(one), len(other))
    start = next((i for i in range(least) if one[i] != other[i]), least)
    end = next((i for i in range(least - start) if one[-1 - i] != other[-1 - i]), least - start)
    return start, end


def _blanked(tokenizer: Any, tokens: Sequence[str], at: int, *, whole: bool) -> str:
    """The text of these tokens with a blank for one of them, with a space before it where the token has one."""
    before = tokenizer.convert_tokens_to_string(list(tokens[:at]))
    upto = tokenizer.convert_tokens_to_string(list(tokens[: at + 1]))
    every = tokenizer.convert_tokens_to_string(list(tokens)) if whole else upto
    space = " " if upto.startswith(f"{before} ") else ""
    return f"{before}{space}{BLANK}{every[len(upto) :]}"
