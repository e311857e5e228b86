"""Tables in Markdown, and numbers as they stand in them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

TO = "\N{WORD JOINER}–\N{WORD JOINER}"  # no line ends at it


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A column whose name ends in ` #` (not shown) has numbers, and stands to the right."""
    shown = [c.removesuffix("#").strip() for c in columns]
    marks = ["--:" if c.endswith("#") else "---" for c in columns]
    return "\n".join(f"| {' | '.join(row)} |" for row in [shown, marks, *rows])


def short(x: float) -> str:
    """Three digits that count.

    >>> short(12.345), short(0.0123456), short(1234.5), short(100.4)
    ('12.3', '0.0123', '1230', '100')
    """
    if x == 0:
        return "0"
    digits = f"{x:.2e}"
    exponent = int(digits[digits.index("e") + 1 :])
    return f"{float(digits):.{max(0, 2 - exponent)}f}" if exponent >= -4 else f"{x:.1e}"


def small(x: float | None) -> str:
    """A difference: a power of ten where it is small; a dash where there is none."""
    if x is None:
        return "–"
    return "0" if x == 0 else f"{x:.3f}" if x >= 1e-3 else f"{x:.0e}"


def spread(each: Sequence[float]) -> str:
    """The median, and in brackets below it the smallest and the largest.

    >>> spread([1.0, 2.0, 4.0]).replace(TO, "–")
    '2.00<br>[1.00–4.00]'
    """
    if len(each) == 1:
        return short(each[0])
    return f"{short(statistics.median(each))}<br>[{short(min(each))}{TO}{short(max(each))}]"
