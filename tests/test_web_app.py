"""The server behind the page: who may ask, what is refused and in which words, and how work is done and stopped."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the page needs the extra web")
pytest.importorskip("httpx", reason="asking the app in a test needs httpx")

from fastapi.testclient import TestClient

import engram as eg
from engram.errors import BadData
from engram.web.app import create_app
from engram.web.security import Guard
from engram.web.views.base import View, views
from engram.web.work import WAITING

TOKEN = "a secret"
ASK = {"view": "ask", "given": {"prompt": "The author of Hamlet is [Y].", "answer": "Shakespeare"}}


class Gate(View):
    """Works until it may end, in steps, and says each."""

    name: str = ""
    how: str = "end"

    def run(self, model, progress):
        started.append(self.name)
        began.set()
        for i in range(2000):
            progress(i, 2000)
            if gate.wait(0.005):
                break
        if self.how == "engram":
            raise BadData("a file", 3, "is not what it should be")
        if self.how == "bug":
            raise ZeroDivisionError("a secret of the server")
        return {"name": self.name, "n": float("nan") if self.how == "nan" else 1}

    def python(self, model):
        return f"model = {model!r}"


started: list[str] = []
gate, began = threading.Event(), threading.Event()


@pytest.fixture
def app(tmp_path, monkeypatch):
    views.names()
    monkeypatch.setitem(views._classes, "gate", Gate)
    started.clear()
    gate.clear()
    began.clear()
    yield create_app("engram:masked", tmp_path, TOKEN)
    gate.set()


@pytest.fixture
def web(app):
    with TestClient(app, base_url="http://127.0.0.1:8000", headers={"X-Engram-Token": TOKEN}) as client:
        yield client


def events(web, job):
    """What is said of a job, as pairs of a name and its data."""
    answer = web.get(f"/api/jobs/{job}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    parts = [dict(line.split(": ", 1) for line in part.splitlines()) for part in answer.text.strip().split("\n\n")]
    return [(p["event"], json.loads(p["data"])) for p in parts]


def begin(web, view="gate", model=None, **given):
    answer = web.post("/api/jobs", json={"view": view, "given": given} | ({"model": model} if model else {}))
    assert answer.status_code == 200, answer.text
    return answer.json()["job"]


# -- who may ask


@pytest.mark.parametrize("path", ["/api/page", "/api/models", "/api/runs", "/api/edits?model=x", "/api/openapi.json"])
@pytest.mark.parametrize("token", [None, "", "A SECRET", "a secret or more"])
def test_nothing_is_said_without_the_token(app, path, token):
    with TestClient(app, base_url="http://127.0.0.1:8000") as web:
        headers = {} if token is None else {"X-Engram-Token": token}
        answer = web.get(path, headers=headers)
        assert answer.status_code == 401
        assert web.get(path, headers={"X-Engram-Token": TOKEN}).status_code == 200


def test_a_token_in_the_address_opens_the_page_but_no_answer(app):
    with TestClient(app, base_url="http://localhost:8000") as web:
        assert web.get(f"/?token={TOKEN}").status_code == 200
        assert web.get(f"/api/page?token={TOKEN}").status_code == 401
        assert web.post("/api/jobs", json=ASK).status_code == 401


@pytest.mark.parametrize(
    "host", ["example.org", "127.0.0.1.example.org", "example.org:8000", "169.254.0.1", "", "[::2]"]
)
def test_another_host_is_refused_also_for_the_page(web, host):
    for path in ("/", "/static/app.js", "/api/page"):
        answer = web.get(path, headers={"Host": host})
        assert answer.status_code == 403
        assert "127.0.0.1" in answer.json()["message"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8000", 200),
        ("http://127.0.0.1:9000", 403),
        ("https://127.0.0.1:8000", 403),
        ("http://example.org", 403),
        ("null", 403),
    ],
)
def test_another_page_may_not_ask(web, origin, status):
    assert web.get("/api/page", headers={"Origin": origin}).status_code == status


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:80", "[::1]:8000", "[::1]"])
def test_this_machine_has_several_names(web, host):
    assert web.get("/api/page", headers={"Host": host}).status_code == 200


def test_the_browser_is_told_to_fetch_nothing_from_elsewhere(web):
    for path in ("/", "/api/page", "/api/none"):
        policy = web.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "script-src 'self';" in policy


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd"]
)
def test_no_file_outside_the_page_is_served(web, path):
    assert web.get(path).status_code == 404


# -- how much may be sent


def test_too_large_a_body_is_refused_whether_or_not_it_says_so(web):
    answer = web.post("/api/jobs", content=b"x" * (256 * 1024 + 1))
    assert (answer.status_code, "262,144" in answer.json()["message"]) == (413, True)

    def chunks():
        for _ in range(300):
            yield b"x" * 1024

    assert web.post("/api/jobs", content=chunks()).status_code == 413


def test_an_unfinished_upload_is_given_up():
    said: list[dict] = []

    async def send(message):
        said.append(message)

    async def silent():
        await asyncio.sleep(60)

    async def gone():
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/jobs",
        "headers": [(b"host", b"127.0.0.1"), (b"x-engram-token", b"t")],
    }
    guard = Guard(None, "t", patience=0.05)
    asyncio.run(guard(scope, silent, send))
    assert said[0]["status"] == 408
    said.clear()
    asyncio.run(guard(scope, gone, send))
    assert said == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "body"),
        (b"{", "JSON"),
        (b"[]", "body"),
        (b'{"view": "ask"}', "prompt: field required; answer: field required"),
        (b'{"view": 3, "given": {}}', "view"),
        (b'{"view": "ask", "given": {}, "code": "1"}', "code"),
        (b'{"view": "ask", "given": {"prompt": "a [Y]", "answer": "b", "top": 1000}}', "top: input should be"),
        (b'{"view": "ask", "given": {"prompt": "a [Y]", "answer": ""}}', "answer"),
        (b'{"view": "ask", "given": {"prompt": "a [Y]", "answer": "b", "more": 1}}', "more"),
        (b'{"view": "asks", "given": {}}', "There is no view called 'asks'. Did you mean ask?"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_question_is_said_in_words(web, body, words):
    answer = web.post("/api/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert words.lower() in answer.json()["message"].lower()


# -- work


def test_a_question_is_answered_with_its_progress_and_its_python(web):
    job = begin(web, view="ask", **ASK["given"])
    *before, (last, found) = events(web, job)
    assert (last, found["answer"]["rank"]) == ("result", 1)
    assert "eg.load('engram:masked')" in found["python"]
    assert all(name == "progress" for name, _ in before)
    assert events(web, job)[-1] == (last, found)  # closing the page loses nothing


def test_progress_arrives_while_it_works(web):
    job = begin(web)
    began.wait(20)
    threading.Timer(0.3, gate.set).start()
    found = events(web, job)
    done = [data["done"] for name, data in found if name == "progress" and data["total"] == 2000]
    assert len(done) > 3
    assert done == sorted(done)
    assert found[-1] == ("result", {"name": "", "n": 1, "python": "model = 'engram:masked'"})


def test_two_jobs_are_done_one_after_the_other(web):
    first = begin(web, name="first")
    second = begin(web, name="second")
    began.wait(20)
    time.sleep(0.05)
    assert started == ["first"]
    gate.set()
    assert events(web, second)[-1][1]["name"] == "second"
    assert events(web, first)[-1][1]["name"] == "first"
    assert started == ["first", "second"]


def test_work_can_be_cancelled_while_it_runs_and_while_it_waits(web):
    running, waiting, last = begin(web, name="a"), begin(web, name="b"), begin(web, name="c")
    began.wait(20)
    assert web.delete(f"/api/jobs/{waiting}").status_code == 200
    assert events(web, waiting) == [("error", {"message": "Cancelled."})]
    assert web.delete(f"/api/jobs/{running}").status_code == 200
    assert events(web, running)[-1] == ("error", {"message": "Cancelled."})
    gate.set()
    assert events(web, last)[-1][0] == "result"
    assert started == ["a", "c"]


def test_who_asks_the_same_again_gets_the_same_job_unless_it_is_to_be_done_anew(web, monkeypatch):
    first = begin(web)
    assert begin(web) == first
    assert begin(web, model="engram:causal") != first
    web.delete(f"/api/jobs/{first}")
    second = begin(web)
    assert second != first
    gate.set()
    assert events(web, second)[-1][0] == "result"
    assert begin(web) == second
    monkeypatch.setattr(Gate, "anew", True)
    assert begin(web) != second


def test_a_server_that_ends_stops_what_runs_and_what_waits(app):
    with TestClient(app, base_url="http://127.0.0.1:8000", headers={"X-Engram-Token": TOKEN}) as client:
        names = [begin(client, name=name) for name in ("a", "b")]
        began.wait(20)
    with TestClient(app, base_url="http://127.0.0.1:8000", headers={"X-Engram-Token": TOKEN}) as client:
        assert [events(client, job)[-1] for job in names] == [("error", {"message": "Cancelled."})] * 2
    assert started == ["a"]


def test_more_than_can_wait_is_refused(web):
    for i in range(WAITING + 1):
        begin(web, name=str(i))
        began.wait(20)
    answer = web.post("/api/jobs", json={"view": "gate", "given": {"name": "one more"}})
    assert (answer.status_code, "waiting" in answer.json()["message"]) == (503, True)


@pytest.mark.parametrize("method", ["get", "delete"])
def test_an_unknown_job_is_not_there(web, method):
    answer = getattr(web, method)("/api/jobs/none" + ("/events" if method == "get" else ""))
    assert (answer.status_code, "no job called 'none'" in answer.json()["message"]) == (404, True)


def test_what_engram_refuses_is_said_as_it_is_and_a_bug_is_not(web, caplog):
    gate.set()
    assert events(web, begin(web, how="engram"))[-1] == (
        "error", {"message": "a file, line 3: is not what it should be"},
    )  # fmt: skip
    for how, name in (("bug", "ZeroDivisionError"), ("nan", "ValueError")):
        caplog.clear()
        last, said = events(web, begin(web, how=how))[-1]
        assert last == "error"
        assert "a secret of the server" not in said["message"]
        assert said["message"].split()[-1].rstrip(".") in caplog.text
        assert name in caplog.text
    assert events(web, begin(web))[-1][0] == "result"  # the thread goes on


@pytest.mark.parametrize("name", ["no/such/model", "../x y", "engram:none", "/etc/passwd", "a\nb"])
def test_a_model_is_what_load_takes(web, name, monkeypatch):
    monkeypatch.setattr("engram.models.loading._hub_answers", lambda: False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    last, said = events(web, begin(web, model=name))[-1]
    assert last == "error"
    assert "Something is wrong in engram" not in said["message"]


def test_a_folder_is_a_model_until_it_is_gone(web, tmp_path):
    model = eg.load("engram:causal")
    model.net.save_pretrained(tmp_path / "mine")
    model.tokenizer.save_pretrained(tmp_path / "mine")
    job = begin(
        web, view="ask", model=str(tmp_path / "mine"), **ASK["given"] | {"prompt": "The author of Hamlet is [Y]"}
    )
    assert events(web, job)[-1][0] == "result"
    job = begin(web, view="ask", model=str(tmp_path / "gone"), **ASK["given"])
    assert "There is no model called" in events(web, job)[-1][1]["message"]


@pytest.mark.parametrize(("method", "path", "status"), [("get", "/api/none", 404), ("put", "/api/jobs", 405)])
def test_what_is_not_there_is_said_in_words_too(web, method, path, status):
    answer = getattr(web, method)(path)
    assert (answer.status_code, list(answer.json())) == (status, ["message"])


def test_the_page_knows_what_there_is(web):
    page = web.get("/api/page").json()
    assert page["version"] == eg.__version__
    assert page["models"] == ["engram:masked", "engram:causal"]
    assert "ask" in page["parts"]
    assert web.get("/api/models").json() == {"default": "engram:masked", "models": page["models"]}
    assert "text/html" in web.get("/").headers["content-type"]
    assert len(web.get("/static/plotly.js").content) > 1_000_000
    for part in page["parts"]:
        assert web.get(f"/static/parts/{part}.js").headers["content-type"].startswith("text/javascript")


# -- the command


def test_the_command_prints_an_address_that_answers_on_this_machine_alone(tmp_path):
    command = [sys.executable, "-m", "engram.cli", "serve", "--no-open", "--port", "0", "--runs", str(tmp_path)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip()
        base, token = address.split("/?token=")
        assert base.startswith("http://127.0.0.1:")
        ask = urllib.request.Request(f"{base}/api/page", headers={"X-Engram-Token": token})
        with urllib.request.urlopen(ask, timeout=30) as answer:
            assert json.load(answer)["model"] == "engram:masked"
    finally:
        server.terminate()
        server.wait(20)
        server.stdout.close()


def test_a_taken_port_and_a_missing_extra_are_said_in_words(monkeypatch, tmp_path):
    from typer.testing import CliRunner

    from engram.cli import _app, serve

    run = lambda *args: CliRunner().invoke(_app.application(), ["serve", "--no-open", *args])  # noqa: E731
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = run("--port", str(port))
        assert (found.exit_code, f"port {port}" in found.output) == (1, True)
    file = tmp_path / "file"
    file.write_text("")
    assert run("--runs", str(file)).exit_code == 2
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    found = run()
    assert found.exit_code == 1
    assert "pip install 'engram[web]'" in found.output


def test_the_page_is_whole_in_its_folder():
    home = Path(eg.__file__).parent / "web" / "static"
    for name in ("index.html", "style.css", "app.js", "api.js", "ui.js", "question.js"):
        text = (home / name).read_text(encoding="utf-8")
        assert "//cdn" not in text
        assert "https://" not in text
