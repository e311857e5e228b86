"""The tree of errors: what its docstring says is what there is, and every branch is used."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import re
from pathlib import Path

import pytest

import engram as eg
from engram import errors
from engram.errors import BadData, BadTemplate, EngramError, UnknownName
from engram.registry import Registry

HOME = Path(eg.__file__).resolve().parent
CLASSES = {name: c for name, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, EngramError)}


def drawn() -> dict[str, str]:
    """Every class of the tree in the module's docstring, with the class above it."""
    above: dict[str, str] = {}
    path: list[str] = []
    for indent, name in re.findall(r"^( *)[*x+] (\w+)", errors.__doc__, re.MULTILINE):
        path[len(indent) // 2 :] = [name]
        above[name] = path[-2] if len(path) > 1 else "Exception"
    return above


def test_the_tree_in_the_docstring_is_the_tree_of_classes():
    def parent(cls):
        return next(b.__name__ for b in cls.__mro__[1:] if b in CLASSES.values() or b is Exception)

    assert drawn() == {name: parent(cls) for name, cls in CLASSES.items()}


def test_every_error_says_what_it_is_and_is_raised_somewhere():
    raised = {
        name
        for path in HOME.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and (name := getattr(node.func, "id", "")) in CLASSES
    }
    assert raised == set(CLASSES) - {"EngramError"}
    assert [name for name, cls in CLASSES.items() if not cls.__dict__.get("__doc__")] == []


def test_every_error_is_seen_to_be_raised_by_a_test():
    tests = "\n".join(p.read_text(encoding="utf-8") for p in Path(__file__).parent.glob("test_*.py"))
    expected = {name for group in re.findall(r"\braises\(\(?([^)=\"]*)", tests) for name in re.findall(r"\w+", group)}
    assert set(CLASSES) - {"EngramError"} - expected == set()


def test_a_template_without_its_blanks_is_refused():
    with pytest.raises(BadTemplate, match=r"relation 'moon': a template has exactly one \[X\] and one \[Y\]"):
        eg.Relation("moon", "moon", ("[X] is a moon.",))


def test_the_errors_of_python_that_they_are_are_caught_too():
    for wrong, usual in (
        (lambda: eg.IntegratedGradients(rule="gaus"), LookupError),
        (lambda: eg.IntegratedGradients(steps=0), ValueError),
        (lambda: eg.Prompt("no blank", "x"), ValueError),
        (lambda: eg.Relation("P36", "capital", ("no marks",)), ValueError),
        (lambda: eg.data.read(Path(__file__)), ValueError),
    ):
        with pytest.raises(usual) as caught:
            wrong()
        assert isinstance(caught.value, EngramError)


def test_a_mistake_in_a_program_is_no_engram_error():
    with pytest.raises(TypeError, match="str is not a condition"):
        eg.holding("L9.2141", model=None)


def test_a_name_is_given_to_one_class_only():
    kinds: Registry[object] = Registry("locator", "engram.locators")
    assert kinds("mine")(int) is int
    assert kinds["mine"] is int
    with pytest.raises(ValueError, match="two locators are called 'mine'") as caught:
        kinds("mine")(float)
    assert not isinstance(caught.value, EngramError)
    with pytest.raises(UnknownName, match="Did you mean mine"):
        _ = kinds["mime"]


def test_an_unknown_name_says_which_is_meant_and_which_there_are():
    error = UnknownName("rule", "gaus", ["left", "gauss", "right"], hint="See the page.")
    assert str(error) == "There is no rule called 'gaus'. Did you mean gauss? Known: gauss, left, right. See the page."
    assert (error.kind, error.name, error.known) == ("rule", "gaus", ("gauss", "left", "right"))


def test_of_many_names_only_the_first_forty_are_listed():
    many = [f"n{i:03}" for i in range(41)]
    assert str(UnknownName("thing", "xyz", many[:40])).endswith("n038, n039.")
    assert str(UnknownName("thing", "xyz", many)).endswith("n039, … (41 in all).")
    assert str(UnknownName("thing", "xyz", [])) == "There is no thing called 'xyz'."


def test_bad_data_starts_with_the_file_and_the_line_where_there_is_one():
    assert str(BadData("a.jsonl", 3, "is cut off")) == "a.jsonl, line 3: is cut off"
    assert str(BadData("a.jsonl", None, "is missing")) == "a.jsonl: is missing"


@pytest.mark.parametrize("name", CLASSES)
def test_an_error_can_be_copied_and_sent_to_another_process(name):
    given = {"UnknownName": ("rule", "gaus", ["gauss"]), "BadData": ("a.jsonl", 3, "is cut off")}
    error = CLASSES[name](*given.get(name, ("said",)))
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(twin), str(twin), vars(twin)) == (type(error), str(error), vars(error))
