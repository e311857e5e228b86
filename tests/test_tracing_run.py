"""Tracing a data set: averages by hand, partners, what is left out, killed runs, their pages, and published data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects
import pytest
from click.testing import Result
from typer.testing import CliRunner

import engram as eg
from engram.cli._app import application
from engram.errors import BadSetting, OtherRun
from engram.experiments import Tracing
from engram.experiments.drawn import askable
from engram.experiments.tracing import partner
from engram.metrics import bootstrap
from engram.metrics.bands import bands
from engram.metrics.changes import average
from engram.metrics.traced import Gathered, curves, trace_of, windows
from engram.models.spans import span_of
from engram.report import report_run
from engram.report.chapters import chapter
from engram.tracers import CausalTracing
from engram.traces import CATEGORIES, KINDS
from test_chapters import Read

FAST = tuple(CausalTracing(kind=kind, samples=2) for kind in KINDS)
SHIPPED = eg.data.read("shipped").only(["capital", "symbol"])


@pytest.fixture(scope="module")
def model() -> eg.Model:
    return eg.load("engram:causal")


@pytest.fixture(scope="module")
def done(model: eg.Model, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two relations, two facts each, two prompts of each fact, with the severed tracers."""
    out = tmp_path_factory.mktemp("runs") / "tracing"
    experiment = Tracing(FAST, severed=True, prompts=2, known_only=False, facts=2, shard=2)
    return eg.run(experiment, SHIPPED, model, out=out)


def row(number: int, effect: Any, *, tokens: int = 6, subject: tuple[int, int] = (1, 4), **other: Any) -> dict:
    """What is kept of a prompt; `effect` [token, layer] or, the same in all layers, by token."""
    effect = np.asarray(effect, float)
    effect = effect if effect.ndim == 2 else np.stack([effect, effect], 1)
    assert len(effect) == tokens
    return {
        "number": number, "template": 0, "kind": "block", "severed": "", "metric": "probability", "clean": 0.9,
        "corrupted": 0.1, "tokens": ["x"] * tokens, "first": subject[0], "end": subject[1], "at": tokens - 1,
        "effect": effect.ravel().tolist(), **other,
    }  # fmt: skip


# -- averages, by hand


def test_a_fact_counts_once_however_many_tokens_and_prompts_it_has() -> None:
    short = row(0, [0, 0, 1.0, 0, 0, 0.2])
    long = row(1, [0, 0, 0, 0, 0, 0, 0.4, 0.4], tokens=8, subject=(1, 6))  # three tokens in the middle
    again = row(1, [0, 0, 0, 0, 0, 0, 0.8, 0.8], tokens=8, subject=(1, 6), template=1)
    found = curves([short, long, again])["block", ""]
    middle = found["middle subject"]
    assert middle.mean.tolist() == [0.5, 0.5]  # pooled over tokens it were 1/7
    assert (middle.facts, middle.prompts, middle.tokens) == (2, 3, 7)
    assert found["last"].mean[0] == pytest.approx(
        (0.2 + (0.4 + 0.8) / 2) / 2
    )  # pooled over prompts (0.2 + 0.4 + 0.8)/3


def test_categories_are_those_of_traces_and_a_mask_has_its_own() -> None:
    found = curves([row(0, np.arange(6), subject=(2, 3), at=4)])["block", ""]
    assert {name: a.mean[0] for name, a in found.items()} == {
        "before": 0.5, "first subject": 2, "last subject": 2, "first subsequent": 3, "last": 5, "mask": 4,
    }  # fmt: skip
    assert list(found) == [c for c in CATEGORIES if c not in ("middle subject", "further")]


def test_parts_of_the_total_effect_leave_out_facts_that_have_none() -> None:
    rows = [row(0, [0, 0, 0, 0.4, 0, 0]), row(1, [0, 0, 0, 0.2, 0, 0], corrupted=0.5), row(2, np.ones(6), clean=0.1)]
    last = curves(rows, normalised=True)["block", ""]["last subject"]
    assert last.mean[0] == pytest.approx((0.4 / 0.8 + 0.2 / 0.4) / 2)
    assert (last.facts, last.left_out) == (2, 1)
    ranks = [row(0, [0, 0, 0, -50, 0, 0], metric="rank", clean=1, corrupted=101), row(1, np.ones(6), metric="rank")]
    last = curves(ranks, normalised=True)["block", ""]["last subject"]
    assert (last.mean[0], last.facts, last.left_out) == (0.5, 1, 1)
    nobody = curves(rows[2:], normalised=True)["block", ""]["last subject"]
    assert np.isnan(nobody.mean).all()
    assert (nobody.facts, nobody.left_out) == (0, 1)


