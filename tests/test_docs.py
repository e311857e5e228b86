"""What is written about the code is run: pages of errors, every block of Python, the example locator, and links."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import sys
import tomllib
import warnings
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest
import torch

import engram as eg
from engram import errors, registry
from engram.data import data_sets
from engram.editors import editors
from engram.errors import EngramError
from engram.experiments import experiments
from engram.locators import locators
from engram.metrics import metrics
from engram.models import family, value_slots
from engram.selectors import DegenerateScores, selectors
from engram.testing import tiny

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
EXAMPLE = ROOT / "examples" / "engram_example"
CODE = EXAMPLE / "src" / "engram_example"
REGISTRIES = (locators, selectors, editors, metrics, data_sets, experiments)
SHOWN = {  # on a how-to, the whole of a file of the example
    "add-a-locator": "locator", "add-a-selector": "selector", "add-an-editor": "editor", "add-a-metric": "metric",
    "add-a-data-set": "moons", "add-an-experiment": "experiment", "add-a-family": "starcoder2",
}  # fmt: skip
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
ERROR_PAGES = sorted(p for p in (DOCS / "errors").glob("*.md") if p.stem != "index")
DUBLIN = eg.Prompt("The capital of Ireland is [Y].", "Dublin")


@dataclass(frozen=True)
class Fence:
    """A fenced block of a page, and the heading that it stands under. `language` is all that follows the fence."""

    page: Path
    line: int
    heading: str
    language: str
    text: str

    def run(self, names: dict) -> str:
        """What does it print? Blocks of one page share `names`."""
        printed = io.StringIO()
        code = compile("\n" * self.line + self.text, str(self.page), "exec")  # so that errors name the page's line
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        return printed.getvalue()


def fences(page: Path) -> list[Fence]:
    found, heading, opened = [], "", None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if opened is None:
            if line.startswith("#"):
                heading = line.lstrip("# ")
            elif line.startswith("```"):
                opened, language, body = number, line[3:].strip(), []
        elif line == "```":
            found.append(Fence(page, opened, heading, language, "\n".join(body)))
            opened = None
        else:
            body.append(line)
    assert opened is None, f"{page}, line {opened}: a block is not closed"
    return found


def under(page: Path, heading: str, language: str) -> Fence:
    (fence,) = [f for f in fences(page) if (f.heading, f.language) == (heading, language)]
    return fence


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture
def aside(monkeypatch, tmp_path):
    """Files that a page writes go elsewhere, and random numbers that it draws disturb nobody."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)


# -- a page for each error

KINDS = {name: c for name, c in vars(errors).items() if isinstance(c, type) and issubclass(c, EngramError)}
KINDS = {name: c for name, c in KINDS.items() if c is not EngramError} | {"DegenerateScores": DegenerateScores}


def test_every_error_has_a_page_and_every_page_an_error():
    assert {p.stem for p in ERROR_PAGES} == set(KINDS)


@pytest.mark.parametrize("page", ERROR_PAGES, ids=name_of)
def test_a_page_starts_with_what_the_class_says_of_itself(page):
    kind = KINDS[page.stem]
    above = [c.__name__ for c in kind.__mro__[1:]]
    caught_by = above[: above.index("Exception" if issubclass(kind, EngramError) else "Warning")]
    first = kind.__doc__.strip().split("\n\n")[0]
    start = f"# {page.stem}\n\n{first}\n\nCaught by {', '.join(f'`{n}`' for n in caught_by)}.\n\n"
    assert page.read_text(encoding="utf-8").startswith(start)


def says(printed: str, seen: str) -> bool:
    """Is this what was printed? Pages may wrap lines, and write `...` for a path."""
    pattern = re.escape(" ".join(printed.split())).replace(re.escape("..."), r"\S*")
    return re.fullmatch(pattern, " ".join(seen.split())) is not None


@pytest.mark.parametrize("page", ERROR_PAGES, ids=name_of)
def test_the_wrong_snippet_says_what_the_page_shows(page, aside):
    kind, wrong = KINDS[page.stem], under(page, "Wrong", "python")
    if issubclass(kind, Warning):
        seen = warned(wrong, kind)
    else:
        with pytest.raises(kind) as caught, warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            wrong.run({})  # memory that runs out is warned of on the way
        assert caught.type is kind
        seen = f"{kind.__module__}.{kind.__name__}: {caught.value}"
    assert says(under(page, "Printed", "text").text, seen)


@pytest.mark.parametrize("page", ERROR_PAGES, ids=name_of)
def test_the_right_snippet_runs_without_a_warning(page, aside):
    under(page, "Right", "python").run({})


def test_the_warning_before_memory_is_gone_is_what_its_page_shows(aside):
    page = DOCS / "errors" / "OutOfMemory.md"
    seen = warned(under(page, "Before it: a warning", "python"), RuntimeWarning)
    assert says(under(page, "Before it: a warning", "text").text, seen)


def warned(snippet: Fence, kind: type[Warning]) -> str:
    with pytest.warns(kind) as caught:
        snippet.run({})
    (one,) = caught
    return f"{one.category.__name__}: {one.message}"


def test_a_message_is_compared_word_by_word_but_for_paths():
    assert says("X: in ...: a b\nc", "X: in /tmp/p q.py: a b c") is False
    assert says("X: in ...: a b\nc", "X: in /tmp/q.py: a b c")
    assert not says("X: a b", "X: a c")


