"""What may lie in a wheel and in a source archive: what no rule allows is refused, and every rule wants something."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from email.parser import Parser
from pathlib import Path

PACKAGE = (  # each wants at least one file
    r"engram/(\w+/)*\w+\.py",
    r"engram/py\.typed",
    r"engram/data/checksums/[\w-]+\.txt",
    r"engram/data/shipped/(\w+/)*\w+\.jsonl",
    r"engram/models/shipped/masked/((config|figures|tokenizer|tokenizer_config)\.json|model\.safetensors|README\.md)",
    r"engram/models/shipped/causal/((config|figures|tokenizer|tokenizer_config)\.json|model\.safetensors|README\.md)",
    r"engram/report/published/\w+\.json",
    r"engram/web/static/(\w+/)*\w+\.(css|html|js)",
)
WHEEL = tuple(
    rf"engram-[\w.]+\.dist-info/{name}"
    for name in (r"METADATA", r"RECORD", r"WHEEL", r"entry_points\.txt", r"licenses/LICENSE")
)
SOURCE = (r"PKG-INFO", r"\.gitignore", r"CHANGELOG\.md", r"LICENSE", r"README\.md", r"pyproject\.toml")
LARGEST = 40  # MiB of an archive


def wrong(names: Iterable[str], rules: Sequence[str]) -> list[str]:
    """What no rule allows, and the rules that nothing fulfils.

    >>> wrong(["engram/ask.py", "engram/notes.txt"], [r"engram/\\w+\\.py", r"engram/py\\.typed"])
    ['not allowed: engram/notes.txt', 'missing: engram/py\\\\.typed']
    """
    there = sorted(names)
    met = {rule: [n for n in there if re.fullmatch(rule, n)] for rule in rules}
    allowed = {n for matched in met.values() for n in matched}
    return [f"not allowed: {n}" for n in there if n not in allowed] + [
        f"missing: {rule}" for rule, matched in met.items() if not matched
    ]


def in_tree(source: Path) -> set[str]:
    """The package's files as they lie under `src`, without what Python and editors leave there."""
    files = (p.relative_to(source) for p in (source / "engram").rglob("*") if p.is_file())
    return {p.as_posix() for p in files if "__pycache__" not in p.parts}


def wheel_wrong(wheel: Path, source: Path) -> list[str]:
    """What is wrong with a wheel: strays, gaps, files that differ from the tree's, and its size."""
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if not n.endswith("/")}
        found = wrong(names, (*PACKAGE, *WHEEL))
        package = {n for n in names if n.startswith("engram/")}
        found += [f"not in the tree: {n}" for n in sorted(package - in_tree(source))]
        found += [f"only in the tree: {n}" for n in sorted(in_tree(source) - package)]
        both = sorted(package & in_tree(source))
        found += [f"differs from the tree: {n}" for n in both if archive.read(n) != (source / n).read_bytes()]
    return found + _too_large(wheel)


def source_wrong(archive: Path, source: Path) -> list[str]:
    """The same of a source archive, whose files lie below a folder of its name."""
    top = archive.name.removesuffix(".tar.gz") + "/"
    with tarfile.open(archive) as tar:
        names = {m.name for m in tar.getmembers() if m.isfile()}
    found = [f"not below {top}: {n}" for n in sorted(names) if not n.startswith(top)]
    below = {n.removeprefix(top) for n in names}
    found += wrong(below, (*(rf"src/{rule}" for rule in PACKAGE), *SOURCE))
    package = {n.removeprefix("src/") for n in below if n.startswith("src/")}
    return found + [f"only in the tree: {n}" for n in sorted(in_tree(source) - package)] + _too_large(archive)


def metadata(wheel: Path) -> dict[str, list[str]]:
    """What a wheel says of itself, field by field."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        read = Parser().parsestr(archive.read(name).decode())
    return {field: read.get_all(field, []) for field in dict.fromkeys(read.keys())}


def _too_large(archive: Path) -> list[str]:
    size = archive.stat().st_size / 2**20
    return [f"{archive.name} is {size:.1f} MiB, more than {LARGEST}"] if size > LARGEST else []
