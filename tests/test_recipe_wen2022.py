"""Wen & Bai as a recipe: every run on the shipped model, taken up where it stopped, beside the published numbers."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import harmonic_mean

import pytest
from click.testing import Result
from typer.testing import CliRunner

import engram as eg
from engram.cli._app import application
from engram.errors import BadSetting, UnknownName
from engram.experiments import Suppression
from engram.metrics.outcomes import UNRELATED, pairs_of
from engram.recipes import Wen2022, wen2022
from engram.report.beside import published
from engram.store import open_run
from test_chapters import Read

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = ["demonstrations", "perturbation", "perturbation_published", "attribution", "activation", "neurons",
         "suppression", "punctuation", "tracing", "tracing_published", "editing"]  # fmt: skip
CHOICE = ("wen2022", "--facts", 1, "--relation", "capital", "--relation", "city_country", "--out")


def engram(*arguments: object) -> Result:
    return CliRunner().invoke(application(), [str(a) for a in arguments])


class Killed(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Killed in the seventh run, and called again; two cases are edited, and eight sentences of each mark asked."""
    out = tmp_path_factory.mktemp("paper") / "wen"

    def dies(self, model, facts, case, *, progress=None):
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wen2022, "EDITED", 2)
        patch.setattr(Wen2022.__init__, "__kwdefaults__", {**Wen2022.__init__.__kwdefaults__, "sentences": 8})
        with pytest.MonkeyPatch.context() as broken:
            broken.setattr(Suppression, "run", dies)
            assert isinstance(engram("reproduce", *CHOICE, out).exception, Killed)
        first = {p: p.read_bytes() for p in out.glob("*/shards/*")}
        again = engram("reproduce", *CHOICE, out)
    assert (again.exit_code, again.stderr) == (0, "")
    assert [line.split()[3] for line in again.stdout.splitlines()[:-1]] == STEPS
    assert {p: p.read_bytes() for p in first} == first
    assert {p.parent.parent.name for p in first} == set(STEPS[:6])
    return out


def test_the_page_has_every_chapter_and_the_published_numbers(made) -> None:
    page = Read((made / "report" / "report.html").read_text(encoding="utf-8"))
    assert not [x for x in page.fetched if "data:image/png;base64," not in x]
    assert page.ids[:2] == ["beside-the-published-numbers", "what-was-run"]
    assert len(page.ids) == 2 + len(STEPS)
    beside = json.loads((made / "report" / "results.json").read_text(encoding="utf-8"))["beside"]
    here = {(row["run"], row["score"]): row["here"] for row in beside if row.get("kind") != "masked"}
    assert all(row["here"] is None for row in beside if row.get("kind") == "masked")
    missing = {score for (_, score), value in here.items() if value is None}
    assert all(s.startswith("causal neuron, as published") for s in missing), missing
    for (run, score), value in here.items():
        if value is not None:
            assert value["value"] == open_run(made / run).summary()[score].value


def test_an_edit_behind_the_last_attention_is_refused_and_told(made) -> None:
    """Table 3's row of GPT-2 Medium: the gradient there is 0. In a model of 4 layers, token 4 is no layer either."""
    run = open_run(made / "editing")
    assert [by["called"] for by in run.manifest["settings"]["by"]] == [
        "knowledge surgery", "causal neuron", "causal neuron, as published", "ROME", "ROME, last but one",
        "ROME, last layer",
    ]  # fmt: skip
    names = {s.name for s in run.summary().scores}
    assert "ROME: ES" in names
    assert "ROME, last layer: ES" not in names
    text = (made / "report" / "report.html").read_text(encoding="utf-8")
    assert "causal neuron, as published: 2 of 2; ROME, last layer: 2 of 2" in text


