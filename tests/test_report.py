"""Pictures that show the numbers they were given, and a page that stands alone."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_hex

from engram.errors import BadSetting
from engram.metrics import RelationChange, RelationChanges
from engram.neurons import Neuron
from engram.report import Outcome, Page, Section, Table, percent, pictures, save, svg, verdicts
from engram.report.canvas import BLUE, GREY, VERMILLION
from engram.results import Report, Score

SVG = "{http://www.w3.org/2000/svg}"
CHANGES = {
    "suppressed": (-0.4, (-0.5, -0.3)), "chance suppressed": (0.01, (-0.01, 0.03)), "amplified": (0.2, None),
    "chance amplified": (0.0, (-0.001, 0.001)),
}  # fmt: skip
RELATIONS = {"P36": -0.6, "P19 <&\"'>": -0.2}


def score(name, value, interval=None, n=8):
    return Score(name, value, n, "ratio of means", interval=interval)


@pytest.fixture
def outcome():
    scores = [score("facts", 4, n=4), score("neurons per fact", 1.5), score("facts without a neuron", 0.25)]
    relations = {}
    for name, (value, interval) in CHANGES.items():
        scores += [score(name, value, interval), score(f"{name}, mean over relations", value)]
        scores += [score(f"{name}: {what} {when}", 0.5 if when == "before" else 0.5 * (1 + value))
                   for what in ("P(answer)", "accuracy") for when in ("before", "after")]  # fmt: skip
        rows = tuple(RelationChange(r, score(r, v if name == "suppressed" else value, n=4), 2, 0.5, 0.5)
                     for r, v in RELATIONS.items())  # fmt: skip
        relations[name] = RelationChanges(rows, score("mean over relations", value, n=2))
    said = {"before": [0.5, 0.5], "after": [0.2, 0.4]}
    shares = {"attribution": {"share": "7/10", "mean": 1.5, "found": True}}
    results = [
        {"relation": r, "drawn": 3, "askable": 2, "known": None, "shares": shares, "widths": [8, 8, 8],
         "skipped": [{"fact": "⟨<script>, r, b⟩", "reason": "AnswerNotWritable: <b>"}],
         "rows": [{"subject": "A <b> & \"c\"", "answer": "d", "condition": condition, "neurons": own, **said}
                  for own in (["L0.1", "L2.3"], ["L2.3"]) for condition in CHANGES]}
        for r in RELATIONS
    ]  # fmt: skip
    report = Report("suppression", tuple(scores), {"seed": 0}, ("a <note>",))
    return Outcome(
        results, report, relations, {"suppressed": "its own neurons silent"}, {"P36": "capital"}, {"model": "toy"}
    )


def words(text):
    """Every piece of text of an SVG."""
    return ["".join(t.itertext()) for t in ElementTree.fromstring(text).iter(f"{SVG}text")]


def test_bars_are_as_long_as_the_changes_and_say_them(outcome) -> None:
    figure = pictures.conditions(outcome.effects, outcome.conditions)
    _, axes = figure.axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([-40, 1, 20, 0])
    assert [to_hex(bar.get_facecolor()) for bar in axes.patches] == [BLUE, GREY, VERMILLION, GREY]
    whiskers = [line.get_xdata() for line in axes.lines if line.get_marker() == "|" and len(line.get_xdata()) == 2]
    assert [-50.0, -30.0] in [pytest.approx(w) for w in whiskers]
    assert any(np.allclose(line.get_xdata(), [-60, -20]) for line in axes.lines), "single relations"
    low, high = axes.get_xlim()
    assert low < -60
    assert high > 20
    shown = words(svg(figure))
    assert "−40.0 [−50.0, −30.0]" in shown
    assert "+20.0" in shown
    assert {"suppressed", "its own neurons silent"} <= set(shown)
    assert "4 facts in 8 prompts" in " ".join(shown)


def test_before_and_after_stand_where_they_are(outcome) -> None:
    level, _ = pictures.conditions(outcome.effects, {}).axes
    assert [list(line.get_xdata()) for line in level.lines if len(line.get_xdata()) == 2][:2] == [
        pytest.approx([0.5, 0.3]), pytest.approx([0.5, 0.505])
    ]  # fmt: skip


def test_relations_stand_with_the_largest_fall_first(outcome) -> None:
    e = {x.condition: x for x in outcome.effects}
    pairs = [(e["suppressed"], e["chance suppressed"]), (e["amplified"], e["chance amplified"])]
    figure = pictures.by_relation(*pairs, outcome.names)
    left, right = figure.axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["capital", "P19 <&\"'>"]
    assert [b.get_width() for b in left.patches] == pytest.approx([-60, 1, -20, 1])
    assert [b.get_width() for b in right.patches] == pytest.approx([20, 0, 20, 0])


def test_every_relation_counts_once_in_the_share_of_layers() -> None:
    carried = {"many": [[Neuron(0, 1)]] * 9, "few": [[Neuron(1, 1), Neuron(2, 5)]], "none": [[]]}
    figure = pictures.layers(carried, 4)
    assert [bar.get_height() for bar in figure.axes[0].patches] == pytest.approx([50, 25, 25, 0])
    assert "mean over 2 relations" in " ".join(words(svg(figure)))
    assert "11 facts, 11 pairs" in " ".join(words(svg(figure)))


def test_a_mark_stands_for_every_neuron_of_every_fact() -> None:
    a, b, c = Neuron(0, 7), Neuron(1, 2), Neuron(1, 9)
    figure = pictures.carriers({"one": [[a], [a, b]], "two": [[b], [c], []]}, {"one": "first"})
    axes = figure.axes[0]
    marks = {
        line.get_color(): set(zip(*map(list, line.get_data()), strict=True))
        for line in axes.lines
        if line.get_marker() == "|"
    }
    assert marks == {BLUE: {(0, 0), (0, 1), (2, 3)}, VERMILLION: {(1, 1), (1, 2)}}
    assert [t.get_text() for t in axes.get_yticklabels()] == ["first", "two"]
    assert "1 neurons belong to facts of several relations, 2 to those of one" in " ".join(words(svg(figure)))


def test_too_many_facts_are_pooled_into_shares() -> None:
    a, b = Neuron(0, 7), Neuron(3, 2)
    figure = pictures.carriers({"one": [[a]] * 300 + [[a, b]] * 100, "two": [[b]] * 200}, {})
    (image,) = figure.axes[0].get_images()
    assert image.get_array().tolist() == [pytest.approx([100, 25]), pytest.approx([0, 100])]
    assert "600 facts of 2 relations" in " ".join(words(svg(figure)))


@pytest.mark.parametrize("draw", [lambda: pictures.layers({"r": [[]]}, 2), lambda: pictures.carriers({"r": [[]]}, {})])
def test_nothing_is_drawn_of_nothing(draw) -> None:
    with pytest.raises(BadSetting, match="nothing to draw"):
        draw()


def test_a_picture_takes_the_colour_of_its_page_and_needs_nothing_else(outcome) -> None:
    for figure in outcome.pictures().values():
        text = svg(figure)
        root = ElementTree.fromstring(text)
        assert root.find(f"{SVG}title") is not None
        styles = [t.get("style", "") for t in root.iter(f"{SVG}text")]
        assert styles
        assert all("currentColor" in s for s in styles)
        links = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
        assert all(v.startswith(("#", "data:")) for v in links)
        assert svg(figure) == text


def test_pictures_are_written_as_svg_and_png_alone(outcome, tmp_path) -> None:
    figure = outcome.pictures()["layers"]
    save(figure, tmp_path / "a.svg")
    save(figure, tmp_path / "a.png")
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag == f"{SVG}svg"
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(BadSetting, match=r"not as 'a\.gif'"):
        save(figure, tmp_path / "a.gif")


class Reader(HTMLParser):
    """What a page holds."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.text = [], [], []
        self.open = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("href", "src", "xlink:href", "srcset", "action")]
        if tag not in ("meta", "path", "use", "rect", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def page_of(outcome):
    return outcome.page(
        outcome.pictures(), title="On <toys>", under="made & done", before=[Section("First?", ("hello",))]
    )


def test_the_page_needs_neither_network_nor_script(outcome) -> None:
    html = page_of(outcome).html()
    read = Reader(html)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(read.tags)
    assert all(link.startswith(("#", "data:")) for link in read.links)
    namespaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\"'\s<)]+", html)) <= namespaces
    assert "@import" not in html
    assert not re.findall(r"url\((?!#)", html)
    assert "prefers-color-scheme: dark" in html


