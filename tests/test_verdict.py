"""One edit judged: against answers asked one by one, an edit of nothing, pairs made by hand, all kinds of wishes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import engram as eg
from engram.cases import Case, CaseSet
from engram.data import case_of
from engram.edits import Edit
from engram.errors import BadSetting, OtherWeights, UnknownName
from engram.facts import Fact, FactSet, Prompt, Relation
from engram.models.editing import fingerprint, slots_of

torch.set_num_threads(1)

ROME = eg.ROME(layer=0, covariance=None, token="asked", contexts=(), preset="p-rome")
FAR = 6  # facts of the other relation
BARE = {"controls": (), "texts": (), "others": 0}


@pytest.fixture(scope="module")
def model():
    return eg.load("engram:causal")


@pytest.fixture(scope="module")
def facts():
    """Fields, and a few symbols as the facts of another relation."""
    both = eg.data.shipped().only(["field", "symbol"])
    return replace(both, members={**both.members, "symbol": both.facts("symbol")[:FAR]})


@pytest.fixture(scope="module")
def case(facts):
    return case_of(facts, facts.fact("Plato", "field").becoming("mathematics"))


def planned(model, case, by=ROME):
    return eg.rewrite(model, case.wish, by=by, prompt=case.prompt)


@pytest.fixture(scope="module")
def edit(model, case):
    return planned(model, case)


@pytest.fixture(scope="module")
def report(model, edit, facts):
    return eg.judge(model, edit, facts, others=50)


def nll(model, prompts, answers, under=None):
    """Mean −ln P per token, each asked alone."""
    asked = [p.asking_for(a) for p, a in zip(prompts, answers, strict=True)]
    return np.array([-a.logprob / len(a.tokens) for a in eg.ask(model, asked, under=under)])


def test_its_scores_are_those_of_answers_asked_one_by_one(model, facts, case, edit, report):
    for arm, under in (("no edit", None), ("edited", edit)):
        for letter, prompts in (("E", [case.prompt]), ("P", case.paraphrase), ("N", case.neighbour)):
            new = nll(model, prompts, [case.new] * len(prompts), under)
            old = nll(model, prompts, [case.fact.answer] * len(prompts), under)
            right, wrong = (old, new) if letter == "N" else (new, old)
            found = report[f"{arm}: {letter}S"]
            assert (found.value, found.n) == ((right < wrong).mean(), len(prompts))
            magnitude = (np.exp(-right) - np.exp(-wrong)).mean()
            assert report[f"{arm}: {letter}M"].value == pytest.approx(magnitude, abs=1e-4)
    assert report["edited: ES"].value == 1
    assert report["no edit: NS"].value == 1


def test_facts_of_other_relations_are_asked_without_and_with_the_edit(model, facts, edit):
    loud = edit.scaled(8)  # so that others suffer
    report = eg.judge(model, loud, facts, controls=(), texts=(), others=50)
    prompts = [facts.prompts(f, blank_last=True)[0] for f in facts.facts("symbol")]
    losses, hits = {}, {}
    for arm, under in (("no edit", None), ("edited", loud)):
        answers = eg.ask(model, prompts, under=under)
        hits[arm] = np.mean([a.rank == 1 for a in answers])
        assert (report[f"{arm}: elsewhere: exact"].value, report[f"{arm}: elsewhere: exact"].n) == (hits[arm], FAR)
        losses[arm] = np.mean([-a.logprob / len(a.tokens) for a in answers])
    assert hits["no edit"] > hits["edited"]
    ratio = report["elsewhere: perplexity of the true answers, ratio"].value
    assert ratio == pytest.approx(math.exp(losses["edited"] - losses["no edit"]), rel=1e-3)


def test_an_edit_of_nothing_scores_as_no_edit(model, case, facts):
    nothing = Edit("nothing", case.wish, (), model.name)
    report = eg.judge(model, nothing, facts, others=50, controls=())
    pairs = [(s, report[s.name.replace("edited:", "no edit:", 1)]) for s in report.scores
             if s.name.startswith("edited: ") and ", above " not in s.name]  # fmt: skip
    assert len(pairs) > 20
    for edited, plain in pairs:
        assert (edited.value, edited.interval) == (plain.value, plain.interval), edited.name
    assert report["perplexity: ratio"].value == 1
    assert report["edited: ES, above no edit"].value == 0


def test_controls_are_asked_too_and_an_unknown_one_is_refused(model, facts, edit, report):
    assert report["edited, random neurons: ES"].value == report["edited, random layer: ES"].value == 0
    apart = report["edited: ES, above random neurons"]
    assert (apart.value, apart.n) == (1, 1)
    with pytest.raises(UnknownName, match="random neurons"):
        eg.judge(model, edit, facts, controls=("random facts",))


def test_nothing_in_the_model_changes(model, facts, edit):
    before = [fingerprint(slots_of(model, i)) for i in range(len(model.layers))]
    eg.judge(model, edit, facts, others=2)
    assert before == [fingerprint(slots_of(model, i)) for i in range(len(model.layers))]


def minimal(pairs):
    """Pairs as BLiMP's are read: one sentence of its own for each fact, with the word that would be wrong."""
    kind, named = Relation("agreement", "agreement", ()), {}
    for i, (text, right, wrong) in enumerate(pairs):
        fact = Fact(str(i), "agreement", right, str(i))
        named[fact] = (Prompt(text, right, fact, against=wrong),)
    own = {f.id: prompts for f, prompts in named.items()}
    return FactSet("pairs", (kind,), {"agreement": tuple(named)}, own=own)


