"""The experiment against results worked out by hand, a planted neuron, and the questions asked one by one."""

from __future__ import annotations

import json

import pytest
import torch

import engram as eg
from engram.errors import BadSetting
from engram.experiments import Suppression, experiments
from engram.experiments.outcomes import CONDITIONS, pairs_of
from engram.testing import tiny

CAPITAL = eg.Relation(
    "P36",
    "capital",
    (
        "The capital of [X] is [Y] .",
        "the capital city of [X] is [Y] .",
        "[Y] is the capital of [X] .",
        "the city of [X] is [Y] .",
        "[X] has the capital [Y] .",
        "a city in [X] is [Y] .",
    ),
)
BORN = eg.Relation("P19", "place of birth", ("[X] was born in [Y] .", "in [Y] was born [X] .", "[X] of [Y] was born ."))
FACTS = eg.FactSet(
    "toy",
    (CAPITAL, BORN),
    {
        "P36": tuple(CAPITAL.fact(*x) for x in (("Ireland", "Dublin"), ("France", "Paris"), ("Italy", "Rome"))),
        "P19": (BORN.fact("Once", "Lyon"), BORN.fact("Tall", "Limerick")),
    },
)
FAST = eg.IntegratedGradients(steps=4, rule="gauss")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    return eg.load(*tiny("bert"))


@pytest.fixture(scope="module")
def results(model):
    experiment = Suppression(FAST)
    return [experiment.run(model, FACTS, case) for case in experiment.cases(FACTS)]


def said(before, after, right=(), still=()):
    ranks = [[1 if i in who else 9 for i in range(len(before))] for who in (right, still)]
    return {"fact": [], "before": before, "after": after, "rank_before": ranks[0], "rank_after": ranks[1]}


def by_hand():
    """Two relations of two facts: a fact without a neuron, and one relation without controls."""
    first = {
        "suppressed": said([0.4, 0.2], [0.1, 0.2], (0, 1), (1,)),
        "chance suppressed": said([0.4, 0.2], [0.4, 0.2]),
    }
    second = {"suppressed": said([0.2], [0.2], (0,), (0,)), "chance suppressed": said([0.2], [0.1])}
    third = {"suppressed": said([0.8, 0.4], [0.2, 0.1], (0,))}
    fourth = {"suppressed": said([0.1], [0.2])}
    common = {"drawn": 3, "askable": 2, "known": None, "share": "7/10", "mean": 1.0, "widths": [4, 4], "skipped": []}
    facts = [
        {"subject": s, "answer": "a", "neurons": n, "chance": [], "conditions": c}
        for s, n, c in (
            ("A", ["L0.1"], first),
            ("B", [], second),
            ("C", ["L0.1", "L1.3"], third),
            ("D", ["L1.0"], fourth),
        )
    ]
    lost = [{"fact": "⟨E, P36, e⟩", "reason": "AnswerNotWritable: the tokenizer cannot write 'e'"}]
    return [
        {**common, "relation": "P36", "found": True, "facts": facts[:2], "skipped": lost},
        {**common, "relation": "P19", "found": False, "facts": facts[2:]},
    ]


def test_the_summary_is_what_one_gets_by_hand() -> None:
    report, relations = Suppression().judged(by_hand())
    assert report["suppressed"].value == pytest.approx((1.0 - 2.1) / 2.1)  # sums over the six prompts
    assert report["suppressed"].n == 6
    mean = ((0.5 - 0.8) / 0.8 + (0.5 - 1.3) / 1.3) / 2
    assert report["suppressed, mean over relations"].value == pytest.approx(mean)
    assert report["chance suppressed"].value == pytest.approx(-0.1 / 0.8)
    assert report["suppressed: P(answer) before"].value == pytest.approx(2.1 / 6)
    assert report["suppressed: accuracy before"].value == pytest.approx(4 / 6)
    assert report["suppressed: accuracy after"].value == pytest.approx(2 / 6)
    assert (report["facts"].value, report["neurons per fact"].value) == (4, 1.0)
    assert report["facts without a neuron"].value == 0.25
    assert [r.relation for r in relations["chance suppressed"].rows] == ["P36"]
    assert list(relations) == ["suppressed", "chance suppressed"]
    assert any("P36: 1 of 3 facts left out (1 AnswerNotWritable)" in note for note in report.notes)
    assert any("P19: no share" in note for note in report.notes)


