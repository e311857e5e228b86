"""The part Neurons in a real browser: small and very large models, by mouse and keyboard, without asking again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra engram[web]")
pytest.importorskip("uvicorn", reason="needs the extra engram[web]")
pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")

import engram as eg
from engram.results import Attribution
from engram.web.views import neurons
from test_web_browser import (  # noqa: F401  # fixtures
    CHROMIUM,
    DUBLIN,
    SHOTS,
    browser,
    expect,
    go,
    home,
    opened,
    page,
    server,
    state,
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (set ENGRAM_CHROMIUM to where it lies)")
SIZES = [(12, 3072), (80, 28_672)]
HAMLET = {"prompt": "The author of Hamlet is [Y]", "answer": "Shakespeare"}


def large(layers: int, width: int) -> Attribution:
    """Scores as they are in fact: very many next to nothing, a few large; the largest known."""
    rng = np.random.default_rng(0)
    scores = (rng.standard_t(2, (layers, width)) * 1e-4).clip(-0.01, 0.01).astype(np.float32)
    scores[layers // 2, width - 5] = 0.5
    scores[1, 7] = -0.2
    nothing = np.zeros(layers)
    return Attribution(
        prompt=eg.Prompt(*HAMLET.values()),
        method="made",
        scores=scores,
        gap=nothing,
        change=nothing,
        widths=(width,) * layers,
    )


@pytest.fixture
def huge(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """The shipped model's own answer, with the scores of a model of this size."""
    made = large(*request.param)
    monkeypatch.setattr(neurons, "locate", lambda *_, **__: [made])
    neurons._LAST.clear()
    yield request.param
    neurons._LAST.clear()


@pytest.mark.parametrize("huge", SIZES, indirect=True, ids=["12 x 3072", "80 x 28672"])
def test_a_large_model_is_seen_at_once_and_near_by(page, huge) -> None:  # noqa: F811
    layers, width = huge
    best, low = f"L{layers // 2}.{width - 5}", "L1.7"
    go(page, "neurons", **HAMLET, target={12: "probability", 80: "logit"}[layers])  # another size, another question
    expect(page.get_by_label(f"Look at {best}")).to_be_visible()
    expect(page.locator(".main-svg").first).to_be_visible()
    expect(page.get_by_text(f"a cell shows the strongest of {-(-width // 256)} neurons")).to_be_visible()
    assert state(page)["neurons"] == best  # no other comes near a fifth of it
    page.get_by_text("The strongest of what is seen, as a table").click()
    rows = page.locator("table", has_text="strongest of layers").locator("tbody tr")
    expect(rows.nth(0)).to_contain_text(best)
    expect(rows.nth(1)).to_contain_text(low)
    expect(rows.nth(1)).to_contain_text("−0.2")
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"neurons-{layers}.png", full_page=True)
    page.get_by_label("Layer from").fill("1")
    page.get_by_label("to", exact=True).first.fill("1")
    page.get_by_label("Neuron from").fill("0")
    page.get_by_label("to", exact=True).last.fill("99")
    page.get_by_role("button", name="Go nearer").click()
    expect(page.get_by_text("a cell is one neuron")).to_be_visible()
    expect(rows.nth(0)).to_contain_text(low)
    page.get_by_label(f"Select {low}", exact=True).last.check()
    assert state(page)["neurons"].split() == [low, best]
    assert (state(page)["layers"], state(page)["bins"]) == ("1-2", "0-100")
    page.reload()
    expect(page.get_by_text("a cell is one neuron")).to_be_visible()  # the address knows how near
    assert state(page)["neurons"].split() == [low, best]


POINT = """([row, column]) => {
  const place = [...document.querySelectorAll(".js-plotly-plot")].find((one) => one.data[0].type === "heatmap");
  place.scrollIntoView({ block: "center" });
  const { xaxis, yaxis } = place._fullLayout, box = place.querySelector(".nsewdrag").getBoundingClientRect();
  return [box.left + xaxis.c2p(column), box.top + yaxis.c2p(row)];
}"""


