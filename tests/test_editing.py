"""Edits judged over many cases: against answers asked one by one, an editor that must work, and one that cannot."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest

import engram as eg
from engram.edits import Edit
from engram.errors import BadSetting, UnknownName
from engram.experiments import By, ByNeurons, Editing, InTurn
from engram.experiments.judging import UNEDITED, Condition, each_sentence, readings, sentences
from engram.experiments.planning import TOWARD, Planner, toward_the_truth
from engram.metrics.judged import judged
from engram.models import holding
from engram.models.editing import fingerprint, slots_of

ASKED = eg.ROME(layer=0, covariance=None, token="asked", contexts=(), preset="p-rome")


@pytest.fixture(scope="module")
def model():
    return eg.load("engram:causal")


@pytest.fixture(scope="module")
def cases():
    return eg.data.cases("shipped", records=4)


@pytest.fixture(scope="module")
def report(model, cases):
    experiment = Editing((By(ASKED, "rome"), ByNeurons(most=5)), limit=4)
    found = [experiment.run(model, cases, case) for case in experiment.cases(cases)]
    return experiment, found, experiment.summary(found)


@dataclass(frozen=True)
class Nothing(Planner):
    """Plans an edit of nothing, or refuses to."""

    refuses: bool = False
    name = "nothing"

    def plan(self, model, case):
        if self.refuses:
            raise BadSetting("not today")
        return Edit("nothing", case.wish, (), model.name)

    def settings(self):
        return {"refuses": self.refuses}


def test_what_is_said_to_a_sentence_is_what_the_model_says_when_asked_alone(model, cases):
    case = next(c for c in cases.cases if c.neighbour)
    edit = By(ASKED).plan(model, case)
    rows = readings(model, [(0, case, [UNEDITED, Condition("rome", "edited", edit)])])
    for under, arm in ((None, "no edit"), (edit, "edited")):
        asked = {r["group"]: r for r in rows if r["arm"] == arm}
        for group, prompts in (
            ("rewrite", [case.prompt]),
            ("paraphrase", case.paraphrase),
            ("neighbour", case.neighbour),
        ):
            for which, answer in (("new", case.new), ("old", case.fact.answer)):
                answers = eg.ask(model, [p.asking_for(answer) for p in prompts], under=under)
                per_token = [-a.logprob / len(a.tokens) for a in answers]
                assert asked[group][f"nll_{which}"] == pytest.approx(per_token, abs=1e-4)


def test_an_edit_at_the_asked_token_works_and_its_controls_do_not(report):
    _, _, summary = report
    assert summary["rome: ES"].value == 1
    assert summary["no edit: ES"].value == 0
    for arm in ("random neurons", "random layer", TOWARD):
        assert summary[f"rome, {arm}: ES"].value <= 0.5
    apart = summary["rome: ES, above no edit"]
    assert (apart.value, apart.n) == (1.0, 4)


def test_s_is_made_of_its_parts(report):
    _, _, summary = report
    parts = [summary[f"rome: {p}"].value for p in ("ES", "PS", "NS")]
    expected = 0.0 if min(parts) == 0 else 3 / sum(1 / p for p in parts)
    assert summary["rome: S"].value == pytest.approx(expected)


def test_every_case_has_a_row_for_each_condition_and_group(report):
    experiment, (result,), _ = report
    seen = {(r["number"], r["editor"], r["arm"], r["group"]) for r in result["rows"]}
    assert len(seen) == len(result["rows"])
    arms = {(r["editor"], r["arm"]) for r in result["rows"]}
    assert len(arms) == 1 + 2 * (1 + len(experiment.controls))
    for row in result["rows"]:
        assert set(row) == set(experiment.columns)


def test_the_model_is_as_it_was_and_results_do_not_depend_on_the_shard(model, cases, report):
    before = [fingerprint(slots_of(model, i)) for i in range(len(model.layers))]
    _, (whole,), _ = report
    single = Editing((By(ASKED, "rome"),), controls=(), limit=1, shard=1)
    alone = single.run(model, cases, single.cases(cases)[0])
    first = alone["rows"][0]["number"]
    for row in alone["rows"]:
        (same,) = [r for r in whole["rows"] if all(r[k] == row[k] for k in ("number", "editor", "arm", "group"))]
        assert row["nll_new"] == pytest.approx(same["nll_new"], abs=1e-5), first
    assert before == [fingerprint(slots_of(model, i)) for i in range(len(model.layers))]


def test_a_case_that_cannot_be_planned_is_left_out_and_said(model, cases):
    experiment = Editing((Nothing(refuses=True),), controls=(), limit=2)
    result = experiment.run(model, cases, experiment.cases(cases)[0])
    assert [s["reason"] for s in result["skipped"]] == ["BadSetting: not today"] * 2
    summary = experiment.summary([result])
    assert summary["left out"].value == 2
    assert "no edit: ES" in {s.name for s in summary.scores}
    assert not any(s.name.startswith("nothing") for s in summary.scores)


def test_an_edit_of_nothing_changes_nothing(model, cases):
    experiment = Editing((Nothing(),), controls=(), limit=3)
    rows = experiment.run(model, cases, experiment.cases(cases)[0])["rows"]
    plain = [r for r in rows if r["arm"] == "no edit"]
    for before, after in zip(plain, [r for r in rows if r["arm"] == "edited"], strict=True):
        assert before["nll_new"] == after["nll_new"]
        assert before["hits_old"] == pytest.approx(after["hits_old"], nan_ok=True)


def test_toward_the_truth_exchanges_the_answers(cases):
    case = cases.cases[0]
    turned = toward_the_truth(case)
    assert (turned.fact.answer, turned.new) == (case.new, case.fact.answer)
    assert turned.prompt.answer == case.new
    assert turned.wish.fact.subject == case.fact.subject


def test_the_reverse_is_asked_of_both_answers_and_has_nothing_to_be_compared_with(model):
    fact = eg.Fact("Y", "symbol", "Th", "1")
    case = eg.Case("1", fact, "Dublin", eg.Prompt("The symbol of Y is [Y]", "Th", fact),
                   reverse=(eg.Prompt("Dublin is the capital of [Y]", "Ireland"),))  # fmt: skip
    told = [s for s in sentences(model, case) if s.group.startswith("reverse")]
    assert [(s.group, s.prompt.text, s.old) for s in told] == [
        ("reverse", "Dublin is the capital of [Y]", None), ("reverse of the old", "Th is the capital of [Y]", None)
    ]  # fmt: skip
    rows = readings(model, [(0, case, [UNEDITED])])
    assert all(math.isnan(x) for r in rows if r["group"] == "reverse" for x in r["nll_old"])


def test_of_one_case_each_sentence_counts(model, cases):
    rows = each_sentence(readings(model, [(0, cases.cases[0], [UNEDITED])]))
    (found,) = judged(rows)
    known = found.scores["PS"]
    assert (known == known).sum() == len(cases.cases[0].paraphrase)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Editing(controls=("no edit",)), UnknownName),
        (lambda: Editing((By(ASKED), By(replace(ASKED, layer=1)))), BadSetting),
        (lambda: Editing(()), BadSetting),
        (lambda: InTurn(growth=1.0), BadSetting),
        (lambda: InTurn(checks=()), BadSetting),
        (lambda: ByNeurons(kind="spells"), UnknownName),
        (lambda: ByNeurons(most=0), BadSetting),
    ],
)
def test_a_setting_that_is_not_one_is_refused(make, error):
    with pytest.raises(error):
        make()


def test_facts_without_wishes_are_refused(model):
    facts = eg.data.shipped()
    experiment = Editing(limit=1)
    with pytest.raises(BadSetting, match="counterfact_from"):
        experiment.run(model, facts, experiment.cases(facts)[0])


def test_edits_in_turn_add_up_and_are_undone(model, cases):
    before = [fingerprint(slots_of(model, i)) for i in range(len(model.layers))]
    experiment = InTurn((By(ASKED, "rome"),), checks=(1, 3), limit=3, stop=False)
    (case,) = experiment.cases(cases)
    result = experiment.run(model, cases, case)
    assert [c["edits"] for c in result["checked"]] == [1, 3]
    assert result["checked"][0]["norm"] < result["checked"][1]["norm"]
    first, second, third = (facts_case(cases, n) for n in case["facts"])
    one = By(ASKED).plan(model, first)
    with holding(one, model):
        two = By(ASKED).plan(model, second)
        with holding(two, model), holding(By(ASKED).plan(model, third), model):
            said = eg.ask(model, first.prompt.asking_for(first.new))[0].logprob
    (kept,) = [r for r in result["rows"] if r["arm"] == "after 3" and r["number"] == case["facts"][0]
               and r["group"] == "rewrite"]  # fmt: skip
    assert -kept["nll_new"][0] == pytest.approx(said, abs=1e-4)
    assert before == [fingerprint(slots_of(model, i)) for i in range(len(model.layers))]
    assert experiment.summary([result])["rome, after 3: ES"].n == 3


class Loud(By):
    """Plans edits forty times too large."""

    def plan(self, model, case):
        return By.plan(self, model, case).scaled(40)


def test_where_ordinary_text_suffers_an_alarm_stops_the_edits(model, cases):
    experiment = InTurn((Loud(ASKED, "loud"),), checks=(1, 2, 3), limit=3)
    result = experiment.run(model, cases, experiment.cases(cases)[0])
    (check,) = [c for c in result["checked"] if c["alarm"]]
    assert check is result["checked"][-1]
    assert check["edits"] < 3
    assert any("ALARM" in note for note in experiment.summary([result]).notes)


def facts_case(cases, number):
    return cases.case(tuple(cases)[number].id)


def test_what_is_spoken_and_written_is_what_the_model_says_by_itself(model, cases):
    from engram.metrics.entropy import entropies
    from engram.models.continuing import continued

    case = cases.cases[0]
    rows = readings(model, [(0, case, [UNEDITED])], speaks=True, writes=24, seed=3)
    (rewrite,) = [r for r in rows if r["group"] == "rewrite"]
    assert rewrite["spoken"] == [eg.ask(model, case.prompt)[0].top[0][0].strip()]
    (text,) = [r for r in rows if r["group"] == "text"]
    assert text["entropy"] == entropies(continued(model, case.texts, tokens=24, seed=3)).tolist()
    (found,) = judged(rows)
    assert found.scores["GE"][0] == pytest.approx(sum(text["entropy"]) / len(text["entropy"]))
