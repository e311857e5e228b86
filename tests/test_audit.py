"""The sceptic's battery: verdicts by hand, statements of planted runs, and the whole of it, killed and taken up."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from scipy import stats
from typer.testing import CliRunner

import engram as eg
from engram.cli._app import application
from engram.errors import BadData, BadSetting
from engram.experiments import Editing, Suppression
from engram.recipes import Audit
from engram.report.audit import AUDIT, Audited, report_audit, statements_of
from engram.report.audited import STATEMENTS
from engram.report.statements import CHANGE, SHARE, Statement, table, together
from engram.results import Score
from engram.store import open_run
from test_chapters import Read

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = ("--relation", "capital", "--facts", 2, "--compared", 1, "--edited", 1, "--follow", 2, "--turns", 2, "--asked", 4,
       "--sets", 2)  # fmt: skip
STEPS = ["attribution", "activation", "neurons", "suppression", "agreement", "editing", "criteria", "in_turn",
         "localisation", "minimal_pairs"]  # fmt: skip


def engram(*arguments: object) -> Result:
    return CliRunner().invoke(application(), [str(a) for a in arguments])


def said(value: float, interval: tuple[float, float] | None, **bounds: float) -> Statement:
    score = Score("x", value, 40, "fraction", interval=interval)
    return Statement("facts", "It holds", score, SHARE, "facts", **bounds)


# -- verdicts


def test_a_statement_holds_with_its_whole_interval() -> None:
    assert said(0.8, (0.76, 0.9), low=0.75).verdict == "held"
    assert said(0.8, (0.7, 0.9), low=0.75).verdict == "open"
    assert said(0.7, (0.6, 0.9), low=0.75).verdict == "not held"
    assert said(0.8, None, low=0.75).verdict == "open"
    assert said(0.01, (-0.01, 0.02), low=-0.02, high=0.02).verdict == "held"
    assert said(0.5, (0.4, 0.6)).verdict == "–"


def test_bounds_and_numbers_are_written_in_one_unit() -> None:
    assert said(0.8, (0.76, 0.9), low=0.75).wanted == "at least 75 %"
    assert said(0.8, (0.76, 0.9), low=0.75).number == "80.0 [76.0, 90.0] %"
    fell = Statement("", "", Score("x", -0.2, 3, "ratio of means"), CHANGE, "facts", high=-0.15)
    assert (fell.wanted, fell.number) == ("at most −15 %", "−20.0 %")
    between = Statement("", "", Score("x", 0.0, 3, "ratio of means"), CHANGE, "facts", -0.02, 0.02)
    assert between.wanted == "−2 to +2 %"


def test_tests_share_one_false_discovery_rate() -> None:
    ps = [0.001, 0.04, 0.03, None, 0.5]
    found = together([Statement("", "", Score("x", 0, 1, ""), SHARE, "", p=p, how="paired") for p in ps])
    wanted = stats.false_discovery_control([p for p in ps if p is not None])
    assert [s.q for s in found if s.p is not None] == pytest.approx(list(wanted))
    assert found[3].q is None
    assert found[3].test == ""
    assert found[1].test == f"paired: p = .04, q = {f'{wanted[1]:.2g}'[1:]}"


# -- planted


@dataclass
class Planted:
    """Stands for a run whose results are known."""

    found: list[dict[str, Any]]
    manifest: dict[str, Any] = field(default_factory=dict)

    def results(self) -> list[dict[str, Any]]:
        return self.found


def suppressed(falls: dict[str, float]) -> Planted:
    """Twelve facts of two prompts each: under each condition P(answer) falls by this part, give or take."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        before = rng.uniform(0.4, 0.9, 2)
        for condition, fall in falls.items():
            after = before * (1 - fall + rng.normal(0, 0.005, 2))
            rows.append({
                "relation": "P36", "number": number, "subject": f"s{number}", "answer": "a", "condition": condition,
                "neurons": ["L0.1"], "before": before.tolist(), "after": after.tolist(), "rank_before": [1, 1],
                "rank_after": [1, 1],
            })  # fmt: skip
    about = {"relation": "P36", "rows": rows, "skipped": [], "drawn": 12, "askable": 12, "known": None, "shares": {}}
    return Planted([about], {"settings": {"neurons": {"held_out": True}}})


@pytest.mark.parametrize(("own", "chance", "verdicts"), [
    (0.30, 0.0, ("held", "held", "held")),
    (0.30, 0.30, ("held", "not held", "open")),
    (0.05, 0.0, ("not held", "held", "held")),
    (0.0, 0.0, ("not held", "held", "open")),
])  # fmt: skip
def test_neurons_matter_where_they_were_made_to(own: float, chance: float, verdicts: tuple[str, ...]) -> None:
    run = suppressed({"suppressed": own, "chance suppressed": chance, "baseline suppressed": own, "amplified": -0.1})
    report = Suppression().summary(run.found)
    told: Any = STATEMENTS["suppression"]
    found = {s.says: s for s in told(run, report)}
    begin = ("Neurons found", "As many random", "P(answer) falls further than without neurons chosen by chance")
    falls, random, more = (next(s for says, s in found.items() if says.startswith(b)) for b in begin)
    assert (falls.verdict, random.verdict) == verdicts[:2]
    assert more.verdict in (verdicts[2], "not held") if verdicts[2] == "open" else more.verdict == "held"
    assert falls.score.value == pytest.approx(-own, abs=0.01)
    assert more.score.value == pytest.approx(chance - own, abs=0.01)
    assert (more.p or 0) < 0.01 or own == chance
    assert falls.counted == "24 prompts of 12 facts"


