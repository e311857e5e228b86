"""Symmetry and synonymy of edits: against answers asked one by one, and what the published code counts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

import engram as eg
from engram.cases import Case, CaseSet
from engram.data.criteria import WORDS
from engram.data.previous import previous, with_criteria
from engram.edits import Edit
from engram.errors import BadSetting, UnknownName
from engram.experiments import By, ByNeurons, Criteria
from engram.experiments.planning import Planner
from engram.metrics.criteria import (
    FROM_NEW,
    FROM_NEW_OTHER,
    FROM_OLD,
    FROM_OLD_OTHER,
    NEW,
    OLD,
    STRINGS,
    WORD_NEW,
    WORD_OLD,
    of_strings,
    passed,
)
from engram.metrics.intervals import of_cases
from engram.report.book import report_runs
from engram.report.chapters.criteria import told
from engram.results import Score
from test_chapters import Read

ASKED = eg.ROME(layer=0, covariance=None, token="asked", contexts=(), preset="p-rome")
PICK = ("capital", "field")


@pytest.fixture(scope="module")
def model():
    return eg.load("engram:causal")


@pytest.fixture(scope="module")
def cases():
    return eg.data.cases("shipped", relations=PICK, neighbours=0, attributes=0, texts=0)


@pytest.fixture(scope="module")
def made(model, cases):
    experiment = Criteria((By(ASKED, "rome"),), facts=3)
    return experiment, [experiment.run(model, cases, case) for case in experiment.cases(cases)]


@dataclass(frozen=True)
class Nothing(Planner):
    """Plans an edit of nothing."""

    name = "nothing"

    def plan(self, model, case):
        return Edit("nothing", case.wish, (), model.name)

    def settings(self):
        return {}


def rows_of(made):
    return [row for result in made[1] for row in result["rows"]]


def test_each_string_is_what_the_model_says_when_asked_alone(model, cases, made):
    """Under the edit and without it; and each is one of those that the published code asks, in its own terms."""
    numbers = tuple(cases)
    for relation in PICK:
        mine = [r for r in rows_of(made) if r["relation"] == relation]
        number = mine[0]["number"]
        case = cases.case(numbers[number].id)
        edit = By(ASKED).plan(model, case)
        t, new, s = case.fact.answer, case.new, case.fact.subject
        if relation == "capital":
            (other,) = [f.subject for f in eg.data.shipped().facts("capital") if f.answer == new]
            wanted = {
                OLD: (case.prompt.text, t), NEW: (case.prompt.text, new),
                FROM_NEW: (f"{new} is the capital of [Y]", s), FROM_NEW_OTHER: (f"{new} is the capital of [Y]", other),
                FROM_OLD: (f"{t} is the capital of [Y]", s), FROM_OLD_OTHER: (f"{t} is the capital of [Y]", other),
            }  # fmt: skip
        else:
            asked = f"The profession of {s} was that of [Y]"
            wanted = {OLD: (case.prompt.text, t), NEW: (case.prompt.text, new),
                      WORD_OLD: (asked, WORDS[t]), WORD_NEW: (asked, WORDS[new])}  # fmt: skip
        for under, arm in ((None, "no edit"), (edit, "edited")):
            found = {r["string"]: r for r in mine if r["number"] == number and r["arm"] == arm}
            assert {k: (r["prompt"], r["said"]) for k, r in found.items()} == wanted
            for text, said in wanted.values():
                (answer,) = eg.ask(model, [eg.Prompt(text, said)], under=under)
                (row,) = [r for r in found.values() if (r["prompt"], r["said"]) == (text, said)]
                assert -answer.logprob / len(answer.tokens) == pytest.approx(row["nll"], abs=1e-4)
                assert row["tokens"] == len(answer.tokens)
                assert (row["hits"] == 1) == answer.knows


def test_both_measures_are_as_the_study_defines_them():
    def said(nll, hits, tokens=1):
        return {"nll": nll, "hits": hits, "tokens": tokens}

    own = {OLD: said(3, 0), NEW: said(1, 1), FROM_NEW: said(1.0, 0.5, 2), FROM_NEW_OTHER: said(1.5, 1, 1)}
    assert of_strings("symmetry", own)["passed, paper"] == 1
    assert of_strings("symmetry", own, "whole")["passed, paper"] == 0  # e^-2 is less than e^-1.5
    assert of_strings("symmetry", own)["passed, code"] == 0.5
    assert of_strings("symmetry", {**own, FROM_NEW_OTHER: said(1.0, 1)})["passed, paper"] == 0  # a tie
    word = {OLD: said(1, 1), NEW: said(1.2, 0), WORD_OLD: said(2, 0), WORD_NEW: said(1, 1)}
    found = of_strings("synonymy", word)
    assert (found["reliability, paper"], found["passed, paper"], found["passed, code"]) == (0, 1, 1)
    assert [len(own) for own in STRINGS.values()] == [6, 4]
    places = {c: sorted(i for both in own.values() for i in both if i is not None) for c, own in STRINGS.items()}
    assert places == {"symmetry": list(range(7)), "synonymy": list(range(6))}  # all that the released code lists


def test_an_edit_works_and_the_criteria_are_counted_from_its_rows(made):
    experiment, results = made
    report = experiment.summary(results)
    assert report["symmetry, rome: reliability, paper"].value == 1
    assert report["synonymy, no edit: reliability, paper"].value == 0
    for criterion, passes, instead, known in (
        ("symmetry", FROM_NEW, FROM_NEW_OTHER, FROM_OLD), ("synonymy", WORD_NEW, WORD_OLD, WORD_OLD)
    ):  # fmt: skip
        rows = [r for r in rows_of(made) if r["criterion"] == criterion]
        by = {(r["number"], r["editor"], r["arm"], r["string"]): r for r in rows}
        numbers = sorted({r["number"] for r in rows})

        def rate(editor, arm, by=by, numbers=numbers, passes=passes, instead=instead):
            return [by[n, editor, arm, passes]["nll"] < by[n, editor, arm, instead]["nll"] for n in numbers]

        edited, before = rate("rome", "edited"), rate("", "no edit")
        assert report[f"{criterion}, rome: passed, paper"].value == pytest.approx(np.mean(edited))
        above = np.mean(edited) - np.mean(before)
        assert report[f"{criterion}, rome: passed, paper, above no edit"].value == pytest.approx(above)
        answered = [by[n, "", "no edit", known]["hits"] == 1 for n in numbers]
        assert report[f"{criterion}: answered before"].value == np.mean(answered)
        if any(answered):
            kept = [e for e, a in zip(edited, answered, strict=True) if a]
            assert report[f"{criterion}, rome: passed, paper, answered before"].n == len(kept)
            assert report[f"{criterion}, rome: passed, paper, answered before"].value == np.mean(kept)


def test_an_edit_of_nothing_is_not_above_no_edit(model, cases):
    experiment = Criteria((Nothing(),), controls=(), facts=2)
    report = experiment.summary([experiment.run(model, cases, case) for case in experiment.cases(cases)])
    found = [s for s in report.scores if "above no edit" in s.name]
    assert found
    assert all(s.value == 0 and (s.interval is None or s.interval[0] < 0 < s.interval[1]) for s in found)


def test_where_no_draw_can_differ_the_interval_is_that_of_a_proportion():
    low, high = of_cases(np.ones(8))
    assert (low, high) == pytest.approx((0.025 ** (1 / 8), 1.0))
    assert of_cases(np.zeros(8), least=-1) == pytest.approx((low - 1, 1 - low))
    assert of_cases(np.ones(8), least=-1) == pytest.approx((2 * low - 1, 1.0))


def test_results_do_not_depend_on_the_shard(model, cases, made):
    one = Criteria((By(ASKED, "rome"),), facts=3, shard=1)
    shards = one.cases(cases)
    assert [n for c in shards for n in c["facts"]] == [n for c in made[0].cases(cases) for n in c["facts"]]
    alone = one.run(model, cases, shards[-1])["rows"]
    whole = [r for r in rows_of(made) if r["number"] == alone[0]["number"]]
    for mine, theirs in zip(alone, whole, strict=True):
        assert mine["nll"] == pytest.approx(theirs["nll"], abs=1e-5)
        assert {k: v for k, v in mine.items() if k != "nll"} == {k: v for k, v in theirs.items() if k != "nll"}


def test_only_what_can_be_judged_is_drawn():
    facts = eg.data.shipped()
    able = {tuple(facts)[i].relation for i in with_criteria(facts)}
    assert able == {"capital", "state_capital", "symbol", "demonym", "field", "occupation"}
    drawn = [n for c in Criteria(facts=2, new="previous").cases(facts) for n in c["facts"]]
    assert len(drawn) == 2 * len(able)
    assert set(drawn) <= set(with_criteria(facts))
    with pytest.raises(BadSetting, match="turned round"):
        Criteria().cases(facts.only(["author"]))


def test_the_previous_answer_is_taken_as_in_the_published_code(model):
    facts = eg.data.shipped()
    own = facts.facts("capital")
    for i in (0, 1, 2):  # the first takes the last one's
        case = previous(facts, own[i], facts.prompts(own[i], blank_last=True)[0])
        assert case.new == own[i - 1].answer
        assert case.reverse[0].text.startswith(f"{own[i - 1].answer} is the capital of")
        assert (case.reverse[0].answer, case.reverse[0].against) == (own[i].subject, own[i - 1].subject)
    fields = list(dict.fromkeys(f.answer for f in facts.facts("field") if f.answer in WORDS))
    fact = next(f for f in facts.facts("field") if f.answer == fields[1])
    case = previous(facts, fact, facts.prompts(fact)[0])
    assert (case.new, case.synonym[0].against) == (fields[0], WORDS[fields[0]])
    experiment = Criteria((Nothing(),), controls=(), new="previous", facts=1, relations=("capital",))
    (shard,) = experiment.cases(facts)
    rows = experiment.run(model, facts, shard)["rows"]
    (number,) = shard["facts"]
    at = own.index(tuple(facts)[number])
    assert {r["new_answer"] for r in rows} == {own[at - 1].answer}


def test_what_is_true_already_is_no_new_answer():
    r = eg.Relation("field", "field", ("[X] works in [Y].",))
    facts = eg.FactSet("mine", (r,), {"field": (r.fact("Ada", "physics"), r.fact("Ada", "law"))})
    with pytest.raises(BadSetting, match="true already"):
        previous(facts, facts.facts("field")[0], facts.prompts(facts.facts("field")[0])[0])


def test_what_cannot_be_judged_is_said(model, cases):
    facts = eg.data.shipped()
    experiment = Criteria(facts=1)
    result = experiment.run(model, facts, experiment.cases(facts)[0])
    assert not result["rows"]
    assert "counterfact_from" in result["skipped"][0]["reason"]
    with pytest.raises(BadSetting, match="no case was judged"):
        experiment.summary([result])
    bare = replace(cases.cases[0], reverse=(), synonym=())
    one = CaseSet.of("bare", cases.relations, [bare])
    with pytest.raises(BadSetting, match="turned round"):
        Criteria().cases(one)


def test_an_answer_of_several_tokens_is_asked_too(model):
    """A sentence with a wrong answer is a contrast of one token each elsewhere; here both are asked for themselves."""
    fact = eg.Fact("Saudi Arabia", "capital", "Riyadh", "1")
    case = Case("1", fact, "Dublin", eg.Prompt("The capital of Saudi Arabia is [Y]", "Riyadh", fact),
                reverse=(eg.Prompt("Dublin is the capital of [Y]", "Saudi Arabia", against="Ireland"),))  # fmt: skip
    one = CaseSet.of("one", (eg.Relation("capital", "capital", ()),), [case])
    rows = Criteria((Nothing(),), controls=()).run(model, one, {"facts": [0]})["rows"]
    (row,) = [r for r in rows if r["string"] == FROM_NEW and r["arm"] == "no edit"]
    assert row["tokens"] > 1


def test_a_criterion_that_the_model_cannot_answer_is_not_judged():
    few = {"symmetry: answered before": Score("x", 0.0, 8, "fraction", interval=(0.0, 0.37))}
    words, kind = told(few, "symmetry")
    assert kind == "no"
    assert "0 of 8" in words
    assert "cannot be judged" in words
    assert told({"symmetry: answered before": Score("x", 0.25, 100, "fraction")}, "symmetry")[1] == "yes"


def test_the_chapter_says_before_and_after(model, cases, tmp_path):
    experiment = Criteria((By(ASKED, "rome"), ByNeurons(most=5)), facts=2)
    run = eg.run(experiment, cases, model, out=tmp_path / "criteria")
    text = report_runs([run], tmp_path / "page", title="criteria").read_text(encoding="utf-8")
    assert Read(text).fetched == []
    for words in ("cannot be judged on this model", "What the model answers before any edit", "table 1 of Niu"):
        assert words in text
    drawn = {"criteria-synonymy-0", "criteria-synonymy-1", "criteria-symmetry-0"}
    assert drawn <= {p.stem for p in tmp_path.rglob("*.svg")}


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Criteria(controls=("no edit",)), UnknownName),
        (lambda: Criteria(new="first"), UnknownName),
        (lambda: Criteria(measures=("papers",)), UnknownName),
        (lambda: Criteria(measures=()), BadSetting),
        (lambda: Criteria(compared="words"), UnknownName),
        (lambda: Criteria(()), BadSetting),
    ],
)
def test_a_setting_that_is_not_one_is_refused(make, error):
    with pytest.raises(error):
        make()


def test_rows_give_every_condition(made):
    (symmetry, synonymy) = passed(rows_of(made))
    assert (symmetry.criterion, synonymy.criterion) == ("symmetry", "synonymy")
    arms = {("", "no edit"), ("rome", "edited"), ("rome", "random neurons"), ("rome", "toward the truth")}
    assert set(symmetry.conditions) == arms
    assert symmetry.of("capital").relations == ["capital"] * 3