def test_a_click_selects_a_neuron_and_another_lets_it_go(page) -> None:  # noqa: F811
    go(page, "neurons", **DUBLIN, neurons="L1.2")
    expect(page.locator(".main-svg").first).to_be_visible()
    page.get_by_label("Neuron from").fill("50")
    page.get_by_label("to", exact=True).last.fill("69")
    page.get_by_role("button", name="Go nearer").click()
    expect(page.get_by_text("Seen: layers 0 to 3, neurons 50 to 69")).to_be_visible()
    for expected in ("L1.2 L2.62", "L1.2"):
        page.mouse.click(*page.evaluate(POINT, [2, 62]))
        expect(page.get_by_label("Selected neurons")).to_have_value(expected)
        page.wait_for_timeout(400)  # two clicks in one place are another gesture


def test_sliders_select_again_without_the_server(page) -> None:  # noqa: F811
    go(page, "neurons", **DUBLIN, every="1")
    boxes = page.locator("td input[type=checkbox]:checked:not([data-seen])")
    expect(boxes.first).to_be_visible()
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    seen = set()
    for name in ("threshold", "share"):
        slider = page.locator(f"input[name={name}]")
        slider.focus()
        for key in ("PageUp", "ArrowRight", "End", "Home", "ArrowRight"):
            page.keyboard.press(key)
            seen.add(state(page).get("neurons", ""))
    assert len(seen) > 4
    assert asked == []
    model = eg.load("engram:causal")
    facts = eg.data.shipped()
    own = facts.prompts(facts.fact("Ireland", "capital"), blank_last=True)
    prompt = eg.Prompt(DUBLIN["prompt"], "Dublin")
    asked_of = [prompt, *(p for p in own if p.text != prompt.text)]
    scores = eg.locate(model, asked_of, by=eg.IntegratedGradients(rule="gauss"))
    low, share = (float(page.locator(f"input[name={name}]").input_value()) for name in ("threshold", "share"))
    chosen = eg.select(scores, by=eg.Shared(threshold=low, share=share))
    assert state(page).get("neurons", "").split() == [str(x) for x in chosen]


def test_a_neuron_is_looked_at_by_keyboard(page) -> None:  # noqa: F811
    go(page, "neurons", **DUBLIN)
    button = page.get_by_role("button", name="Look at L2.62")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Neuron L2.62")).to_be_focused()
    expect(page.get_by_text("The 12 prompts of the largest activation")).to_be_visible()
    expect(page.get_by_text("prompts of the facts shipped with engram")).to_be_visible()
    assert state(page)["look"] == "L2.62"


def test_under_an_edit_the_scores_without_it_stand_beside(page) -> None:  # noqa: F811
    go(page, "edit", **DUBLIN, to="Paris", editor="ft-m", written="0")
    page.get_by_role("button", name="Plan the edit").click()
    page.get_by_role("button", name="Look under it").click()
    expect(page.locator("#kept input:checked")).to_have_count(1)
    page.get_by_role("link", name="Neurons", exact=True).click()
    table = page.locator("table", has_text="Part of its layer").first
    expect(table).to_contain_text("without the edits")
    row = table.locator("tbody tr").first.locator("td").all_inner_texts()
    (found,) = eg.locate(
        eg.load("engram:causal"), eg.Prompt(DUBLIN["prompt"], "Dublin"), by=eg.IntegratedGradients(rule="gauss")
    )
    expected = found.dense()[eg.Neuron.parse(row[1])]
    assert float(row[3].replace("−", "-")) == pytest.approx(expected, rel=0.01)
    expect(page.get_by_text("under the edits", exact=True)).to_be_visible()
    page.get_by_role("button", name=re.compile("^Forget")).click()
    expect(table).not_to_contain_text("without the edits")
