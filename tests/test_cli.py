"""The command line as a whole: help, versions, exit codes, errors, warnings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engram import __version__, cli, data
from engram.cli._app import application
from engram.cli._options import bytes_of
from engram.errors import BadSetting
from engram.testing import tiny

COMMANDS = sorted(f.stem.replace("_", "-") for f in Path(cli.__file__).parent.glob("[a-z]*.py"))


def engram(*arguments: object) -> Result:
    """`engram` with these arguments, in this process; a bug is raised here."""
    result = CliRunner().invoke(application(), [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(code: int, *arguments: object) -> str:
    """The one line of error with which `engram` leaves."""
    result = engram(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([c, "--help"] for c in COMMANDS)])
def test_help_is_given_without_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from engram.cli import main; sys.argv[1:] = {}\n"
        "try: main()\n"
        "finally: print(*{'torch', 'transformers', 'scipy', 'matplotlib'} & {*sys.modules}, end='', file=sys.stderr)"
    )
    script = [sys.executable, "-c", code.replace("{}", repr(arguments), 1)]
    ended = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "engram" in ended.stdout


def test_every_file_of_a_command_is_listed_in_the_help() -> None:
    shown = engram("--help").stdout
    assert {"ask", "data", "locate", "models"} <= set(COMMANDS)
    listed = [line.split()[0] for line in shown.partition("Commands:\n")[2].splitlines() if line[2:3] > " "]
    assert sorted(listed) == COMMANDS


def test_the_version_is_that_of_the_package() -> None:
    assert engram("--version").stdout == f"engram {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ask"], "what is to be asked?"),
        (["locate"], "what is to be asked?"),
        (["ask", "The", "capital", "of", "Ireland"], "4 arguments, where there can be 2"),
        (["locate", "a", "b", "c"], "with the prompt in quotes"),
        (["ask", "The capital of Ireland is"], "exactly one blank [Y], this one has 0"),
        (["ask", "It is [Y].", "--relation", "capital"], "name it with --data"),
        (["ask", "--data", "shipped"], "needs --relation and --subject"),
        (["ask", "--data", "shipped", "-r", "capital", "-s", "Ireland", "-a", "Cork"], "has its own"),
        (["ask", "a", "b", "--data", "shipped", "-r", "capital", "-s", "Ireland"], "2 arguments, where there can be 1"),
        (["ask", "--data", "shipped", "-r", "capitol", "-s", "Ireland"], "Did you mean capital"),
        (["ask", "--data", "shipped", "-r", "capital", "-s", "Irland"], "Did you mean Ireland"),
        (["ask", "It is [Y].", "--suppress", "3.1"], "a neuron is written like L9.2141"),
        (["ask", "It is [Y].", "--suppress", "L1.2", "--amplify", "L1.2 L1.3"], "{L1.2} cannot be both"),
        (["ask", "x", "It is [Y].", "--model", "y"], "two models were named, 'x' and --model 'y'"),
        (["ask", "engram:unmasked", "It is [Y]."], "Did you mean engram:masked"),
        (["ask", "/nowhere/at/all", "It is [Y]."], "There is no model called"),
        (["ask", "It is [Y].", "--budget", "much"], "a size is written like 2GiB"),
        (["ask", "It is [Y].", "--device", "abacus"], "device 'abacus' is not one of this machine"),
        (["locate", "It is [Y].", "--method", "divination"], "There is no locator called 'divination'"),
        (["locate", "It is [Y].", "--rule", "gaus"], "Did you mean gauss"),
        (["locate", "It is [Y].", "--method", "activation", "--steps", "5"], "no setting of activation called 'steps'"),
        (["locate", "It is [Y].", "--preset", "huntress"], "Did you mean hunter"),
        (["locate", "It is [Y].", "--target", "luck"], "There is no target called"),
        (["locate", "It is [Y].", "--share", "most"], "a share is written like 0.7"),
        (["locate", "It is [Y].", "--threshold", "2"], "between 0 and 1"),
        (["data", "parrarel"], "Did you mean pararel"),
    ],
)
def test_misuse_ends_with_2_and_one_line_that_helps(arguments: list[str], said: str) -> None:
    assert said in refused(2, *arguments)


def test_an_unknown_option_is_misuse_too() -> None:
    result = engram("ask", "--nonsense")
    assert result.exit_code == 2
    assert "--nonsense" in result.stderr
    assert engram("no-such-command").exit_code == 2


def test_what_fails_through_no_words_of_the_user_ends_with_1(tmp_path: Path) -> None:
    assert "without config.json" in refused(1, "models", tmp_path)
    assert "laid out" in refused(1, "data", tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    assert "'mamba'" in refused(1, "ask", tmp_path, "It is [Y].")


def test_advice_is_spelt_as_on_the_command_line(tmp_path: Path) -> None:
    net, tokenizer = tiny("gpt2")
    net.config.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"never read")
    assert "--allow-pickle" in refused(1, "models", tmp_path)
    strange = {"model_type": "strange", "auto_map": {"AutoConfig": "code.Strange"}}
    (tmp_path / "config.json").write_text(json.dumps(strange))
    (tmp_path / "code.py").write_text("raise SystemExit('this was run')")
    assert "pass --trust-remote-code if" in refused(1, "models", tmp_path)


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "catalogue", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert engram("data").exit_code == 130


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "catalogue", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engram("data")
    code = (
        "from engram import data; from engram.cli import main; import sys\n"
        "data.catalogue = lambda: 1 / 0; sys.argv[1:] = ['data']; main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "ZeroDivisionError" in ended.stderr


def test_a_warning_of_engram_is_one_line_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    def warned(_name: str) -> None:
        warnings.warn("the first line\nand the second", ResourceWarning, stacklevel=2)
        raise BadSetting("and then\nthis")

    monkeypatch.setattr(data, "read", warned)
    result = engram("data", "shipped")
    assert result.stderr == "warning: the first line and the second\nerror: and then this\n"


def test_sizes_are_read_as_people_write_them() -> None:
    assert [bytes_of(s) for s in ("1024", "1K", "1KiB", "2 GiB", "0.5mb")] == [1024, 1000, 1024, 2 * 2**30, 500_000]
    for wrong in ("", "GiB", "-1GiB", "1TiBs"):
        with pytest.raises(BadSetting, match="2GiB"):
            bytes_of(wrong)


def test_a_terminal_without_unicode_gets_escapes_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "relations.jsonl").write_text('{"relation": "R1", "label": "Łódź, Málaga"}', encoding="utf-8")
    for part, line in (("patterns", {"pattern": "[X] [Y]"}), ("facts", {"sub_label": "Ж", "obj_label": "é"})):
        (tmp_path / part).mkdir()
        (tmp_path / part / "R1.jsonl").write_text(json.dumps(line))
    command = [sys.executable, "-m", "engram.cli", "data", str(tmp_path)]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    for arguments in ([], ["--json"]):
        ended = subprocess.run([*command, *arguments], capture_output=True, check=False, env=environment)
        assert (ended.returncode, ended.stderr) == (0, b"")
    (relation,) = json.loads(ended.stdout)["relations"]
    assert (relation["name"], relation["example"]) == ("Łódź, Málaga", ["Ж", "é"])


@pytest.mark.parametrize("group", [(), ("run",), ("bench",), ("data",)])
def test_the_help_of_a_group_asks_each_commands_whole_question(
    group: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    listed = CliRunner().invoke(application(), [*group, "--help"]).stdout.partition("Commands:")[2]
    assert listed.count("?") >= 1
    assert "..." not in listed
