"""`engram reproduce`: every run of the paper, taken up where it stopped, and the paper's numbers beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import engram as eg
from engram.cli._app import application
from engram.errors import BadSetting, UnknownName
from engram.experiments import Updating
from engram.recipes import Dai2022
from engram.report.beside import Found, published, report_recipe
from engram.results import Score
from engram.store import open_run
from test_chapters import Read

pytestmark = pytest.mark.usefixtures("one_thread")

CHOICE = ("dai2022", "--facts", 2, "--relation", "capital", "--relation", "symbol", "--out")
STEPS = ["attribution", "activation", "neurons", "suppression", "activation_by_prompt", "trigger_prompts", "updating",
         "erasing"]  # fmt: skip


def engram(*arguments: object) -> Result:
    return CliRunner().invoke(application(), [str(a) for a in arguments])


def shards(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.glob("*/shards/*"))}


class Killed(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Killed in the seventh run, at its second relation, and called again."""
    out = tmp_path_factory.mktemp("paper") / "dai"
    real, seen = Updating.run, []

    def dies(self, model, facts, case, *, progress=None):
        seen.append(case["relation"])
        if len(seen) == 2:
            raise Killed
        return real(self, model, facts, case, progress=progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Updating, "run", dies)
        broken = engram("reproduce", *CHOICE, out)
    assert isinstance(broken.exception, Killed)
    assert sorted(p.name for p in out.iterdir()) == sorted([*STEPS[:-1], "recipe.json"])
    first = shards(out)
    again = engram("reproduce", *CHOICE, out)
    assert (again.exit_code, again.stderr) == (0, "")
    assert [line.split()[3] for line in again.stdout.splitlines()[:-1]] == STEPS
    after = shards(out)
    assert {k: after[k] for k in first} == first
    assert {k.split("/")[0] for k in set(after) - set(first)} == {"updating", "erasing"}
    assert "updating/shards/part-00000.parquet" in first
    return out


def test_it_goes_on_where_it_was_and_ends_as_if_nothing_had_happened(made, tmp_path) -> None:
    before = {k: v for k, v in shards(made).items() if k.startswith("updating")}
    for name in STEPS:
        assert open_run(made / name).complete
    (facts, model) = (eg.data.read("shipped"), eg.load())
    whole = eg.run(Updating(eg.experiments.StoredNeurons(made / "neurons")), facts, model, out=tmp_path / "updating")
    assert whole.complete
    assert shards(tmp_path) == before


def test_every_published_number_stands_beside_the_one_of_the_run(made) -> None:
    page = Read((made / "report" / "report.html").read_text(encoding="utf-8"))
    assert page.fetched == []
    assert page.ids[:2] == ["beside-the-published-numbers", "what-was-run"]
    assert len(page.ids) == 2 + len(STEPS)
    beside = json.loads((made / "report" / "results.json").read_text(encoding="utf-8"))["beside"]
    rows = [row for table in published("dai2022")["tables"] for row in table["rows"]]
    assert [{k: v for k, v in b.items() if k != "here"} for b in beside] == rows
    for row in beside:
        found: Score = open_run(made / row["run"]).summary()[row["score"]]
        assert row["here"] == {"value": found.value, "n": found.n, "interval": found.interval and list(found.interval)}
        cells = page.cells
        (at,) = [i for i, c in enumerate(cells) if cells[i : i + 3] == [row["place"], row["what"], row["neurons"]]]
        assert cells[at + 5] == f"{found.n:,}"
    assert cells[cells.index("table 2, neurons per fact") + 3] == "4.13"
    assert cells[cells.index("figure 4, mean over relations") + 3] == "−29.03"


def test_the_published_numbers_are_those_of_the_paper() -> None:
    """As printed in the tables and the captions of Dai et al. (2022)."""
    rows = {
        (r["place"], r["what"], r["neurons"]): r["value"] for t in published("dai2022")["tables"] for r in t["rows"]
    }
    own, base, luck = "refined neurons", "activation baseline", "random neurons"
    printed = {
        ("table 2, neurons per fact", own): 4.13, ("table 2, neurons per fact", base): 3.96,
        ("table 2, inter-relation intersection", own): 0.09, ("table 2, inter-relation intersection", base): 1.92,
        ("figure 5, mean over relations", own): 0.3117, ("figure 5, mean over relations", base): -0.0127,
        ("table 4, T1", own): 0.485, ("table 4, T3", base): 2.244, ("table 6, change rate", own): 0.485,
        ("table 6, success rate", luck): 0.0, ("table 6, Δ intra-rel. PPL", luck): 10.1,
    }  # fmt: skip
    assert {(p, n): v for (p, _, n), v in rows.items() if (p, n) in printed} == printed
    four = [1450.0 / 2996.0, 28.0 / 38.3, 2279.0 / 5202.0, 58.0 / 140.0]  # table 5, the erased relation
    product = four[0] * four[1] * four[2] * four[3]
    growth = rows["table 5, geometric mean of its four rows", "the erased relation", own]
    assert growth == pytest.approx(product**-0.25 - 1, abs=1e-4)


