"""What did a change cost? Hand-worked tables, planted effects and nulls, with their controls."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from engram.errors import BadSetting, UnknownName
from engram.facts import Fact, Prompt
from engram.metrics import Pairs, by_relation, compare
from engram.results import Answer

BEFORE, AFTER = [0.4, 0.1], [0.2, 0.2]


def answers(probabilities, *, ranks=None, subject="s", relation="P36", prompts=1):
    """`prompts` answers to each of several facts, one probability per answer."""
    out = []
    for i, p in enumerate(probabilities):
        fact = Fact(f"{subject}{i // prompts}", relation, "so")
        prompt = Prompt(f"{i}: {fact.subject} is [Y].", "so", fact=fact)
        out.append(Answer(prompt, ("so",), math.log(p) if p else -math.inf, ranks[i] if ranks else 1, ()))
    return out


def names(report):
    return [s.name for s in report.scores]


def test_compare_reports_every_number_with_its_unit():
    before = answers([0.4, 0.2, 0.2, 0.2], ranks=[1, 1, 2, 4], prompts=2)
    after = answers([0.2, 0.2, 0.1, 0.1], ranks=[1, 2, 4, 4], prompts=2)
    report = compare(before, after, title="silenced")
    told = {s.name: (s.value, s.unit, s.n) for s in report.scores}
    assert told == {
        "p before": (pytest.approx(0.25), "probability", 4),
        "p after": (pytest.approx(0.15), "probability", 4),
        "ratio of means": (pytest.approx(-0.4), "ratio of means", 4),
        "mean of ratios": (pytest.approx(-0.375), "mean of ratios", 4),
        "absolute": (pytest.approx(-0.1), "probability", 4),
        "symmetric fold": (pytest.approx(-0.1 / 0.15), "symmetric fold change", 4),
        "log-probability": (pytest.approx(-0.75 * math.log(2)), "nats", 4),
        "accuracy before": (0.5, "fraction", 4),
        "accuracy after": (0.25, "fraction", 4),
        "mean reciprocal rank before": (pytest.approx((1 + 1 + 0.5 + 0.25) / 4), "reciprocal rank", 4),
        "mean reciprocal rank after": (pytest.approx((1 + 0.5 + 0.25 + 0.25) / 4), "reciprocal rank", 4),
        "p-value": (0.5, "p-value", 2),
    }
    # two facts, changes -.1 and -.1 in the mean over prompts: both resampled means are -.1, whatever is drawn
    assert report["absolute"].interval == pytest.approx((-0.1, -0.1))
    # fact 0 alone: (.2 - .3) / .3; fact 1 alone: (.1 - .2) / .2
    assert report["ratio of means"].interval == pytest.approx((-0.5, -1 / 3))
    assert report["p-value"].interval is None
    assert report["accuracy after"].better == "higher"
    assert report.settings["facts"] == 2
    assert report.title == "silenced"
    assert report.notes == ()
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_planted_effect_is_found_beside_its_controls_and_a_null_is_not():
    rng = np.random.default_rng(10)
    p = rng.uniform(0.2, 0.8, size=120)
    before, noise = answers(p, prompts=3), rng.uniform(0.9, 1.1, size=120)
    chance = answers(p * noise, prompts=3)
    others = answers(rng.uniform(0.2, 0.8, size=30), subject="t", relation="P19")
    after = answers(p * noise * 0.6, prompts=3)
    controls = {"matched chance": (before, chance), "other relations": (others, others)}
    report = compare(before, after, controls=controls)
    low, high = report["ratio of means"].interval
    assert low < -0.4 < high < -0.3
    assert report["p-value"].value < 0.001
    low, high = report["matched chance: ratio of means"].interval
    assert low < 0 < high
    assert report["minus matched chance: ratio of means"].interval[1] < -0.3
    assert report["other relations: ratio of means"].value == 0
    assert report["other relations: ratio of means"].n == 30
    assert report["minus other relations: ratio of means"].value == report["ratio of means"].value

    null = compare(before, chance, controls=controls)
    assert null["p-value"].value > 0.05
    assert null["ratio of means"].interval[0] < 0 < null["ratio of means"].interval[1]
    assert null["minus matched chance: ratio of means"].interval == (0, 0)


def test_a_control_on_the_same_facts_is_resampled_together_with_the_target():
    rng = np.random.default_rng(11)
    p, spread = rng.uniform(0.3, 0.8, size=40), rng.uniform(0.2, 1, size=40)
    before, after, alike = answers(p), answers(p * spread), answers(p * spread * 0.99)
    other = answers(p, subject="t"), answers(p * spread * 0.99, subject="t")
    report = compare(before, after, controls={"same": (before, alike), "others": other})
    same, others = (report[f"minus {c}: ratio of means"] for c in ("same", "others"))
    assert same.value == pytest.approx(others.value)
    width, wide = (s.interval[1] - s.interval[0] for s in (same, others))
    assert width < 0.1 * wide
    alone = report["ratio of means"].interval
    assert wide == pytest.approx(math.sqrt(2) * (alone[1] - alone[0]), rel=0.1)


def test_the_change_that_is_carried_to_the_controls_can_be_chosen():
    before, after = answers(BEFORE), answers(AFTER)
    report = compare(before, after, change="absolute", controls={"itself": (before, before)})
    assert report["itself: absolute"].value == 0
    assert report["minus itself: absolute"].unit == "probability"
    with pytest.raises(UnknownName, match="Did you mean absolute"):
        compare(before, after, change="absolut")


def test_the_seed_of_a_comparison_moves_the_intervals_and_not_the_values():
    rng = np.random.default_rng(12)
    before, after = answers(rng.uniform(0.2, 0.6, 30)), answers(rng.uniform(0.2, 0.6, 30))
    one, two = compare(before, after), compare(before, after, seed=1)
    assert one == compare(before, after)
    assert one["absolute"].value == two["absolute"].value
    assert one["absolute"].interval != two["absolute"].interval


def test_prompts_without_a_fact_are_clusters_of_their_own():
    def free(p):
        return [Answer(Prompt(f"{i} [Y]", "so"), ("so",), math.log(x), 1, ()) for i, x in enumerate(p)]

    assert compare(free([0.4, 0.3, 0.2]), free([0.2, 0.2, 0.1])).settings["facts"] == 3


def test_one_prompt_has_numbers_but_no_interval():
    report = compare(answers([0.4]), answers([0.2]))
    assert report["ratio of means"].value == pytest.approx(-0.5)
    assert all(s.interval is None for s in report.scores)
    assert report["p-value"].value == 1
    assert report.notes == ("one fact only: no interval can be given",)


def test_probabilities_of_zero_are_left_out_and_said_without_a_warning():
    some = compare(answers([0.0, 0.2, 0.4]), answers([0.1, 0.1, 0.0]))
    assert some["ratio of means"].value == pytest.approx(-2 / 3)
    assert some["mean of ratios"].value == pytest.approx((-0.5 - 1) / 2)
    assert some["mean of ratios"].n == 2
    assert some.notes == ("mean of ratios: 1 of 3 prompts had probability 0 before, and are counted out",)

    zeros = answers([0.0, 0.0])
    none = compare(zeros, zeros, controls={"itself": (zeros, zeros)})
    assert "absolute" in names(none)
    left = ["ratio of means", "mean of ratios", "symmetric fold", "log-probability"]
    left += ["itself: ratio of means", "minus itself: ratio of means"]
    assert not set(left) & set(names(none))
    for name in left:
        assert f"{name}: left out, a probability of 0 stands in the way" in none.notes
    json.dumps(none.to_dict(), allow_nan=False)


def test_answers_to_other_prompts_or_to_none_cannot_be_compared():
    before = answers(BEFORE)
    for after, said in [
        (answers(AFTER)[::-1], r"number 0 is '0: s0 is \[Y\]\.' \(so\) before and '1: s1 is \[Y\]\.' \(so\) after"),
        (answers(AFTER)[:1], "2 answers before, 1 after"),
        (answers(AFTER, subject="t"), "same order"),
    ]:
        with pytest.raises(BadSetting, match=f"the target: .*{said}"):
            compare(before, after)
        with pytest.raises(BadSetting, match=f"the control 'mine': .*{said}"):
            compare(before, before, controls={"mine": (before, after)})
    with pytest.raises(BadSetting, match="no answers"):
        compare([], [])


def test_relations_count_once_each_and_their_p_values_are_corrected():
    # P36 halves in each of 3 facts (p = 2/8), P19 loses a tenth in each of 6 (2/64), P27 does not change (1)
    groups = {
        "P36": Pairs(np.full(3, 0.4), np.full(3, 0.2), (1, 2, 3)),
        "P19": Pairs(np.full(6, 0.4), np.full(6, 0.36), (1, 2, 3, 4, 5, 6)),
        "P27": Pairs(np.full(4, 0.4), np.full(4, 0.4), (1, 1, 2, 2)),
    }
    found = by_relation(groups)
    assert [r.relation for r in found.rows] == ["P36", "P19", "P27"]
    assert [r.change.value for r in found.rows] == pytest.approx([-0.5, -0.1, 0])
    assert [r.facts for r in found.rows] == [3, 6, 2]
    assert [r.p for r in found.rows] == [0.25, 1 / 32, 1]
    assert [r.q for r in found.rows] == pytest.approx([0.375, 3 / 32, 1])  # times 3/2, 3/1, 3/3
    assert found.mean.value == pytest.approx(-0.2)
    assert found.mean.interval == pytest.approx((-0.2, -0.2))
    assert found.mean.n == 3
    report = found.report("suppression")
    assert (report["P36"].value, report["P36 q"].value) == pytest.approx((-0.5, 0.375))
    assert report.title == "suppression"
    assert report.settings["facts"] == {"P36": 3, "P19": 6, "P27": 2}
    table = str(found).splitlines()
    assert table[1].split() == ["P36", "-0.5000", "[-0.5000,", "-0.5000]", "3", "0.2500", "0.3750"]


def test_the_interval_over_relations_is_that_of_a_mean_of_independent_means():
    rng = np.random.default_rng(13)
    groups = {
        f"P{i}": Pairs(np.full(80, 0.5), 0.5 + rng.normal(-0.1, 0.1, 80).clip(-0.4, 0.4), tuple(range(80)))
        for i in range(9)
    }
    found = by_relation(groups, change="absolute")
    errors = [np.std(g.after - g.before) / math.sqrt(80) for g in groups.values()]
    error = math.sqrt(sum(e**2 for e in errors)) / 9
    low, high = found.mean.interval
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert low < -0.1 < high


def test_a_relation_without_a_change_is_left_out_and_said_and_one_fact_has_no_interval():
    groups = {
        "P36": Pairs([0.4, 0.2], [0.2, 0.1], (1, 2)),
        "P19": Pairs([0.0, 0.0], [0.1, 0.1], (1, 2)),
        "P27": Pairs([0.4, 0.4], [0.3, 0.1], (1, 1)),
    }
    found = by_relation(groups)
    assert [r.relation for r in found.rows] == ["P36", "P27"]
    assert found.left_out == ("P19",)
    assert found.mean.value == pytest.approx(-0.5)
    assert found.rows[1].change.interval is None
    assert found.mean.interval is None
    table = str(found).splitlines()
    assert len({len(line) for line in table[:3]}) == 1, "the columns do not stand under each other"
    assert table[-1].startswith("P19: left out")
    assert "P19: left out" in found.report().notes[0]
    for nothing in ({}, {"P19": groups["P19"]}):
        with pytest.raises(BadSetting, match=f"any of {len(nothing)} relations"):
            by_relation(nothing)


def test_answers_are_parted_by_relation():
    before = [*answers([0.4, 0.3], relation="P36"), *answers([0.2], relation="P19"), *answers([0.1], subject="t")]
    after = [replace(a, logprob=a.logprob - 1) for a in before]
    parted = Pairs.by_relation(before, after)
    assert {r: p.before.round(6).tolist() for r, p in parted.items()} == {"P36": [0.4, 0.3, 0.1], "P19": [0.2]}
    assert parted["P36"].after == pytest.approx(parted["P36"].before / math.e)
    assert [f.subject for f in parted["P36"].facts] == ["s0", "s1", "t0"]
    free = Answer(Prompt("It is [Y].", "so"), ("so",), -1.0, 1, ())
    with pytest.raises(BadSetting, match="belongs to no fact"):
        Pairs.by_relation([free], [free])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: Pairs([0.1], [0.1, 0.2], (1,)), "do not make pairs"),
        (lambda: Pairs([0.1], [0.1], (1, 2)), "2 facts"),
        (lambda: Pairs([1.5], [0.1], (1,)), "between 0 and 1"),
        (lambda: Pairs([math.nan], [0.1], (1,)), "not numbers"),
    ],
)
def test_what_makes_no_pairs_is_told(wrong, said):
    with pytest.raises(BadSetting, match=said):
        wrong()