def test_minimal_pairs_are_told_apart_where_the_right_word_is_likelier(model, facts, edit):
    said = [("The capital of Ireland is [Y]", "Dublin", "Paris"), ("The capital of France is [Y]", "Dublin", "Paris"),
            ("The capital of Italy is [Y]", "Rome", "Dublin")]  # fmt: skip
    report = eg.judge(model, edit, facts, syntax=minimal(said), **BARE)
    for arm, under in (("no edit", None), ("edited", edit)):
        prompts = [Prompt(text, right) for text, right, _ in said]
        right = nll(model, prompts, [r for _, r, _ in said], under)
        wrong = nll(model, prompts, [w for _, _, w in said], under)
        assert (report[f"{arm}: syntax"].value, report[f"{arm}: syntax"].n) == ((right < wrong).mean(), 3)
    assert report["no edit: syntax"].value == pytest.approx(2 / 3)
    change = report["edited: syntax"].value - report["no edit: syntax"].value
    assert report["syntax, change"].value == pytest.approx(change)


def test_pairs_that_cannot_be_asked_are_refused(model, facts, edit):
    with pytest.raises(BadSetting, match="no pairs"):
        eg.judge(model, edit, facts, syntax=minimal([("[Y] is the capital of Ireland", "Dublin", "Paris")]), **BARE)


def test_data_without_the_fact_are_refused_and_a_case_of_ones_own_is_taken(model):
    fact = Fact("Atlantis", "capital", "Dublin", "1")
    case = Case("1", fact, "Paris", Prompt("The capital of Ireland is [Y]", "Dublin", fact))
    nothing = Edit("nothing", case.wish, (), model.name)
    with pytest.raises(BadSetting, match="nothing to say of 'Atlantis' with the answer 'Dublin'"):
        eg.judge(model, nothing, eg.data.shipped(), **BARE)
    for data in (case, CaseSet.of("mine", (Relation("capital", "capital", ()),), [case])):
        report = eg.judge(model, nothing, data, **BARE)
        assert (report["edited: ES"].value, report["edited: ES"].n) == (0, 1)
        assert report["edited: rewrite: says the old answer"].value == 1


