"""What people see of runs: every experiment has a chapter, its numbers are the run's, and nothing is fetched for it."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

import engram as eg
from engram.cli import _reporting
from engram.cli._app import application
from engram.errors import BadData
from engram.experiments import experiments
from engram.recipes import Dai2022
from engram.report import Page, Picture, Section, report_run
from engram.report.bars import Bars, Series, number
from engram.report.chapters import CHAPTERS, chapter
from engram.results import Report, Score
from engram.runs import run
from engram.store import Run, open_run

OWN = {
    "attribution": "attribution", "activation": "attribution", "neurons": "neurons", "suppression": "suppression",
    "activation_by_prompt": "activation_by_prompt", "trigger_prompts": "trigger_prompts", "updating": "updating",
    "erasing": "erasing",
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """All of them, of two relations and two facts each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs")
    facts = eg.data.read("shipped").only(["capital", "symbol"])
    model = eg.load()
    recipe = Dai2022(facts=2, texts=eg.data.texts("shipped", facts))
    done = {step.name: run(step.experiment, facts, model, out=out / step.name) for step in recipe.steps(out)}
    torch.set_num_threads(threads)
    return done


def engram(*arguments: object) -> Result:
    return CliRunner().invoke(application(), [str(a) for a in arguments])


class Read(HTMLParser):
    """What a page would fetch, its charts, and its cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.charts: list[dict] = []
        self.cells: list[str] = []
        self.ids: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        self._inside = "chart" if known.get("type") == "application/json" else tag
        self.fetched += [f"{tag} {k}={v}" for k, v in attrs if k in ("src", "srcset", "data") or
                         (k in ("href", "xlink:href") and not v.startswith("#"))]  # fmt: skip
        self.ids += [known["id"]] if tag == "section" else []

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "chart":
            self.charts.append(json.loads(data))
        elif self._inside == "td":
            self.cells.append(data)


def test_every_experiment_has_a_chapter() -> None:
    assert set(CHAPTERS) == set(experiments.names())


@pytest.mark.parametrize("name", OWN)
def test_a_chapter_has_figures_and_charts_and_says_the_scores_of_the_run(runs, name, tmp_path) -> None:
    done = runs[name]
    told = chapter(done)
    assert told.experiment == OWN[name] == done.manifest["experiment"]
    page = Read(report_run(done, tmp_path).read_text(encoding="utf-8"))
    assert page.fetched == []
    assert len(page.charts) >= 1
    for chart in page.charts:
        plotly.graph_objects.Figure(chart)  # which refuses what plotly does not know
    assert {p.name for p in tmp_path.iterdir()} == {
        "report.html", "results.json", *(f"{k}.{end}" for k in told.figures for end in ("svg", "png")),
    }  # fmt: skip
    for figure in told.figures:
        ElementTree.fromstring((tmp_path / f"{figure}.svg").read_text(encoding="utf-8"))
        content = (tmp_path / f"{figure}.png").read_bytes()
        width, height = struct.unpack(">II", content[16:24])
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert min(width, height) > 200


SEEN = {  # scores, and how the page writes them: times what, digits, with a sign
    "neurons": [(f"{a}: {s}", 1, 2, False) for a in ("attribution", "activation")
                for s in ("neurons per fact", "shared within", "shared across")],
    "activation_by_prompt": [(f"{a}: {t}", 1, 3, True) for a in ("attribution", "activation", "chance")
                             for t in ("T1", "T2", "T3", "T1 − T2", "T1 − T3")],
    "trigger_prompts": [(f"attribution: {e}", 1, 3, True) for e in ("top", "bottom", "top − bottom")],
    "updating": [("attribution: change rate", 100, 1, False), ("chance: success rate, paraphrases", 100, 1, False),
                 ("attribution: ΔPPL intra", 1, 2, True), ("chance: ΔPPL inter", 1, 2, True)],
    "erasing": [("attribution: growth of perplexity, own relation", 100, 1, True),
                ("chance: growth of perplexity, other relations", 100, 1, True),
                ("attribution: accuracy after, own relation", 100, 1, False)],
    "suppression": [("suppressed, mean over relations", 100, 1, True), ("amplified", 100, 1, True)],
}  # fmt: skip


@pytest.mark.parametrize("name", SEEN)
def test_the_numbers_of_a_page_are_those_of_the_summary(runs, name, tmp_path) -> None:
    done = runs[name]
    page = Read(report_run(done, tmp_path).read_text(encoding="utf-8"))
    shown = [number(done.summary()[s], scale, digits, signs=signs) for s, scale, digits, signs in SEEN[name]]
    assert [x for x in shown if x not in page.cells] == []
    said = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert said["runs"][0]["summary"] == json.loads((done.path / "summary.json").read_text(encoding="utf-8"))


def test_attribution_says_how_many_prompts_there_are_and_how_they_are_answered(runs, tmp_path) -> None:
    page = Read(report_run(runs["attribution"], tmp_path).read_text(encoding="utf-8"))
    report = runs["attribution"].summary()
    at = page.cells.index("prompts")
    assert page.cells[at + 1] == f"{report['prompts'].n}" == str(runs["attribution"].table().num_rows)
    for name in ("P(answer)", "accuracy", "median gap"):
        assert page.cells[page.cells.index(name) + 1] == f"{report[name].value:.3g}"
    bars = chapter(runs["attribution"]).figures["answers"].axes[0].patches
    ranks = [r.rank for result in runs["attribution"].results() for r in result["records"]]
    by_relation = [bar.get_width() for bar in bars[:2]]
    assert np.mean(by_relation) == pytest.approx(100 * np.mean([r == 1 for r in ranks]), abs=8)


def test_figures_4_and_5_have_every_relation_under_the_three_arms(runs) -> None:
    from engram.metrics.outcomes import pairs_of

    axes = chapter(runs["suppression"]).figures["figure-4"].axes[0]
    widths = sorted(bar.get_width() for bar in axes.patches)
    expected = []
    for result in runs["suppression"].results():
        for condition in ("suppressed", "baseline suppressed", "chance suppressed"):
            pairs = pairs_of([result], condition)
            expected.append(100 * (pairs.after.sum() / pairs.before.sum() - 1))
    assert widths == pytest.approx(sorted(expected))


def test_table_5_is_what_the_rows_of_a_relation_say(runs, tmp_path) -> None:
    page = Read(report_run(runs["erasing"], tmp_path).read_text(encoding="utf-8"))
    for result in runs["erasing"].results():
        own = [r for r in result["rows"] if (r["arm"], r["place"]) == ("attribution", "own")]
        prompts = sum(r["prompts"] for r in own)
        before, after = (np.exp(sum(r[k] * r["prompts"] for r in own) / prompts) for k in ("before", "after"))
        assert f"{before:,.1f} → {after:,.1f}" in page.cells


def test_an_unfinished_run_is_not_told_and_an_empty_one_says_so(runs, tmp_path, monkeypatch) -> None:
    (tmp_path / "half").mkdir()
    for part in runs["neurons"].path.rglob("*"):
        if part.is_file() and not part.match("report/*"):
            (tmp_path / "half" / part.relative_to(runs["neurons"].path)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "half" / part.relative_to(runs["neurons"].path)).write_bytes(part.read_bytes())
    (tmp_path / "half" / "shards" / "part-00001.parquet").rename(tmp_path / "aside")
    with pytest.raises(BadData, match="is not done yet \\(1 of 2 shards are\\)"):
        report_run(open_run(tmp_path / "half"))
    assert not (tmp_path / "half" / "report").exists()
    (tmp_path / "aside").rename(tmp_path / "half" / "shards" / "part-00001.parquet")
    (tmp_path / "half" / "summary.json").unlink()
    assert "nothing that was drawn could be asked" in report_run(open_run(tmp_path / "half")).read_text("utf-8")


def test_what_a_chart_says_cannot_end_its_script() -> None:
    bad = "a</script><img src=x>"
    scores = {bad: Score("a", 1.0, 2, "x", interval=(0.5, 2.0))}
    bars = Bars(bad, "c", "x", [bad], [Series("s", "#000", scores)])
    text = Page("t", "", (Section("s", (Picture("<svg/>", bars.chart()),)),)).html()
    page = Read(text)
    assert page.fetched == []
    (trace,) = page.charts[0]["data"]
    assert (trace["x"], trace["error_x"]["array"], trace["error_x"]["arrayminus"]) == ([1.0], [1.0], [0.5])
    assert trace["customdata"] == [["1.0 [0.5, 2.0]", 2]]
    assert "Content-Security-Policy" in text
    assert text.count("plotly.js v") == 1
    assert "plotly" not in Page("t", "", (Section("s", (Picture("<svg/>"),)),)).html().lower()


def test_bars_have_the_length_of_their_scores_upright_or_not() -> None:
    scores = {"a": Score("a", 0.25, 3, "x", interval=(0.1, 0.5)), "b": Score("b", -0.5, 3, "x")}
    mark = Series("there", "#f00", {"a": Score("a", 0.75, 1, "x")}, "D", "here")
    for upright in (False, True):
        bars = Bars("t", "c", "x", ["a", "b"], [Series("here", "#00f", scores), mark], 100, upright=upright)
        axes = bars.figure().axes[0]
        assert [b.get_height() if upright else b.get_width() for b in axes.patches] == [25, -50]
        (diamond,) = [line for line in axes.lines if line.get_marker() == "D"]
        assert (diamond.get_ydata() if upright else diamond.get_xdata()) == [75]
        low, high = axes.get_ylim() if upright else axes.get_xlim()
        assert low < -50
        assert high > 75
        assert bars.table("who").rows == [["a", "25.0 [10.0, 50.0]", "75.0", "3"], ["b", "−50.0", "–", "3"]]


def test_report_makes_one_page_of_several_runs_and_one_of_a_folder_of_runs(runs, tmp_path) -> None:
    done = engram("report", runs["neurons"].path, runs["updating"].path, "--out", tmp_path / "both")
    assert (done.exit_code, done.stderr) == (0, "")
    page = Read((tmp_path / "both" / "report.html").read_text(encoding="utf-8"))
    assert page.ids == ["knowledge-neurons", "updating-facts"]
    assert page.fetched == []
    assert {"neurons-table-2.png", "updating-table-6.svg"} <= {p.name for p in (tmp_path / "both").iterdir()}
    every = engram("report", runs["neurons"].path.parent, "--out", tmp_path / "all")
    assert every.exit_code == 0
    assert len(Read((tmp_path / "all" / "report.html").read_text(encoding="utf-8")).ids) == len(runs)


def test_report_of_one_run_goes_into_its_folder_which_stays_whole(runs) -> None:
    page = _reporting.write(runs["neurons"], "shipped")
    first = page.read_text(encoding="utf-8")
    assert page == runs["neurons"].path / "report" / "report.html"
    done = engram("report", runs["neurons"].path)
    assert done.stdout.strip() == f"written: {page}"
    assert page.read_text(encoding="utf-8") == first
    assert engram("verify", runs["neurons"].path).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("{runs}/neurons", "{runs}/updating"), "--out"), (("{tmp}/none",), "is no folder"), (("{tmp}",), "is no run"),
     (("{runs}/neurons", "--out", "{tmp}/full"), "--force")],
)  # fmt: skip
def test_report_ends_with_2_where_it_was_misused(runs, tmp_path, arguments, words) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years")
    places = {"runs": runs["neurons"].path.parent, "tmp": tmp_path}
    done = engram("report", *(a.format(**places) for a in arguments))
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.tex"]


def test_a_report_is_made_without_torch(runs, tmp_path) -> None:
    code = (
        "import sys\nfrom engram.cli._app import application\n"
        "application()([*sys.argv[1:]], standalone_mode=False)\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    for name in ("attribution", "suppression", "erasing"):
        done = subprocess.run(
            [sys.executable, "-c", code, "report", runs[name].path, "--out", tmp_path / name], capture_output=True,
            text=True, timeout=120, check=False, env={"PYTHONPATH": str(Path(eg.__file__).parent.parent)},
        )  # fmt: skip
        assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


def test_an_experiment_of_somebody_else_gets_a_chapter_of_its_scores(runs, monkeypatch) -> None:
    monkeypatch.setattr("engram.report.chapters.CHAPTERS", {})
    text = "".join(Page("t", "", chapter(runs["neurons"]).sections).html())
    assert isinstance(runs["neurons"].summary(), Report)
    assert re.search(r"<td>attribution: neurons per fact</td>", text)