def test_intervals_are_bootstraps_over_facts_seeded_and_blind_to_how_often_a_fact_is_asked() -> None:
    values = np.random.default_rng(0).uniform(size=12)
    rows = [row(i, np.full(6, v)) for i, v in enumerate(values)]
    last = curves(rows, n=500, seed=3)["block", ""]["last subject"]
    expected = bootstrap(average, [values], range(12), n=500, seed=3)
    assert (last.low[0], last.high[0]) == pytest.approx(expected)
    assert curves(rows, n=500, seed=4)["block", ""]["last subject"].low[0] != last.low[0]
    often = [replace_in(r, template=t) for r in rows for t in range(7)]
    assert curves(often, n=500, seed=3)["block", ""]["last subject"].high[0] == pytest.approx(last.high[0])
    alone = curves(rows[:1])["block", ""]["last subject"]
    assert np.isnan([*alone.low, *alone.high]).all()


def replace_in(one: dict, **other: Any) -> dict:
    return {**one, **other}


def test_bands_of_columns_are_of_the_facts_that_have_them() -> None:
    values = np.array([[1.0, np.nan], [2.0, 5.0], [4.0, 7.0], [np.nan, np.nan]])
    found = bands(values, n=400, seed=1)
    assert (found.mean.tolist(), found.n.tolist()) == ([7 / 3, 6.0], [3, 2])
    assert set(np.unique(found.draws[:, 1])) == {5.0, 6.0, 7.0}
    assert found.interval(0) == pytest.approx(bootstrap(average, [values[:3, 0]], range(3), n=400, seed=1))
    with pytest.raises(BadSetting, match="a table"):
        bands([1.0, 2.0])


def test_what_severing_takes_is_paired() -> None:
    """Facts differ widely, and what is lost is the same of all: no interval is left."""
    rows = []
    for i, v in enumerate(np.random.default_rng(0).uniform(size=8)):
        rows += [row(i, np.full(6, v)), row(i, np.full(6, v - 0.25), severed="ffn")]
    found = Gathered.of(rows)
    lost = found.lost(("block", "ffn"), "last subject")
    assert lost is not None
    assert (lost.mean[0], lost.low[0], lost.high[0], lost.facts) == pytest.approx((0.25, 0.25, 0.25, 8))
    assert found.lost(("block", ""), "last subject") is None


def test_largest_effects_are_means_over_facts_of_each_prompts_own() -> None:
    rows = [row(0, np.eye(6, 2)), row(0, 3 * np.eye(6, 2), template=1), row(1, np.zeros((6, 2)), corrupted=0.5)]
    rows[0]["effect"][-1] = 0.5
    found = Gathered.of(rows)
    assert found.most(("block", "")).mean.tolist() == [1.0, 0.0, 0.125]
    assert found.said(("block", "")).mean == pytest.approx([0.9, 0.3, 0.6])
    fewer = Gathered.of([replace_in(r, metric="rank", effect=[-x for x in r["effect"]]) for r in rows])
    assert fewer.most(("block", "")).mean.tolist() == [-1.0, 0.0, -0.125]
    with pytest.raises(BadSetting, match="probability and in rank"):
        Gathered.of([rows[0], row(3, np.zeros(6), metric="rank")])


@pytest.mark.parametrize("layers", [1, 4, 12, 48])
@pytest.mark.parametrize("width", [1, 2, 5, 10])
def test_windows_are_the_tracers(width: int, layers: int) -> None:
    assert windows(width, layers) == CausalTracing(kind="ffn", window=width).windows(layers)


# -- the run


