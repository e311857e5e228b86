"""The README's commands are run, and what it shows of them is what they say. (Its Python is run by test_docs.)

Each command is dealt with in one way, by what it begins with: WHOLE, as it stands; SMALLER, with settings behind it
that make it short or need no model of the hub; PARSED, so that its words and options are known to be right, with the
reason; SERVED, begun, asked and stopped.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from engram.cli._app import application

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
HUB, MINUTES = "needs a model of the hub", "takes minutes, and has tests of its own: "

WHOLE = (
    "ask 'The capital of Ireland is [Y].'", "locate", "trace engram:causal", "verify", "select", "doctor", "models",
    "data", "edit", "judge",
)  # fmt: skip
SMALLER = {
    "run suppression": "--model engram:masked --data shipped --relation capital --facts 1",
    "run attribution": "--relation capital --facts 1",
    "report runs/s runs/dai/updating": "",
    "bench attribution": "--shape bert-tiny --runs 1 --tokens 8 --against straightforward --variant 'gauss 6'",
    "suggest-layer": "--relation capital --facts 2",
    "run editing": "--relation capital --sample 1",
}
PARSED = {
    "ask gpt2": HUB,
    "diff gpt2": HUB,
    "reproduce dai2022": f"{MINUTES}test_reproduce",
    "reproduce niu2024": f"{MINUTES}test_recipe_niu2024",
    "audit": f"{MINUTES}test_audit",
}
SERVED = ("serve",)
BEFORE = {  # what a line that is only parsed would have left for another
    "report runs/s runs/dai/updating": "run updating --relation capital --facts 1 --out runs/dai/updating",
}
SHOWN_FIRST = 'locate "The capital of Ireland is [Y]." --answer Dublin --rule gauss'  # of the block without a command


def blocks() -> list[list[str]]:
    """The lines of each fenced block without a language."""
    return [b.splitlines() for b in re.findall(r"^```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)]


def commands() -> list[str]:
    """What follows `engram` in those lines, each once, in their order; what stands behind a # is said to the reader."""
    found = [m[1] for b in blocks() for line in b if (m := re.match(r"(?:\$ )?engram (.+)$", line))]
    return list(dict.fromkeys(shlex.join(shlex.split(line, comments=True)) for line in found))


COMMANDS = commands()


def kind_of(command: str) -> str:
    """The way in which this command is dealt with, by what it begins with; empty where that is not said."""
    known = [*WHOLE, *SMALLER, *PARSED, *SERVED]
    return next((k for k in known if command.startswith(k) and command[len(k) :][:1] in ("", " ")), "")


def shown() -> dict[str, str]:
    """What the README shows of a command: below it in a block that begins with `$`, or in the block of SHOWN_FIRST."""
    found: dict[str, str] = {}
    for block in blocks():
        name = shlex.join(shlex.split(SHOWN_FIRST)) if block[:1] == ["The capital of Ireland is [Y]."] else ""
        for line in block:
            if line.startswith("$ engram "):
                name = shlex.join(shlex.split(line.removeprefix("$ engram ")))
            elif name:
                found[name] = found.get(name, "") + line + "\n"
    return found


NUMBER = r"(?<![\w.])[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])"


def alike(one: str, other: str) -> bool:
    """The same words in the same lines, and numbers that are near: 5 %, or two of the last digit; below 1e-4, small."""
    one, other = plain(one), plain(other)
    return words(one) == words(other) and all(map(near, re.findall(NUMBER, one), re.findall(NUMBER, other)))


def plain(text: str) -> str:
    """Without how long it took, and with folders as they were named."""
    return re.sub(r"\S*/(?=demo-output/)", "", re.sub(r"\(\d+ s\)", "(so long)", text.strip()))


def words(text: str) -> list[list[str]]:
    """Line by line, with a mark for each number."""
    return [re.sub(NUMBER, "#", line).split() for line in text.splitlines()]


def near(one: str, other: str) -> bool:
    a, b = (float(x.replace("−", "-").replace(",", "")) for x in (one, other))
    digit = 10.0 ** -len(one.partition(".")[2]) if "e" not in one else 0.0
    return abs(a - b) <= max(0.05 * abs(a), 2 * digit) or max(abs(a), abs(b)) < 1e-4


