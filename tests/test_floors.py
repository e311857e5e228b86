"""The house as it stands: imports go down only, a file is a chapter, and what no file does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import pytest

HOME = Path(__file__).resolve().parent.parent / "src" / "engram"

FLOORS = (  # those of floor 0 may import each other, those of one higher floor may not
    ("cases", "edits", "errors", "facts", "files", "neurons", "presets", "registry", "results", "texts", "traces"),
    ("data", "metrics", "models", "selectors", "store"),
    ("interventions", "locators", "tracers"),
    ("editors",),
    ("experiments",),
    ("recipes", "report", "runs"),
    ("bench", "cli", "testing", "web"),
)
RANK = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}
DOORS = {  # the commands `bench` and `serve` have to go somewhere, and so has what an edit says of keeping itself
    ("cli", "bench"),
    ("cli", "web"),
    ("edits", "models"),
}
FREE_OF_TORCH = (
    "cases",
    "edits",
    "errors",
    "facts",
    "files",
    "neurons",
    "presets",
    "registry",
    "results",
    "texts",
    "traces",
    "data",
    "selectors",
    "metrics",
    "report",
    "store",
    "cli",
)
BY_COMPUTED_NAME = {"__init__", "registry", "models.family", "cli._app"}  # lazy names, and files found by looking
OWN_HOOKS = {"models.hooks", "models.watching"}
BENCH_HOOKS = {"bench.attribution", "bench.cost", "bench.tracing"}  # loops as written without engram, and counting

When = Literal["module", "function", "types"]


@dataclass(frozen=True)
class Import:
    """`target` is the full dotted name of what is imported, None where it is only known when it runs."""

    target: str | None
    when: When
    line: int


def modules() -> dict[str, Path]:
    """Every file of the package by its dotted name without `engram.`; a package by that of its `__init__`."""
    return {
        ".".join(p.relative_to(HOME).with_suffix("").parts).removesuffix(".__init__"): p for p in HOME.rglob("*.py")
    }


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(module: ast.Module, package: str) -> Iterator[Import]:
    """Every import of a file in this package (`engram.data`), in whatever form, and when it happens."""
    yield from _imports(module, package, "module")


def _imports(node: ast.AST, package: str, when: When) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        at: When = "function" if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) else when
        match child:
            case ast.Import(names=names):
                yield from (Import(a.name, at, child.lineno) for a in names)
            case ast.ImportFrom(module=name, names=names, level=level):
                home = _absolute("." * level + (name or ""), package)
                yield from (Import(home if a.name == "*" else f"{home}.{a.name}", at, child.lineno) for a in names)
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__")):
                first = child.args[0] if child.args else None
                known = isinstance(first, ast.Constant) and isinstance(first.value, str)
                yield Import(_absolute(first.value, package) if known else None, at, child.lineno)
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                for part in child.body:
                    yield from _imports(ast.Module([part], []), package, "types")
                yield from _imports(ast.Module(child.orelse, []), package, at)
                continue
        yield from _imports(child, package, at)


def _absolute(name: str, package: str) -> str:
    up = len(name) - len(name.lstrip("."))
    if not up:
        return name
    base = package.split(".")
    return ".".join([*base[: len(base) - up + 1], *filter(None, [name[up:]])])


def of_module(name: str, path: Path) -> list[Import]:
    whole = f"engram.{name}" if name != "__init__" else "engram"
    return list(imports(tree(path), whole if path.stem == "__init__" else whole.rpartition(".")[0]))


def against_the_floors(part: str, found: list[Import]) -> list[str]:
    """The imports that a file of this part may not have; those for type checkers are no exception."""
    wrong = []
    for i in found:
        if i.target is None or i.target.split(".")[0] != "engram":
            continue
        other = i.target.split(".")[1] if "." in i.target else "engram itself"
        if other in (part, "__version__") or (part, other) in DOORS:
            continue
        if other not in RANK or not (RANK[other] < RANK[part] or RANK[other] == RANK[part] == 0):
            wrong.append(f"line {i.line}: {part} (floor {RANK[part]}) imports {other}")
    return wrong


# -- floors


def test_the_table_of_floors_names_what_there_is():
    assert {name.split(".")[0] for name in modules()} - {"__init__"} == set(RANK)


def test_the_architecture_page_has_the_same_table():
    page = (HOME.parent.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| [^|]+ \| ([^|]+) \| [^|]+ \|$", page, re.MULTILINE)
    assert [(int(n), tuple(re.findall(r"`(\w+)`", parts))) for n, parts in rows] == list(enumerate(FLOORS))


def test_imports_go_down_only():
    wrong = {
        name: bad
        for name, path in modules().items()
        if name != "__init__" and (bad := against_the_floors(name.split(".")[0], of_module(name, path)))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("source", "target", "when"),
    [
        ("import engram.models", "engram.models", "module"),
        ("import engram.models.ask as a", "engram.models.ask", "module"),
        ("from engram import models", "engram.models", "module"),
        ("from engram.models import ask", "engram.models.ask", "module"),
        ("from .. import models", "engram.models", "module"),
        ("from ..models import *", "engram.models", "module"),
        ("from ..models.ask import ask", "engram.models.ask.ask", "module"),
        ("from . import form", "engram.data.form", "module"),
        ("from .form import facts", "engram.data.form.facts", "module"),
        ("try:\n import torch\nexcept ImportError: pass", "torch", "module"),
        ("class A:\n import torch", "torch", "module"),
        ("def f():\n from ..models import ask", "engram.models.ask", "function"),
        ("async def f():\n if x:\n  import torch", "torch", "function"),
        ("if TYPE_CHECKING:\n from ..models import Model", "engram.models.Model", "types"),
        ("if typing.TYPE_CHECKING:\n import torch", "torch", "types"),
        ("if TYPE_CHECKING:\n pass\nelse:\n import torch", "torch", "module"),
        ("importlib.import_module('engram.models')", "engram.models", "module"),
        ("x = import_module('..models', __package__)", "engram.models", "module"),
        ("f = lambda: __import__('torch')", "torch", "function"),
        ("importlib.import_module(f'engram.{name}')", None, "module"),
    ],
)
def test_every_form_of_import_is_seen(source, target, when):
    assert [(i.target, i.when) for i in imports(ast.parse(source), "engram.data")] == [(target, when)]


@pytest.mark.parametrize(
    ("part", "source", "right"),
    [
        ("data", "from ..facts import Fact", True),
        ("facts", "from .errors import BadTemplate", True),
        ("locators", "from .quadrature import quadrature", True),
        ("cli", "from .. import __version__, data", True),
        ("cli", "from ..bench import bench_attribution", True),
        ("bench", "from ..cli import main", False),
        ("testing", "from ..cli import main", False),
        ("data", "from ..metrics import compare", False),
        ("models", "def f():\n from engram.data import read", False),
        ("models", "if TYPE_CHECKING:\n from ..locators import Locator", False),
        ("facts", "import engram.models", False),
        ("locators", "from ..interventions import Scaled", False),
        ("locators", "import engram as eg", False),
        ("metrics", "from .. import ask", False),
    ],
)
def test_an_import_upwards_or_beside_is_noticed(part, source, right):
    package = "engram" if RANK[part] == 0 else f"engram.{part}"
    assert (against_the_floors(part, list(imports(ast.parse(source), package))) == []) is right


def test_names_are_computed_only_where_files_are_found_by_looking():
    by_name = {name for name, path in modules().items() for i in of_module(name, path) if i.target is None}
    assert by_name == BY_COMPUTED_NAME


def test_what_is_free_of_torch_imports_nothing_heavy_with_itself():
    heavy = {
        f"{name}, line {i.line}": i.target
        for name, path in modules().items()
        if name == "__init__" or name.split(".")[0] in FREE_OF_TORCH
        for i in of_module(name, path)
        if i.when == "module" and i.target is not None and is_heavy(i.target)
    }
    assert heavy == {}


def test_what_is_heavy_is_known():
    assert [t for t in ("torch.nn", "transformers", "engram.models.ask", "engram.testing") if not is_heavy(t)] == []
    assert [t for t in ("torchless", "numpy", "engram.facts.Fact", "engram.__version__") if is_heavy(t)] == []


def is_heavy(target: str) -> bool:
    first, *rest = target.split(".")
    return first in {"torch", "transformers"} or (first == "engram" and rest[0] in set(RANK) - set(FREE_OF_TORCH))


# -- chapters


def test_a_file_is_a_chapter_of_at_most_300_lines():
    long = {
        name: n
        for name, path in modules().items()
        if (n := len(path.read_text(encoding="utf-8").splitlines())) > 300 and not defended(tree(path))
    }
    assert long == {}


def test_a_function_has_at_most_40_lines_beside_its_docstring():
    long = {
        f"{name}: {f.name}": n
        for name, path in modules().items()
        for f in functions(path)
        if (n := length(f)) > 40 and not defended(f)
    }
    assert long == {}


def test_lines_are_counted_without_the_docstring():
    f = ast.parse('def f(\n    x,\n):\n    """Two\n    lines."""\n\n    return x').body[0]
    assert length(f) == 5
    assert not defended(f)
    assert defended(ast.parse('"""It is long, for it is one table."""'))


Chapter = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [f for f in ast.walk(tree(path)) if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef))]


def length(f: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = f.body[0]
    doc = first.end_lineno - first.lineno + 1 if ast.get_docstring(f) is not None else 0
    return f.end_lineno - f.lineno + 1 - doc


def defended(chapter: Chapter) -> bool:
    """Does the docstring say why it is so long?"""
    return re.search(r"\blong\b", ast.get_docstring(chapter) or "") is not None


# -- what no file does


def breaches(node: ast.AST) -> str | None:
    match node:
        case ast.Call(func=ast.Name(id="print")):
            return "prints"
        case ast.ExceptHandler(type=None):
            return "catches everything"
        case ast.Assert():
            return "asserts"
        case ast.Attribute(attr=name) if re.match(r"register_(module_)?(forward|full|backward)|register_hook$", name):
            return "registers a hook"
    return None


def test_no_file_prints_asserts_or_catches_everything_and_two_register_hooks():
    found = {
        (name, what) for name, path in modules().items() for node in ast.walk(tree(path)) if (what := breaches(node))
    }
    assert found == {(name, "registers a hook") for name in OWN_HOOKS | BENCH_HOOKS}


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("print(1)", "prints"),
        ("try:\n x\nexcept:\n pass", "catches everything"),
        ("assert x", "asserts"),
        ("m.register_forward_hook(f)", "registers a hook"),
        ("m.register_forward_pre_hook(f)", "registers a hook"),
        ("m.register_full_backward_hook(f)", "registers a hook"),
        ("nn.modules.module.register_module_forward_hook(f)", "registers a hook"),
        ("x.register_hook(f)", "registers a hook"),
        ("holding.register(f)\nconsole.print(1)\ntry:\n x\nexcept ValueError:\n pass", None),
    ],
)
def test_a_breach_is_noticed(source, what):
    assert [b for node in ast.walk(ast.parse(source)) if (b := breaches(node))] == ([what] if what else [])