def test_the_page_has_all_sections_and_every_link_leads_to_one(outcome) -> None:
    html = page_of(outcome).html()
    read = Reader(html)
    assert read.open == []
    ids = re.findall(r'<section id="([^"]+)"', html)
    assert [link[1:] for link in read.links if link[1:] in ids] == ids
    titles = re.findall(r"<h2>(.*?)</h2>", html)
    assert titles == ["First?", "What one sees", "Each relation", "The neurons", "Left out, and settings"]
    assert read.tags.count("svg") == 4
    assert read.tags.count("table") == 6


def test_what_others_wrote_is_shown_and_not_obeyed(outcome) -> None:
    html = page_of(outcome).html()
    text = "".join(Reader(html).text)
    for said in (
        "On <toys>",
        "made & done",
        'A <b> & "c"',
        "⟨<script>, r, b⟩",
        "AnswerNotWritable: <b>",
        "a <note>",
        "P19 <&\"'>",
    ):
        assert said in text
    assert "<b>" not in html


def test_the_page_says_its_numbers_with_unit_n_and_interval(outcome) -> None:
    text = re.sub(r"\s+", " ", " ".join(Reader(page_of(outcome).html()).text))
    wanted = (
        "−40.0 [−50.0, −30.0]", "change of P (%)", "0.500 → 0.300", "95 % intervals", "prompts", "seed", "toy",
        "capital", "6 facts were drawn; 4 of them can be asked", "falls by 15 % or more: −40.0 [−50.0, −30.0] %",
    )  # fmt: skip
    for said in wanted:
        assert said in text