def test_a_row_is_what_trace_says_of_the_prompt(model: eg.Model, done: Any) -> None:
    rows = [r for result in done.results() for r in result["rows"]]
    facts = list(SHIPPED)
    assert len(rows) == 2 * 2 * 2 * 5
    assert {(r["kind"], r["severed"]) for r in rows} == {(k, "") for k in KINDS} | {
        ("block", "ffn"),
        ("block", "attention"),
    }
    for r in rows[:: len(rows) // 8]:
        fact = facts[r["number"]]
        assert (fact.subject, fact.relation, fact.answer) == (r["subject"], r["relation"], r["answer"])
        (prompt,) = [p for p in SHIPPED.prompts(fact) if p.template == r["template"]]
        by = CausalTracing(kind=r["kind"], samples=2, severed=r["severed"] or None)
        with_torch = eg.trace(model, prompt, by=by)
        kept = trace_of(r, {})
        assert kept.effect == pytest.approx(with_torch.effect, abs=1e-7)
        assert kept.spread == pytest.approx(with_torch.spread, abs=1e-7)
        for name in ("tokens", "subject", "at", "answer", "windows", "samples", "seed", "method", "metric", "prompt"):
            if name != "prompt":
                assert getattr(kept, name) == getattr(with_torch, name), name
        assert (kept.prompt.text, kept.categories) == (prompt.text, with_torch.categories)
        assert r["rank"] == eg.ask(model, prompt)[0].rank


def test_the_summary_is_of_facts_and_says_how_many(done: Any) -> None:
    report = done.summary()
    assert [report[name].n for name in ("facts", "prompts", "block: clean")] == [4, 8, 4]
    rows = [r for result in done.results() for r in result["rows"] if (r["kind"], r["severed"]) == ("ffn", "")]
    last: dict[int, list[np.ndarray]] = {}
    for r in rows:
        last.setdefault(r["number"], []).append(np.reshape(r["effect"], (len(r["tokens"]), -1))[r["end"] - 1])
    mean = np.mean([np.mean(of, axis=0) for of in last.values()], axis=0)
    score = report["ffn: last subject: largest mean"]
    assert score.value == pytest.approx(mean.max())
    assert report["ffn: last subject: its layer"].value == mean.argmax()
    assert (score.n, score.unit) == (4, "probability")
    assert score.interval[0] <= score.value <= score.interval[1]
    assert report["tokens: first subject"].value == 8


def test_known_only_leaves_out_what_is_not_answered_first(model: eg.Model) -> None:
    capital = SHIPPED.relation("capital")
    pairs = (("Ireland", "Dublin"), ("Italy", "Dublin"), ("France", "Paris"))
    facts = eg.FactSet("half", (capital,), {capital.id: tuple(capital.fact(*pair) for pair in pairs)})
    every = Tracing(FAST[:1], known_only=False, prompts=2)
    case = {"shard": 0, "facts": [0, 1, 2]}
    all_rows, rows = (e.run(model, facts, case) for e in (every, replace(every, known_only=True)))
    ranks = [r["rank"] for r in all_rows["rows"]]
    assert len(ranks) == all_rows["asked"] == 6
    assert len(rows["rows"]) == ranks.count(1) == 4
    assert {r["subject"] for r in rows["rows"]} == {"Ireland", "France"}
    why = [s["reason"] for s in rows["skipped"]]
    assert why == [f"not known: the answer has rank {rank}" for rank in ranks if rank > 1]
    assert len(replace(every, prompts=1).run(model, facts, case)["rows"]) == 3
    askable = len(facts.prompts(facts.fact("Italy", "capital"), blank_last=True))
    assert len(replace(every, prompts=None).run(model, facts, case)["rows"]) == 3 * askable


def test_a_partner_has_another_answer_and_as_many_tokens(model: eg.Model) -> None:
    tried = 0
    for number, prompt in list(askable(model, SHIPPED, range(0, len(SHIPPED), 7), [], limit=1)):
        name = partner(model, SHIPPED, number, prompt, 0)
        assert name == partner(model, SHIPPED, number, prompt, 0)
        if name is None:
            continue
        tried += 1
        (other,) = [f for f in SHIPPED.facts(prompt.fact.relation) if f.subject == name]
        assert other.answer != prompt.answer
        swapped = replace(prompt, text=prompt.text.replace(prompt.fact.subject, name))
        spans = [span_of(model, p, s, model.rows(p)[0]) for p, s in ((prompt, prompt.fact.subject), (swapped, name))]
        assert spans[0] == spans[1]
        assert len(model.rows(prompt)[0].ids) == len(model.rows(swapped)[0].ids)
    assert tried > 5
    several = {partner(model, SHIPPED, 0, next(iter(askable(model, SHIPPED, [0], [])))[1], seed) for seed in range(8)}
    assert len(several) > 1


def test_replacement_takes_the_place_of_noise_and_is_left_out_where_nobody_fits(model: eg.Model) -> None:
    capital = SHIPPED.relation("capital")
    pairs = (
        ("Ireland", "Dublin"),
        ("Italy", "Rome"),
        ("Democratic Republic of the Congo", "Kinshasa"),
        ("Malta", "Rome"),
    )
    facts = eg.FactSet("four", (capital,), {capital.id: tuple(capital.fact(*pair) for pair in pairs)})
    result = Tracing(replace=True, known_only=False).run(model, facts, {"shard": 0, "facts": [0, 1, 2, 3]})
    noise = {r["subject"]: r["noise"] for r in result["rows"]}
    assert noise == {"Ireland": noise["Ireland"], "Italy": "replace:Ireland", "Malta": "replace:Ireland"}
    assert noise["Ireland"] in ("replace:Italy", "replace:Malta")
    assert {r["samples"] for r in result["rows"]} == {1}
    prompt = facts.prompts(facts.fact("Ireland", "capital"), blank_last=True)[0]
    by_hand = eg.trace(model, prompt, by=CausalTracing(noise=noise["Ireland"]))
    ours = next(r for r in result["rows"] if r["subject"] == "Ireland" and r["kind"] == "block")
    assert ours["effect"] == pytest.approx(by_hand.effect.ravel(), abs=1e-7)
    (skipped,) = result["skipped"]
    assert skipped["fact"][0] == "Democratic Republic of the Congo"
    assert skipped["reason"].startswith("no replacement: ")


def test_what_cannot_be_asked_is_left_out_with_its_reason(model: eg.Model, tmp_path: Path) -> None:
    capital = SHIPPED.relation("capital")
    pairs = (("Ireland", "Dublin"), ("Estonia " * 500, "Tallinn"), ("Peru", "Lima"))
    fine, odd, lost = (capital.fact(subject.strip(), answer, subject) for subject, answer in pairs)
    own = {"Peru": (eg.Prompt("The capital of that country is [Y]", "Lima"),)}
    facts = eg.FactSet("odd", (capital,), {capital.id: (fine, odd, lost)}, "", own)
    run = eg.run(Tracing(FAST[:1], known_only=False, prompts=1), facts, model, out=tmp_path / "run")
    assert [r["subject"] for result in run.results() for r in result["rows"]] == ["Ireland"]
    reasons = {(s["fact"][0][:7], s["reason"].partition(":")[0]) for s in run.skipped()}
    assert reasons == {("Peru", "NoSubject"), ("Estonia", "PromptTooLong")}
    assert run.summary()["left out"].value == len(run.skipped())


def test_of_facts_that_nobody_knows_nothing_is_said(model: eg.Model, tmp_path: Path) -> None:
    wrong = SHIPPED.relation("capital").fact("Ireland", "Rome")
    facts = eg.FactSet("wrong", (SHIPPED.relation("capital"),), {wrong.relation: (wrong,)})
    run = eg.run(Tracing(FAST[:1]), facts, model, out=tmp_path)
    assert run.summary() is None
    with pytest.raises(BadSetting, match=r"no prompt was traced: 1 could be asked \(1 not known\)"):
        Tracing().summary(run.results())


class Interrupted(Tracing):
    """The same numbers, until somebody presses Ctrl-C."""

    def run(self, model, facts, case, *, progress=None):
        if case["shard"] == 1:
            raise KeyboardInterrupt
        return Tracing.run(self, model, facts, case, progress=progress)


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(model: eg.Model, tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"known_only": False, "limit": 3, "shard": 1}
    with pytest.raises(KeyboardInterrupt):
        eg.run(Interrupted(FAST, **chosen), SHIPPED, model, out=tmp_path / "stopped")
    assert eg.open_run(tmp_path / "stopped").complete is False
    whole, again = (eg.run(Tracing(FAST, **chosen), SHIPPED, model, out=tmp_path / n) for n in ("whole", "stopped"))
    for shard in range(3):
        assert again.folder.final(shard).read_bytes() == whole.folder.final(shard).read_bytes()
    with pytest.raises(OtherRun, match=r"settings\.by"):
        eg.run(Tracing((CausalTracing(samples=3),), **chosen), SHIPPED, model, out=tmp_path / "stopped")
    with pytest.raises(OtherRun, match=r"settings\.by is .* there"):
        eg.run(Tracing(FAST, severed=True, **chosen), SHIPPED, model, out=tmp_path / "stopped")


@pytest.mark.parametrize(
    "other",
    [{"severed": True}, {"prompts": 2}, {"known_only": False}, {"replace": True}, {"facts": 2}, {"seed": 1},
     {"shard": 3}, {"relations": ("capital",)}, {"by": FAST}, {"by": (CausalTracing(noise=0.5),)}],
)  # fmt: skip
def test_every_setting_belongs_to_the_run(other: dict[str, Any]) -> None:
    assert Tracing(**other).settings() != Tracing().settings()
    json.dumps(Tracing(**other).settings())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"by": ()}, "a tuple of tracers"), ({"by": (CausalTracing(), CausalTracing(severed=None))}, "block is twice"),
     ({"by": FAST[1:], "severed": True}, "no CausalTracing"), ({"prompts": 0}, "from 1 up"),
     ({"by": (CausalTracing(severed="ffn"),)}, "and no block"), ({"limit": 3, "facts": 2}, "give one of them"),
     ({"by": (FAST[0], CausalTracing(kind="ffn"))}, "corrupt alike"), ({"shard": 0}, "from 1 up"),
     ({"by": (CausalTracing(noise="zero"),), "replace": True}, "leave noise")],
)  # fmt: skip
def test_settings_outside_what_is_defined_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(BadSetting, match=words):
        Tracing(**wrong)