def test_another_wish_than_the_cases_takes_its_own_new_answer(model, case):
    wish = case.fact.becoming("physics")
    edit = eg.rewrite(model, wish, by=ROME, prompt=case.prompt)
    report = eg.judge(model, edit, case, **BARE)
    (found,) = nll(model, [case.prompt], ["physics"], edit)
    (old,) = nll(model, [case.prompt], ["philosophy"], edit)
    assert report["edited: EM"].value == pytest.approx(math.exp(-found) - math.exp(-old), abs=1e-4)
    assert "edited: attribute: exact" not in {s.name for s in report.scores}


def test_a_wish_to_erase_is_judged_by_what_is_left_of_the_old_answer(model, facts, case):
    scores = eg.locate(model, [case.prompt], by=eg.IntegratedGradients(rule="gauss"))
    erasure = eg.rewrite(model, case.fact.becoming(None), by=eg.Erasure(eg.select(scores, by=eg.Top(40))))
    report = eg.judge(model, erasure, facts, **BARE)
    (before,), (after,) = (eg.ask(model, [case.prompt], under=u) for u in (None, erasure))
    for arm, answer in (("no edit", before), ("edited", after)):
        assert report[f"{arm}: rewrite: P(old answer)"].value == pytest.approx(answer.probability, abs=1e-4)
        assert report[f"{arm}: rewrite: says the old answer"].value == (answer.rank == 1)
    assert after.probability < before.probability * 0.75


def test_an_erased_relation_is_another_command(model, facts):
    with pytest.raises(BadSetting, match="run erasing"):
        eg.judge(model, Edit("erasure", facts.relation("field"), (), model.name), facts)


def three(facts):
    wishes = {"Plato": "mathematics", "Albert Einstein": "philosophy", "Charles Darwin": "music"}
    return [case_of(facts, facts.fact(who, "field").becoming(new)) for who, new in wishes.items()]


def test_several_facts_are_each_a_case(model, facts):
    cases = three(facts)
    by = eg.MEMIT(layers=(0, 1), covariances=None, contexts=(), balance=1.0, token="asked")
    wishes, prompts = tuple(c.wish for c in cases), tuple(c.prompt for c in cases)
    together = eg.rewrite(model, wishes, by=by, prompt=prompts)
    stacked = eg.stacked(*(planned(model, c) for c in cases[:2]))
    for edit, own in ((together, cases), (stacked, cases[:2])):
        report = eg.judge(model, edit, facts, **BARE)
        found = [nll(model, [c.prompt], [c.new], edit) < nll(model, [c.prompt], [c.fact.answer], edit) for c in own]
        assert (report["edited: ES"].value, report["edited: ES"].n) == (np.mean(found), len(own))
        within = []
        for c in own:
            new = nll(model, c.neighbour, [c.new] * len(c.neighbour), edit)
            within.append((nll(model, c.neighbour, [c.fact.answer] * len(c.neighbour), edit) < new).mean())
        assert (report["edited: NS"].value, report["edited: NS"].n) == (pytest.approx(np.mean(within)), len(own))
        parts = [report[f"edited: {p}"].value for p in ("ES", "PS", "NS")]
        expected = 0.0 if min(parts) == 0 else 3 / sum(1 / p for p in parts)
        assert report["edited: S"].value == pytest.approx(expected)


def test_an_edit_of_other_weights_is_refused(facts, edit):
    other = eg.load("engram:causal")
    with torch.no_grad():
        slots_of(other, 0).mul_(1.01)
    with pytest.raises(OtherWeights):
        eg.judge(other, edit, facts, **BARE)


def test_ordinary_text_that_suffers_gives_an_alarm(model, facts, edit):
    loud = eg.judge(model, edit.scaled(40), facts, controls=(), others=0)
    assert loud["perplexity: ratio"].value > 1.5
    assert any(note.startswith("ALARM") for note in loud.notes)
    assert not any(note.startswith("ALARM") for note in eg.judge(model, edit, facts, controls=(), others=0).notes)
