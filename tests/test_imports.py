"""What `import engram` costs, what it offers, and the signatures that scripts elsewhere rely on."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import engram as eg

SRC = Path(eg.__file__).resolve().parent.parent
PARTS = (
    "edits", "errors", "facts", "neurons", "results", "registry", "texts", "data", "selectors", "metrics", "store",
    "report", "cli",
)  # fmt: skip

ALL_FILES = """
import importlib, pkgutil, sys
package = importlib.import_module({name!r})
for found in pkgutil.walk_packages(getattr(package, "__path__", []), package.__name__ + "."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
print(len([m for m in sys.modules if m.startswith({name!r})]), sorted({{"torch", "transformers"}} & set(sys.modules)))
"""


def fresh(code: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(SRC), "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_free_of_torch_loads_without_it_every_file_of_it(part):
    number, heavy = fresh(ALL_FILES.format(name=f"engram.{part}")).split(" ", 1)
    path = SRC / "engram" / part
    files = [p for p in path.rglob("*.py") if p.stem != "__main__"] if path.is_dir() else [path.with_suffix(".py")]
    assert (int(number), heavy) == (len(files), "[]")


def test_importing_engram_imports_nothing_but_engram():
    new = "import sys; before = set(sys.modules); import engram; print(sorted(set(sys.modules) - before - {'engram'}))"
    assert [m for m in ast.literal_eval(fresh(new)) if m.split(".")[0] not in sys.stdlib_module_names] == []


def test_that_torch_is_seen_where_it_is_loaded():
    assert fresh("import sys, engram; engram.Model; print('torch' in sys.modules)") == "True"


def test_all_is_exactly_what_there_is():
    public = {name for name in eg.__all__ if getattr(eg, name) is not None}
    assert public == set(eg.__all__)
    assert set(dir(eg)) == public | {"__version__"}
    assert public == set(names_for_type_checkers())
    with pytest.raises(AttributeError, match="'engram' has no attribute 'ablate'"):
        _ = eg.ablate


def names_for_type_checkers() -> list[str]:
    """The names under `if TYPE_CHECKING`, which an editor completes."""
    tree = ast.parse(Path(eg.__file__).read_text(encoding="utf-8"))
    (block,) = [n for n in tree.body if isinstance(n, ast.If)]
    return [a.name for statement in block.body for a in statement.names]


def test_every_public_name_says_what_it_is():
    silent = []
    for name in eg.__all__:
        thing = getattr(eg, name)
        silent += [name] if not _says(thing) else []
        if inspect.isclass(thing):
            silent += [f"{name}.{part}" for part in methods(thing) if not _says(getattr(thing, part))]
    assert silent == []


def methods(cls: type) -> list[str]:
    """The public methods and properties, inherited ones too."""
    fields = {f.name for f in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    return [
        name
        for name in dir(cls)
        if not name.startswith("_")
        and name not in fields
        and name not in dir(tuple)
        and (callable(getattr(cls, name)) or isinstance(inspect.getattr_static(cls, name), property))
    ]


def _says(thing: object) -> bool:
    doc = inspect.getdoc(thing) or ""
    generated = inspect.isclass(thing) and doc.startswith(f"{thing.__name__}(")  # what dataclass writes by itself
    return len(doc) > 10 and not generated


# -- the public contract: change one only with a deprecation

CONTRACT = {
    "load": "(source=None, tokenizer=None, *, dtype='float32', device=None, device_map=None, revision=None, "
    "attn_implementation=None, trust_remote_code=False, safetensors_only=True, local_files_only=False, "
    "masks='left_to_right', budget=1073741824)",
    "Prompt": "(text, answer, fact=None, template=None, against=None)",
    "Fact": "(subject, relation, answer, id='')",
    "Fact.becoming": "(self, answer)",
    "locate": "(model, prompts, *, by, under=None, progress=None)",
    "IntegratedGradients": "(steps=None, rule=None, path='joint', target='probability', preset=None, "
    "grid='literal', tolerance=0.01)",
    "Attribution.dense": "(self)",
    "select": "(scores, *, by)",
    "ask": "(model, prompts, *, under=None, top=5, progress=None)",
    "suppressed": "(neurons, *, at='blank')",
    "amplified": "(neurons, *, by=2.0, at='blank')",
    "holding": "(condition, model)",
    "rewrite": "(model, wish, *, by, prompt=None)",
}
FIELDS = {
    "Model": ("net", "tokenizer", "family"),
    "Answer": ("probability", "logprob", "rank", "top"),
    "Attribution": ("gap",),
}


@pytest.mark.parametrize("name", CONTRACT)
def test_a_public_signature_is_as_promised(name):
    thing = eg
    for part in name.split("."):
        thing = getattr(thing, part)
    signature = inspect.signature(thing)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    assert str(inspect.Signature(plain)) == CONTRACT[name]


@pytest.mark.parametrize("name", FIELDS)
def test_a_public_value_has_the_fields_that_are_promised(name):
    cls = getattr(eg, name)
    there = {f.name for f in dataclasses.fields(cls)} | {k for k, v in vars(cls).items() if isinstance(v, property)}
    assert set(FIELDS[name]) <= there


def test_the_rules_that_are_promised_are_there():
    for rule in ("right", "left", "linspace", "trapezoid", "midpoint", "gauss"):
        assert eg.IntegratedGradients(rule=rule).rule == rule
