"""The page in a real browser: what a reader sees and does, on the shipped model."""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlparse

import pytest

import engram as eg
from engram.experiments import Attributions

pytest.importorskip("fastapi", reason="needs the extra engram[web]")
uvicorn = pytest.importorskip("uvicorn", reason="needs the extra engram[web]")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")

from engram.web.app import create_app  # noqa: E402  # after the check that it can be

CHROMIUM = os.environ.get("ENGRAM_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
SHOTS = os.environ.get("ENGRAM_SHOTS")  # a folder for pictures of every part, to be looked at
TOKEN = "browser"
DUBLIN = {"prompt": "The capital of Ireland is [Y]", "answer": "Dublin", "subject": "Ireland"}
PARTS = ("ask", "neurons", "turn", "trace", "edit", "runs")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (set ENGRAM_CHROMIUM to where it lies)")
expect = playwright.expect
expect.set_options(timeout=30_000)  # a machine may be busy with other tests


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that is done and one of which a shard is missing."""
    out = tmp_path_factory.mktemp("runs")
    facts, model = eg.data.read("shipped").only(["capital"]), eg.load("engram:causal")
    for name, steps in (("first", 2), ("second", 3)):
        eg.run(Attributions(eg.IntegratedGradients(steps=steps), facts=4, shard=2), facts, model, out=out / name)
    shutil.copytree(out / "first", out / "third")
    (out / "third" / "shards" / "part-00000.parquet").rename(out / "part-00000.parquet")
    (out / "third" / "summary.json").unlink()
    return out


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[str]:
    """The address of the page, without its token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = uvicorn.Server(uvicorn.Config(create_app("engram:causal", home, TOKEN), port=port, log_level="warning"))
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    for _ in range(200):
        if made.started:
            break
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    made.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as p:
        made = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield made
        made.close()


@pytest.fixture
def page(browser: playwright.Browser, server: str) -> Iterator[playwright.Page]:
    """A tab of a laptop's width. The browser may complain of nothing."""
    yield from opened(browser, server)


def opened(browser: playwright.Browser, server: str, **how) -> Iterator[playwright.Page]:
    context = browser.new_context(**({"viewport": {"width": 1200, "height": 900}} | how))
    context.set_default_timeout(30_000)
    tab, said = context.new_page(), []
    tab.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(f"{server}/?token={TOKEN}")
    yield tab
    context.close()
    assert said == []


def go(page: playwright.Page, part: str, **state: str) -> None:
    """To the page of this state, as if its address had been sent by a friend."""
    place = urlparse(page.url)
    page.goto(f"{place.scheme}://{place.netloc}/?{urlencode({'part': part, **state})}")


def state(page: playwright.Page) -> dict[str, str]:
    return {k: v[0] for k, v in parse_qs(urlparse(page.url).query).items()}


def first_row(page: playwright.Page, caption: str) -> list[str]:
    return page.locator("table", has_text=caption).locator("tbody tr").first.locator("td").all_inner_texts()


def test_ask_shows_who_answers_and_the_address_says_it_again(page) -> None:
    expect(page.locator("#tabs a")).to_have_count(len(PARTS))
    page.get_by_label("Prompt").fill(DUBLIN["prompt"])
    page.get_by_label("Answer", exact=True).fill("Dublin")
    page.keyboard.press("Enter")
    expect(page.locator(".results table").first).to_contain_text("Dublin")
    assert first_row(page, "The best tokens")[:2] == ["1", "Dublin"]
    expect(page.locator(".layers .main-svg").first).to_be_visible()
    assert "token" not in state(page)
    assert state(page)["prompt"] == DUBLIN["prompt"]
    again = page.locator(".results h2").first.inner_text()
    page.reload()
    expect(page.locator(".results h2").first).to_have_text(again)


def test_the_whole_question_can_be_asked_by_keyboard(page) -> None:
    expect(page.locator("#tabs a").first).to_be_visible()
    seen = []
    for _ in range(25):
        page.keyboard.press("Tab")
        name = page.evaluate("document.activeElement.name || document.activeElement.textContent")
        seen.append(name)
        if name in ("prompt", "answer"):
            page.keyboard.type(DUBLIN[name])
        if name == "Ask" and "answer" in seen:
            break
    assert [n for n in seen if n in ("prompt", "answer")] == ["prompt", "answer"]
    page.keyboard.press("Enter")
    expect(page.locator("[role=status]").first).to_contain_text("Dublin: rank 1")


def test_the_link_to_the_content_leaves_the_results_where_they_are(page) -> None:
    go(page, "ask", **DUBLIN)
    expect(page.locator(".results table").first).to_contain_text("Dublin")
    page.evaluate("window.same = true")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    assert page.evaluate("window.same")


def test_back_brings_the_earlier_state_again(page) -> None:
    go(page, "ask", **DUBLIN)
    expect(page.locator(".results table").first).to_contain_text("Dublin")
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.get_by_role("link", name="first", exact=True)).to_be_visible()
    page.get_by_role("link", name="first", exact=True).click()
    expect(page.get_by_role("heading", name="first")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("link", name="second", exact=True)).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Prompt")).to_have_value(DUBLIN["prompt"])
    expect(page.locator(".results table").first).to_contain_text("Dublin")


