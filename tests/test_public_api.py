"""What is offered is what is documented: names, docstrings, examples, and the reference, the command line's too."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import engram as eg
from engram import errors
from engram.data import data_sets
from engram.errors import EngramError

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted(p for p in REFERENCE.glob("*.md") if p.stem not in ("index", "cli"))
OPEN = (  # packages that users and authors of plug-ins import from: everything in their `__all__` is public
    "data", "editors", "experiments", "interventions", "locators", "metrics", "recipes", "report", "selectors",
    "testing", "tracers",
)  # fmt: skip
SINGLE = (  # of files that are else engram's own affair: what the documentation has people import
    "edits.Wish", "editors.base.edited", "editors.base.question", "editors.vectors.embedding", "editors.vectors.token",
    "experiments.base.Case", "experiments.base.Result", "experiments.drawn.Drawn", "experiments.drawn.Skipped",
    "experiments.drawn.askable", "facts.split_of", "metrics.traced.curves", "models.batching.Progress",
    "models.batching.rows_within", "models.family.Family", "models.family.Stack", "models.questions.Batch",
    "models.replay.record", "models.slot_of", "models.value_slots", "registry.Plugin", "registry.Registry",
    "registry.plugins", "report.pictures.carriers", "results.Better", "store.Verified", "store.verify",
)  # fmt: skip
INSIDE = ("BrokenPlugin.md",)  # looks behind a door, to show what goes wrong there


@dataclass(frozen=True)
class Entry:
    """A name on a page of the reference: what mkdocs reads, and what it is shown as."""

    page: str
    target: str
    shown: str


def entries(text: str, page: str = "") -> list[Entry]:
    found = re.findall(r"^::: (\S+)\n((?:    .*\n)*)", text + "\n", re.MULTILINE)
    headings = [re.search(r"^ +heading: (\S+)$", options, re.MULTILINE) for _, options in found]
    return [Entry(page, t, h[1] if h else t) for (t, _), h in zip(found, headings, strict=True)]


def documented() -> list[Entry]:
    return [e for p in PAGES for e in entries(p.read_text(encoding="utf-8"), p.name)]


def found_at(dotted: str) -> Any:
    """What mkdocs reads there: of a module and a name in its package that are called the same, the module."""
    with suppress(ModuleNotFoundError):
        return importlib.import_module(dotted)
    home, _, name = dotted.rpartition(".")
    return getattr(found_at(home), name)


def public() -> dict[str, Any]:
    """Every name that is there to be used, with what it names; what has two names has the shorter."""
    names = {f"engram.{n}": getattr(eg, n) for n in eg.__all__}
    for package in OPEN:
        home = importlib.import_module(f"engram.{package}")
        for n in home.__all__:
            if getattr(eg, n, None) is not getattr(home, n):
                names[f"engram.{package}.{n}"] = getattr(home, n)
    kinds = [n for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, EngramError)]
    names |= {f"engram.errors.{n}": getattr(errors, n) for n in kinds}
    names |= {f"engram.data.{n}": data_sets[n] for n in data_sets.names()}
    return names | {f"engram.{n}": found_at(f"engram.{n}") for n in SINGLE}


PUBLIC = public()
CALLED = {n: o for n, o in PUBLIC.items() if isinstance(o, type | ModuleType) or inspect.isroutine(o)}
VALUES = sorted(set(PUBLIC) - set(CALLED))


def test_every_public_name_is_in_the_reference_once_and_nothing_else_is():
    shown = [e.shown for e in documented()]
    assert sorted(shown) == sorted(PUBLIC)


def test_what_the_reference_reads_is_what_the_name_stands_for():
    differing = [e for e in documented() if found_at(e.target) is not PUBLIC.get(e.shown)]
    assert differing == []


def test_entries_are_read_off_a_page():
    page = "# A\n\n::: engram.ask\n\n::: engram.data.cases.cases\n    options:\n      heading: engram.data.cases\n"
    assert [(e.target, e.shown) for e in entries(page)] == [
        ("engram.ask", "engram.ask"), ("engram.data.cases.cases", "engram.data.cases"),
    ]  # fmt: skip


def imported() -> Iterator[tuple[str, str]]:
    """What pages, the README and the example of a plug-in import from engram: the page, and the name's home."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("src/**/*.py")]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        fenced = re.findall(r"^```python[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for code in [text] if page.suffix == ".py" else fenced:
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "engram":
                    yield from ((page.name, f"{node.module}.{a.name}") for a in node.names)


def test_what_the_documentation_has_one_import_is_public():
    known = {id(what) for what in PUBLIC.values()}
    named = {(page, name) for page, name in imported() if page not in INSIDE}
    assert len(named) > 40
    private = {(page, n) for page, n in named if n not in PUBLIC and id(found_at(n)) not in known}
    assert {(page, n) for page, n in private if not isinstance(found_at(n), ModuleType)} == set()


@pytest.mark.parametrize("name", sorted(CALLED))
def test_a_public_name_says_what_it_is_and_shows_it(name):
    what = CALLED[name]
    text = vars(what).get("__doc__") if isinstance(what, type) else what.__doc__
    assert text, "no docstring of its own"
    assert ">>> " in text, "no example"


@pytest.mark.parametrize("name", VALUES)
def test_a_public_value_says_what_it_is(name):
    assert name.rpartition(".")[2] in told_values()


@cache
def told_values() -> frozenset[str]:
    """The names that are assigned in some file, with a text right below that says what they are."""
    return frozenset(name for p in (ROOT / "src" / "engram").rglob("*.py") for name in told(p))


def told(path: Path) -> Iterator[str]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for node, below in pairwise(body):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
        if isinstance(text, str):
            yield from (t.id for t in targets if isinstance(t, ast.Name))


def methods(kind: type) -> Iterator[str]:
    for name, value in vars(kind).items():
        is_one = isinstance(value, property | classmethod | staticmethod) or inspect.isfunction(value)
        if not name.startswith("_") and (is_one or hasattr(value, "func")):
            yield name


@pytest.mark.parametrize("name", sorted(n for n, o in CALLED.items() if isinstance(o, type)))
def test_every_method_of_a_public_class_says_what_it_does(name):
    silent = [m for m in methods(CALLED[name]) if not inspect.getdoc(getattr(CALLED[name], m))]
    assert silent == []


def test_methods_are_found():
    assert {"rows", "layers", "wrap", "device"} <= set(methods(eg.Model))


def test_the_index_leads_to_every_name_of_engram():
    shown = re.findall(r"\[(\w+)\]\[engram\.(\w+)\]", (REFERENCE / "index.md").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted((n, n) for n in eg.__all__)


def test_every_page_of_the_reference_is_in_the_contents():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [p.name for p in REFERENCE.glob("*.md") if f"reference/{p.name}" not in nav] == []


def test_the_page_of_the_command_line_is_what_the_commands_say():
    """After a change of the commands: scripts/cli_reference."""
    code = "from reference import commands; print(commands.page(), end='')"
    paths = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); "
    done = subprocess.run([sys.executable, "-c", paths + code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (REFERENCE / "cli.md").read_text(encoding="utf-8"), "run scripts/cli_reference"
