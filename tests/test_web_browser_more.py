"""More of the page in a real browser: saved files, two models, signs, copied Python, keyboard, small screens."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("fastapi", reason="needs the extra engram[web]")
pytest.importorskip("uvicorn", reason="needs the extra engram[web]")
pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")

import engram as eg
from engram.experiments import Attributions
from engram.web.kept import kept
from test_web_browser import (  # noqa: F401  # fixtures
    CHROMIUM,
    DUBLIN,
    browser,
    expect,
    first_row,
    go,
    home,
    opened,
    page,
    server,
    state,
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (set ENGRAM_CHROMIUM to where it lies)")
TURNED = {**DUBLIN, "neurons": "L2.62 L0.209", "by": "0"}


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    kept._edits.clear()


@pytest.fixture(scope="module")
def of_masked(home: Path) -> str:  # noqa: F811
    """The name of a run of another model on the same facts."""
    facts = eg.data.read("shipped").only(["capital"])
    what = Attributions(eg.IntegratedGradients(steps=2), facts=4, shard=2)
    eg.run(what, facts, eg.load("engram:masked"), out=home / "masked")
    return "masked"


def saved(page, press) -> tuple[str, bytes]:  # noqa: F811
    """The name and the bytes of the file that a press saves."""
    with page.expect_download() as found:
        press()
    return found.value.suggested_filename, Path(found.value.path()).read_bytes()


def test_scores_and_figures_of_a_run_are_saved_as_what_they_are(page, home) -> None:  # noqa: F811
    go(page, "runs", run="first")
    expect(page.get_by_role("heading", name="Attribution by integrated gradients")).to_be_visible()

    def press(name):
        return lambda: page.get_by_role("button", name=name, exact=True).first.click()

    name, content = saved(page, press("Save all scores as CSV"))
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    report = eg.open_run(home / "first").summary()
    assert name == "first.csv"
    assert {r["score"]: float(r["value"]) for r in rows} == {s.name: s.value for s in report.scores}
    name, content = saved(page, press("SVG"))
    assert (name, ElementTree.fromstring(content).tag) == ("first-answers.svg", "{http://www.w3.org/2000/svg}svg")
    name, content = saved(page, press("PNG"))
    assert (name, content[:8]) == ("first-answers.png", b"\x89PNG\r\n\x1a\n")


def test_a_chart_is_saved_as_svg(page) -> None:  # noqa: F811
    go(page, "turn", **TURNED)
    expect(page.get_by_role("heading", name="Elsewhere")).to_be_visible()
    chart = page.locator(".js-plotly-plot").first
    chart.hover()
    name, content = saved(page, lambda: chart.locator(".modebar-btn").first.click())
    assert (name, content[:4]) == ("engram-words.svg", b"<svg")
    assert b"Dublin" in content


def test_a_chart_takes_the_colours_of_the_dark_and_is_let_go_with_its_part(page) -> None:  # noqa: F811
    go(page, "trace", **DUBLIN, traced="1", samples="2")
    expect(page.locator("[data-map='0-attention'] .nsewdrag")).to_be_visible()
    chart = page.locator("[data-map='0-block']").element_handle()
    light = chart.evaluate("it => JSON.stringify(it.data[0].colorscale)")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("([it, light]) => JSON.stringify(it.data[0].colorscale) !== light", arg=[chart, light])
    page.get_by_role("link", name="Ask", exact=True).click()
    expect(page.locator(".layers .nsewdrag").first).to_be_visible()
    assert chart.evaluate("it => it._fullLayout === undefined")  # nothing of plotly's holds it any more


def test_runs_of_two_models_stand_side_by_side_and_are_saved_together(page, home, of_masked) -> None:  # noqa: F811
    go(page, "runs", run="first", other=of_masked)
    line = page.locator(".results p", has_text="First:")
    expect(line).to_contain_text("engram:causal on shipped")
    expect(line).to_contain_text("engram:masked on shipped")
    rows = page.locator("table", has_text="Scores side by side").locator("tbody tr")
    shown = {cells[0]: cells for cells in (row.locator("td").all_inner_texts() for row in rows.all())}
    for name, column in (("first", 1), (of_masked, 3)):
        score = eg.open_run(home / name).summary()["P(answer)"]
        assert float(shown["P(answer)"][column].split()[0]) == pytest.approx(score.value, rel=1e-3)
    page.get_by_text("What else differs").click()
    expect(page.locator("details", has_text="What else differs")).to_contain_text("model")
    name, content = saved(page, lambda: page.get_by_role("button", name="Save both as CSV").click())
    assert name == f"first-{of_masked}.csv"
    assert {r["model"] for r in csv.DictReader(io.StringIO(content.decode()))} == {"engram:causal", "engram:masked"}


def test_two_models_are_asked_side_by_side(page) -> None:  # noqa: F811
    prompt = "The capital of Ireland is [Y]."
    go(page, "ask", prompt=prompt, answer="Dublin", beside="engram:masked")
    expect(page.locator(".layers .main-svg").nth(2)).to_be_attached()
    said = page.locator("[role=status]").first.inner_text()
    for model in ("engram:causal", "engram:masked"):
        (answer,) = eg.ask(eg.load(model), eg.Prompt(prompt, "Dublin"))
        assert f"rank {answer.rank} of" in said
        assert f"{100 * answer.probability:.1f} % ({model})" in said
    tables = page.locator("table", has_text="The best tokens")
    expect(tables).to_have_count(2)
    left, right = (tables.nth(i).bounding_box() for i in range(2))
    assert abs(left["y"] - right["y"]) < 2 < right["x"] - left["x"]
    assert len(page.locator("pre").all()) == 2


def test_an_edit_with_second_moments_under_another_says_so(page) -> None:  # noqa: F811
    go(page, "edit", **DUBLIN, to="Paris", editor="ft-m", written="0")
    expect(page.get_by_label("Second moments of keys")).to_be_hidden()
    page.get_by_role("button", name="Plan the edit").click()
    page.get_by_role("button", name="Look under it").click()
    expect(page.locator("#kept input:checked")).to_have_count(1)
    page.get_by_label("Editor").select_option("r-rome")
    page.get_by_label("Second moments of keys").select_option("shipped")
    page.get_by_label("Tokens read").fill("500")
    page.get_by_label("Layer", exact=True).fill("1")
    page.get_by_label("Prompt, with").fill("The capital of Italy is [Y]")
    page.get_by_label("Answer", exact=True).fill("Rome")
    page.get_by_label("Subject, as").fill("Italy")
    page.get_by_label("New answer", exact=True).fill("Madrid")
    page.get_by_role("button", name="Plan the edit").click()
    where = page.get_by_text("It writes in layer 1")
    expect(where).to_contain_text("second moments of keys: of 500 tokens of ordinary text")
    expect(where).to_contain_text("planned under edit-")
    first, second = (one["id"] for one in kept.listed("engram:causal"))
    edits = kept.under([second], "engram:causal")
    assert edits[0] == kept.entry(first, "engram:causal").edit
    (now,) = eg.ask(eg.load("engram:causal"), eg.Prompt("The capital of Italy is [Y]", "Madrid"), under=edits)
    after = first_row(page, "After the edit")
    assert (after[0], after[1].strip()) == (now.top[0][0], f"{100 * now.top[0][1]:.1f} %")
    page.get_by_role("button", name=f"Forget {first}").click()
    expect(page.locator("#kept")).to_contain_text(f"{second} was planned under {first}")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text(f"{second} is forgotten")).to_be_visible()
    expect(page.locator("#kept .kept")).to_have_count(1)


def test_under_an_edit_turning_says_what_the_model_says_without_it(page) -> None:  # noqa: F811
    go(page, "edit", **DUBLIN, to="Paris", editor="ft-m", written="0")
    page.get_by_role("button", name="Plan the edit").click()
    page.get_by_role("button", name="Look under it").click()
    expect(page.locator("#kept input:checked")).to_have_count(1)
    go(page, "turn", **TURNED, under=state(page)["under"])
    (bare,) = eg.ask(eg.load("engram:causal"), eg.Prompt(DUBLIN["prompt"], "Dublin"))
    expect(page.locator(".results")).to_contain_text(f"Without the edits: {100 * bare.probability:.1f} %, rank 1")
    page.get_by_role("link", name="Trace", exact=True).click()
    page.get_by_label("Samples").fill("2")
    page.get_by_role("button", name="Trace", exact=True).click()
    expect(page.locator("[data-map='1-attention'] .nsewdrag")).to_be_visible()
    for says in ("The model as it is", "Under the chosen edits"):
        expect(page.get_by_role("heading", name=says)).to_be_visible()


SEEN = {
    "ask": DUBLIN, "neurons": {**DUBLIN, "look": "L0.209"}, "turn": TURNED, "trace": {**DUBLIN, "traced": "1"},
    "runs": {"run": "first", "other": "second"},
}  # fmt: skip
LAST = {
    "ask": "Copy the Python", "neurons": "Its mean in each relation", "turn": "Elsewhere", "trace": "The numbers",
    "runs": "What else differs",
}  # fmt: skip


@pytest.mark.parametrize("part", SEEN)
def test_negative_numbers_have_a_minus_sign_and_python_is_copied_whole(browser, server, part) -> None:  # noqa: F811
    for tab in opened(browser, server, permissions=["clipboard-read", "clipboard-write"]):
        go(tab, part, **SEEN[part])
        expect(tab.get_by_text(LAST[part]).first).to_be_visible()
        expect(tab.get_by_role("button", name="Copy the Python that makes this").first).to_be_visible()
        tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        cells = tab.locator("td, th, .status, figcaption, .xtick text, .ytick text").all_text_contents()
        wrong = [c for c in cells if re.search(r"(?<![\w.])-\d|\de-\d", c)]
        assert wrong == []
        if part in ("neurons", "trace"):
            assert any("−" in cell for cell in cells)
        tab.get_by_role("button", name="Copy the Python that makes this").last.click()
        expect(tab.get_by_text("Copied.")).to_be_visible()
        assert tab.evaluate("navigator.clipboard.readText()") == tab.locator("pre").last.inner_text()


def test_every_part_is_reached_and_left_by_keyboard(page) -> None:  # noqa: F811
    for part in ("Neurons", "Turn", "Trace", "Edit", "Runs", "Ask"):
        link = page.get_by_role("link", name=part, exact=True)
        link.focus()
        outline = link.evaluate("(one) => getComputedStyle(one).outlineStyle")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(part)
        expect(page.locator("nav [aria-current=page]")).to_have_text(part)
        assert page.title() == f"{part} · engram"
        assert outline != "none"


def test_how_loud_is_turned_by_keyboard_and_read_out(page) -> None:  # noqa: F811
    go(page, "turn", **TURNED)
    expect(page.locator(".results")).to_contain_text("2 neurons silent")
    slider = page.get_by_label("How loud")
    slider.focus()
    page.keyboard.press("End")
    expect(page.locator(".results [aria-live=polite]").last).to_contain_text("2 neurons 8 times their own value")
    assert slider.get_attribute("aria-valuetext") == "8 times their own value"
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_label("exactly")).to_have_value("7.73")


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_bars_move_only_where_motion_is_wanted(browser, server, motion) -> None:  # noqa: F811
    for tab in opened(browser, server, reduced_motion=motion):
        go(tab, "ask", **DUBLIN)
        fill = tab.locator(".bar .fill").first
        expect(fill).to_be_attached()
        moves = fill.evaluate("(one) => getComputedStyle(one).transitionDuration")
        assert (moves == "0s") == (motion == "reduce")


@pytest.mark.parametrize("part", SEEN)
def test_results_fit_a_telephone(browser, server, part) -> None:  # noqa: F811
    for tab in opened(browser, server, viewport={"width": 400, "height": 800}, color_scheme="dark"):
        go(tab, part, **SEEN[part])
        expect(tab.get_by_text(LAST[part]).first).to_be_visible()
        assert tab.evaluate("document.documentElement.scrollWidth") <= 400