def test_a_question_that_cannot_be_asked_says_why_and_the_page_goes_on(page) -> None:
    go(page, "ask", prompt="No blank here", answer="Dublin")
    expect(page.locator(".status.error")).to_contain_text("[Y]")
    page.get_by_label("Prompt").fill(DUBLIN["prompt"])
    page.keyboard.press("Enter")
    expect(page.locator(".results table").first).to_contain_text("Dublin")


def test_a_silenced_neuron_changes_what_is_said(page) -> None:
    go(page, "neurons", **DUBLIN, threshold="0.2")
    boxes = page.locator("td input[type=checkbox]:checked:not([data-seen])")
    expect(boxes.first).to_be_visible()
    many = boxes.count()
    page.get_by_label(re.compile("^Threshold")).fill("0.9")
    expect(boxes).to_have_count(1)
    assert many > 1
    page.get_by_role("link", name="Turn them down and up").click()
    expect(page.locator(".results")).to_contain_text("1 neuron silent")
    model = eg.load("engram:causal")
    prompt = eg.Prompt(DUBLIN["prompt"], "Dublin")
    neuron = eg.NeuronSet.parse(state(page)["neurons"])
    (before,), (after,) = eg.ask(model, prompt), eg.ask(model, prompt, under=eg.Scaled(neuron, by=0.0))
    assert after.probability < before.probability - 0.01
    expect(page.locator(".results")).to_contain_text(f"{100 * after.probability:.1f} %")
    page.get_by_label("How loud").fill("1")
    expect(page.locator(".results")).to_contain_text("1 neuron as they are")
    p = f"{100 * before.probability:.1f} %"
    expect(page.locator(".results")).to_contain_text(f"{p} → {p}")


CELL = """([map, row, column]) => {
  const place = document.querySelector(map), { xaxis, yaxis } = place._fullLayout;
  const box = place.querySelector(".nsewdrag").getBoundingClientRect();
  return [box.left + xaxis.c2p(column), box.top + yaxis.c2p(row)];
}"""


def shade(page: playwright.Page, map_: str, row: int, column: int) -> float:
    """How dark a cell of a heat map is as it is seen, from 0 (white) to 1, a little beside its middle."""
    from PIL import Image

    x, y = page.evaluate(CELL, [map_, row, column])
    seen = page.screenshot(clip={"x": x + 4, "y": y + 4, "width": 2, "height": 2})
    return 1 - sum(Image.open(io.BytesIO(seen)).convert("RGB").getpixel((0, 0))) / (3 * 255)


