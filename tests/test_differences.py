"""Whatever docs/differences.md names exists: every expression is made, every other name is looked up."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

import engram as eg
from engram import editors, errors, interventions, locators, metrics, models, selectors
from engram.cli import _app
from engram.data import criteria, data_sets
from engram.editors.wanted import Search
from engram.errors import BadSetting, UnknownName
from engram.facts import split_of
from engram.texts import Mentions, Texts

PAGE = Path(__file__).resolve().parent.parent / "docs" / "differences.md"
THEIRS = {  # names of other programs, and pieces of text: nothing that engram could make
    "Hunter-DDM/knowledge-neurons", "EleutherAI/knowledge-neurons", "up", "act(gate) · up", "[UNK]", "[MASK]",
    "trex_lms_vocab", "answers", "alt", "Niger", "Nigerien", "RandomState(1)", "replace", "[l − 5, l + 5)",
    "[l − 4, l + 5]", "mom2_adjustment: false", "P1367", "fix_p_neuron", "--debug 100000", "with_adjective", "with_adj",
    "bert-base-cased", "bert-base-uncased",
}  # fmt: skip
COMMAND_FLAG = re.compile(r"^(--[a-z-]+)(?: (\w+))?$")
KEYWORD = re.compile(r"^\w+=")


@dataclass(frozen=True)
class Span:
    """A piece of code in the text of the page, and the larger heading that it stands under."""

    line: int
    heading: str
    text: str


def spans() -> list[Span]:
    """In order, but for blocks, which are run elsewhere. Under a smaller heading the names above it still count."""
    text = PAGE.read_text(encoding="utf-8")
    page = re.sub(r"^```.*?^```", lambda m: "\n" * m[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE)
    found, heading = [], ""
    for m in re.finditer(r"^##? (.+)$|`([^`]+)`", page, re.MULTILINE):
        heading = m[1] or heading
        if m[2]:
            found.append(Span(page.count("\n", 0, m.start()) + 1, heading, " ".join(m[2].split())))
    return found


def public() -> dict[str, object]:
    """Every public name, as the page writes it."""
    names: dict[str, object] = {name: getattr(eg, name) for name in dir(eg) if not name.startswith("__")}
    for home in (interventions, locators, selectors, editors, models, errors, metrics, eg.experiments):
        names |= {name: getattr(home, name) for name in dir(home) if not name.startswith("_")}
    return {**names, "Search": Search, "split_of": split_of}


def reader(name: str):
    """A data set by its name, made and not read: its files are not here."""
    return lambda path, **settings: data_sets[name](path, **settings)


@pytest.fixture(scope="module")
def names() -> dict[str, object]:
    """Public names, and what the page's expressions take as given."""
    model, towns = eg.load("engram:causal"), {"Ireland": "Dublin", "Italy": "Rome", "Japan": "Tokyo", "Peru": "Lima"}
    towns |= {"Kenya": "Nairobi", "Norway": "Oslo", "France": "Paris"}
    capital = eg.Relation("P36", "capital", tuple(f"{w} capital of [X] is [Y]." for w in ("The", "A", "One", "This")))
    facts = eg.FactSet("towns", (capital,), {"P36": tuple(capital.fact(*x) for x in towns.items())})
    prompts = facts.prompts(facts.facts("P36")[0])
    found = eg.locate(model, prompts[:2], by=eg.Activation())
    answers = eg.ask(model, prompts[:2])
    fact = eg.Fact("The bread tins", "regular_plural_subject_verb_agreement_1", "weren")
    given = {
        "path": Path("data"), "model": model, "facts": facts, "among": (eg.NeuronSet.parse("L0.1"), eg.NeuronSet()),
        "neurons": eg.NeuronSet.parse("L0.1"),
        "texts": Texts("mine", {"P36": (Mentions(("Dublin lies in Ireland.",), ()),)}), "groups": [found],
        "before": answers, "after": answers,
        "pair": eg.Prompt("The bread tin [Y]'t gone.", "wasn", fact, against="weren"),
    }  # fmt: skip
    data = {name: reader(name) if name in data_sets.names() else getattr(eg.data, name) for name in dir(eg.data)}
    return {**public(), **given, "data": SimpleNamespace(**data, criteria=criteria), "metrics": metrics}


def made(expression: str, names: dict[str, object]) -> object:
    """What the expression makes; of those that ask a network for long, whether they may be called so."""
    tree = ast.parse(expression, mode="eval")
    dear = {"second_moments", "number_neurons", "search_share"}
    if isinstance(tree.body, ast.Call) and ast.unparse(tree.body.func).rpartition(".")[2] in dear:
        call = tree.body
        called = eval(ast.unparse(call.func), names)
        keywords = {k.arg: ast.unparse(k.value) for k in call.keywords}
        return inspect.signature(called).bind(*map(ast.unparse, call.args), **keywords)
    return eval(expression, names)


