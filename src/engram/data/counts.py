"""How often do words stand beside singular nouns, and how often beside plural ones, in a given text?"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import BadData, BadSetting, UnknownName
from ..files import checksum
from .jsonl import GZIP, Line, existing, lines, whole

SHIPPED = Path(__file__).parent / "shipped"
SINGULAR, PLURAL = "singular", "plural"
NOUNS = SHIPPED / "nouns.jsonl"
_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|[^\w\s]")


Side = Literal["behind", "before"]


@dataclass(frozen=True, slots=True)
class Counts:
    """Of each word, how often a singular and how often a plural noun stood there: `of[word]` = (singular, plural).

    `corpus` and `lexicon` say what was read, with checksums of what stood there; `words` is how many words the corpus
    has, `nouns` how many nouns the lexicon, `side` whether nouns were looked for behind the word or before it, `within`
    how far away, in words.

    >>> found = counts(["These dogs bark. That old dog sleeps."], ["these", "that"])
    >>> found.of["these"], found.words, found.side
    ((0, 1), 7, 'behind')
    """

    of: Mapping[str, tuple[int, int]] = field(repr=False)
    corpus: str
    corpus_checksum: str
    words: int
    lexicon: str
    lexicon_checksum: str
    nouns: int
    side: Side
    within: int

    def plain(self) -> dict[str, Any]:
        """Everything, as plain values."""
        own = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "of"}
        return {**own, "of": {word: list(pair) for word, pair in self.of.items()}}


def counts(
    corpus: str | Path | Sequence[str], words: Iterable[str], *, nouns: str | Path | None = None,
    side: Side = "behind", within: int = 3,
) -> Counts:  # fmt: skip
    """How often does a singular, and how often a plural noun stand behind each word, at most `within` words away?

    The corpus is a list of texts, a file (.txt, or .jsonl with a `text` in each line; also gzipped), or "shipped": the
    sentences shipped with engram. Counted is the nearest noun of the lexicon, with nothing but words between the two:
    `within=1` takes the next word alone, and of 3 "all the old dogs" counts for each of its first three. `side`
    "before" looks the other way, as verbs follow their nouns. Case is of no matter; nothing is counted across marks, or
    across the texts of a list.

    The lexicon is a file: .jsonl with a `singular` and a `plural` in each line, or .json with a list of such objects
    (by itself, or as `nouns` of an object); engram's own, where none is given. A form that is both (sheep), or of
    another noun's other number, is left out. What a word form means is not looked at: "that dogs bark" counts as that
    before a plural. Raises BadData, BadSetting.

    >>> found = counts(["These dogs bark. That old dog sleeps, this cats."], ["these", "that", "this"])
    >>> dict(found.of)
    {'these': (0, 1), 'that': (1, 0), 'this': (0, 1)}
    """
    if within < 1:
        raise BadSetting(f"a noun stands at least one word away, so within is from 1 up, not {within}")
    if side not in get_args(Side):
        raise UnknownName("side of a word", side, get_args(Side))
    name, texts = _texts(corpus)
    forms, pairs, lexicon = _lexicon(nouns)
    found = {word.lower(): [0, 0] for word in words}
    seen = 0
    for text in texts:
        tokens = [t.lower() for t in _TOKEN.findall(text)]
        seen += sum(t[0].isalpha() for t in tokens)
        for i, token in enumerate(tokens):
            if token not in found:
                continue
            near = tokens[i + 1 : i + 1 + within] if side == "behind" else tokens[max(0, i - within) : i][::-1]
            if (number := _first(near, forms)) is not None:
                found[token][number == PLURAL] += 1
    return Counts(
        {word: (n[0], n[1]) for word, n in found.items()}, name, checksum("\n".join(texts).encode())[:16], seen,
        *lexicon, len(pairs), side, within,
    )  # fmt: skip


def _first(near: Sequence[str], forms: Mapping[str, str]) -> str | None:
    """The number of the first noun, if no mark comes first."""
    for token in near:
        if not token[0].isalpha():
            return None
        if token in forms:
            return forms[token]
    return None


def _texts(corpus: str | Path | Sequence[str]) -> tuple[str, list[str]]:
    """What the corpus is called, and its texts. Raises BadData, BadSetting."""
    if not isinstance(corpus, str | Path):
        texts = list(corpus)
        if not texts or not all(isinstance(t, str) for t in texts):
            raise BadSetting("a corpus is a list of texts, a file, or 'shipped', and here there are no texts")
        return f"{len(texts)} texts", texts
    if str(corpus) == "shipped":
        return "shipped", [text for file in sorted((SHIPPED / "texts").glob("*.jsonl")) for text in _read(file)]
    path = existing(Path(corpus).expanduser())
    if not (texts := list(_read(path))):
        raise BadData(path, None, "holds no text")
    return path.name, texts


def _read(path: Path) -> Iterator[str]:
    if ".jsonl" not in path.name:
        yield _plain(path)
        return
    for line in lines(path):
        yield line.text("text").replace("[X]", "Anna").replace("[Y]", "Dublin")


def _plain(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if raw.startswith(GZIP) else raw).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadData(path, None, f"cannot be read as text ({error})") from error


def _lexicon(path: str | Path | None) -> tuple[dict[str, str], list[tuple[str, str]], tuple[str, str]]:
    """The number of each form that has one only, the nouns, and what the lexicon is called, with its checksum."""
    file = NOUNS if path is None else existing(Path(path).expanduser())
    pairs = sorted({(e.text("singular").lower(), e.text("plural").lower()) for e in _entries(file)})
    singular, plural = {one for one, _ in pairs}, {many for _, many in pairs}
    forms = dict.fromkeys(singular - plural, SINGULAR) | dict.fromkeys(plural - singular, PLURAL)
    if not forms:
        raise BadData(file, None, "names no noun with a singular and a plural form of its own")
    called = "engram's own nouns" if path is None else file.name
    return forms, pairs, (called, checksum(repr(pairs).encode())[:16])


def _entries(path: Path) -> list[Line]:
    if ".jsonl" in path.name:
        return lines(path)
    found = whole(path)
    rows = found.get("nouns") if isinstance(found, dict) else found
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadData(path, None, "is to be a list of objects with 'singular' and 'plural', or to have it as 'nouns'")
    return [Line(path, i, row) for i, row in enumerate(rows, 1)]