# -- the whole


class Killed(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Killed while editing, and called again."""
    out = tmp_path_factory.mktemp("audits") / "causal"
    real = Editing.run

    def dies(*_: object, **__: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Editing, "run", dies)
        broken = engram("audit", "engram:causal", *FEW, "--out", out)
    assert isinstance(broken.exception, Killed)
    assert Editing.run is real
    assert {p.name for p in out.iterdir()} == {AUDIT, *STEPS[: STEPS.index("editing") + 1]}
    half = {p: p.read_bytes() for p in out.glob("*/shards/*")}
    assert len(statements_of(out)) > 5
    again = engram("audit", "engram:causal", *FEW, "--out", out)
    assert (again.exit_code, again.stderr) == (0, "")
    assert [line.split()[3] for line in again.stdout.splitlines()[: len(STEPS)]] == STEPS
    assert {p: p.read_bytes() for p in half} == half
    for verdict in ("held", "not held"):
        assert f"  {verdict} " in again.stdout
    return out


def test_every_statement_has_its_number_from_a_run(audited: Path) -> None:
    found = statements_of(audited)
    assert {s.about.partition(" (")[0] for s in found} == {
        "where facts sit", "whether neurons matter", "whether methods agree", "what edits do",
        "what follows from edits", "what edits cost", "facts and syntax", "syntax",
    }  # fmt: skip
    runs = {name: open_run(audited / name) for name in STEPS}
    assert all(run.complete for run in runs.values())
    every = {(s.value, s.n) for run in runs.values() if (r := run.summary()) for s in r.scores}
    derived = (
        "The model knows",
        "Most of",
        "P(answer) falls further",
        "The model prefers",
        "Neurons of a",
        "… more so",
    )
    for s in found:
        assert (s.score.value, s.score.n) in every or s.says.startswith(derived), s.says
        assert s.score.n > 0
        assert s.verdict in ("held", "not held", "open", "–")
        assert s.test or s.p is None


def test_the_page_begins_with_the_statements(audited: Path) -> None:
    folder = audited / "report"
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Read(text)
    assert page.fetched == []
    assert page.ids[0] == "what-holds--and-what-does-not"
    found = statements_of(audited)
    start = page.cells.index(found[0].about)
    assert page.cells[start : start + 3] == [found[0].about, found[0].says, found[0].verdict]
    for s in found:
        assert s.number.replace(" %", "&nbsp;%") in text
    plain = json.loads((folder / "results.json").read_text(encoding="utf-8"))["statements"]
    assert [p["verdict"] for p in plain] == [s.verdict for s in found]
    assert "overall" not in text.lower()
    assert engram("report", audited).exit_code == 0
    assert (folder / "report.html").read_text(encoding="utf-8") == text


def test_an_audit_goes_on_with_the_same_settings_only(audited: Path, tmp_path: Path) -> None:
    other = engram("audit", "engram:causal", *FEW, "--seed", 1, "--out", audited)
    assert other.exit_code == 2
    assert "seed was 0 and would be 1" in other.stderr
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    foreign = engram("audit", "engram:causal", "--out", tmp_path)
    assert (foreign.exit_code, "something else" in foreign.stderr) == (2, True)
    pairs = engram("audit", "engram:causal", "--pairs", "shipped")
    assert (pairs.exit_code, "minimal pairs are" in pairs.stderr) == (2, True)
    two = engram("audit", "engram:causal", "--model", "engram:masked")
    assert (two.exit_code, "two models were named" in two.stderr) == (2, True)
    with pytest.raises(BadData, match=AUDIT):
        Audited.at(tmp_path)


def test_a_part_of_it_can_be_told(audited: Path, tmp_path: Path) -> None:
    said = json.loads((audited / AUDIT).read_text(encoding="utf-8"))
    (tmp_path / AUDIT).write_text(json.dumps(said), encoding="utf-8")
    with pytest.raises(BadData, match="no run that is done"):
        report_audit(tmp_path)
    (tmp_path / "neurons").symlink_to(audited / "neurons")
    assert {s.about for s in statements_of(tmp_path)} == {"where facts sit"}
    assert "Not done yet: attribution" in report_audit(tmp_path).read_text(encoding="utf-8")


def test_steps_without_cases_and_pairs_are_left_out() -> None:
    assert [s.name for s in Audit().steps("runs")] == STEPS[:5]
    cases = eg.data.cases("shipped", relations=["author"])
    assert [s.name for s in Audit(cases=cases).steps("runs")][5:] == ["editing", "in_turn"]  # nothing follows from one
    with pytest.raises(BadSetting, match="from 1 up"):
        Audit(turns=0)


def test_a_table_names_each_subject_once() -> None:
    rows = table([said(0.8, None, low=0.75), said(0.7, None, low=0.75)]).rows
    assert [row[0] for row in rows] == ["facts", ""]
    assert rows[0][2] == "open"