def test_it_says_why_the_numbers_cannot_be_compared(made) -> None:
    text = (made / "report" / "report.html").read_text(encoding="utf-8")
    for words in (
        "Another model: the paper&#x27;s numbers are of bert-base-cased", "here 4 of &#x27;shipped&#x27;",
        "At most 2 facts of each relation", "Settings are engram&#x27;s", "Tables 3 and 4 are of other texts",
        "Figure 3 has no printed numbers",
    ):  # fmt: skip
        assert words in text
    assert "all of it can be compared" not in text


def test_the_report_is_made_again_alone_and_of_what_is_done(made, tmp_path) -> None:
    page = made / "report" / "report.html"
    text = page.read_text(encoding="utf-8")
    page.unlink()
    assert engram("report", made).exit_code == 0
    assert page.read_text(encoding="utf-8") == text
    (tmp_path / "recipe.json").write_bytes((made / "recipe.json").read_bytes())
    assert "no run that is done" in engram("report", tmp_path).stderr
    (tmp_path / "neurons").symlink_to(made / "neurons")
    (tmp_path / "updating").mkdir()  # begun, and no further
    (tmp_path / "updating" / "manifest.json").write_bytes((made / "updating" / "manifest.json").read_bytes())
    assert list(Found.at(tmp_path).runs) == ["neurons"]
    part = report_recipe(tmp_path).read_text(encoding="utf-8")
    assert "Not done yet: attribution, activation, suppression" in part
    assert part.count("Not measured here.") == len(published("dai2022")["tables"]) - 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("dai2022",), "--out"), (("dai2021", "--out", "{tmp}/x"), "Did you mean dai2022?"),
     (("dai2022", "--like", "papr", "--out", "{tmp}/x"), "Did you mean paper?"),
     (("dai2022", "--texts", "nowhere", "--out", "{tmp}/x"), "nowhere"),
     (("dai2022", "--out", "{tmp}/full"), "something else than an earlier reproduction"),
     (("dai2022", "--facts", "3", "--out", "{made}"), "facts was 2 and would be 3")],
)  # fmt: skip
def test_misuse_ends_with_2_and_leaves_nothing_behind(made, tmp_path, arguments, words) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years")
    before = shards(made)
    done = engram("reproduce", *(a.format(tmp=tmp_path, made=made) for a in arguments))
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr
    assert [p.name for p in tmp_path.rglob("*")] == ["full", "thesis.tex"]
    assert shards(made) == before


def test_the_recipe_has_the_settings_of_whom_it_is_like() -> None:
    with pytest.raises(UnknownName):
        Dai2022(like="authors")
    with pytest.raises(BadSetting):
        Dai2022(facts=0)
    steps = {s.name: s.experiment for s in Dai2022(like="paper").steps("runs")}
    assert list(steps) == [s for s in STEPS if s not in ("activation_by_prompt", "trigger_prompts")]
    assert (steps["attribution"].locator.rule, steps["attribution"].locator.steps) == ("right", 20)
    assert (steps["neurons"].held_out, steps["neurons"].facts) == (False, None)
    assert (steps["erasing"].others, steps["erasing"].own) == (None, None)
    assert (steps["updating"].scaled, steps["updating"].facts) == (False, 10)


def test_what_attribution_draws_is_what_neurons_draw() -> None:
    facts = eg.data.read("shipped")
    steps = {s.name: s.experiment for s in Dai2022(facts=3, seed=5).steps("runs")}
    scored = {n for case in steps["attribution"].cases(facts) for n in case["facts"]}
    first, drawn = 0, set()
    cases = {c["relation"]: c["facts"] for c in steps["neurons"].cases(facts)}
    for relation in facts.relations:
        drawn |= {first + i for i in cases[relation.id]}
        first += len(facts.facts(relation.id))
    assert scored == drawn
    assert len(drawn) == 3 * len(facts.relations)


def test_it_runs_where_it_is_told_to(tmp_path) -> None:
    done = engram("reproduce", "dai2022", "--address", "auto", "--out", str(tmp_path / "x"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "an address is that of a Ray cluster" in done.stderr
