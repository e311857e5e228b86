"""The runs of a folder over HTTP: what is said is what the folder holds, and nothing else can be reached."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

import engram as eg
from engram.errors import EngramError
from engram.experiments import Attributions
from engram.runs import run

fastapi = pytest.importorskip("fastapi", reason="needs the extra engram[web]")
testclient = pytest.importorskip("fastapi.testclient", reason="needs the extra engram[web]")

from engram.web.runs import about, beside, left_out, names, router  # noqa: E402  # after the check that it can be
from engram.web.told import Told  # noqa: E402

ASKED = Attributions(eg.IntegratedGradients(steps=2), facts=6, shard=3)
OTHER = Attributions(eg.IntegratedGradients(steps=3), facts=6, shard=3)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that are done, one in a folder below, and one of which a shard is missing."""
    out = tmp_path_factory.mktemp("runs")
    facts = eg.data.read("shipped").only(["capital"])
    model = eg.load()
    run(ASKED, facts, model, out=out / "first")
    run(OTHER, facts, model, out=out / "recipe" / "second")
    shutil.copytree(out / "first", out / "third")
    (out / "third" / "shards" / "part-00000.parquet").unlink()
    (out / "third" / "summary.json").unlink()
    (out / "third" / "quarantine" / "part-00000.json").write_text('{"shard": 0, "reason": "2 workers ended at it"}')
    (out / "broken").mkdir()
    (out / "broken" / "manifest.json").write_text("{")
    return out


@pytest.fixture
def page(home: Path) -> testclient.TestClient:
    return client(home)


def client(home: Path) -> testclient.TestClient:
    app = fastapi.FastAPI()
    app.include_router(router(home))

    @app.exception_handler(EngramError)
    def said(_: fastapi.Request, error: EngramError) -> fastapi.responses.JSONResponse:
        return fastapi.responses.JSONResponse({"message": str(error)}, 400)

    return testclient.TestClient(app)


def test_the_list_says_how_far_every_run_is(page, home) -> None:
    found = page.get("/api/runs").json()
    rows = {row["name"]: row for row in found["runs"]}
    assert set(rows) == {"first", "recipe/second", "third"}
    folder = eg.open_run(home / "first").folder
    assert rows["first"]["facts"] == sum(folder.sizes)
    assert [rows["first"][k] for k in ("done", "shards", "complete")] == [len(folder.sizes), len(folder.sizes), True]
    assert [rows["third"][k] for k in ("done", "given_up", "complete")] == [len(folder.sizes) - 1, 1, False]
    assert [(x["name"], "manifest.json" in x["why"]) for x in found["unreadable"]] == [("broken", True)]


def test_a_run_says_its_settings_and_the_scores_of_its_summary(page, home) -> None:
    found = page.get("/api/runs/one", params={"run": "recipe/second"}).json()
    assert ["locator.steps", "3"] in found["settings"]
    report = eg.open_run(home / "recipe/second").summary()
    assert [(s["name"], s["value"], s["n"], s["unit"]) for s in found["scores"]] == [
        (s.name, s.value, s.n, s.unit) for s in report.scores
    ]
    left = page.get("/api/runs/one", params={"run": "third"}).json()
    assert (left["scores"], left["given_up"]) == ([], 1)
    assert left["lost"] == [{"shard": 0, "why": "2 workers ended at it"}]


def test_a_chapter_is_told_with_its_pictures_and_their_files(page, home) -> None:
    found = page.get("/api/runs/chapter", params={"run": "first"}).json()
    pictures = [p for s in found["parts"] for p in s["parts"] if p["kind"] == "picture"]
    assert [p["figure"] for p in pictures] == found["figures"] == ["answers", "gaps"]
    assert all(p["chart"]["data"] for p in pictures)
    for kind, starts in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        file = page.get("/api/runs/figure", params={"run": "first", "name": "gaps", "kind": kind})
        assert file.content.startswith(starts)
        assert f'filename="first-gaps.{kind}"' in file.headers["content-disposition"]
    ElementTree.fromstring(page.get("/api/runs/figure", params={"run": "first", "name": "gaps"}).content)


def test_a_chapter_is_told_once_until_the_run_is_another(home, tmp_path) -> None:
    place = shutil.copytree(home / "first", tmp_path / "run")
    told, said = Told(kept=1), eg.open_run(place)
    told.chapter(said)
    first = dict(told._chapters)
    told.chapter(said)
    assert list(told._chapters.values()) == list(first.values())
    told.chapter(eg.open_run(home / "recipe/second"))
    assert len(told._chapters) == 1
    (place / "summary.json").write_text((place / "summary.json").read_text())
    told.chapter(said)
    assert list(told._chapters) != list(first)


def test_what_was_left_out_has_its_reason(home) -> None:
    said = eg.open_run(home / "first")
    found = left_out(said)
    assert found["n"] == len(said.skipped()) == sum(n for _, n in found["reasons"])