def test_a_logit_difference_needs_facts_with_a_wrong_answer(model: eg.Model) -> None:
    by = (CausalTracing(metric="logit_difference", samples=2),)
    with pytest.raises(BadSetting, match="the facts of shipped name none"):
        Tracing(by, known_only=False).run(model, SHIPPED, {"shard": 0, "facts": [0]})


# -- published data


def test_facts_with_sentences_of_their_own_are_traced_in_them(shared_data: Path, shared_models: Path) -> None:
    known = eg.data.known_1000(shared_data / "known_1000")
    model = eg.load(shared_models / "stories260K")
    by = (CausalTracing(metric="logprob", samples=2),)
    case = {"shard": 0, "facts": [0, 700]}
    result = Tracing(by, known_only=False).run(model, known, case)
    texts = [known.prompts(list(known)[i])[0].text for i in case["facts"]]
    assert [r["prompt"] for r in result["rows"]] == texts
    assert {r["metric"] for r in result["rows"]} == {"logprob"}
    unknown = Tracing(by).run(model, known, case)
    assert [s["reason"].partition(":")[0] for s in unknown["skipped"]] == ["not known"] * 2


def test_pairs_of_words_are_traced_by_what_the_right_one_is_ahead(model: eg.Model, shared_data: Path) -> None:
    pairs = eg.data.blimp(shared_data / "blimp")
    by = (CausalTracing(metric="logit_difference", samples=2),)
    experiment = Tracing(
        by, known_only=False, facts=2, relations=("anaphor_gender_agreement", "determiner_noun_agreement_2")
    )
    results = [experiment.run(model, pairs, case) for case in experiment.cases(pairs)]
    rows = [r for result in results for r in result["rows"]]
    assert {r["relation"] for r in rows} == {"anaphor_gender_agreement"}  # the other's blank is not last
    assert {r["against"] for r in rows} <= {"herself", "himself", "itself"}
    assert [s["reason"].partition(":")[0] for result in results for s in result["skipped"]] == ["UnaskablePrompt"] * 2


