"""Does engram work under every Python that is here, with the lowest and the newest versions of what it needs?"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.logging import RichHandler

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
ENDS = ("lowest", "newest")
QUICK = ("contract", "families", "adapters", "store", "report", "cli", "doctor")  # tests/test_….py
TOOLS = ("pytest", "pytest-xdist", "peft", "pandas")  # what these tests need beside engram
LONGEST = 1800  # seconds for the tests of a cell
log = logging.getLogger("releasing")


@dataclass(frozen=True)
class Cell:
    """What came of one Python with one end of the bounds: `passed`, `FAILED`, or why it could not be tried."""

    python: str
    end: str
    torch: str
    transformers: str
    outcome: str

    @property
    def failed(self) -> bool:
        """A cell that could not be tried has not failed."""
        return self.outcome.startswith("FAILED")

    def __str__(self) -> str:
        return f"{self.python:<8}{self.end:<8}{self.torch:<14}{self.transformers:<14}{self.outcome}"


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and try the cells that are asked for. Leaves with 1 where one failed."""
    parser = argparse.ArgumentParser(prog="scripts/matrix", description=__doc__)
    parser.add_argument("--python", action="append", choices=PYTHONS, help="may be given several times [all]")
    parser.add_argument("--end", action="append", choices=ENDS, help="may be given twice [both]")
    parser.add_argument("--torch", help="this version in every cell, such as 2.13.0, whatever the bounds are")
    parser.add_argument("--tests", nargs="+", default=QUICK, help=f"tests/test_….py [{' '.join(QUICK)}]")
    parser.add_argument("--home", type=Path, help="folder of the environments, a few GB each while it is tried [temp]")
    asked = parser.parse_args(arguments)
    handler = RichHandler(show_path=False, show_level=False, show_time=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    cells = []
    for version, end in itertools.product(asked.python or PYTHONS, asked.end or ENDS):
        log.info("Python %s with the %s versions ...", version, end)
        with tempfile.TemporaryDirectory(dir=asked.home, prefix="engram-matrix-") as home:
            wanted = [pinned(need, end, asked.torch) for need in needs]
            cells.append(tried(Path(home), version, end, wanted, asked.tests))
        log.info("%s", cells[-1])
    log.info("\n%s", "\n".join(["python  end     torch         transformers  outcome", *map(str, cells)]))
    if any(c.failed for c in cells):
        raise SystemExit(1)


def pinned(need: str, end: str, torch: str | None = None) -> str:
    """A dependency as one cell wants it.

    >>> pinned("numpy>=1.26,<3", "lowest"), pinned("numpy>=1.26,<3", "newest"), pinned("torch>=2.6,<3", "lowest", "2.7")
    ('numpy==1.26', 'numpy>=1.26,<3', 'torch==2.7')
    """
    name, low = re.fullmatch(r"([\w-]+)>=([\d.]+),<[\d.]+", need).groups()  # type: ignore[union-attr]
    if name == "torch" and torch is not None:
        return f"torch=={torch}"
    return f"{name}=={low}" if end == "lowest" else need


def interpreter(version: str) -> str | None:
    """The command of this Python: on the path, or among pyenv's; None where neither has one that runs."""
    found = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python{version}"))
    for command in filter(None, (shutil.which(f"python{version}"), *map(str, reversed(found)))):
        if subprocess.run([command, "-c", ""], capture_output=True, check=False).returncode == 0:
            return command
    return None


def tried(home: Path, version: str, end: str, wanted: Iterable[str], tests: Iterable[str]) -> Cell:
    """One cell: an environment, engram in it, and the tests."""

    def cell(outcome: str, torch: str = "-", transformers: str = "-") -> Cell:
        return Cell(version, end, torch, transformers, outcome)

    if (command := interpreter(version)) is None:
        return cell(f"no Python {version} here")
    subprocess.run([command, "-m", "venv", str(home / "venv")], check=True)
    python = str(home / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python")
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    if why := _refused([*pip, "--upgrade", "pip"]):
        return cell(f"FAILED: pip: {why}")
    if why := _refused([*pip, *wanted, *TOOLS]):
        torchless = re.search(r"(No matching distribution|Could not find a version).* torch\b", why)
        return cell(f"no torch for {version} here" if torchless else f"FAILED to install: {why}")
    if why := _refused([*pip, "--no-deps", str(ROOT)]) or _refused([python, "-m", "pip", "check"]):
        return cell(f"FAILED to install: {why}")
    return cell(ran(python, home, tests), *versions(python, "torch", "transformers"))


def _refused(command: list[str]) -> str:
    """Why pip did not do it, in its last words of an error; nothing where it did."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.returncode:
        return ""
    said = (done.stderr + done.stdout).splitlines()
    return next((x for x in said if x.startswith("ERROR")), said[-1] if said else "without a word")


def versions(python: str, *names: str) -> Iterator[str]:
    """Of what is installed there."""
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    yield from subprocess.run([python, "-c", code, *names], capture_output=True, text=True, check=True).stdout.split()


def ran(python: str, home: Path, tests: Iterable[str]) -> str:
    """What pytest says at its end. The tests lie beside no `src`, so what they test is what was installed."""
    for part in ("docs", "examples", "tests"):
        shutil.copytree(ROOT / part, home / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", home)
    files = [f"tests/test_{name}.py" for name in tests]
    old = "ignore::DeprecationWarning"  # what libraries of different days hold against each other
    command = [python, "-m", "pytest", "-q", "-n", "auto", "-p", "no:cacheprovider", "-W", old, *files]
    try:
        done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return f"FAILED: not done after {LONGEST} s"
    lines = done.stdout.splitlines()
    if done.returncode:
        log.info("%s", "\n".join(x for x in lines if x.startswith(("FAILED", "ERROR", "E  ")))[:4000])
    last = lines[-1] if lines else done.stderr[-200:]
    return f"{'FAILED' if done.returncode else 'passed'}: {last.strip('= ')}"


if __name__ == "__main__":
    main()
