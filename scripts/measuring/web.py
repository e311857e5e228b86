"""How fast is the page that `engram serve` opens? Seen from a browser, on the shipped causal model."""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from engram.web.app import create_app

TOKEN = "measured"
STATE = {"model": "engram:causal", "prompt": "The capital of Ireland is [Y]", "answer": "Dublin"}
PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
TURN = """([slider, value, result]) => new Promise((done) => {
  const input = document.querySelector(slider), place = document.querySelector(result), before = place.innerText;
  const begun = performance.now();
  new MutationObserver((_, seen) => {
    if (place.innerText !== before) { seen.disconnect(); done(performance.now() - begun); }
  }).observe(place, { childList: true, subtree: true, characterData: true });
  input.value = value;
  input.dispatchEvent(new Event("input", { bubbles: true }));
})"""


@contextmanager
def served() -> Iterator[str]:
    """The address of the page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as runs:
        app = create_app(STATE["model"], Path(runs), TOKEN)
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(10)


def paints(browser: Browser, address: str, times: int) -> Iterator[float]:
    """Milliseconds to the first paint of a fresh tab."""
    for _ in range(times):
        page = browser.new_page()
        page.goto(f"{address}/?token={TOKEN}")
        page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length > 0")
        yield page.evaluate(PAINT)
        page.close()


def slides(page: Page, slider: str, values: list[float], result: str) -> Iterator[float]:
    """Milliseconds from a slider's move to what it changes."""
    for value in values:
        yield page.evaluate(TURN, [slider, str(value), result])
        page.wait_for_timeout(250)


def shown(browser: Browser, address: str, part: str, **state: str) -> Page:
    """The page of this part, with its results."""
    page = browser.new_page()
    page.goto(f"{address}/?token={TOKEN}")
    page.goto(f"{address}/?{urlencode({'part': part, **STATE, **state})}")
    page.wait_for_function("() => document.querySelector('.results')?.innerText.length > 80")
    page.wait_for_timeout(500)
    return page


def line(what: str, found: Iterator[float]) -> str:
    """Median and range, in milliseconds."""
    ms = list(found)
    return f"{what:<28} {statistics.median(ms):6.0f} ms  ({min(ms):.0f} to {max(ms):.0f}, n = {len(ms)})"


def main(times: int) -> None:
    """Print the table."""
    path = os.environ.get("ENGRAM_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("error: needs chromium (set ENGRAM_CHROMIUM to where it lies)")
    with served() as address, sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        out = sys.stdout.write
        out(line("first paint", paints(browser, address, times)) + "\n")
        neurons = shown(browser, address, "neurons")
        values = [0.1 + 0.05 * (i % 12) for i in range(times)]
        out(line("threshold of neurons", slides(neurons, "input[name=threshold]", values, ".results")) + "\n")
        turn = shown(browser, address, "turn", neurons="L2.62 L0.209")
        loud = [0.5 + 0.25 * (i % 10) for i in range(times)]
        out(line("how loud the selection is", slides(turn, "input[name=turn]", loud, ".results")) + "\n")
        browser.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