def test_the_index_of_errors_is_the_tree_of_the_docstring():
    """Generated from it; after a change of the tree, put what is expected here into docs/errors/index.md."""
    tree = re.findall(r"^( +)[x+] (\w+) +\((.+)\)$", errors.__doc__, re.MULTILINE)
    expected = [f"{'    ' * (len(i) // 2)}* [{name}]({name}.md): {what}" for i, name, what in tree]
    shown = (DOCS / "errors" / "index.md").read_text(encoding="utf-8")
    assert "\n".join(["* EngramError", *expected, ""]) in shown


# -- every other block of Python


@pytest.fixture
def plugged(monkeypatch):
    """The examples of the how-to's, as installed packages would bring them, for the length of a test."""
    named = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    entries = [EntryPoint(name, module, group) for group, own in named.items() for name, module in own.items()]
    for kinds in REGISTRIES:
        kinds.names()  # those of engram itself are registered once and for all
    monkeypatch.setattr(registry, "entry_points", lambda **asked: EntryPoints(entries).select(**asked))
    monkeypatch.syspath_prepend(EXAMPLE / "src")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for kinds in REGISTRIES:
        monkeypatch.setattr(kinds, "_classes", dict(kinds._classes))
        monkeypatch.setattr(kinds, "_read", False)
    family.read.cache_clear()
    yield
    family.read.cache_clear()
    for module in [name for name in sys.modules if name.partition(".")[0] == "engram_example"]:
        del sys.modules[module]


def test_every_how_to_shows_the_whole_of_its_example():
    pages = {p.stem: p.read_text(encoding="utf-8") for p in (DOCS / "how-to").glob("add-*.md")}
    assert set(pages) == set(SHOWN)
    whole = {page: (CODE / f"{module}.py").read_text(encoding="utf-8") for page, module in SHOWN.items()}
    assert [page for page, text in pages.items() if f"```python\n{whole[page]}```" not in text] == []


def with_python() -> list[Path]:
    return [p for p in PAGES if p not in ERROR_PAGES and any(f.language == "python" for f in fences(p))]


@pytest.mark.parametrize("page", with_python(), ids=name_of)
def test_the_blocks_of_a_page_run_in_order_and_print_what_stands_below_them(page, plugged, aside):
    """A block that is the whole of an example is imported, for it is installed as a plug-in."""
    names = given()
    blocks = fences(page)
    examples = {p.read_text(encoding="utf-8").rstrip("\n"): p.stem for p in CODE.glob("*.py")}
    for block, below in zip(blocks, [*blocks[1:], None], strict=True):
        if block.language != "python":
            continue
        if (example := examples.get(block.text)) is not None:
            exec(f"from engram_example.{example} import *", names)
            continue
        printed = block.run(names)
        if below is not None and below.language == "text" and below.heading == block.heading:
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            assert doctest.OutputChecker().check_output(below.text + "\n", printed, flags), printed


def given() -> dict:
    """What a how-to takes as given: the names that the README's session begins with."""
    model = eg.load()
    facts = eg.data.shipped()
    prompts = facts.prompts(facts.fact("Ireland", "capital"))[:3]
    scores = eg.locate(model, prompts, by=eg.Activation())
    return {"__name__": "__main__", "eg": eg, "model": model, "prompts": prompts, "scores": scores}


def test_a_block_that_fails_is_named_with_the_line_of_its_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nx = 1\nx / 0\n```\n", encoding="utf-8")
    (block,) = fences(page)
    with pytest.raises(ZeroDivisionError) as caught:
        block.run({})
    assert (str(caught.traceback[-1].path), caught.traceback[-1].lineno + 1) == (str(page), 5)


# -- the example locator


@pytest.fixture
def written(plugged):
    return locators["written"]


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "albert"])
def test_the_example_scores_a_neuron_by_what_its_silence_takes_from_the_ffns_output(kind, written):
    model = eg.load(*tiny(kind))
    (found,) = eg.locate(model, DUBLIN, by=written())
    (row,) = model.rows(DUBLIN)
    inputs: list[torch.Tensor] = []
    handles = [
        down.register_forward_pre_hook(lambda _m, args: inputs.append(args[0].reshape(-1, args[0].shape[-1])))
        for down in {layer.down: None for layer in model.layers}
    ]
    model.net(input_ids=torch.tensor([row.ids]))
    for handle in handles:
        handle.remove()
    for layer, x in zip(model.layers, inputs, strict=True):
        w = x[row.at].detach()
        without = w - torch.diag(w)  # row i is without neuron i
        lost = (layer.down(w[None]) - layer.down(without)).norm(dim=1)
        assert np.allclose(found.scores[layer.index], lost.detach(), atol=1e-5)
        assert value_slots(layer.down).shape[0] == len(w)


def test_the_example_is_found_by_its_name_and_keeps_its_settings(written):
    model = eg.load(*tiny("gpt2"))
    (found,) = eg.locate(model, DUBLIN, by=written(relative=True))
    assert (found.method, found.settings["relative"]) == ("written", True)
    assert np.allclose(found.scores.sum(1), 1)
    assert np.isnan(found.gap).all()
    assert "written" in locators.names()


# -- links


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings_that_exist(page):
    broken = []
    for target, anchor in links(page.read_text(encoding="utf-8")):
        there = (page.parent / target).resolve() if target else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


def links(text: str) -> list[tuple[str, str]]:
    """The relative links of a page: file (empty: the page itself) and anchor. Code is not looked at."""
    text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [tuple(f"{x}#".split("#")[:2]) for x in found if not re.match(r"[a-z]+:", x)]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def test_links_are_found():
    assert links("[a](b.md#c-d) `[x](y)` ![p](q.png) [w](https://x.y) [s](#here)") == [
        ("b.md", "c-d"),
        ("q.png", ""),
        ("", "here"),
    ]
