"""A run's chapter in plain values, for a page that draws it; told once, and kept for a while."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from ..errors import UnknownName
from ..report import Folded, Items, Picture, Section, Table
from ..report.canvas import png, standalone, svg
from ..report.chapters import Chapter, chapter
from ..store import Run
from ..store.folder import SUMMARY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEPT = 6  # chapters; each has its figures
MEDIA = {"svg": "image/svg+xml", "png": "image/png"}


class Told:
    """What do the last few runs that were looked at say? Chapters are told one at a time.

    Drawing changes what all of matplotlib draws with, and reading a large run takes seconds: hence one at a time, and
    kept. A run is told again when its summary is another file.

    >>> told = Told(kept=2)
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._most = kept
        self._lock = threading.Lock()
        self._chapters: OrderedDict[tuple[str, str, int], Chapter] = OrderedDict()

    def chapter(self, run: Run) -> dict[str, Any]:
        """The whole chapter in plain values. Raises BadData for a run that is not done, or is damaged."""
        with self._lock:
            found = self._chapter(run)
        return {
            "title": found.title, "asks": found.asks, "parts": plain(found.sections, found.figures),
            "figures": list(found.figures), "python": _python(run),
        }  # fmt: skip

    def figure(self, run: Run, name: str, kind: str) -> bytes:
        """One figure as a file of its own, `svg` or `png`. Raises UnknownName, BadData."""
        if kind not in MEDIA:
            raise UnknownName("kind of picture", kind, MEDIA)
        with self._lock:
            figures = self._chapter(run).figures
            if name not in figures:
                raise UnknownName("figure", name, figures)
            return png(figures[name]) if kind == "png" else standalone(svg(figures[name])).encode()

    def _chapter(self, run: Run) -> Chapter:
        summary = run.path / SUMMARY
        key = (str(run.path), run.folder.id, summary.stat().st_mtime_ns if summary.exists() else 0)
        if not run.complete or key not in self._chapters:
            self._chapters[key] = chapter(run)
        self._chapters.move_to_end(key)
        while len(self._chapters) > self._most:
            self._chapters.popitem(last=False)
        return self._chapters[key]


def _python(run: Run) -> str:
    return f"""import engram as eg
from engram.report import save
from engram.report.chapters import chapter

told = chapter(eg.open_run({str(run.path)!r}))
for name, figure in told.figures.items():
    save(figure, f"{{name}}.svg")
"""


def plain(parts: Sequence[Any], figures: Mapping[str, Figure]) -> list[dict[str, Any]]:
    """Parts of a page as plain values, each with its `kind`; a picture has the name of its figure.

    >>> plain(["a", Table("Scores", ("score", "value #"), [("gap", "0.1")])], {})[1]["columns"]
    [{'name': 'score', 'number': False}, {'name': 'value', 'number': True}]
    """
    return [_plain(part, figures) for part in parts]


def _plain(part: Any, figures: Mapping[str, Figure]) -> dict[str, Any]:
    match part:
        case Section():
            return {"kind": "section", "title": part.title, "parts": plain(part.parts, figures)}
        case Folded():
            return {"kind": "folded", "line": part.line, "parts": plain(part.parts, figures)}
        case Table():
            columns = [{"name": c.removesuffix("#").strip(), "number": c.endswith("#")} for c in part.columns]
            return {"kind": "table", "caption": part.caption, "columns": columns, "rows": [list(r) for r in part.rows]}
        case Items():
            return {"kind": "items", "entries": list(part.entries), "verdicts": list(part.kinds)}
        case Picture():
            return {
                "kind": "picture", "svg": part.svg, "chart": finite(part.chart), "caption": part.caption,
                "figure": _name(part, figures),
            }  # fmt: skip
    return {"kind": "text", "text": str(part)}


def _name(picture: Picture, figures: Mapping[str, Figure]) -> str | None:
    """Which figure is this? A figure's title stands in its picture; of several with one title, the same picture."""
    close = [k for k, f in figures.items() if f"<title>{escape(str(f.get_label()))}</title>" in picture.svg]
    same = close if len(close) < 2 else [k for k in close if svg(figures[k]) == picture.svg]
    return same[0] if same else None


def finite(value: Any) -> Any:
    """Plain values as JSON has them: None for a number that is not finite, text for what JSON does not know.

    >>> finite({"a": [1.5, float("nan")], "b": (1,)})
    {'a': [1.5, None], 'b': [1]}
    """
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
