"""Minimal pairs without a number's neurons: against direct questions, exact tests, and neurons that write a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

import engram as eg
from engram.cli._app import application
from engram.errors import BadSetting
from engram.experiments import MinimalPairs
from engram.metrics import false_discovery, paired_test
from engram.metrics.choices import BEFORE, CHANCE, accuracy, choices, effects, mcnemar, together
from engram.models import value_slots
from engram.report.chapters import chapter
from engram.store import open_run

PAIRS = eg.data.read("pairs").only(["noun_determiner", "reflexive_gender"])
FAST = eg.IntegratedGradients(steps=4, rule="gauss")
WRITERS = {"plural": "L3.0", "singular": "L3.1"}


@pytest.fixture(scope="module")
def model() -> eg.Model:
    return eg.load()


@pytest.fixture(scope="module")
def done(model: eg.Model) -> tuple[MinimalPairs, list[dict[str, Any]]]:
    experiment = MinimalPairs(locator=FAST, draws=2, facts=24)
    return experiment, [dict(experiment.run(model, PAIRS, case)) for case in experiment.cases(PAIRS)]


def test_pairs_are_judged_as_the_model_answers_them(
    model: eg.Model, done: tuple[MinimalPairs, list[dict[str, Any]]]
) -> None:
    for one, result in zip(choices(done[1]), done[1], strict=True):
        facts = PAIRS.facts(one.name)
        for condition in (BEFORE, "matching", "other", "both"):
            for row in (r for r in result["rows"] if r["condition"] == condition):
                silent = eg.suppressed(eg.NeuronSet.parse(" ".join(row["neurons"]))) if row["neurons"] else None
                good = [PAIRS.prompts(facts[i])[0] for i in row["numbers"]]
                bad = [p.asking_for(p.against or "") for p in good]
                for prompts, said in ((good, row["good"]), (bad, row["bad"])):
                    answers = eg.ask(model, [eg.Prompt(p.text, p.answer) for p in prompts], under=silent)
                    assert said == pytest.approx([a.logprob for a in answers], abs=1e-5)
                at = [one.pairs.index((one.name, i)) for i in row["numbers"]]
                margin = np.subtract(row["good"], row["bad"])
                assert one.margin[condition][at] == pytest.approx(margin)
                assert list(one.right[condition][at]) == list((margin > 0).astype(float))


def test_what_is_silent_is_what_its_name_says(done: tuple[MinimalPairs, list[dict[str, Any]]]) -> None:
    for result in done[1]:
        found = {label: [n for n, *_ in said] for label, said in result["found"].items()}
        labels = sorted(found)
        assert labels == (["feminine", "masculine"] if "gender" in result["relation"] else ["plural", "singular"])
        rows = {(r["label"], r["condition"], r["draw"]): r["neurons"] for r in result["rows"]}
        for label, other in (labels, labels[::-1]):
            assert rows[label, BEFORE, 0] == []
            assert rows[label, "matching", 0] == found[label]
            assert rows[label, "other", 0] == found[other]
            assert set(rows[label, "both", 0]) == {*found[label], *found[other]}
            for draw in range(2):
                chance = rows[label, CHANCE["both"], draw]
                assert sorted(n.split(".")[0] for n in chance) == sorted(
                    n.split(".")[0] for n in rows[label, "both", 0]
                )
                assert not set(chance) & set(rows[label, "both", 0])


def test_a_model_whose_number_hangs_on_two_neurons_loses_it_with_them() -> None:
    """One neuron writes plural determiners and is on before plural nouns only; one the singular ones."""
    model = eg.load()
    facts = PAIRS.only(["noun_determiner"])
    layer = model.layers[3]
    up = layer.block.intermediate.dense
    seen: list[torch.Tensor] = []
    read = up.register_forward_hook(lambda _m, args, _out: seen.append(args[0].detach()))
    rows = [(model.rows(facts.prompts(f)[0])[0], f.answer) for f in facts]
    for row, _ in rows:
        model.net(torch.tensor([row.ids]))
    read.remove()
    states = torch.stack([x[0, row.at] for x, (row, _) in zip(seen, rows, strict=True)])
    plural = torch.tensor([1.0 if answer in ("these", "those") else -1.0 for _, answer in rows])
    line = torch.linalg.lstsq(torch.cat([states, torch.ones(len(states), 1)], 1), plural[:, None]).solution[:, 0]
    kept: list[torch.Tensor] = []

    def keep(_module: Any, _args: Any, out: torch.Tensor) -> torch.Tensor:
        kept.append(out.detach().requires_grad_())
        return kept[-1]

    handle = layer.down.register_forward_hook(keep)
    told = torch.zeros(states.shape[1])
    for row, answer in rows[:20]:
        said = model.net(torch.tensor([row.ids])).logits[0, row.at].log_softmax(-1)
        apart = said[row.target] - said[row.against]
        told += torch.autograd.grad(apart, kept.pop())[0][0, row.at] * (1 if answer in ("these", "those") else -1)
    handle.remove()
    with torch.no_grad():
        value_slots(layer.down)[2:] -= (value_slots(layer.down)[2:] @ told)[:, None] * told / told.norm() ** 2
        for i, sign in enumerate((1, -1)):
            up.weight[i], up.bias[i] = sign * 8 * line[:-1], sign * 8 * line[-1]
            value_slots(layer.down)[i] = sign * 0.4 * told / told.norm()
    experiment = MinimalPairs(locator=FAST, draws=3, facts=60)
    (case,) = experiment.cases(facts)
    result = experiment.run(model, facts, case)
    assert {label: said[0][0] for label, said in result["found"].items()} == WRITERS
    (one,) = choices([result])
    known = {e.condition: e for e in effects([one])}
    assert known["matching"].margin.value < -1 < one.margin[CHANCE["matching"]].mean() - one.margin[BEFORE].mean()
    assert known["matching"].margin_q < 0.01
    assert abs(known["other"].margin.value) < 0.2


# -- numbers


def _row(condition: str, draw: int, good: list[float], label: str = "plural", first: int = 0) -> dict[str, Any]:
    numbers = list(range(first, first + len(good)))
    return {"relation": "r", "label": label, "condition": condition, "draw": draw, "neurons": [], "numbers": numbers,
            "good": good, "bad": [0.0] * len(good)}  # fmt: skip


ROWS = [
    _row(BEFORE, 0, [1, 1, 1, 1, -1]), _row("matching", 0, [-1, -1, -1, 1, -1]),
    _row(CHANCE["matching"], 0, [1, 1, 1, 1, 1]), _row(CHANCE["matching"], 1, [1, -1, 1, 1, -1]),
    _row(BEFORE, 0, [2, 2], "singular", 5), _row("matching", 0, [2, -3], "singular", 5),
    _row(CHANCE["matching"], 0, [2, 2], "singular", 5), _row(CHANCE["matching"], 1, [2, 2], "singular", 5),
]  # fmt: skip


def test_labels_are_one_table_and_draws_are_averaged() -> None:
    (one,) = choices([{"rows": ROWS}])
    assert list(one.right[BEFORE]) == [1, 1, 1, 1, 0, 1, 1]
    assert list(one.right["matching"]) == [0, 0, 0, 1, 0, 1, 0]
    assert list(one.right[CHANCE["matching"]]) == [1, 0.5, 1, 1, 0.5, 1, 1]
    assert list(one.margin["matching"]) == [-1, -1, -1, 1, -1, 2, -3]
    (effect,) = effects([one])
    assert effect.accuracy.value == pytest.approx(2 / 7)
    assert effect.change.value == pytest.approx(-4 / 7)
    assert effect.p == effect.q == pytest.approx(stats.binomtest(0, 4).pvalue)
    assert effect.beyond is not None
    assert effect.beyond.value == pytest.approx(2 / 7 - 6 / 7)
    assert effect.beyond_p == paired_test(one.right[CHANCE["matching"]], one.right["matching"], one.pairs).p
    assert effect.margin.value == pytest.approx((-2 - 2 - 2 + 0 + 0 + 0 - 5) / 7)
    both = together([one, one])
    assert len(both.pairs) == 14
    assert accuracy(both, BEFORE).value == accuracy(one, BEFORE).value


def test_a_condition_that_some_pairs_lack_is_not_told_of_all() -> None:
    (one,) = choices([{"rows": [*ROWS, _row("other", 0, [1, 1, 1, 1, 1])]}])
    assert "other" not in one.right
    assert choices([]) == []
    with pytest.raises(BadSetting, match="no pairs"):
        together([])


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (5, 1), (12, 3), (4, 4)])
def test_mcnemar_is_the_exact_test_of_the_pairs_that_changed(lost: int, won: int) -> None:
    before = np.array([1.0] * lost + [0.0] * won + [1.0] * 20 + [0.0] * 7)
    after = np.array([0.0] * lost + [1.0] * won + [1.0] * 20 + [0.0] * 7)
    expected = min(1.0, 2 * stats.binom.cdf(min(lost, won), lost + won, 0.5)) if lost + won else 1.0
    assert mcnemar(before, after) == pytest.approx(expected)


def test_an_accuracy_of_one_has_an_exact_interval_and_q_is_over_all_rows(
    done: tuple[MinimalPairs, list[dict[str, Any]]],
) -> None:
    found = choices(done[1])
    for one in found:
        score = accuracy(one, BEFORE)
        if score.value == 1:
            assert score.interval == (pytest.approx(0.025 ** (1 / score.n)), 1.0)
    known = effects(found)
    assert [e.margin_q for e in known] == pytest.approx(list(false_discovery([e.margin_p for e in known])))
    report = done[0].summary(done[1])
    assert report["noun_determiner: matching, change of margin"].value == known[0].margin.value
    assert report["all pairs: as it is"].n == sum(len(one.pairs) for one in found)


# -- settings and pages


def test_pairs_that_cannot_be_asked_are_left_out_with_a_reason() -> None:
    model = eg.load("engram:causal")
    experiment = MinimalPairs(locator=FAST, facts=8, draws=1)
    (case, _) = experiment.cases(PAIRS)
    result = experiment.run(model, PAIRS, case)
    assert (result["rows"], result["asked"], len(result["skipped"])) == ([], 0, 8)
    with pytest.raises(BadSetting, match="nothing was tried"):
        experiment.summary([result])
    assert experiment.cases(eg.data.read("shipped")) == []


def test_sixteen_paradigms_of_blimp_have_labels(shared_data: Path, model: eg.Model) -> None:
    blimp = eg.data.blimp(shared_data / "blimp")
    experiment = MinimalPairs(facts=30, draws=1, relations=("anaphor_number_agreement", "determiner_noun_agreement_1"))
    assert len(MinimalPairs().cases(blimp)) == 16
    for case in experiment.cases(blimp):
        skipped: list[dict[str, Any]] = []
        pairs = experiment.pairs(model, blimp, case, skipped)
        assert {p.label for p in pairs} == {"plural", "singular"}
        assert len(pairs) + len(skipped) == 30
        assert all("one token each" in s["reason"] for s in skipped)


def test_a_run_goes_on_and_is_told(tmp_path: Path) -> None:
    out = tmp_path / "pairs"
    said = ["run", "minimal_pairs", "-r", "noun_determiner", "-r", "reflexive_gender", "--facts", "12", "--steps", "4",
            "--rule", "gauss", "--draws", "1", "--out", str(out)]  # fmt: skip
    assert CliRunner().invoke(application(), said).exit_code == 0
    before = (out / "summary.json").read_text()
    (shard,) = (out / "shards").glob("part-00001.parquet")
    shard.unlink()
    again = CliRunner().invoke(application(), said)
    assert again.exit_code == 0, again.output
    assert (out / "summary.json").read_text() == before
    told = chapter(open_run(out))
    assert set(told.figures) == {"accuracy", "margin"}
    page = (out / "report" / "report.html").read_text()
    assert "its number silent" in page
    assert "McNemar" in page
    wrong = CliRunner().invoke(application(), ["run", "profile", "--plural", "L1.2", "--steps", "3"])
    assert wrong.exit_code != 0
    assert "are not located" in wrong.output