def changed(call: str, span: str) -> Iterator[str]:
    """The call with this setting in the place of its own: `name=value`, or another value of one of its settings."""
    tree = ast.parse(call, mode="eval").body
    assert isinstance(tree, ast.Call)
    if KEYWORD.match(span):
        new = {k.arg: k.value for k in ast.parse(f"f({span})", mode="eval").body.keywords}  # type: ignore[attr-defined]
        kept = [k for k in tree.keywords if k.arg not in new]
        yield ast.unparse(ast.Call(tree.func, tree.args, [*kept, *(ast.keyword(k, v) for k, v in new.items())]))
        return
    value = ast.parse(span, mode="eval").body
    for place in [k for k in tree.keywords if isinstance(k.value, ast.Constant)]:
        others = [k for k in tree.keywords if k is not place]
        yield ast.unparse(ast.Call(tree.func, tree.args, [*others, ast.keyword(place.arg, value)]))
    for i, x in enumerate(tree.args):
        if isinstance(x, ast.Constant):
            yield ast.unparse(ast.Call(tree.func, [*tree.args[:i], value, *tree.args[i + 1 :]], tree.keywords))


def makes(expression: str, names: dict[str, object]) -> bool:
    try:
        made(expression, names)
    except (BadSetting, UnknownName, TypeError, AttributeError, NameError):
        return False
    return True


def settings_of(expression: str, names: dict[str, object]) -> set[str]:
    """The parameters and public attributes of what is called here, and of what it gives."""
    called = eval(ast.unparse(ast.parse(expression, mode="eval").body.func), names)  # type: ignore[attr-defined]
    gives: list[object] = [eg.Attribution] if isinstance(called, type) and issubclass(called, locators.Locator) else []
    if inspect.isfunction(called):
        gives.append(getattr(inspect.getmodule(called), str(called.__annotations__.get("return")), None))
    return set(inspect.signature(called).parameters) | {name for kind in (called, *gives) for name in dir(kind)}


def is_command(text: str) -> bool:
    """`engram reproduce niu2024 --like paper`, or a flag alone with a value that some preset has."""
    if text.startswith("engram "):
        return text.split()[1] in {c.name for c in _app.application().registered_commands} | {
            g.name for g in _app.application().registered_groups
        }
    flag = COMMAND_FLAG.match(text)
    return bool(flag) and flag[1] == "--like" and makes(f"Neurons(preset={flag[2]!r})", public())


def resolved(span: Span, calls: list[str], names: dict[str, object]) -> str | None:
    """The expression that this one stands for; `calls` are those above it under the same heading, the nearest last."""
    if KEYWORD.match(span.text) or span.text[0] == '"':
        return next((e for c in reversed(calls) for e in changed(c, span.text) if makes(e, names)), None)
    return span.text if makes(span.text, names) else None


def unknown(names: dict[str, object]) -> list[str]:
    """What of the page stands for nothing, with its line."""
    missing, calls, heading = [], list[str](), ""
    for span in spans():
        if span.heading != heading:
            calls, heading = [], span.heading
        if span.text in THEIRS or is_command(span.text):
            continue
        if re.fullmatch(r"[a-z_]\w*", span.text) and any(span.text in settings_of(c, names) for c in calls):
            continue
        if (expression := resolved(span, calls, names)) is None:
            missing.append(f"line {span.line}: {span.text}")
        elif expression.endswith(")"):
            calls.append(expression)
    return missing


def test_everything_that_the_page_names_exists(names):
    assert unknown(names) == []


@pytest.mark.parametrize(
    "wrong", ['`Shared(preset="dai")`', '`Shared()`: `preset="dai"`', "`Shared()` takes `treshold`", "`locates`"]
)
def test_a_name_that_does_not_exist_is_seen(wrong, names, monkeypatch, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"## Thresholds\n\n{wrong}\n", encoding="utf-8")
    monkeypatch.setattr("test_differences.PAGE", page)
    assert len(unknown(names)) == 1


def test_presets_are_what_the_page_says_of_the_integral_and_of_thresholds():
    """The two tables, written out: a rule for each preset, and the published thresholds."""
    rules = {"paper": "right", "hunter": "left", "eleuther": "linspace"}
    assert {p: eg.IntegratedGradients(preset=p).rule for p in rules} == rules
    assert eg.IntegratedGradients() == eg.IntegratedGradients(rule="right", steps=20)
    kept = {"paper": (0.2, 0.7, True, 0), "hunter": (0.2, 0.7, False, 3), "eleuther": (0.3, 0.3, True, 0)}
    kept |= {"hunter-baseline": (0.5, 0.7, False, 3), "niu": (0.2, 0.7, True, 0)}
    made = {p: eg.Shared(preset=p) for p in kept}
    assert {p: (s.threshold, s.share, s.strict, s.floor) for p, s in made.items()} == kept
