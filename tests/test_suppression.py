"""The experiment against results worked out by hand, a planted neuron, and the questions asked one by one."""

from __future__ import annotations

import json

import pytest
import torch

import engram as eg
from engram.errors import BadSetting
from engram.experiments import Neurons, Suppression, experiments
from engram.metrics.outcomes import CONDITIONS, pairs_of
from engram.testing import tiny

pytestmark = pytest.mark.usefixtures("one_thread")

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


@pytest.fixture(scope="module")
def model():
    return eg.load(*tiny("bert"))


@pytest.fixture(scope="module")
def results(model):
    experiment = Suppression(Neurons(FAST))
    return [experiment.run(model, FACTS, case) for case in experiment.cases(FACTS)]


def row(relation, subject, neurons, condition, before, after, right=(), still=()):
    ranks = [[1 if i in who else 9 for i in range(len(before))] for who in (right, still)]
    return {
        "relation": relation, "number": 0, "subject": subject, "answer": "a", "condition": condition,
        "neurons": neurons, "asked_subject": subject, "asked_relation": relation, "asked_answer": "a",
        "before": before, "after": after, "rank_before": ranks[0], "rank_after": ranks[1],
    }  # fmt: skip


def by_hand():
    """Two relations of two facts: a fact without a neuron, and one relation without controls."""
    first = [
        row("P36", "A", ["L0.1"], "suppressed", [0.4, 0.2], [0.1, 0.2], (0, 1), (1,)),
        row("P36", "A", [], "chance suppressed", [0.4, 0.2], [0.4, 0.2]),
        row("P36", "B", [], "suppressed", [0.2], [0.2], (0,), (0,)),
        row("P36", "B", [], "chance suppressed", [0.2], [0.1]),
    ]
    second = [
        row("P19", "C", ["L0.1", "L1.3"], "suppressed", [0.8, 0.4], [0.2, 0.1], (0,)),
        row("P19", "D", ["L1.0"], "suppressed", [0.1], [0.2]),
    ]
    common = {"drawn": 3, "askable": 2, "known": None, "widths": [4, 4], "skipped": []}
    lost = [{"fact": "⟨E, P36, e⟩", "reason": "AnswerNotWritable: the tokenizer cannot write 'e'"}]

    def shares(found):
        return {"attribution": {"share": "7/10", "mean": 1.0, "found": found}}

    return [
        {**common, "relation": "P36", "shares": shares(True), "rows": first, "skipped": lost},
        {**common, "relation": "P19", "shares": shares(False), "rows": second},
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
        assert {r["condition"] for r in result["rows"]} == set(CONDITIONS)
        for said in result["rows"]:
            neurons = eg.NeuronSet.parse(" ".join(said["neurons"]))
            loud = "amplified" in said["condition"]
            under = eg.amplified(neurons, by=2) if loud else eg.suppressed(neurons)
            prompts = FACTS.prompts(FACTS.fact(said["asked_subject"], said["asked_relation"]), split="test")
            before, after = eg.ask(model, prompts), eg.ask(model, prompts, under=under)
            assert said["before"] == pytest.approx([a.probability for a in before], rel=1e-4)
            assert said["after"] == pytest.approx([a.probability for a in after], rel=1e-4)
            assert said["rank_after"] == [a.rank for a in after]


def test_controls_are_of_the_same_size_and_about_something_else(results) -> None:
    for result in results:
        said = {(r["number"], r["condition"]): r for r in result["rows"]}
        for number in {r["number"] for r in result["rows"]}:
            of = {c: said[number, c] for c in CONDITIONS}
            own, chance = (eg.NeuronSet.parse(" ".join(of[c]["neurons"])) for c in ("suppressed", "chance suppressed"))
            assert not own & chance
            assert [n.layer for n in own] == [n.layer for n in chance]
            near, far = of["same relation"], of["other relation"]
            assert near["asked_relation"] == result["relation"] != far["asked_relation"]
            assert near["answer"] not in (near["asked_answer"], far["asked_answer"])
            assert of["same relation"]["neurons"] == of["suppressed"]["neurons"] == of["amplified"]["neurons"]


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
    experiment = Suppression(Neurons(FAST, facts=3))
    result = experiment.run(model, FACTS, {"relation": "P36", "facts": [0, 1, 2]})
    ireland = {r["condition"]: r for r in result["rows"] if r["subject"] == "Ireland"}
    assert "L2.5" in ireland["suppressed"]["neurons"]
    assert min(ireland["suppressed"]["before"]) > 0.5
    assert max(ireland["suppressed"]["after"]) < 0.1
    assert min(ireland["chance suppressed"]["after"]) > 0.4


def test_a_relation_is_drawn_the_same_whichever_others_are_tried() -> None:
    several = [Suppression(Neurons(facts=1, seed=s)) for s in range(10)]
    alone = [e.cases(FACTS.only(["P36"])) + e.cases(FACTS.only(["P19"])) for e in several]
    assert [e.cases(FACTS) for e in several] == alone
    draws = {tuple(Suppression(Neurons(facts=2, seed=s)).cases(FACTS)[0]["facts"]) for s in range(20)}
    assert draws == {(0, 1), (0, 2), (1, 2)}


def test_what_cannot_be_asked_is_left_out_with_its_reason(model) -> None:
    odd = eg.FactSet("odd", (CAPITAL,), {"P36": (*FACTS.facts("P36"), CAPITAL.fact("Estonia", "Ж"))})
    result = Suppression(Neurons(FAST)).run(model, odd, {"relation": "P36", "facts": [0, 1, 3]})
    assert list(dict.fromkeys(r["subject"] for r in result["rows"])) == ["Ireland", "France"]
    assert (result["drawn"], result["askable"]) == (3, 2)
    (skipped,) = result["skipped"]
    assert skipped["fact"] == "⟨Estonia, P36, Ж⟩"
    assert skipped["reason"].startswith("AnswerNotWritable: ")
    assert "other relation" not in {r["condition"] for r in result["rows"]}  # there is no other


def test_only_known_facts_are_tried_where_that_is_wanted(model) -> None:
    experiment = Suppression(Neurons(FAST, known_only=True))
    result = experiment.run(model, FACTS, {"relation": "P36", "facts": [0, 1, 2]})
    answers = [eg.ask(model, FACTS.prompts(f, split="discovery")) for f in FACTS.facts("P36")]
    known = [sum(a.rank == 1 for a in own) * 2 >= len(own) for own in answers]
    assert result["known"] == len({r["number"] for r in result["rows"]}) == sum(known)
    if not any(known):
        with pytest.raises(BadSetting, match="3 were drawn, of which 3 can be asked of this model, and none is known"):
            experiment.summary([result])


def test_without_any_fact_the_reason_is_told(model) -> None:
    odd = eg.FactSet("odd", (CAPITAL,), {"P36": (CAPITAL.fact("Estonia", "Ж"),)})
    experiment = Suppression(Neurons(FAST))
    with pytest.raises(BadSetting, match="1 were drawn, of which 0 can be asked of this model; AnswerNotWritable"):
        experiment.summary([experiment.run(model, odd, case) for case in experiment.cases(odd)])


def test_progress_goes_up_to_the_end(model) -> None:
    seen = []
    Suppression(Neurons(FAST)).run(
        model, FACTS, {"relation": "P36", "facts": [0, 1]}, progress=lambda i, n: seen.append((i, n))
    )
    assert seen == sorted(seen)
    assert seen[-1] == (4, 4)


def test_a_factor_below_zero_is_refused() -> None:
    with pytest.raises(BadSetting, match="-1"):
        Suppression(by=-1.0)


def test_it_is_known_by_its_name() -> None:
    assert experiments["suppression"] is Suppression