def test_prompts_of_a_fact_are_one_piece_of_evidence() -> None:
    pairs = pairs_of(by_hand(), "suppressed")
    assert pairs is not None
    assert [fact[1] for fact in pairs.facts] == ["A", "A", "B", "C", "C", "D"]


def test_results_mean_the_same_after_a_file(results) -> None:
    again = json.loads(json.dumps(results, allow_nan=False))
    assert Suppression().summary(again) == Suppression().summary(results)


def test_every_number_is_what_one_gets_by_asking(model, results) -> None:
    for result in results:
        for fact in result["facts"]:
            own, chance = (eg.NeuronSet.parse(" ".join(fact[key])) for key in ("neurons", "chance"))
            under = {
                "suppressed": eg.suppressed(own), "amplified": eg.amplified(own, by=2),
                "same relation": eg.suppressed(own), "other relation": eg.suppressed(own),
                "chance suppressed": eg.suppressed(chance), "chance amplified": eg.amplified(chance, by=2),
            }  # fmt: skip
            assert set(fact["conditions"]) == set(CONDITIONS)
            for condition, numbers in fact["conditions"].items():
                subject, relation, _ = numbers["fact"]
                prompts = FACTS.prompts(FACTS.fact(subject, relation), split="test")
                before, after = eg.ask(model, prompts), eg.ask(model, prompts, under=under[condition])
                assert numbers["before"] == pytest.approx([a.probability for a in before], rel=1e-4)
                assert numbers["after"] == pytest.approx([a.probability for a in after], rel=1e-4)
                assert numbers["rank_after"] == [a.rank for a in after]


def test_neurons_come_from_the_discovery_prompts_alone(model, results) -> None:
    result = results[0]
    selector = eg.Shared(share=result["share"])
    for fact, found in zip(FACTS.facts("P36"), result["facts"], strict=True):
        scores = eg.locate(model, FACTS.prompts(fact, split="discovery"), by=FAST)
        assert found["neurons"] == [str(n) for n in eg.select(scores, by=selector)]


def test_controls_are_of_the_same_size_and_about_something_else(results) -> None:
    for result in results:
        for fact in result["facts"]:
            own, chance = (eg.NeuronSet.parse(" ".join(fact[key])) for key in ("neurons", "chance"))
            assert not own & chance
            assert [n.layer for n in own] == [n.layer for n in chance]
            near, far = (fact["conditions"][c]["fact"] for c in ("same relation", "other relation"))
            assert near[1] == result["relation"] != far[1]
            assert fact["answer"] not in (near[2], far[2])


def test_a_planted_neuron_is_found_and_its_silence_takes_the_answer_away() -> None:
    net, tokenizer = tiny("bert")
    block = net.bert.encoder.layer[2]
    with torch.no_grad():
        block.intermediate.dense.weight[5] = 0
        block.intermediate.dense.bias[5] = 3
    model = eg.load(net, tokenizer)
    fact = FACTS.fact("Ireland", "P36")
    (answer,) = tokenizer.convert_tokens_to_ids(["Dublin"])
    slot = torch.zeros(16, requires_grad=True)
    texts = [p.text.replace("[Y]", "[MASK]") for p in FACTS.prompts(fact)]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    at = batch["input_ids"] == tokenizer.mask_token_id
    descend = torch.optim.Adam([slot], lr=0.3)
    hook = block.output.dense.register_forward_hook(lambda _m, args, out: out + args[0][..., 5:6] * slot)
    for _ in range(60):
        descend.zero_grad()
        (-net(**batch).logits[at].log_softmax(-1)[:, answer].mean()).backward()
        descend.step()
    hook.remove()
    with torch.no_grad():
        block.output.dense.weight[:, 5] += slot
    experiment = Suppression(FAST, facts=3)
    result = experiment.run(model, FACTS, {"relation": "P36", "facts": [0, 1, 2]})
    ireland = result["facts"][0]
    assert "L2.5" in ireland["neurons"]
    numbers = ireland["conditions"]["suppressed"]
    assert min(numbers["before"]) > 0.5
    assert max(numbers["after"]) < 0.1
    assert min(ireland["conditions"]["chance suppressed"]["after"]) > 0.4


