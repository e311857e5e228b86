"""How far did answers change, and how sure is that? Hand-worked numbers, scipy, planted effects and nulls."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from engram.errors import BadSetting, BelowFloor, UnknownName
from engram.facts import Prompt
from engram.metrics import (
    Resampling,
    absolute,
    accuracy,
    agreement,
    bootstrap,
    false_discovery,
    log_change,
    mean_of_ratios,
    mean_reciprocal_rank,
    paired_test,
    ratio_of_means,
    symmetric_fold,
    without_ratio,
)
from engram.results import Attribution

BEFORE, AFTER = [0.4, 0.1], [0.2, 0.2]


def test_the_four_published_changes_of_the_same_answers_differ():
    # means .25 and .20; ratios -1/2 and +1
    assert ratio_of_means(BEFORE, AFTER) == pytest.approx(-0.05 / 0.25)
    assert mean_of_ratios(BEFORE, AFTER) == pytest.approx((-0.5 + 1) / 2)
    assert absolute(BEFORE, AFTER) == pytest.approx(-0.05)
    assert symmetric_fold(BEFORE, AFTER) == pytest.approx(-0.05 / 0.20)


def test_halving_and_doubling_are_as_far_apart_only_in_the_symmetric_fold():
    half, twice = ([0.4], [0.2]), ([0.2], [0.4])
    assert symmetric_fold(*half) == pytest.approx(-1)
    assert symmetric_fold(*twice) == pytest.approx(1)
    assert (ratio_of_means(*half), ratio_of_means(*twice)) == pytest.approx((-0.5, 1))


def test_ranks_and_log_probabilities_worked_by_hand():
    assert accuracy([1, 1, 2, 10]) == 0.5
    assert mean_reciprocal_rank([1, 1, 2, 10]) == pytest.approx((1 + 1 + 0.5 + 0.1) / 4)
    assert log_change([-1.0, -3.0], [-2.0, -3.5]) == pytest.approx(-0.75)


def test_prompts_without_a_ratio_are_counted_out_and_counted():
    assert mean_of_ratios([0.0, 0.1, 0.2], [0.5, 0.2, 0.2]) == pytest.approx(0.5)
    assert without_ratio([0.0, 0.1, 5e-324], [0.5, 0.2, 0.2]) == 2
    assert log_change([-math.inf, -1.0, -1.0], [-1.0, -math.inf, -2.0]) == -1


@pytest.mark.parametrize("change", [ratio_of_means, mean_of_ratios, symmetric_fold])
def test_a_change_from_nothing_is_no_number_and_no_warning(change):
    assert math.isnan(change([0.0, 0.0], [0.5, 0.5]))


def test_a_bootstrap_of_single_prompts_is_scipys():
    rng = np.random.default_rng(1)
    before = rng.beta(2, 3, size=60)
    after = before * rng.uniform(0.3, 1.1, size=60)
    for change in (ratio_of_means, mean_of_ratios, absolute, symmetric_fold):
        theirs = stats.bootstrap(
            (before, after),
            lambda b, a, axis, change=change: change(b, a, mean=lambda x: x.mean(axis=axis)),
            paired=True,
            method="percentile",
            n_resamples=20_000,
            random_state=2,
        ).confidence_interval
        ours = bootstrap(change, (before, after), range(60), n=20_000)
        width = theirs.high - theirs.low
        assert ours == pytest.approx((theirs.low, theirs.high), abs=0.03 * width)


def test_prompts_that_repeat_each_other_add_no_certainty():
    rng = np.random.default_rng(3)
    before, after = rng.uniform(0.2, 0.6, size=(2, 14))
    once, five = (before, after), (before.repeat(5), after.repeat(5))
    facts = [i // 5 for i in range(70)]
    assert bootstrap(ratio_of_means, five, facts) == pytest.approx(bootstrap(ratio_of_means, once, range(14)))
    naive = bootstrap(ratio_of_means, five, range(70))
    whole = bootstrap(ratio_of_means, once, range(14))
    assert naive[1] - naive[0] < 0.7 * (whole[1] - whole[0])
    assert paired_test(*five, facts).p == pytest.approx(paired_test(*once, range(14)).p)


def test_facts_with_more_prompts_weigh_more_in_every_resample():
    # facts of one and of three prompts: the possible means of a resample of two facts are 0, 3/4 and 1
    drawn = Resampling.of(["a", "b", "b", "b"], n=4000)
    means = drawn.mean(np.array([0.0, 1.0, 1.0, 1.0]))
    values, counts = np.unique(means, return_counts=True)
    assert values.tolist() == [0, 0.75, 1]
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_intervals_over_facts_cover_and_intervals_over_prompts_do_not():
    rng = np.random.default_rng(4)
    facts = [i // 5 for i in range(200)]
    covered = {"facts": 0, "prompts": 0}
    for _ in range(200):
        # 40 facts of 5 prompts; the true mean change is 0.1, most of its spread lies between facts
        change = 0.1 + rng.normal(0, 0.1, 40).repeat(5) + rng.normal(0, 0.03, 200)
        for unit, clusters in (("facts", facts), ("prompts", range(200))):
            low, high = bootstrap(absolute, (np.zeros(200), change), clusters, n=300)
            covered[unit] += low <= 0.1 <= high
    assert 0.90 <= covered["facts"] / 200 <= 0.98
    assert covered["prompts"] / 200 < 0.75


def test_a_wider_level_gives_a_wider_interval_and_the_seed_its_own_draws():
    before, after = np.linspace(0.2, 0.6, 12), np.linspace(0.5, 0.1, 12)
    low, high = bootstrap(absolute, (before, after), range(12), level=0.5)
    lower, higher = bootstrap(absolute, (before, after), range(12), level=0.99)
    assert lower < low < high < higher
    assert bootstrap(absolute, (before, after), range(12), seed=1) != bootstrap(absolute, (before, after), range(12))


def test_one_fact_has_no_interval_nor_has_a_statistic_that_some_resamples_lack():
    assert bootstrap(absolute, (BEFORE, AFTER), ["Ireland", "Ireland"]) is None
    assert bootstrap(ratio_of_means, ([0.0, 0.0, 0.5], [0.1, 0.1, 0.1]), range(3)) is None


@pytest.mark.parametrize(
    ("difference", "p"),
    [
        ([1, 2, 4], 2 / 8),  # sums 7 5 3 1, each with both signs: two of eight reach 7
        ([-1, 2, 4], 4 / 8),  # 5 is reached by 7 and 5
        ([1, 2, -4], 8 / 8),
        ([1, 1, 1, 1], 2 / 16),
        ([1, 2, 4, 0], 2 / 8),  # a fact that does not change says nothing
        ([0.1, 0.2, -0.3], 1),  # the sum is 0 but for rounding
        ([3], 1),
        ([0, 0], 1),
    ],
)
def test_the_sign_flip_test_is_the_count_by_hand(difference, p):
    assert paired_test(np.zeros(len(difference)), difference, range(len(difference))).p == p


def test_the_unit_of_the_test_is_the_fact():
    # facts a: mean (-3 + 1) / 2 = -1, b: 2, c: 4; the same three differences as above
    test = paired_test(np.zeros(4), [-3, 2, 1, 4], ["a", "b", "a", "c"])
    assert (test.p, test.n, test.method) == (0.5, 3, "sign flips, all 8")


def test_exact_and_random_sign_flips_are_scipys():
    d = np.random.default_rng(5).normal(0.4, 1, size=12)
    theirs = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert paired_test(np.zeros(12), d, range(12)).p == pytest.approx(theirs)
    more = np.random.default_rng(6).normal(0.3, 1, size=40)
    theirs = stats.permutation_test(
        (more,), np.mean, permutation_type="samples", n_resamples=99_999, random_state=0
    ).pvalue
    ours = paired_test(np.zeros(40), more, range(40), draws=99_999)
    assert ours.p == pytest.approx(theirs, abs=4 * math.sqrt(theirs / 99_999))
    assert ours.method == "sign flips, 99999 random"


def test_random_sign_flips_never_give_zero():
    assert paired_test(np.zeros(50), np.ones(50), range(50), draws=999).p == 1 / 1000


def test_random_sign_flips_do_not_depend_on_how_many_fit_into_memory(monkeypatch):
    d = np.random.default_rng(7).normal(0.2, 1, size=30)
    whole = paired_test(np.zeros(30), d, range(30))
    monkeypatch.setattr("engram.metrics.significance._BLOCK", 100)
    assert paired_test(np.zeros(30), d, range(30)) == whole
    drawn = Resampling.of(range(30))
    monkeypatch.setattr("engram.metrics.intervals._BLOCK", 100)
    assert Resampling.of(range(30)).mean(d) == pytest.approx(drawn.times @ d / 30)


def test_wilcoxon_is_scipys_over_facts():
    rng = np.random.default_rng(8)
    before, after = rng.uniform(size=(2, 30))
    facts = [i // 2 for i in range(30)]
    d = (after - before).reshape(15, 2).mean(axis=1)
    assert paired_test(before, after, facts, by="wilcoxon").p == pytest.approx(stats.wilcoxon(d).pvalue)
    assert paired_test(before, before, facts, by="wilcoxon").p == 1


def test_a_null_effect_is_called_significant_in_five_percent():
    rng = np.random.default_rng(9)
    p = [paired_test(np.zeros(8), rng.standard_t(3, size=8), range(8)).p for _ in range(2000)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.047, abs=0.015)  # 12 of 256 patterns are at most 5 %


def test_false_discovery_worked_by_hand():
    # sorted .005 .01 .03 .04, times 4 / rank: .02 .02 .04 .04
    assert false_discovery([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    # Benjamini-Yekutieli: times 1 + 1/2 + 1/3 + 1/4 = 25/12
    by = false_discovery([0.01, 0.04, 0.03, 0.005], method="by")
    assert by == pytest.approx(np.array([0.02, 0.04, 0.04, 0.02]) * 25 / 12)
    assert false_discovery([]).size == 0


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1])
def test_false_discovery_refuses_what_is_no_p_value(bad):
    with pytest.raises(BadSetting, match="between 0 and 1"):
        false_discovery([0.1, bad])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: paired_test([0.1, math.nan], [0.2, 0.2], [1, 2]), "NaN"),
        (lambda: paired_test([0.1], [0.2], [1, 2]), "2 facts"),
        (lambda: paired_test(np.zeros(20), np.ones(20), range(20), draws=0), "not 0"),
        (lambda: bootstrap(absolute, ([0.1], [0.2]), [1], n=0), "not 0"),
        (lambda: bootstrap(absolute, ([0.1], [0.2]), [1], level=95), "not 95"),
        (lambda: bootstrap(absolute, ([], []), []), "at least one"),
    ],
)
def test_a_wrong_setting_is_told(wrong, said):
    with pytest.raises(BadSetting, match=said):
        wrong()


def test_an_unknown_test_or_correction_is_told():
    with pytest.raises(UnknownName, match="wilcoxon"):
        paired_test([0.1], [0.2], [1], by="wilcoxn")
    with pytest.raises(UnknownName, match="bh"):
        false_discovery([0.1], method="b")


def scored(*layers, widths=None, floor=-math.inf):
    scores, nothing = np.array(layers, float), np.zeros(len(layers))
    wide = widths or (scores.shape[1],) * len(layers)
    return Attribution(Prompt("It is [Y].", "so"), "toy", scores, nothing, nothing, wide, floor=floor)


def test_agreement_worked_by_hand():
    # ranks of a: 4 3 2 1, of b: 3 4 2 1: differences 1 -1 0 0, so 1 - 6 × 2 / (4 × 15) = 0.8
    a, b = scored([0.9, 0.8], [0.5, 0.1]), scored([5.0, 9.0], [1.0, 0.5])
    found = agreement(a, b, top=1)
    assert found.spearman == pytest.approx(0.8)
    assert found.jaccard == 0
    assert agreement(a, b, top=2).jaccard == 1
    assert agreement(a, scored([5.0, 1.0], [9.0, 0.5]), top=2).jaccard == pytest.approx(1 / 3)
    assert agreement(a, scored([-5.0, -4.0], [-3.0, -2.0])).spearman == pytest.approx(-1)


def test_fillers_of_narrow_layers_do_not_agree():
    a = scored([3.0, 1.0, 2.0], [-1.0, 0.0, 0.0], widths=(3, 1))
    b = scored([1.0, 3.0, 2.0], [4.0, 0.0, 0.0], widths=(3, 1))
    # ranks of a: 4 2 3 1, of b: 1 3 2 4
    assert agreement(a, b).spearman == pytest.approx(-1)
    assert agreement(a, b, top=4).jaccard == 1


def test_constant_scores_have_no_rank_correlation():
    assert agreement(scored([1.0, 1.0]), scored([1.0, 2.0])).spearman is None


def test_attributions_that_cannot_be_compared_are_told():
    a = scored([1.0, 2.0])
    for wrong, error in [
        (lambda: agreement(a, scored([1.0, 2.0, 3.0])), BadSetting),
        (lambda: agreement(a, scored([1.0, math.nan])), BadSetting),
        (lambda: agreement(a, a, top=0), BadSetting),
        (lambda: agreement(a, scored([1.0, 2.0], floor=0.5)), BelowFloor),
    ]:
        with pytest.raises(error):
            wrong()