def test_unrelated_facts_are_amplified_and_every_change_is_told_in_points(made) -> None:
    run = open_run(made / "suppression")
    results, report = list(run.results()), run.summary()
    assert set(UNRELATED) & {row["condition"] for r in results for row in r["rows"]} == {"other relation amplified"}
    for condition in ("suppressed", "amplified", "other relation", "other relation amplified"):
        pairs = pairs_of(results, condition)
        change = (pairs.after - pairs.before).mean()
        assert report[f"{condition}: absolute change"].value == pytest.approx(change)
    louder = [r for r in results[0]["rows"] if r["condition"] == "other relation amplified"]
    quiet = [r for r in results[0]["rows"] if r["condition"] == "other relation"]
    assert [r["neurons"] for r in louder] == [r["neurons"] for r in quiet]
    assert [r["after"] for r in louder] != [
        r["after"] for r in quiet
    ]  # as the committed code has it, they are the same


def test_the_published_numbers_are_those_of_the_paper() -> None:
    """S is the harmonic mean of ES, PS and NS: so it is in all rows of table 3 for GPT-2 but ROME's, which is noted."""
    tables = {t["place"]: t for t in published("wen2022")["tables"]}
    rows = {(r["neurons"], r["what"]): r["value"] for r in tables["Table 3, success"]["rows"]}
    apart = {who: harmonic_mean([rows[who, x] for x in ("ES", "PS", "NS")]) - rows[who, "S"] for who, _ in rows}
    assert {who for who, x in apart.items() if abs(x) > 0.002} == {"ROME"}
    assert apart["ROME"] == pytest.approx(0.838 - 0.808, abs=1e-3)
    assert "83.8" in tables["Table 3, success"]["printed"]["rows"][1][-1]
    for place in ("Section 5.2 and figure 4", "Section 5.4"):
        for row in tables[place]["rows"]:
            assert abs(row["value"]) < 0.2


def test_like_the_paper_neurons_are_found_behind_demonstrations() -> None:
    few = eg.data.shipped().only(["capital", "symbol"])
    steps = {s.name: s for s in Wen2022(like="paper", facts=1, data=few).steps("runs")}
    neurons = steps["neurons"].experiment
    assert (neurons.held_out, neurons.selector.threshold, float(neurons.selector.share)) == (False, 0.3, 0.5)
    assert steps["attribution"].experiment.locator.rule == "linspace"
    assert steps["punctuation"].experiment.literal == " [MASK]"
    assert {p.text.count("\n") for own in steps["neurons"].data.own.values() for p in own} == {4}
    alone = next(s for s in Wen2022(facts=1, data=few).steps("runs") if s.name == "neurons")
    assert {p.text.count("\n") for own in alone.data.own.values() for p in own} == {0}
    assert all(p.blank_last for own in alone.data.own.values() for p in own)
    assert [t.noise for t in steps["tracing_published"].experiment.by] == [0.1] * 3


def test_pararel_gives_the_published_relations(shared_data) -> None:
    facts = eg.data.pararel(shared_data / "upstream" / "pararel")
    shown = next(iter(Wen2022(like="paper", data=facts, facts=1).steps("runs"))).data
    assert (len(shown.relations), len(shown)) == (22, 2153)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("wen2022", "--texts", "shipped", "--out", "{tmp}/x"), "--texts is not for Wen2022"),
     (("wen2022", "--like", "papr", "--out", "{tmp}/x"), "Did you mean paper?"),
     (("wen2022", *CHOICE[1:2], 2, *CHOICE[3:], "{made}"), "facts was 1 and would be 2")],
)  # fmt: skip
def test_misuse_is_told(made, tmp_path, arguments, words) -> None:
    done = engram("reproduce", *(str(a).format(tmp=tmp_path, made=made) for a in arguments))
    assert done.exit_code == 2
    assert words in done.stderr
    assert not list(tmp_path.iterdir())


def test_settings_are_checked() -> None:
    for wrong in ({"facts": 0}, {"place": (0, "asked")}):
        with pytest.raises(BadSetting):
            Wen2022(**wrong)
    with pytest.raises(UnknownName):
        Wen2022(like="hunter")
