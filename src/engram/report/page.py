"""One file that says everything: no network, readable on light and dark ground, on paper, and without scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .live import HEAD, LIVE, library
from .tables import Table, shown

STYLE = """
:root { color-scheme: light dark; --ink: #12171d; --ground: #fff; --soft: #5b6570; --line: #d8dde2; --box: #f5f7f9;
  --yes: #00704f; --no: #b34700; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e7eb; --ground: #14181d; --soft: #9aa5b0; --line: #343c45;
  --box: #1c2229; --yes: #3ecf9f; --no: #ff9a4d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; }
h3 { font-size: 1.02rem; margin: 1.9rem 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
p { margin: .6rem 0; max-width: 46rem; }
.under { color: var(--soft); margin: 0 0 1.5rem; }
nav { font-size: .9rem; color: var(--soft); }
nav a { margin-right: 1rem; white-space: nowrap; }
a { color: inherit; }
figure { margin: 1.25rem 0; max-width: 56rem; overflow-x: auto; }
figure > svg, .still svg { display: block; width: 100%; min-width: 34rem; height: auto; color: var(--ink); }
.wide { overflow-x: auto; margin: 1.25rem 0; }
table { border-collapse: collapse; font-size: .8125rem; font-variant-numeric: tabular-nums; min-width: 60%; }
small { display: block; max-width: 17rem; color: var(--soft); font-size: .75rem; line-height: 1.3; }
caption { text-align: left; max-width: 46rem; font-weight: 600; padding-bottom: .4rem; }
th, td { padding: .28rem .7rem .28rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
.n { text-align: right; white-space: nowrap; }
details { margin: 1rem 0; padding: .5rem .9rem; background: var(--box); border-radius: .4rem; }
summary { cursor: pointer; font-weight: 600; }
ul { padding-left: 1.2rem; }
li { margin: .25rem 0; }
.yes::before, .no::before, .open::before { display: inline-block; min-width: 4.6rem; margin-right: .6rem;
  font-weight: 600; }
.yes::before { content: "met"; color: var(--yes); }
.no::before { content: "not met"; color: var(--no); }
.open::before { content: "open"; color: var(--soft); }
.verdicts { list-style: none; padding-left: 0; }
.chart { display: none; min-width: 34rem; }
.live .chart { display: block; }
figcaption { color: var(--soft); font-size: .8125rem; max-width: 46rem; margin-top: .3rem; }
.live figure .still { display: none; }
@media print {
  .live .chart { display: none; }
  .live figure .still { display: block; }
  details { background: none; }
  figure, table { break-inside: avoid; }
}
"""


@dataclass(frozen=True, slots=True)
class Picture:
    """SVG text, put into the page as it is. With a `chart`, a plotly figure in plain values, this is seen instead.

    `caption` stands below the chart. The still picture, which has its own, remains for paper, and where scripts do not
    run.

    >>> from engram.report import svg
    >>> from matplotlib.figure import Figure
    >>> picture = Picture(svg(Figure()))
    >>> "<svg" in Page("A", "b", (Section("C", (picture,)),)).html()
    True
    """

    svg: str
    chart: Mapping[str, Any] | None = None
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Items:
    """A list; `kinds` (yes, no, open) marks each entry with its verdict.

    >>> "<li" in Page("A", "b", (Section("C", (Items(("it fell", "it stayed"), ("yes", "no")),)),)).html()
    True
    """

    entries: Sequence[str]
    kinds: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Folded:
    """Something long, behind one line that opens it.

    >>> "<details>" in Page("A", "b", (Section("C", (Folded("All settings", ("seed 0",)),)),)).html()
    True
    """

    line: str
    parts: Sequence[str | Table | Items]


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with paragraphs, pictures and tables below it, and smaller sections.

    >>> Section("What one sees", ("A paragraph.",)).anchor
    'what-one-sees'
    """

    title: str
    parts: Sequence[Part]

    @property
    def anchor(self) -> str:
        """What the list of contents leads to."""
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


Part = str | Table | Picture | Items | Folded | Section


@dataclass(frozen=True, slots=True)
class Page:
    """A report in one file.

    >>> html = Page("On <b>", "made by hand", (Section("What one sees", ("a & b",)),)).html()
    >>> "On &lt;b&gt;" in html, "a &amp; b" in html, "http" in html
    (True, True, False)
    """

    title: str
    under: str
    sections: Sequence[Section]

    def html(self) -> str:
        """Everything but the pictures is escaped."""
        links = "".join(f'<a href="#{s.anchor}">{shown(s.title)}</a> ' for s in self.sections)
        body = "\n".join(
            f'<section id="{s.anchor}">\n<h2>{shown(s.title)}</h2>\n{_parts(s.parts)}\n</section>'
            for s in self.sections
        )
        live = any(p.chart for s in self.sections for p in _pictures(s.parts))
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{HEAD if live else ""}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{shown(self.title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{shown(self.title)}</h1>
<p class="under">{shown(self.under)}</p>
<nav>{links}</nav>
{body}
</main>
{f"<script>{library()}</script><script>{LIVE}</script>" if live else ""}
</body>
</html>
"""


def _parts(parts: Sequence[Part]) -> str:
    return "\n".join(_part(p) for p in parts)


def _part(part: Part) -> str:
    match part:
        case Table():
            return f'<div class="wide">{part.html()}</div>'
        case Picture():
            return _picture(part)
        case Items():
            return _items(part)
        case Folded():
            return f"<details><summary>{shown(part.line)}</summary>\n{_parts(part.parts)}\n</details>"
        case Section():
            return f"<h3>{shown(part.title)}</h3>\n{_parts(part.parts)}"
    return f"<p>{shown(part)}</p>"


def _picture(picture: Picture) -> str:
    if picture.chart is None:
        return f"<figure>{picture.svg}</figure>"
    below = f"<figcaption>{shown(picture.caption)}</figcaption>"
    chart = f'<div class="chart">{_data(picture.chart)}<div class="drawing"></div>{below}</div>'
    return f'<figure>{chart}<div class="still">{picture.svg}</div></figure>'


def _data(chart: Mapping[str, Any]) -> str:
    """As a script that does nothing: no text in it can end it, or begin another."""
    plain = json.dumps(chart, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f'<script type="application/json">{plain.replace("<", chr(92) + "u003c")}</script>'


def _pictures(parts: Sequence[Part]) -> Iterator[Picture]:
    for part in parts:
        if isinstance(part, Picture):
            yield part
        elif isinstance(part, Section):
            yield from _pictures(part.parts)


def _items(items: Items) -> str:
    if not items.kinds:
        return f"<ul>{''.join(f'<li>{shown(e)}</li>' for e in items.entries)}</ul>"
    marked = (f'<li class="{k}">{shown(e)}</li>' for e, k in zip(items.entries, items.kinds, strict=True))
    return f'<ul class="verdicts">{"".join(marked)}</ul>'
