"""What does a page say when its blocks are run? Python in one namespace, bash in the same empty folder."""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RUN = ("python", "bash")
SHOWN = re.compile(r"<!-- (\S+): (.+) -->")
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class PageFailedError(Exception):
    """A block of a page failed, or said something else than the page shows; names the page and its line."""


@dataclass(frozen=True)
class Executed:
    """The page with what its blocks printed, and the files that it shows, by the path that it shows them under."""

    markdown: str
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """A fenced block: its lines [start, end) in the page, fences and all, and what stands behind the first fence."""

    start: int
    end: int
    language: str
    text: str


def executed(markdown: str, name: str, *, shown_under: str = "") -> Executed:
    """Run the page's blocks in order, in a folder of their own. Raises PageFailedError.

    Below a block that prints stands a block of `text` with what it prints, and `...` where that differs from run to
    run: the page built shows what was printed in fact. A line `<!-- trace.svg: words -->` shows a picture that a block
    has written, or links to a page that it has.
    """
    lines = markdown.splitlines()
    said: dict[int, tuple[int, list[str]]] = {}  # first line of a block of text: its end, what stands there instead
    with tempfile.TemporaryDirectory(prefix="page-") as folder, contextlib.chdir(folder):
        names: dict[str, Any] = {"__name__": "__main__"}
        found = blocks(lines)
        for block, below in zip(found, [*found[1:], None], strict=True):
            if block.language not in RUN:
                continue
            printed = (_python(block, names, name) if block.language == "python" else _bash(block, name)).rstrip()
            if below is not None and below.language == "text" and not any(lines[block.end : below.start]):
                if not doctest.OutputChecker().check_output(below.text + "\n", printed + "\n", _FLAGS):
                    raise _failed(name, below, f"shows\n{below.text}\nwhere this is printed:\n{printed}")
                said[below.start] = (below.end, ["```text", printed, "```"])
            elif printed:
                raise _failed(name, block, f"does not show what it prints:\n{printed}")
        return _shown(lines, said, name, shown_under)


def blocks(lines: list[str]) -> list[Block]:
    """Every fenced block of a page, in order."""
    found, start = [], None
    for i, line in enumerate(lines):
        if start is None and line.startswith("```"):
            start = i
        elif start is not None and line == "```":
            found.append(Block(start, i + 1, lines[start][3:].strip(), "\n".join(lines[start + 1 : i])))
            start = None
    return found


def _python(block: Block, names: dict[str, Any], page: str) -> str:
    printed = io.StringIO()
    try:
        code = compile("\n" * (block.start + 1) + block.text, page, "exec")  # so that errors name the page's line
        with contextlib.redirect_stdout(printed):
            exec(code, names)
    except Exception as error:
        raise _failed(page, block, "".join(traceback.format_exception(error))) from error
    return printed.getvalue()


def _bash(block: Block, page: str) -> str:
    own = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command = ["bash", "-e", "-o", "pipefail", "-c", block.text]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **own}, check=False, timeout=300)
    if done.returncode:
        raise _failed(page, block, f"ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _failed(page: str, block: Block, what: str) -> PageFailedError:
    return PageFailedError(f"{page}, line {block.start + 1}: {what}")


def _shown(lines: list[str], said: dict[int, tuple[int, list[str]]], page: str, under: str) -> Executed:
    files: dict[str, bytes] = {}
    fenced = {i for b in blocks(lines) for i in range(b.start, b.end)}

    def walk() -> Iterator[str]:
        i = 0
        while i < len(lines):
            if i in said:
                i, instead = said[i]
                yield from instead
                continue
            if i not in fenced and (m := SHOWN.fullmatch(lines[i])):
                path, words = Path(m[1]), m[2]
                if not path.is_file():
                    raise PageFailedError(f"{page}, line {i + 1}: no block has written {path}")
                at = f"{under}{path}"
                files[at] = path.read_bytes()
                yield f"[{words}]({at})" if path.suffix == ".html" else f"[![{words}]({at})]({at}){{ .picture }}"
            else:
                yield lines[i]
            i += 1

    return Executed("\n".join(walk()) + "\n", files)