def test_a_relation_is_drawn_the_same_whichever_others_are_tried() -> None:
    several = [Suppression(facts=1, seed=s) for s in range(10)]
    alone = [e.cases(FACTS.only(["P36"])) + e.cases(FACTS.only(["P19"])) for e in several]
    assert [e.cases(FACTS) for e in several] == alone
    draws = {tuple(Suppression(facts=2, seed=s).cases(FACTS)[0]["facts"]) for s in range(20)}
    assert draws == {(0, 1), (0, 2), (1, 2)}


def test_what_cannot_be_asked_is_left_out_with_its_reason(model) -> None:
    odd = eg.FactSet("odd", (CAPITAL,), {"P36": (*FACTS.facts("P36"), CAPITAL.fact("Estonia", "Ж"))})
    result = Suppression(FAST).run(model, odd, {"relation": "P36", "facts": [0, 1, 3]})
    assert [f["subject"] for f in result["facts"]] == ["Ireland", "France"]
    assert (result["drawn"], result["askable"]) == (3, 2)
    (skipped,) = result["skipped"]
    assert skipped["fact"] == "⟨Estonia, P36, Ж⟩"
    assert skipped["reason"].startswith("AnswerNotWritable: ")
    assert all("other relation" not in f["conditions"] for f in result["facts"])  # there is no other


def test_only_known_facts_are_tried_where_that_is_wanted(model) -> None:
    experiment = Suppression(FAST, known_only=True)
    result = experiment.run(model, FACTS, {"relation": "P36", "facts": [0, 1, 2]})
    answers = [eg.ask(model, FACTS.prompts(f, split="discovery")) for f in FACTS.facts("P36")]
    known = [sum(a.rank == 1 for a in own) * 2 >= len(own) for own in answers]
    assert result["known"] == len(result["facts"]) == sum(known)
    if not any(known):
        with pytest.raises(BadSetting, match="3 were drawn, of which 3 can be asked of this model, and none is known"):
            experiment.summary([result])


def test_without_any_fact_the_reason_is_told(model) -> None:
    odd = eg.FactSet("odd", (CAPITAL,), {"P36": (CAPITAL.fact("Estonia", "Ж"),)})
    experiment = Suppression(FAST)
    with pytest.raises(BadSetting, match="1 were drawn, of which 0 can be asked of this model; AnswerNotWritable"):
        experiment.summary([experiment.run(model, odd, case) for case in experiment.cases(odd)])


def test_progress_goes_up_to_the_end(model) -> None:
    seen = []
    Suppression(FAST).run(model, FACTS, {"relation": "P36", "facts": [0, 1]}, progress=lambda i, n: seen.append((i, n)))
    assert seen == sorted(seen)
    assert seen[-1] == (4, 4)


@pytest.mark.parametrize("wrong", [{"facts": 0}, {"by": -1.0}, {"seed": -1}])
def test_settings_outside_what_is_defined_are_refused(wrong) -> None:
    with pytest.raises(BadSetting):
        Suppression(**wrong)


def test_it_is_known_by_its_name() -> None:
    assert experiments["suppression"] is Suppression