def test_the_hot_cell_of_the_trace_is_hot(page) -> None:
    go(page, "trace", **DUBLIN)
    page.get_by_role("button", name="Trace", exact=True).click()
    expect(page.locator("[data-map='0-attention'] .nsewdrag")).to_be_visible()
    model, prompt = eg.load("engram:causal"), eg.Prompt(DUBLIN["prompt"], "Dublin")
    for kind in ("block", "ffn", "attention"):
        trace = eg.trace(model, prompt, subject="Ireland", by=eg.CausalTracing(kind=kind))
        hot = divmod(int(trace.effect.argmax()), trace.effect.shape[1])
        page.locator(f"[data-map='0-{kind}']").scroll_into_view_if_needed()
        dark = {(r, c): shade(page, f"[data-map='0-{kind}']", r, c) for r, c in (hot, (0, 0), (2, 1))}
        assert dark[hot] > 0.5 > 0.1 > max(v for k, v in dark.items() if k != hot)
    x, y = page.evaluate(CELL, ["[data-map='0-attention']", *hot])
    page.mouse.move(x, y)
    expect(page.locator("[data-map='0-attention'] .hoverlayer")).to_contain_text(f"{trace.effect.max():.3f}")


def test_an_edit_is_planned_held_everywhere_and_undone(page) -> None:
    go(page, "edit", **DUBLIN, to="Paris")
    page.get_by_role("button", name="Plan the edit").click()
    expect(page.locator("table", has_text="After the edit").locator("tbody tr").first).to_contain_text("Paris")
    expect(page.locator("table", has_text="Before the edit").locator("tbody tr").first).to_contain_text("Dublin")
    page.get_by_role("button", name="Look under it").click()
    expect(page.locator("#kept input:checked")).to_have_count(1)
    page.get_by_role("link", name="Ask", exact=True).click()
    expect(page.locator(".results")).to_contain_text("Without the edits: rank 1")
    assert first_row(page, "The best tokens")[1] == "Paris"
    assert state(page)["under"]
    page.locator("#kept button").click()
    expect(page.locator("#kept")).to_be_hidden()
    expect(page.locator(".results table tbody tr").first).to_contain_text("Dublin")


def test_the_runs_are_listed_filtered_and_opened(page) -> None:
    go(page, "runs")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(3)
    page.get_by_label("Show runs with").fill("sec")
    expect(rows).to_have_count(1)
    assert state(page)["find"] == "sec"
    page.get_by_role("link", name="second", exact=True).click()
    expect(page.get_by_role("heading", name="Attribution by integrated gradients")).to_be_visible()
    page.get_by_label("Show scores with").fill("gap")
    expect(page.get_by_text(re.compile(r"1 of \d+ scores"))).to_be_visible()
    for button, name in (("Save all scores as CSV", "second.csv"), ("SVG", "second-answers.svg")):
        with page.expect_download() as saved:
            page.get_by_role("button", name=button, exact=True).first.click()
        assert saved.value.suggested_filename == name
        assert len(Path(saved.value.path()).read_bytes()) > 100


def test_two_runs_stand_side_by_side(page) -> None:
    go(page, "runs", run="first")
    page.get_by_label("Side by side with").select_option("second")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="first and second")).to_be_visible()
    expect(page.locator("table", has_text="Scores side by side").locator("tbody tr").first).to_contain_text("prompts")
    assert (state(page)["run"], state(page)["other"]) == ("first", "second")


def test_a_run_is_seen_to_go_on(page, home) -> None:
    go(page, "runs")
    row = page.locator("tbody tr", has_text="third")
    expect(row).to_contain_text("1 of 2 done")
    shutil.copy(home / "part-00000.parquet", home / "third" / "shards" / "part-00000.parquet")
    try:
        expect(row).to_contain_text("2 of 2 done")
    finally:
        (home / "third" / "shards" / "part-00000.parquet").unlink()


@pytest.mark.parametrize("part", PARTS)
def test_every_part_fits_a_telephone_in_the_dark(browser, server, part) -> None:
    for page in opened(browser, server, viewport={"width": 400, "height": 800}, color_scheme="dark"):
        go(page, part, **DUBLIN)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        if part in ("ask", "neurons"):
            expect(page.locator(".main-svg").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert sum(map(int, re.findall(r"\d+", ground)[:3])) < 150
        if SHOTS:
            page.screenshot(path=Path(SHOTS) / f"{part}-telephone.png", full_page=True)