@pytest.fixture
def engram(one_thread: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], str]:
    """`engram` in this process and a new folder: what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(command: str) -> str:
        result = CliRunner().invoke(application(), shlex.split(command))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, f"engram {command}\n{result.output}"
        return result.stdout

    return run


def test_every_command_of_the_readme_is_dealt_with_and_nothing_else_is():
    assert [c for c in COMMANDS if not kind_of(c)] == []
    assert {kind_of(c) for c in COMMANDS} == {*WHOLE, *SMALLER, *PARSED, *SERVED}


@pytest.mark.parametrize("command", [c for c in COMMANDS if kind_of(c) in (*PARSED, *SERVED)])
def test_a_command_that_is_not_run_has_words_and_options_that_there_are(command):
    assert reached(command) == shlex.split(command)[0]


def test_words_and_options_that_there_are_not_are_seen():
    for wrong in ("reproduce dai2023x --fact 3", "adit engram:causal", "diff gpt2 --no-such"):
        with pytest.raises(Exception, match=r"No such|Got unexpected|no such"):
            reached(wrong)


def reached(command: str) -> str:
    """The command that these words lead to, its options read, and nothing done."""
    root: Any = typer.main.get_command(application())
    seen: list[str] = []
    for name, own in root.commands.items():
        own.callback = lambda _name=name, **_options: seen.append(_name)
    root.main(shlex.split(command), prog_name="engram", standalone_mode=False)
    (name,) = seen
    return name


@pytest.mark.slow
def test_the_commands_run_in_their_order_and_say_what_the_readme_shows(engram):
    quoted, differing = shown(), []
    assert set(quoted) <= {c for c in COMMANDS if kind_of(c) in WHOLE}
    for command in COMMANDS:
        kind = kind_of(command)
        if kind in PARSED or kind in SERVED:
            continue
        if kind in BEFORE:
            engram(BEFORE[kind])
        said = engram(f"{command} {SMALLER.get(kind, '')}")
        assert said.strip()
        if command in quoted and not alike(quoted[command], said):
            differing.append(f"$ engram {command}\n{said}")
    assert differing == []
    assert Path("map.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert {p.name for p in Path().iterdir()} == {"both", "edits", "map.svg", "runs"}


@pytest.mark.slow
def test_the_demo_begins_as_shown(engram):
    """Up to its third part, which here is made of one fact of each relation, in a tenth of the time."""
    (block,) = [b for b in blocks() if any(line.startswith("1. Does engram:masked know them?") for line in b)]
    said = engram("demo --facts 1 --out demo-output")
    whole, third = "\n".join(block), "3. The neurons of up to"
    assert alike(whole.partition(third)[0], said.partition(third)[0]), said
    assert alike(block[-1], said.splitlines()[-1])
    assert Path("demo-output/report.html").is_file()


def test_the_scripts_of_the_readme_are_there_and_the_demo_is_the_command():
    (block,) = [b for b in blocks() if b[0].startswith("./scripts/")]
    named = [ROOT / line.split()[0] for line in block]
    assert [p.name for p in named if not os.access(p, os.X_OK)] == []
    assert named[0].read_text(encoding="utf-8").splitlines()[-1] == 'exec engram demo "$@"'


def test_the_served_page_answers_and_stops(tmp_path):
    (command,) = [c for c in COMMANDS if kind_of(c) in SERVED]
    words_given = [*shlex.split(command), "--no-open", "--port", "0"]
    server = subprocess.Popen(
        [sys.executable, "-m", "engram.cli", *words_given], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        base, token = server.stdout.readline().strip().split("/?token=")
        ask = urllib.request.Request(f"{base}/api/page", headers={"X-Engram-Token": token})
        with urllib.request.urlopen(ask, timeout=30) as answer:
            assert json.load(answer)["model"] == "engram:causal"
    finally:
        server.terminate()
        server.wait(20)
        server.stdout.close()


def test_numbers_may_differ_a_little_and_words_not_at_all():
    assert alike("P 0.5302  rank 1  1.0e-07", "P   0.5310  rank 1  9.0e-06")
    assert alike("The report: a.html (67 s)", "The report: a.html (7 s)")
    assert not alike("P 0.5302", "P 0.6302")
    assert not alike("P 0.5302", "p 0.5302")
    assert not alike("L3.187 0.1", "L3.188 0.1")
    assert not alike("gap 1.0e-07", "gap 0.0300")
