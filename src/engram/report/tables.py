"""Tables as values, and numbers as they are written: with a true minus, without a sign on what rounds to nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ..results import Score


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text below the names of their columns. A column whose name ends in `#` (not shown) has numbers.

    What follows the first line of a cell is shown small, below it.

    >>> print(Table("What it costs", ("condition", "change (%) #"), (("a < b", "−3.0"),)).html())
    <table><caption>What it costs</caption>
    <thead><tr><th>condition</th><th class="n">change (%)</th></tr></thead>
    <tbody>
    <tr><td>a &lt; b</td><td class="n">−3.0</td></tr>
    </tbody></table>
    """

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]

    def html(self) -> str:
        """Everything escaped."""
        kinds = [' class="n"' if name.endswith("#") else "" for name in self.columns]

        def row(tag: str, cells: Sequence[str]) -> str:
            return f"<tr>{''.join(f'<{tag}{k}>{_cell(c)}</{tag}>' for k, c in zip(kinds, cells, strict=True))}</tr>"

        head = row("th", [name.removesuffix("#").strip() for name in self.columns])
        body = "\n".join(row("td", cells) for cells in self.rows)
        caption = f"<caption>{shown(self.caption)}</caption>"
        return f"<table>{caption}\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table>"


def shown(text: str) -> str:
    """As it stands in a page: escaped, and no line ends before a %.

    >>> shown("a < 15 %")
    'a &lt; 15&nbsp;%'
    """
    return escape(text).replace(" %", "&nbsp;%")


def _cell(text: str) -> str:
    first, _, more = text.partition("\n")
    return shown(first) + (f"<small>{shown(more)}</small>" if more else "")


def signed(x: float, digits: int = 1) -> str:
    """With its sign, unless it rounds to nothing.

    >>> signed(-38.04), signed(0.04), signed(7.25, 2), signed(float("nan"))
    ('−38.0', '0.0', '+7.25', '–')
    """
    if not math.isfinite(x):
        return "–"
    text = f"{x:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def percent(score: Score) -> str:
    """A ratio in percent, with its interval where it has one.

    >>> percent(Score("suppressed", -0.38, 40, "ratio of means", interval=(-0.41, -0.35)))
    '−38.0 [−41.0, −35.0]'
    """
    around = "" if score.interval is None else " [{}, {}]".format(*(signed(100 * x) for x in score.interval))
    return signed(100 * score.value) + around


def decimal(score: Score) -> str:
    """A number as it is, with its interval where it has one.

    >>> decimal(Score("P(answer)", 0.8125, 40, "probability", interval=(0.75, 0.875)))
    '0.812 [0.750, 0.875]'
    """
    around = "" if score.interval is None else " [{:.3f}, {:.3f}]".format(*score.interval)
    return f"{score.value:.3f}{around}"


def flat(settings: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as lines: their names joined with dots.

    >>> list(flat({"by": 2.0, "neurons": {"seed": 0}}))
    [('by', '2.0'), ('neurons.seed', '0')]
    """
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{under}{name}.")
        else:
            yield f"{under}{name}", str(value)
