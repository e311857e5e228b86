"""How things look on a terminal, in a pipe, and as JSON. Everything shown is data, so no markup is read from it."""

from __future__ import annotations

import json
import math
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import TYPE_CHECKING, Any

import typer

from .. import __version__

if TYPE_CHECKING:
    from ..models import Model
    from ..results import Answer

NUMBER, WORD, TEXT = "number", "word", "text"  # to the right; to the left, never cut; to the left, cut where room ends
APART = "  "
LEAST = 8  # columns that a cut text keeps


def line(text: str = "") -> None:
    """One line, however long."""
    typer.echo(text)


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]]) -> None:
    """Rows below the names of their columns, each NUMBER, WORD or TEXT. Only a terminal ends somewhere."""
    from rich.text import Text

    cells = [[Text(name) for name, _ in columns], *([Text(_visible(str(cell))) for cell in row] for row in rows)]
    widths = [max(row[i].cell_len for row in cells) for i in range(len(columns))]
    if (room := _room()) is not None:
        texts = [i for i, (_, kind) in enumerate(columns) if kind == TEXT]
        while texts and sum(widths) + len(APART) * (len(widths) - 1) > room and max(widths[i] for i in texts) > LEAST:
            widths[max(texts, key=widths.__getitem__)] -= 1
    for row in cells:
        for cell, width, (_, kind) in zip(row, widths, columns, strict=True):
            cell.truncate(width, overflow="ellipsis")
            cell.align("right" if kind == NUMBER else "left", width)
        whole = APART.join(cell.plain for cell in row).rstrip()
        line(typer.style(whole, dim=True) if row is cells[0] else whole)


def entries(pairs: Iterable[tuple[str, str]]) -> None:
    """Names, and beside each what is to be said of it, on as many lines as it takes."""
    known = list(pairs)
    width = max(len(name) for name, _ in known) + len(APART)
    for name, text in known:
        room = _room() or sys.maxsize
        first, *more = textwrap.wrap(text, max(room - width, 3 * LEAST), break_long_words=False) or [""]
        line(f"{name:<{width}}{first}".rstrip())
        for part in more:
            line(" " * width + part)


def _visible(text: str) -> str:
    """A model may say anything, and a terminal would obey some of it."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _room() -> int | None:
    """The columns of the terminal; None where stdout is none."""
    from rich.console import Console

    console = Console()
    return console.width if console.is_terminal else None


def document(command: str, **content: Any) -> None:
    """One JSON document on stdout. What is not a finite number is null."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    whole = {"engram": __version__, "command": command, **content}
    line(json.dumps(_plain(whole), indent=2, ensure_ascii=encoding != "utf8", allow_nan=False))


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(k): _plain(v) for k, v in value.items()}
        case str() | bool() | int() | None:
            return value
        case Real():
            return float(value) if math.isfinite(value) else None
        case Iterable():
            return [_plain(v) for v in value]
    return str(value)


def number(x: float) -> str:
    """Four decimals, or a power of ten where these would show nothing.

    >>> number(0.5), number(1.234e-7), number(0.0), number(float("nan"))
    ('0.5000', '1.2e-07', '0.0000', '-')
    """
    if not math.isfinite(x):
        return "-"
    return f"{x:.4f}" if x == 0 or 1e-3 <= abs(x) < 1e6 else f"{x:.1e}"


def about(model: Model) -> dict[str, Any]:
    """Which model this is, in plain values."""
    return {
        "name": model.name,
        "family": model.family.name,
        "layers": len(model.layers),
        "neurons": list(model.widths),
        "dtype": str(model.net.dtype).removeprefix("torch."),
        "device": str(model.device),
    }


def answered(answer: Answer) -> dict[str, Any]:
    """An answer in plain values."""
    return {
        "tokens": answer.tokens,
        "probability": answer.probability,
        "logprob": answer.logprob,
        "rank": answer.rank,
        "top": [{"word": word, "probability": p} for word, p in answer.top],
    }


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr for the length of a block; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show