@pytest.mark.parametrize(
    ("name", "value", "interval", "kind"),
    [
        ("suppressed", -0.3, (-0.4, -0.2), "yes"), ("suppressed", -0.3, (-0.4, -0.1), "open"),
        ("suppressed", -0.1, (-0.2, 0.0), "no"), ("suppressed", -0.3, None, "open"),
        ("amplified", 0.1, (0.01, 0.2), "yes"),
        ("amplified", -0.1, (-0.2, 0.1), "no"), ("chance suppressed", 0.015, (-0.01, 0.019), "yes"),
        ("chance suppressed", 0.015, (-0.01, 0.03), "open"), ("other relation", -0.03, (-0.031, -0.029), "no"),
    ],
)  # fmt: skip
def test_an_aim_is_met_by_the_whole_interval_alone(name, value, interval, kind) -> None:
    (verdict,) = verdicts([score(name, value, interval)])
    assert verdict.kind == kind
    assert percent(verdict.score) in str(verdict)


def test_a_table_and_a_page_escape_everything() -> None:
    table = Table("<c>", ("a<", "n #"), (("x\n<y>", "1"),)).html()
    assert re.findall(r"<(?!/?(?:table|caption|thead|tbody|tr|t[hd]|small)\b)", table) == []
    assert "x<small>&lt;y&gt;</small>" in table
    assert "<q>" not in Page("<q>", "<q>", (Section("<q>", ("<q>",)),)).html()


def test_reports_need_no_torch() -> None:
    code = "import sys, engram.report; print({'torch', 'transformers', 'matplotlib'} & {*sys.modules})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"