# -- what people see


def engram(*arguments: object) -> Result:
    return CliRunner().invoke(application(), [str(a) for a in arguments])


def test_the_page_has_every_kind_its_numbers_and_maps_to_look_into(done: Any, tmp_path: Path) -> None:
    told = chapter(done)
    assert set(told.figures) == {
        "averages", "average-map", "severed", *(f"example-{k}" for k in KINDS), "example-block-without-ffn",
        "example-block-without-attention",
    }  # fmt: skip
    page = Read(report_run(done, tmp_path).read_text(encoding="utf-8"))
    assert [x for x in page.fetched if "=data:image/png" not in x] == []
    assert len(page.charts) == 5
    for chart in page.charts:
        plotly.graph_objects.Figure(chart)
    at = page.cells.index("block")
    for cell, name in zip(page.cells[at + 1 :], ("clean", "corrupted", "total effect"), strict=False):
        assert cell.startswith(f"{done.summary()[f'block: {name}'].value:.3f} [")
    at = page.cells.index("last subject")
    largest, layer = (done.summary()[f"block: last subject: {name}"] for name in ("largest mean", "its layer"))
    assert page.cells[at + 1].startswith(f"{largest.value:.3f} [")
    assert page.cells[at + 2].startswith(f"{layer.value:.0f} [")
    assert page.cells[at + 4 : at + 8] == ["4", "0", "8", "8"]  # facts, without a total effect, prompts, tokens
    lines = {line.get_label(): line.get_ydata() for line in told.figures["averages"].axes[1].lines}
    found = Gathered.of(done.results()).curves()["ffn", ""]
    for name, a in found.items():
        assert lines[name] == pytest.approx(a.mean)
    (mesh,) = [c for c in told.figures["average-map"].axes[0].collections if c.get_gid() == "average block"]
    table = np.asarray(mesh.get_array()).reshape(len(found), -1)
    block = Gathered.of(done.results()).curves()["block", ""]
    assert table == pytest.approx(np.clip([a.mean for a in block.values()], 0, None))