def test_two_runs_stand_side_by_side_with_both_intervals(page, home) -> None:
    one, other = (eg.open_run(home / name) for name in ("first", "recipe/second"))
    found = page.get("/api/runs/beside", params={"run": "first", "other": "recipe/second"}).json()
    assert found["differences"] == ["settings.locator.steps is 2 there, and would be 3"]
    here, there = one.summary(), other.summary()
    assert found["shared"] == len(here.scores)
    for row in found["rows"]:
        assert (row["one"]["value"], row["other"]["value"]) == (here[row["name"]].value, there[row["name"]].value)
    assert beside(one, one)["differences"] == []


@pytest.mark.parametrize(
    ("first", "second", "apart"),
    [((0.1, 0.2), (0.3, 0.4), True), ((0.1, 0.3), (0.3, 0.4), False), ((0.1, 0.2), None, None)],
)
def test_intervals_are_apart_where_they_have_nothing_in_common(home, tmp_path, first, second, apart) -> None:
    runs = []
    for name, interval in (("a", first), ("b", second)):
        said = eg.open_run(shutil.copytree(home / "first", tmp_path / name))
        said.folder.conclude(eg.Report("made", (eg.Score("x", 0.2, 4, "nats", interval=interval),)))
        runs.append(said)
    assert [row["apart"] for row in beside(*runs)["rows"]] == [apart]


def test_the_scores_go_out_as_csv(page, home) -> None:
    answer = page.get("/api/runs/scores.csv", params={"run": "first", "other": "recipe/second"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [r["run"] for r in rows] == ["first"] * (len(rows) // 2) + ["recipe/second"] * (len(rows) // 2)
    report = eg.open_run(home / "first").summary()
    assert {r["score"]: float(r["value"]) for r in rows if r["run"] == "first"} == {
        s.name: s.value for s in report.scores
    }


@pytest.mark.parametrize(
    "name",
    ["..", ".", "/", "../outside", "first/../../outside", "first/", "/etc", "first\x00", "\\..\\x", "link", "x" * 300],
)
@pytest.mark.parametrize("path", ["one", "chapter", "figure", "skipped", "scores.csv"])
def test_nothing_but_a_run_of_the_folder_can_be_named(home, tmp_path, name, path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    shutil.copytree(home / "first", tmp_path / "outside", ignore=shutil.ignore_patterns("*.parquet"))
    (inside / "link").symlink_to(tmp_path / "outside")
    answer = client(inside).get(f"/api/runs/{path}", params={"run": name, "name": "../../manifest", "kind": "svg"})
    assert answer.status_code == 400
    assert "There is no run called" in answer.json()["message"]


def test_a_figure_is_named_by_the_chapter_alone(page) -> None:
    for given, said in (
        ({"name": "../manifest"}, "no figure called"),
        ({"name": "gaps", "kind": "html"}, "kind of picture"),
    ):
        answer = page.get("/api/runs/figure", params={"run": "first", **given})
        assert (answer.status_code, said in answer.json()["message"]) == (400, True)


def test_what_is_not_done_or_damaged_says_so(page, home, tmp_path) -> None:
    assert "is not done yet" in page.get("/api/runs/chapter", params={"run": "third"}).json()["message"]
    assert "no scores yet" in page.get("/api/runs/beside", params={"run": "first", "other": "third"}).json()["message"]
    shutil.copytree(home / "first", tmp_path / "bad")
    part = tmp_path / "bad" / "shards" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    assert "damaged" in client(tmp_path).get("/api/runs/chapter", params={"run": "bad"}).json()["message"]


def test_a_folder_may_be_empty_away_or_a_run_itself(home, tmp_path) -> None:
    assert client(tmp_path / "nowhere").get("/api/runs").json()["runs"] == []
    assert set(names(home / "first")) == {"first"}
    assert client(home / "first").get("/api/runs/one", params={"run": "first"}).json()["complete"]


@pytest.mark.parametrize("given", [{"run": "first"}, {"run": "first", "other": "recipe/second"}])
def test_the_python_that_is_shown_runs(page, given, capsys) -> None:
    path = "beside" if "other" in given else "one"
    exec(page.get(f"/api/runs/{path}", params=given).json()["python"], {})
    assert "median gap" in capsys.readouterr().out


def test_the_python_of_the_figures_writes_them(page, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(page.get("/api/runs/chapter", params={"run": "first"}).json()["python"], {})
    assert {p.name for p in tmp_path.iterdir()} == {"answers.svg", "gaps.svg"}


def test_numbers_that_are_not_finite_go_out_as_nothing(home, tmp_path) -> None:
    said = eg.open_run(shutil.copytree(home / "first", tmp_path / "run"))
    (said.path / "summary.json").write_text(
        json.dumps({"title": "t", "settings": {}, "notes": [], "scores": [
            {"name": "x", "value": float("nan"), "n": 0, "unit": "nats", "better": "neither", "interval": None,
             "level": 0.95}]})
    )  # fmt: skip
    assert about("run", said)["scores"][0]["value"] is None
