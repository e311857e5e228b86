"""The share at which facts have two to five neurons: worked by hand, and against the published search retold."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from engram.errors import BadSetting
from engram.facts import Prompt
from engram.neurons import NeuronSet
from engram.results import Attribution
from engram.selectors import DegenerateScores, Shared, ShareSearch, search_share

AT_LEAST = Shared(strict=False, share_strict=False)


def fact(counts, n=20, *, own=True):
    """n prompts of one layer in which neuron i reaches the peak 1 in counts[i] of them, and scores 0 elsewhere.

    With `own`, a prompt that none of them reaches has a neuron of its own at the peak, so that it is not degenerate.
    """
    scores = np.zeros((n, 1, len(counts) + n))
    for p in range(n):
        scores[p, 0, : len(counts)] = [p < c for c in counts]
        scores[p, 0, len(counts) + p] = own and not scores[p].any()
    nothing = np.zeros(1)
    return [Attribution(Prompt("It is [Y].", "so"), "toy", s, nothing, nothing, (s.shape[1],)) for s in scores]


def twentieths(found):
    return [(int(share * 20), mean) for share, mean in found.tried]


def test_a_search_worked_by_hand_ends_at_exactly_seventeen_of_twenty():
    # votes of 20 prompts: 20, 18, 17 (three neurons), and 16 (three more)
    # share .70 needs 14: six neurons, above 5   -> .75
    # share .75 needs 15: six                    -> .80
    # share .80 needs 16: six                    -> .85
    # share .85 needs 17 (17.000000000000004 in floating point, which would be 18): three neurons, in 2 to 5
    found = search_share([fact([20, 18, 17, 16, 16, 16])], AT_LEAST)
    assert found.share == Fraction(17, 20)
    assert found.sets == (NeuronSet.parse("L0.0 L0.1 L0.2"),)
    assert found.found
    assert twentieths(found) == [(14, 6), (15, 6), (16, 6), (17, 3)]
    # strictly more than 17 are 18: two neurons
    strict = search_share([fact([20, 18, 17, 17, 17, 17])], replace(AT_LEAST, share_strict=True, share="0.8"))
    assert (strict.share, strict.sets) == (Fraction(17, 20), (NeuronSet.parse("L0.0 L0.1"),))


def test_too_few_neurons_lower_the_share_and_facts_without_any_count():
    # at .70 (14): 2 and 0 neurons, mean 1; at .65 (13): 3 and 0, mean 1.5; at .60 (12): 3 and 1, mean 2
    found = search_share([fact([20, 14, 13]), fact([12])], AT_LEAST)
    assert twentieths(found) == [(14, 1), (13, 1.5), (12, 2)]
    assert [len(s) for s in found.sets] == [3, 1]
    assert found.found
    assert found.mean == 2


def test_a_share_that_comes_up_again_ends_the_search_at_the_nearest():
    # seven neurons at .70, one at .75, and so on for ever: 7 is 2 too many, 1 is 1 too few
    oscillating = [fact([20, 14, 14, 14, 14, 14, 14])]
    found = search_share(oscillating, AT_LEAST)
    assert twentieths(found) == [(14, 7), (15, 1)]
    assert not found.found
    assert found.share == Fraction(15, 20)
    assert "outside" in str(found)
    nearer = search_share([fact([14, 14, 14, 14, 14, 14])], AT_LEAST)  # 6 is 1 too many, 0 is 2 too few
    assert (nearer.share, nearer.mean) == (Fraction(14, 20), 6)


def test_keeping_the_last_goes_on_to_the_limit_as_the_original_does():
    oscillating = [fact([20, 14, 14, 14, 14, 14, 14])]
    six = search_share(oscillating, AT_LEAST, keep="last")
    assert twentieths(six) == [(14, 7), (15, 1)] * 3
    assert six.share == Fraction(15, 20)
    assert search_share(oscillating, AT_LEAST, keep="last", limit=5).share == Fraction(14, 20)


def test_the_presets_of_published_searches_keep_the_last_and_others_the_nearest():
    oscillating = [fact([20, 14, 14, 14, 14, 14, 14])]
    for preset in ("hunter", "hunter-baseline"):
        assert search_share(oscillating, Shared(preset=preset), limit=5).share == Fraction(14, 20)
        assert search_share(oscillating, Shared(preset=preset), limit=5, keep="nearest").share == Fraction(15, 20)
    # strictly more: seven neurons need 13 or fewer of 20, so .65 has seven and .70 one
    assert search_share(oscillating, Shared(preset="niu", share="0.65"), limit=3).share == Fraction(13, 20)
    assert search_share(oscillating, Shared(preset="paper", share="0.65"), limit=3).share == Fraction(14, 20)


def test_at_most_six_shares_are_evaluated():
    found = search_share([fact([20] * 6)], AT_LEAST)
    assert twentieths(found) == [(14, 6), (15, 6), (16, 6), (17, 6), (18, 6), (19, 6)]
    assert not found.found


@pytest.mark.parametrize("keep", ["nearest", "last"])
def test_the_share_stays_between_zero_and_one(keep):
    above = search_share([fact([20] * 6)], AT_LEAST, limit=20, keep=keep)
    assert max(above.tried)[0] == 1
    assert above.share == (1 if keep == "last" else Fraction(14, 20))
    below = search_share([fact([20])], AT_LEAST, limit=20, keep=keep)
    assert min(below.tried)[0] == 0
    assert below.sets == (NeuronSet.parse("L0.0"),)


def original(votes, n_prompts, limit):
    """The published search in whole numbers: the share in twentieths, at least max(share × n, 3) votes."""
    share = 14
    for _ in range(limit):
        used = share
        sets = [
            {i for i, v in enumerate(vs) if v * 20 >= max(share * n, 3 * 20)}
            for vs, n in zip(votes, n_prompts, strict=True)
        ]
        mean = sum(len(s) for s in sets) / len(sets)
        if mean < 2:
            share -= 1
        elif mean > 5:
            share += 1
        else:
            break
    return used, sets


def test_the_preset_hunter_finds_what_the_published_search_finds():
    rng = np.random.default_rng(0)
    ends = set()
    for _ in range(300):
        n_prompts = rng.integers(4, 21, size=3)
        bias = rng.uniform(0.2, 1)
        votes = [rng.binomial(n, bias * rng.uniform(size=12) ** 0.3) for n in n_prompts]
        groups = [fact([n, *v], n) for v, n in zip(votes, n_prompts, strict=True)]  # one neuron of every prompt
        used, sets = original([[n, *v] for v, n in zip(votes, n_prompts, strict=True)], n_prompts, 6)
        found = search_share(groups, Shared(preset="hunter"))
        assert found.share * 20 == used
        assert [{n.index for n in s} for s in found.sets] == sets
        ends.add((used, found.found))
    assert {f for _, f in ends} == {True, False}, "the comparison reached one kind of end only"
    assert len(ends) > 8


def test_each_group_is_read_once_so_a_generator_will_do():
    facts = [fact([20, 14, 13]), fact([12])]
    assert search_share((f for f in facts), AT_LEAST) == search_share(facts, AT_LEAST)


def test_degenerate_prompts_of_all_facts_are_named_in_one_warning():
    with pytest.warns(DegenerateScores, match="10 of 40 prompts") as caught:
        found = search_share([fact([20, 14]), fact([10, 10], own=False)], AT_LEAST)
    assert len(caught) == 1
    assert found.share == Fraction(1, 2)
    assert [len(s) for s in found.sets] == [2, 2]  # ten of twenty: the ten that score nothing count


def test_a_found_search_is_said_without_a_warning():
    assert str(search_share([fact([20, 20])])) == "share 0.7: 2.00 neurons per group"
    assert isinstance(hash(search_share([fact([20, 20])])), int)
    assert isinstance(search_share([fact([20, 20])]), ShareSearch)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: search_share([]), "no groups"),
        (lambda: search_share([[]]), "no scores"),
        (lambda: search_share([fact([20])], mean=(5, 2)), "mean"),
        (lambda: search_share([fact([20])], step=0), "step"),
        (lambda: search_share([fact([20])], limit=0), "limit"),
        (lambda: search_share([fact([20])], keep="first"), "'first'"),
    ],
)
def test_a_search_that_cannot_be_made_is_told(wrong, said):
    with pytest.raises(BadSetting, match=said):
        wrong()