def test_the_example_is_the_median_prompt(done: Any) -> None:
    rows = [r for result in done.results() for r in result["rows"] if (r["kind"], r["severed"]) == ("block", "")]
    totals = sorted(r["clean"] - r["corrupted"] for r in rows)
    median = next(r for r in rows if r["clean"] - r["corrupted"] == totals[len(totals) // 2])
    (section,) = [s for s in chapter(done).sections if s.title == "One fact, and each"]
    assert f"⟨{median['subject']}, " in section.parts[0]
    (chart,) = section.parts[1].chart["data"]
    assert chart["z"] == np.reshape(median["effect"], (len(median["tokens"]), -1)).tolist()


def test_one_kind_of_one_fact_has_a_page_too(model: eg.Model, tmp_path: Path) -> None:
    run = eg.run(
        Tracing((CausalTracing(kind="ffn", metric="rank"),), replace=True, limit=1), SHIPPED, model, out=tmp_path
    )
    text = report_run(run).read_text(encoding="utf-8")
    assert "one sample" in text
    assert "average effect (ranks)" in text


def test_the_command_traces_and_goes_on(tmp_path: Path) -> None:
    chosen = ("-m", "engram:causal", "-r", "capital", "--limit", 2, "--shard", 1, "--samples", 2, "--all")
    command = ("run", "tracing", *chosen, "--kind", "block", "--kind", "ffn", "--window", 2, "--severed",
               "--noise", 0.5, "--out", tmp_path / "run", "--json")  # fmt: skip
    said = json.loads(engram(*command).stdout)
    assert (said["complete"], said["skipped"]) == (True, [])
    by = said["report"]["settings"]["by"]
    assert [(t["kind"], t["severed"], t["window"], t["noise"]) for t in by] == [
        ("block", None, None, 0.5), ("ffn", None, 2, 0.5), ("block", "ffn", None, 0.5),
        ("block", "attention", None, 0.5),
    ]  # fmt: skip
    again = json.loads(engram(*command).stdout)
    assert again["report"] == said["report"]
    other = engram(*command, "--prompts", "all")
    assert other.exit_code == 2
    assert "settings.prompts is 1 there, and would be nothing" in other.stderr
    assert (tmp_path / "run" / "report" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--kind", "blok"), "Did you mean block"), (("--prompts", "few"), "a number, or all"),
     (("--severed", "--kind", "ffn"), "no CausalTracing"), (("--noise", "4x"), "noise"),
     (("--metric", "logit_difference", "--limit", 1), "wrong answer")],
)  # fmt: skip
def test_the_command_says_in_a_line_what_is_wrong(arguments: tuple[str, ...], words: str) -> None:
    said = engram("run", "tracing", "-m", "engram:causal", *arguments)
    assert (said.exit_code, said.stdout) == (2, "")
    assert said.stderr.count("\n") == 1
    assert words in said.stderr
