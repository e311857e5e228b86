"""How a tokenizer's tokens are shown to people: bytes as letters, the space before a word as a dot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

SPACE = "·"
_SHOWN = {" ": SPACE, "\n": "↵", "\t": "⇥"}
_MARKS = ("Ġ", "Ċ")  # of GPT-2's alphabet, a space and the end of a line; no word of another begins with them


def readable(tokens: Sequence[str]) -> list[str]:
    r"""What does each of a prompt's tokens say? A space is a dot, what is no whole letter the number of its byte.

    Of SentencePiece and of GPT-2's bytes, which are noticed by the mark that a word's space has in them.

    >>> readable(["The", "Ġcapital", "Ġof", "ĠCÃ´te", "Ċ", "æĿ"])
    ['The', '·capital', '·of', '·Côte', '↵', '\\xe6\\x9d']
    >>> readable(["▁The", "<0x0A>", "##land", "[MASK]"])
    ['·The', '↵', '##land', '[MASK]']
    """
    in_bytes = any(t.startswith(_MARKS) for t in tokens)
    return [_shown(_of_bytes(t) if in_bytes else _of_pieces(t)) for t in tokens]


def drawable(text: str) -> str:
    r"""The text with the number of every letter that the font of our pictures does not have.

    >>> drawable("Łódź 東"), drawable("$x$")
    ('Łódź \\u6771', '$x$')
    """
    there = _letters()
    return "".join(c if ord(c) in there or c == "\n" else c.encode("ascii", "backslashreplace").decode() for c in text)


def _shown(text: str) -> str:
    return "".join(_SHOWN.get(c, c) if c in _SHOWN or c.isprintable() else repr(c)[1:-1] for c in text)


def _of_pieces(token: str) -> str:
    if byte := re.fullmatch(r"<0x([0-9A-F]{2})>", token):
        return bytes.fromhex(byte[1]).decode("ascii", "backslashreplace")
    return token.replace("▁", " ")


def _of_bytes(token: str) -> str:
    number = _alphabet()
    if not all(c in number for c in token):
        return token  # a special token, which is in no alphabet
    return bytes(number[c] for c in token).decode("utf-8", "backslashreplace")


@cache
def _alphabet() -> dict[str, int]:
    """Byte-level BPE's letters: a byte that prints is itself, and the others follow from U+0100 on."""
    prints = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in prints]
    return {chr(b): b for b in prints} | {chr(256 + i): b for i, b in enumerate(others)}


@cache
def _letters() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties(family="DejaVu Sans"))).get_charmap())
