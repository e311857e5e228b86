"""`engram doctor`: what it sees is what others say is there; what is broken, it says and leaves with 1."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import engram as eg
from engram.cli import _machine, _self_test
from engram.cli._app import application

HOME = Path(eg.__file__).resolve().parent
PROJECT = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]


def doctor(*arguments: str):
    """`engram doctor` in this process; a bug is raised here."""
    result = CliRunner().invoke(application(), ["doctor", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def python(code: str, **environment: str) -> str:
    """What a fresh Python prints, in which the settings of the hub are read anew."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | environment
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def told() -> dict:
    """What it says as JSON where nobody answers for the hub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        result = doctor("--json")
    assert result.exit_code == 0
    return json.loads(result.stdout)


def test_a_whole_installation_passes_with_and_without_a_hub(told) -> None:
    assert told["passed"]
    assert told["hub"]["state"] == "not reachable"
    assert [(c["name"], c["passed"]) for c in told["self_test"]["checks"]] == [
        ("a file is written", True), ("the shipped model answers", True), ("its neurons are found", True),
        ("silence costs the answer", True), ("nothing stays changed", True),
    ]  # fmt: skip


def test_versions_are_those_of_the_packages_that_the_project_names(told) -> None:
    shown = {x["name"]: x for x in told["libraries"]}
    named = {line.partition(">")[0]: line for line in PROJECT["dependencies"]}
    assert set(shown) == set(named)
    for name, x in shown.items():
        assert name + x["wanted"] == named[name]
        assert (x["version"], x["fits"]) == (version(name), True)


def test_extras_are_those_that_the_project_offers_its_users(told) -> None:
    assert {x["extra"] for x in told["extras"]} == set(PROJECT["optional-dependencies"]) - {"dev", "docs"}
    for extra in _machine.EXTRAS:
        needed = PROJECT["optional-dependencies"][extra]
        assert [x.name + x.wanted for x in _machine.libraries(extra)] == needed


def test_devices_are_those_of_torch(told) -> None:
    there = {x["device"] for x in told["devices"] if x["there"]}
    cuda = {f"cuda:{i}" for i in range(torch.cuda.device_count())}
    assert there == {"cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])}
    cpu = told["devices"][0]
    assert cpu["free"] is None or 0 < cpu["free"] <= cpu["memory"]


def test_what_is_shown_to_people_fits_a_page(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(_machine, "caches", list)  # folders may have names of any length, as these may:
    monkeypatch.setattr(sys, "executable", "python")
    monkeypatch.setattr(tempfile, "tempdir", ".")
    monkeypatch.chdir(tmp_path)
    shown = doctor().stdout
    assert "All 5 checks passed" in shown
    assert "http://127.0.0.1:9: not reachable" in shown
    assert f"torch         {torch.__version__}" in shown
    assert max(map(len, shown.splitlines())) <= 130


def test_an_extra_that_is_not_there_is_told_with_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setattr(_machine, "_version", lambda name: None if name == "uvicorn" else "0.999")
    web = next(x for x in _machine.extras() if x["extra"] == "web")
    assert (web["there"], web["lacking"], web["get"]) == (False, ["uvicorn"], "pip install 'engram[web]'")


def test_a_library_of_another_version_is_told(monkeypatch) -> None:
    monkeypatch.setattr(_machine, "_version", lambda name: "6.0.0" if name == "transformers" else version(name))
    assert [x.name for x in _machine.libraries() if not x.fits] == ["transformers"]


def test_a_torch_that_cannot_be_imported_is_told(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    (cpu,) = _machine.devices()
    assert not cpu["there"]
    assert cpu["what"].startswith("torch cannot be imported")


def test_libraries_that_cannot_be_imported_do_not_keep_the_rest_from_being_told(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert _machine.hub().why.startswith("huggingface_hub cannot be imported")
    assert [x["of"] for x in _machine.caches()] == ["data sets"]


# -- the hub, played by this machine


@contextmanager
def listening(status: int | None) -> Iterator[str]:
    """The address of somebody who answers with this status, or accepts and says nothing."""
    if status is None:
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            yield f"http://127.0.0.1:{silent.getsockname()[1]}"
        return

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


HUB = "from engram.cli._machine import hub; h = hub({patience}); print(h.endpoint, h.state, h.why, sep='\\n')"


@pytest.mark.parametrize("status", [200, 403, 503])
def test_a_hub_that_answers_anything_is_reachable(status) -> None:
    with listening(status) as address:
        endpoint, state, _ = python(HUB.format(patience=3), HF_ENDPOINT=address).splitlines()
    assert (endpoint, state) == (address, "reachable")


def test_a_hub_that_says_nothing_is_waited_for_and_no_longer() -> None:
    with listening(None) as address:
        code = HUB.format(patience=0.5)
        _, state, why = python(code, HF_ENDPOINT=address).splitlines()  # which gives up after 120 s
    assert state == "not reachable"
    assert why in ("timed out", "no answer within 0.5 s")


def test_a_name_that_is_searched_for_longer_than_that_is_not_waited_for(monkeypatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(_machine, "_said", lambda *_: str(ended.wait(30)))
    assert _machine.hub(0.05).why == "no answer within 0.05 s"
    ended.set()


def test_nobody_is_asked_where_one_is_offline_by_choice() -> None:
    with listening(200) as address:
        _, state, why = python(HUB.format(patience=3), HF_ENDPOINT=address, HF_HUB_OFFLINE="1").splitlines()
    assert (state, "HF_HUB_OFFLINE" in why) == ("offline by choice", True)


def test_an_address_that_is_none_is_no_traceback() -> None:
    _, state, why = python(HUB.format(patience=3), HF_ENDPOINT="nonsense").splitlines()
    assert (state, "unknown url type" in why) == ("not reachable", True)


def test_the_caches_are_where_the_hub_was_told_to_keep_things(tmp_path) -> None:
    code = "from engram.cli._machine import caches; print(*(c['folder'] for c in caches()), sep='\\n')"
    models, sets = python(code, HF_HOME=str(tmp_path / "hf"), XDG_CACHE_HOME=str(tmp_path)).splitlines()
    assert models == str(tmp_path / "hf" / "hub")
    if sys.platform == "linux":
        assert sets == str(tmp_path / "engram")


# -- what is broken


def checks() -> dict[str, _self_test.Check]:
    return {c.name: c for c in _self_test.self_test()}


def test_a_damaged_copy_says_so_and_leaves_with_one(tmp_path) -> None:
    shutil.copytree(HOME, tmp_path / "engram", ignore=shutil.ignore_patterns("__pycache__"))
    weights = tmp_path / "engram" / "models" / "shipped" / "masked" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100_000])
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "engram.cli", "doctor"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (1, "")
    assert "the shipped model answers  FAILED  BrokenCheckpoint: " in done.stdout
    assert "4 of 5 checks failed" in done.stdout
    assert done.stdout.count("not tried") == 6  # in the table and below it


def test_an_ill_model_is_a_failure_in_json_too(monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(_self_test, "ANSWER", "Cork")  # which the model does not say
    result = doctor("--json")
    said = json.loads(result.stdout)
    assert (result.exit_code, said["passed"], said["hub"]["state"]) == (1, False, "offline by choice")
    assert not next(c for c in said["self_test"]["checks"] if c["name"] == "the shipped model answers")["passed"]


def test_a_condition_that_does_nothing_is_seen(monkeypatch) -> None:
    monkeypatch.setattr("engram.interventions.suppressed", lambda neurons: None)
    found = checks()
    assert [name for name, c in found.items() if not c.passed] == ["silence costs the answer"]
    assert "(+0.0%)" in found["silence costs the answer"].found


def test_weights_that_stay_changed_are_seen(monkeypatch) -> None:
    from engram.interventions import suppressed

    trials = []
    monkeypatch.setattr(_self_test.Trial, "__init__", lambda self: trials.append(self))

    def leaving_a_trace(neurons):
        with torch.no_grad():
            next(trials[0].model.net.parameters()).view(-1)[0] += 1e-6
        return suppressed(neurons)

    monkeypatch.setattr("engram.interventions.suppressed", leaving_a_trace)
    found = checks()
    assert [name for name, c in found.items() if not c.passed] == ["nothing stays changed"]
    assert "weights not the same" in found["nothing stays changed"].found


def test_scores_that_do_not_add_up_are_seen(monkeypatch) -> None:
    from engram import locators

    def coarse(*_args, **_settings):
        return locators.Activation()

    monkeypatch.setattr("engram.locators.IntegratedGradients", coarse)  # activations promise no sum: their gap is NaN
    assert not checks()["its neurons are found"].passed


def test_a_disk_that_takes_nothing_is_seen(monkeypatch) -> None:
    def full(*_args, **_settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engram.files.write", full)
    found = checks()
    assert [name for name, c in found.items() if not c.passed] == ["a file is written"]
    assert found["a file is written"].found == "OSError: [Errno 28] No space left on device"
