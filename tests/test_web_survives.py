"""What the page survives: a closed tab, a server that went away, a model that vanished, an upload that never ends."""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra engram[web]")
pytest.importorskip("uvicorn", reason="needs the extra engram[web]")
pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")

import uvicorn

import engram as eg
from engram.web import app as app_of
from engram.web.app import create_app
from engram.web.kept import kept
from engram.web.security import Guard
from engram.web.serving import serving
from engram.web.views.base import views
from engram.web.work import MODELS, Work
from test_web_browser import CHROMIUM, DUBLIN, TOKEN, browser, expect, go, opened, state  # noqa: F401  # fixtures

chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (set ENGRAM_CHROMIUM to where it lies)")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serves(runs: Path, port: int, token: str = TOKEN, **how: float) -> Iterator[str]:
    made = create_app("engram:causal", runs, token)
    guard = Guard(made.app, token, **how) if how else made
    server = uvicorn.Server(
        uvicorn.Config(guard, port=port, log_level="warning", timeout_graceful_shutdown=1, ws="none")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(15)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Holds the next asking and the next planning until it is set."""
    held = threading.Event()
    for name in ("ask", "plan_edit"):
        view = views[name]

        def waiting(self, model, progress, run=view.run):
            for i in range(6000):
                progress(i, 6000, f"Waiting at step {i // 100}")
                if held.wait(0.01):
                    break
            return run(self, model, progress)

        monkeypatch.setattr(view, "run", waiting)
    yield held
    held.set()
    kept._edits.clear()


@pytest.fixture
def tab(browser) -> Iterator[Callable[[str], object]]:  # noqa: F811
    """Opens a page at an address; what the browser says of a server that is away is no mistake of the page."""
    context = browser.new_context()
    context.set_default_timeout(30_000)

    def open_at(address: str) -> object:
        page = context.new_page()
        page.goto(f"{address}/?token={TOKEN}")
        return page

    yield open_at
    context.close()


@chromium
def test_a_tab_that_is_closed_while_an_edit_is_planned_finds_it_on_return(tab, gate, tmp_path) -> None:
    with serves(tmp_path, free_port()) as address:
        page = tab(address)
        go(page, "edit", **DUBLIN, to="Paris", editor="ft-m", written="0")
        page.get_by_role("button", name="Plan the edit").click()
        expect(page.get_by_text("Waiting at step")).to_be_visible()
        left = page.url
        assert state(page)["planning"]
        page.close()
        again = tab(address)
        again.goto(left)
        expect(again.get_by_text("Waiting at step")).to_be_visible()  # the same work, taken up
        gate.set()
        expect(again.get_by_role("heading", name="What the edit says of itself")).to_be_visible()
        assert len(kept.listed("engram:causal")) == 1
        expect(again).not_to_have_url(re.compile("planning"))


@chromium
def test_work_goes_on_when_its_part_is_left_and_is_seen_and_stopped_there(tab, gate, tmp_path) -> None:
    with serves(tmp_path, free_port()) as address:
        page = tab(address)
        go(page, "ask", **DUBLIN)
        expect(page.get_by_text("Waiting at step")).to_be_visible()
        page.get_by_role("link", name="Runs", exact=True).click()
        expect(page.locator("#running")).to_contain_text("Ask goes on: Waiting at step")
        page.get_by_role("link", name="Ask", exact=True).click()
        expect(page.locator("#running")).to_be_hidden()
        gate.set()
        expect(page.locator(".results table").first).to_contain_text("Dublin")
        gate.clear()
        expect(page.get_by_role("button", name="Ask")).to_be_enabled()  # the pictures are drawn
        page.get_by_label("Answer", exact=True).fill("Paris")
        page.keyboard.press("Enter")
        expect(page.get_by_text("Waiting at step")).to_be_visible()
        page.get_by_role("link", name="Edit", exact=True).click()
        page.get_by_role("button", name="Cancel Ask").click()
        expect(page.locator("#running")).to_be_hidden()


@chromium
def test_a_line_that_breaks_is_taken_up_again(tab, gate, tmp_path, monkeypatch) -> None:
    whole, broken = app_of._stream, []

    async def breaks(job):
        async for text in whole(job):
            yield text
            if not broken:
                broken.append(job.id)
                return

    monkeypatch.setattr(app_of, "_stream", breaks)
    with serves(tmp_path, free_port()) as address:
        page = tab(address)
        go(page, "ask", **DUBLIN)
        expect(page.get_by_text("Waiting at step")).to_be_visible()
        gate.set()
        expect(page.locator(".results table").first).to_contain_text("Dublin")
        assert broken


@chromium
def test_a_server_that_went_away_is_named_and_one_of_another_token_too(tab, tmp_path) -> None:
    port = free_port()
    with serves(tmp_path, port) as address:
        page = tab(address)
        go(page, "ask", **DUBLIN)
        expect(page.locator(".results table").first).to_contain_text("Dublin")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".status.error")).to_contain_text("Is engram serve still running?")
    with serves(tmp_path, port, "another"):
        page.get_by_role("button", name="Ask").click()
        expect(page.locator(".status.error")).to_contain_text("Open the address that engram serve has printed")
    with serves(tmp_path, port):  # the same token: the page goes on as if nothing had been
        page.get_by_role("button", name="Ask").click()
        expect(page.locator(".results table").first).to_contain_text("Dublin")


@chromium
def test_an_edit_of_an_earlier_server_is_read_again_from_its_folder(tab, tmp_path) -> None:
    port = free_port()
    with serves(tmp_path, port) as address:
        page = tab(address)
        go(page, "edit", **DUBLIN, to="Paris", editor="ft-m", written="0")
        page.get_by_role("button", name="Plan the edit").click()
        page.get_by_label("Save as").fill("paris")
        page.get_by_role("button", name="Save as an adapter").click()
        expect(page.get_by_text("a PEFT adapter")).to_be_visible()
        page.get_by_label("Save as").fill("whole")
        page.get_by_role("button", name="Export the whole model").click()
        expect(page.get_by_text("The whole model with it is in")).to_be_visible()
    kept._edits.clear()
    with serves(tmp_path, port) as address:
        page = tab(address)
        go(page, "edit", **DUBLIN)
        page.get_by_label("Saved edits").select_option("paris")
        page.get_by_role("button", name="Look under it").click()
        expect(page.locator("#kept input:checked")).to_have_count(1)
        page.get_by_role("link", name="Ask", exact=True).click()
        expect(page.locator(".results table tbody tr").first).to_contain_text("Paris")
        page.get_by_label("Model", exact=True).fill(str(tmp_path / "edits" / "whole"))
        page.keyboard.press("Enter")
        expect(page.locator(".results")).to_contain_text("whole)")
        expect(page.locator(".results table tbody tr").first).to_contain_text("Paris")


def test_a_model_whose_folder_vanishes_is_asked_from_memory_and_then_missed_in_words(tmp_path, monkeypatch) -> None:
    causal, place = eg.load("engram:causal"), tmp_path / "mine"
    causal.net.save_pretrained(place)
    causal.tokenizer.save_pretrained(place)
    work = Work()
    ask = views["ask"]

    def said(name: str, answer: str) -> tuple[str, dict]:
        job = work.submit(ask(prompt=DUBLIN["prompt"], answer=answer), name)
        for _ in range(3000):
            if job.done:
                return job._end[0], json.loads(job._end[1])
            time.sleep(0.01)
        raise AssertionError("it never ended")

    assert said(str(place), "Dublin")[0] == "result"
    shutil.rmtree(place)
    assert said(str(place), "Paris")[0] == "result"  # it is in memory
    others = ["engram:masked", "engram:causal"]
    assert len(others) == MODELS
    assert [said(name, "Rome")[0] for name in others] == ["result", "result"]
    name, end = said(str(place), "Rome")
    assert name == "error"
    assert "There is no model called" in end["message"]
    assert said("engram:causal", "Oslo")[0] == "result"


def test_an_upload_that_never_ends_is_given_up_and_others_are_answered(tmp_path) -> None:
    with serves(tmp_path, free_port(), patience=0.5) as address:
        host = address.removeprefix("http://")
        with socket.create_connection(host.split(":"), timeout=20) as line:
            head = f"POST /api/jobs HTTP/1.1\r\nHost: {host}\r\nX-Engram-Token: {TOKEN}\r\nContent-Length: 1000\r\n\r\n"
            line.sendall(head.encode() + b'{"view": "ask"')
            page = urllib.request.Request(f"{address}/api/page", headers={"X-Engram-Token": TOKEN})
            with urllib.request.urlopen(page, timeout=20) as answer:
                assert json.load(answer)["model"] == "engram:causal"
            assert line.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_fifty_megabytes_are_refused_before_they_are_read(tmp_path) -> None:
    with serves(tmp_path, free_port()) as address:
        host = address.removeprefix("http://")
        with socket.create_connection(host.split(":"), timeout=20) as line:
            size = 50 * 2**20
            head = (
                f"POST /api/jobs HTTP/1.1\r\nHost: {host}\r\nX-Engram-Token: {TOKEN}\r\nContent-Length: {size}\r\n\r\n"
            )
            line.sendall(head.encode() + b"x" * 300_000)  # no more than that is sent
            assert line.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_the_server_opens_models_as_it_was_told(tmp_path) -> None:
    from engram.web.serving import Serving

    before = serving.dtype, serving.device, serving.data
    try:
        create_app("engram:causal", tmp_path, TOKEN, Serving("float64", "cpu", "shipped"))
        assert str(serving.model("engram:causal").dtype) == "torch.float64"
        assert serving.model_python("x") == "eg.load('x', dtype='float64', device='cpu')"
    finally:
        serving.dtype, serving.device, serving.data = before


@pytest.mark.parametrize(
    ("option", "said"),
    [(("--dtype", "float23"), "float23"), (("--device", "cuda:77"), "cuda:77"), (("--data", "nowhere"), "nowhere")],
)
def test_serve_refuses_what_it_cannot_open_with(tmp_path, option, said) -> None:
    from typer.testing import CliRunner

    from engram.cli import _app

    found = CliRunner().invoke(_app.application(), ["serve", "--no-open", "--runs", str(tmp_path), *option])
    assert found.exit_code == 2
    assert said in found.output
