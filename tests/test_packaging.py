"""What others are given: the archives, the command line as a shell sees it, and the scripts that try both."""

from __future__ import annotations

import ast
import importlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import engram as eg

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LIGHT = {"typer", "annotated_doc", "rich", "shellingham", "numpy"}  # what help may read
sys.path.insert(0, str(ROOT / "scripts"))
contents, matrix, trials = (importlib.import_module(f"releasing.{name}") for name in ("contents", "matrix", "trials"))
sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A wheel and a source archive of this tree, made by what makes them for others."""
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--sdist", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (source,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, source


def test_the_archives_hold_what_the_rules_allow_and_nothing_else(archives) -> None:
    wheel, source = archives
    assert contents.wheel_wrong(wheel, SRC) == []
    assert contents.source_wrong(source, SRC) == []


def test_what_is_shipped_is_in_the_wheel_by_name(archives) -> None:
    with zipfile.ZipFile(archives[0]) as wheel:
        names = set(wheel.namelist())
    models = {f"engram/models/shipped/{m}/model.safetensors" for m in ("masked", "causal")}
    facts = {f"engram/data/shipped/facts/{r.id}.jsonl" for r in eg.data.shipped().relations}
    assert {*models, *facts, "engram/py.typed", "engram/web/static/index.html"} <= names
    assert len(facts) > 20


@pytest.mark.parametrize(
    "stray", ["tests/test_x.py", "engram/notes.txt", "engram/__pycache__/x.cpython-311.pyc", "engram/data/x.jsonl"]
)
def test_a_stray_file_in_a_wheel_is_named(archives, tmp_path, stray) -> None:
    wheel = shutil.copy(archives[0], tmp_path)
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(stray, "")
    assert f"not allowed: {stray}" in contents.wheel_wrong(Path(wheel), SRC)


def test_a_stray_file_in_a_source_archive_is_named(archives, tmp_path) -> None:
    source = tmp_path / archives[1].name
    with tarfile.open(archives[1]) as old, tarfile.open(source, "w:gz") as new:
        for member in old.getmembers():
            new.addfile(member, old.extractfile(member))
        new.add(__file__, f"{source.name.removesuffix('.tar.gz')}/tests/test_packaging.py")
    assert contents.source_wrong(source, SRC) == ["not allowed: tests/test_packaging.py"]


def test_a_file_that_a_wheel_lacks_is_named(archives, tmp_path) -> None:
    wheel = tmp_path / archives[0].name
    with zipfile.ZipFile(archives[0]) as old, zipfile.ZipFile(wheel, "w") as new:
        for name in old.namelist():
            if not name.endswith("py.typed"):
                new.writestr(name, b"changed" if name == "engram/facts.py" else old.read(name))
    found = contents.wheel_wrong(wheel, SRC)
    assert found == [
        r"missing: engram/py\.typed", "only in the tree: engram/py.typed", "differs from the tree: engram/facts.py",
    ]  # fmt: skip


def test_the_wheel_says_what_the_project_says(archives) -> None:
    said = contents.metadata(archives[0])
    assert (said["Name"], said["Version"]) == (["engram"], [eg.__version__])
    assert eg.__version__ == PROJECT["version"]
    assert said["License-File"] == PROJECT["license-files"]
    assert set(said["Provides-Extra"]) == set(PROJECT["optional-dependencies"])
    asked = {line.partition("<")[0] for line in said["Requires-Dist"] if "extra ==" not in line}
    assert asked == {line.partition(">")[0] for line in PROJECT["dependencies"]}


# -- the command line, as a shell sees it


def fresh(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_reads_little(argument) -> None:
    code = (
        "import sys; before = set(sys.modules); from engram.cli import main; sys.argv[1:] = [{!r}]\n"
        "try: main()\n"
        "finally: print(sorted({m.split('.')[0] for m in {*sys.modules} - before}), file=sys.stderr)"
    )
    done = fresh(sys.executable, "-c", code.replace("{!r}", repr(argument), 1))
    read = set(ast.literal_eval(done.stderr)) - sys.stdlib_module_names
    assert {m for m in read if not m.startswith("_")} <= {"engram", *LIGHT}


def complete(words: str) -> list[str]:
    """What bash offers for the last of these words, asked as its completion asks."""
    env = {"_ENGRAM_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return fresh(sys.executable, "-c", "from engram.cli import main; main()", **env).stdout.split()


def test_bash_completes_commands_their_subcommands_and_options() -> None:
    from engram import cli

    commands = {f.stem.replace("_", "-") for f in Path(cli.__file__).parent.glob("[a-z]*.py")}
    assert set(complete("engram ")) == commands
    assert complete("engram doc") == ["doctor"]
    assert "suppression" in complete("engram run su")
    assert complete("engram doctor --j") == ["--json"]


def test_the_script_for_bash_asks_by_that_name() -> None:
    code = "from engram.cli import main; main()"
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # the shell that is named, whichever this runs in
    done = fresh(sys.executable, "-c", code, "--show-completion", "bash", **named)
    assert done.returncode == 0
    assert "_ENGRAM_COMPLETE=complete_bash" in done.stdout


# -- the scripts


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A path with nothing but a few commands, on which apt-get writes down what it is asked and what it installs."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "grep", "timeout", "true", "chmod", "touch"):
        (programs / name).symlink_to(shutil.which(name))

    def command(name: str, does: str) -> None:
        (programs / name).write_text(f"#!{shutil.which('bash')}\n{does}\n")
        (programs / name).chmod(0o755)

    def look(system: str = "ID=debian", **environment: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "os-release").write_text(f"{system}\n")
        env = {"PATH": str(programs), "ENGRAM_OS_RELEASE": str(tmp_path / "os-release"), **environment}
        code = f"set -euo pipefail; source {ROOT / 'scripts' / 'browser'}; echo went on"
        return subprocess.run([programs / "bash", "-c", code], env=env, capture_output=True, text=True, check=False)

    command("id", "echo 0")
    command("apt-get", f'echo "$*" >> {tmp_path}/asked; [ "$1" = update ] || touch {programs}/chromium; '
                       f"chmod +x {programs}/*")  # fmt: skip
    asked = tmp_path / "asked"
    return look, command, lambda: asked.read_text().splitlines() if asked.exists() else []


def test_chromium_is_got_where_that_is_one_command(machine) -> None:
    look, _, asked = machine
    done = look()
    assert (done.returncode, done.stdout) == (0, "went on\n")
    assert asked() == ["update -qq", "install -qq -y --no-install-recommends chromium"]
    assert done.stderr == "getting chromium for the tests of the page ...\n"
    again = look()
    assert (again.stderr, len(asked())) == ("", 2)  # now it is there


def test_a_chromium_that_is_named_is_taken(machine) -> None:
    look, _, asked = machine
    assert (look(ENGRAM_CHROMIUM="/somewhere").stderr, asked()) == ("", [])


@pytest.mark.parametrize("other", ["user", "system", "network"])
def test_where_it_cannot_be_got_one_line_says_so_and_nothing_fails(machine, other) -> None:
    look, command, _ = machine
    if other == "user":
        command("id", "echo 1000")
    if other == "network":
        command("apt-get", "exit 100")
    done = look("ID=fedora" if other == "system" else "ID=debian")
    assert (done.returncode, done.stdout) == (0, "went on\n")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("tests of the page in a browser will be skipped: no chromium here, and ")
    assert ("apt-get could not" in last) == (other == "network")


def test_a_trial_sees_a_traceback_another_code_and_a_second_line() -> None:
    trial = trials.Trial(("engram", "serve"), "engram[web]", code=1)
    done = subprocess.CompletedProcess([], 3, "", "Traceback (most recent call last):\n…\n")
    assert trial.wrong(done) == [
        "left with 3, not 1", "did not say 'engram[web]'", "a traceback", "not one line that begins with error:",
    ]  # fmt: skip


def test_the_matrix_pins_every_lower_bound_and_knows_what_is_not_here() -> None:
    pinned = [matrix.pinned(need, "lowest") for need in PROJECT["dependencies"]]
    assert [p.replace("==", ">=") for p in pinned] == [need.partition(",")[0] for need in PROJECT["dependencies"]]
    assert matrix.interpreter("3.99") is None
    assert not matrix.Cell("3.99", "lowest", "-", "-", "no Python 3.99 here").failed


def test_the_tests_of_the_matrix_are_there() -> None:
    assert [name for name in matrix.QUICK if not (ROOT / "tests" / f"test_{name}.py").is_file()] == []
