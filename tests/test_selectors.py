"""Which neurons do scores name? Cuts worked by hand, one hand-made score array per prompt."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from engram.errors import BadSetting, BelowFloor, UnknownName
from engram.facts import Prompt
from engram.neurons import NeuronSet
from engram.results import Attribution
from engram.selectors import Chance, DegenerateScores, Exclusive, Shared, Top, degenerate, select, selectors

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples/engram_example/src/engram_example/selector.py"


def scored(*layers, text="It is [Y].", widths=None, dtype=float):
    """An Attribution with these scores [layer][neuron]."""
    scores = np.array(layers, dtype)
    nothing = np.zeros(len(layers))
    return Attribution(Prompt(text, "so"), "toy", scores, nothing, nothing, widths or (scores.shape[1],) * len(layers))


def shared_by(counts, n):
    """n prompts of one layer in which neuron i reaches the peak in counts[i] prompts; a last neuron always does."""
    return [scored([float(p < c) for c in counts] + [1.0]) for p in range(n)]


def names(neurons):
    return " ".join(map(str, neurons))


def test_a_neuron_is_shared_when_it_passes_the_threshold_in_more_than_the_share():
    # peaks 1.0, 2.0, 1.0, 1.0: the cuts at a fifth are 0.2, 0.4, 0.2, 0.2, over both layers
    scores = [
        scored([1.0, 0.3, 0.1], [0.5, 0.0, 0.2]),
        scored([2.0, 0.5, 0.3], [0.3, 0.0, 0.5]),
        scored([1.0, 0.1, 0.3], [0.5, 0.0, 0.3]),
        scored([1.0, 0.3, 0.3], [0.5, 0.0, 0.3]),
    ]
    # votes: L0.0 4, L0.1 3, L0.2 2, L1.0 3, L1.2 3 (0.2 is not more than 0.2)
    assert names(select(scores, by=Shared())) == "L0.0 L0.1 L1.0 L1.2"  # more than 2.8 of 4
    assert names(select(scores, by=Shared(share=0.75))) == "L0.0"  # more than 3
    assert names(select(scores, by=Shared(share=0.75, share_strict=False))) == "L0.0 L0.1 L1.0 L1.2"  # at least 3
    assert names(select(scores, by=Shared(share=0.75, strict=False))) == "L0.0 L1.2"  # 0.2 is at least 0.2


def test_the_relative_threshold_does_not_see_the_scale_of_the_scores():
    scores = [scored([1.0, 0.3, 0.1]), scored([2.0, 0.3, 0.5])]
    found = select(scores, by=Shared(share=0.5))
    assert names(found) == "L0.0"
    for scale in (2.0**-40, 2.0**40):
        assert select([replace(a, scores=a.scores * scale) for a in scores], by=Shared(share=0.5)) == found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("share", [0.85, "0.85", "17/20", Fraction(17, 20), np.float64(0.85)])
def test_of_twenty_prompts_85_percent_are_exactly_seventeen(share, dtype):
    scores = [replace(a, scores=a.scores.astype(dtype)) for a in shared_by([16, 17, 18], 20)]
    assert names(select(scores, by=Shared(share=share))) == "L0.2 L0.3"
    assert names(select(scores, by=Shared(share=share, share_strict=False))) == "L0.1 L0.2 L0.3"


def test_the_cut_of_every_share_and_number_of_prompts_is_the_integer_one():
    # in twentieths k of n prompts: more than k n / 20 is k n // 20 + 1, at least is the ceiling
    for k in range(21):
        for n in range(1, 60):
            assert Shared(share=k / 20).least(n) == k * n // 20 + 1
            assert Shared(share=k / 20, share_strict=False).least(n) == max(-(-k * n // 20), 1)


def test_a_threshold_is_a_part_of_the_peak_or_a_score_or_a_percentile():
    a = scored([4.0, 3.0, 2.0, 1.0, 0.0])
    one = {"share": 0.5}
    assert names(select([a], by=Shared(threshold=0.5, **one))) == "L0.0 L0.1"
    assert names(select([a], by=Shared(threshold=0.5, strict=False, **one))) == "L0.0 L0.1 L0.2"
    assert names(select([a], by=Shared(threshold=3.5, kind="absolute", **one))) == "L0.0"
    assert names(select([a], by=Shared(threshold=50, kind="percentile", **one))) == "L0.0 L0.1"  # the median is 2
    # the 60th percentile of five numbers is 2.4 of the way up: 2 + 0.4 × (3 − 2)
    b = scored([4.0, 3.0, 2.0, 1.0, 2.4])
    assert names(select([b], by=Shared(threshold=75, kind="percentile", strict=False, **one))) == "L0.0 L0.1"


def test_padding_is_neither_counted_in_a_percentile_nor_selected():
    # layer 1 has one neuron only; with its two fillers the median would be 0, without them it is 2
    a = scored([4.0, 2.0, -1.0], [3.0, 0.0, 0.0], widths=(3, 1))
    half = {"share": 0.5}
    assert names(select([a], by=Shared(threshold=50, kind="percentile", strict=False, **half))) == "L0.0 L1.0"
    assert names(select([a], by=Shared(threshold=0, kind="absolute", strict=False, **half))) == "L0.0 L0.1 L1.0"
    assert names(select([a], by=Top(9))) == "L0.0 L0.1 L0.2 L1.0"


def test_presets_are_those_of_the_published_code():
    def settings(s):
        return s.threshold, s.share, s.strict, s.share_strict, s.floor

    assert settings(Shared()) == settings(Shared(preset="paper")) == (0.2, 0.7, True, True, 0)
    assert settings(Shared(preset="hunter")) == (0.2, 0.7, False, False, 3)
    assert settings(Shared(preset="hunter-baseline")) == (0.5, 0.7, False, False, 3)
    assert settings(Shared(preset="eleuther")) == (0.3, 0.3, True, True, 0)
    assert settings(Shared(preset="niu")) == (0.2, 0.7, True, True, 0)


def test_a_setting_that_is_given_wins_over_the_preset_even_when_it_is_false_or_zero():
    mine = Shared(threshold=0.0, strict=True, floor=0, preset="hunter")
    assert (mine.threshold, mine.strict, mine.share_strict, mine.floor) == (0.0, True, False, 0)
    assert replace(mine, share=0.5).floor == 0


def test_the_floor_of_three_prompts_holds_whatever_the_share():
    # of 4 prompts, 0.45 are 1.8: two would do without the floor
    scores = shared_by([1, 2, 3], 4)
    assert names(select(scores, by=Shared(share=0.45, preset="hunter"))) == "L0.2 L0.3"
    assert names(select(scores, by=Shared(share=0.45, preset="hunter", floor=0))) == "L0.1 L0.2 L0.3"


def test_a_share_of_zero_still_needs_one_prompt():
    scores = shared_by([0, 1], 4)
    assert names(select(scores, by=Shared(share=0, share_strict=False))) == "L0.1 L0.2"


@pytest.mark.parametrize("bad", [[0.0, 0.0], [-1.0, -2.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_a_degenerate_prompt_names_no_neuron_counts_and_is_quoted_in_one_warning(bad):
    scores = [scored([1.0, 0.0]) for _ in range(3)] + [scored(bad, text=f"Bad {i} [Y].") for i in range(4)]
    rule = Shared(share="3/7", strict=False, share_strict=False)
    with pytest.warns(DegenerateScores) as caught:
        assert names(select(scores, by=rule)) == "L0.0"  # 3 of 7, and nothing from the bad four
    assert len(caught) == 1
    assert "4 of 7 prompts" in str(caught[0].message)
    assert "'Bad 0 [Y].', 'Bad 1 [Y].', 'Bad 2 [Y].', …" in str(caught[0].message)
    assert [p.text for p in degenerate(scores)] == [f"Bad {i} [Y]." for i in range(4)]
    with pytest.warns(DegenerateScores):
        assert not select(scores, by=replace(rule, share="4/7"))  # the bad prompts count: 3 of 7 are too few
    with pytest.warns(DegenerateScores):
        assert names(select(scores, by=Top(1))) == "L0.0"


def test_only_degenerate_prompts_select_nothing():
    for rule in (Shared(strict=False, share_strict=False, share=0), Top(1)):
        with pytest.warns(DegenerateScores):
            assert not select([scored([0.0, 0.0])], by=rule)


def test_top_ranks_by_mean_score_and_breaks_ties_by_layer_then_index():
    scores = [scored([1.0, 4.0], [2.0, 4.0]), scored([3.0, 0.0], [2.0, 1.0])]  # means 2, 2 | 2, 2.5
    assert [names(select(scores, by=Top(k))) for k in (1, 2, 3)] == ["L1.1", "L0.0 L1.1", "L0.0 L0.1 L1.1"]


def test_scores_below_the_floor_cannot_be_averaged_or_ranked():
    kept = [replace(scored([1.0, 0.0]), floor=0.1)]
    assert names(select(kept, by=Shared())) == "L0.0"
    for rule in (Top(1), Shared(threshold=50, kind="percentile"), Shared(threshold=0.05)):
        with pytest.raises(BelowFloor):
            select(kept, by=rule)


def test_exclusive_keeps_what_fewer_than_a_tenth_of_the_facts_share():
    # 20 facts: a tenth is 2. L0.0 is in 1 of them, L0.1 in 2, L0.2 in 3
    sets = [NeuronSet.parse("L0.0 L0.1 L0.2"), NeuronSet.parse("L0.1 L0.2"), NeuronSet.parse("L0.2")]
    among = (*sets, *[NeuronSet()] * 17)
    assert names(Exclusive(among).keep(sets[0])) == "L0.0"
    assert names(Exclusive(among, strict=False).keep(sets[0])) == "L0.0 L0.1"
    assert names(Exclusive(among, limit="3/20", strict=False).keep(sets[0])) == "L0.0 L0.1 L0.2"
    # the authors' code: 1 + count > 2 is dropped
    assert names(Exclusive(among, preset="hunter").keep(sets[0])) == "L0.0"
    assert names(Exclusive(among, preset="hunter", twice=False).keep(sets[0])) == "L0.0 L0.1"
    assert names(Exclusive(among, twice=True).keep(sets[0])) == ""


def test_exclusive_selects_through_another_selector():
    among = (NeuronSet.parse("L0.0"),) * 2 + (NeuronSet.parse("L0.1"),) + (NeuronSet(),) * 17
    scores = [scored([1.0, 0.9, 0.1])]
    assert names(select(scores, by=Shared())) == "L0.0 L0.1"
    assert names(select(scores, by=Exclusive(among))) == "L0.1"
    assert names(select(scores, by=Exclusive(among, by=Top(3)))) == "L0.1 L0.2"


def test_chance_matches_the_layers_and_avoids_the_neurons():
    like = NeuronSet.parse("L0.0 L0.3 L2.1")
    for seed in range(50):
        drawn = Chance(like, (4, 9, 2), seed).draw()
        assert names(n for n in drawn if n.layer == 0) == "L0.1 L0.2"  # the only two left
        assert names(n for n in drawn if n.layer > 0) == "L2.0"


def test_chance_draws_every_other_neuron_equally_often():
    like, counts = NeuronSet.parse("L0.2"), np.zeros(6)
    for seed in range(3000):
        counts[next(iter(Chance(like, (6,), seed).draw())).index] += 1
    assert counts[2] == 0
    # five cells of 600 expected: chi-square with 4 degrees of freedom is below 18.5 in 99.9 %
    assert ((counts[[0, 1, 3, 4, 5]] - 600) ** 2 / 600).sum() < 18.5


def test_chance_depends_on_seed_and_fact_and_on_nothing_drawn_before():
    widths = (3072, 3072)
    a, b = NeuronSet.parse("L0.1 L1.2"), NeuronSet.parse("L0.7 L1.2")
    first = Chance(a, widths).draw()
    Chance(b, widths).draw()
    assert Chance(a, widths).draw() == first != Chance(a, widths, seed=1).draw()
    other = Chance(b, widths).draw()
    assert other.by_layer()[0] != first.by_layer()[0], "two facts share their random neurons"
    assert other.by_layer()[1] == first.by_layer()[1], "a layer depends on another one"


def test_chance_takes_its_widths_from_the_scores():
    scores = [scored([1.0, 0.0], [0.0, 0.0])]
    assert names(select(scores, by=Chance(NeuronSet.parse("L1.0")))) == "L1.1"
    with pytest.raises(BadSetting, match=r"\(2, 2\)"):
        select(scores, by=Chance(NeuronSet.parse("L1.0"), widths=(2, 3)))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: Chance(NeuronSet.parse("L0.0 L0.1"), (3,)).draw(), "layer 0 has 3 neurons"),
        (lambda: Chance(NeuronSet.parse("L0.5"), (3,)).draw(), "L0.5 is not in"),
        (lambda: Chance(NeuronSet.parse("L4.0"), (3,)).draw(), "layer 4 has 0"),
        (lambda: Chance(NeuronSet.parse("L0.0")).draw(), "widths"),
        (lambda: Chance(NeuronSet(), seed=-1), "seed"),
        (lambda: select([], by=Shared()), "no scores"),
        (lambda: Shared().select([]), "no scores"),
        (lambda: Top(1).select([]), "no scores"),
        (lambda: select([scored([1.0]), scored([1.0, 2.0], text="Two [Y].")], by=Shared()), "'Two \\[Y\\].' of 1 × 2"),
        (lambda: Shared(threshold=1.5), "between 0 and 1"),
        (lambda: Shared(threshold=math.nan), "between 0 and 1"),
        (lambda: Shared(threshold=101, kind="percentile"), "between 0 and 100"),
        (lambda: Shared(kind="percentile"), "give `threshold`"),
        (lambda: Shared(kind="absolute", preset="hunter"), "give `threshold`"),
        (lambda: Shared(share=70), "between 0 and 1, not 70"),
        (lambda: Shared(share="most"), "not 'most'"),
        (lambda: Shared(share=math.nan), "nan"),
        (lambda: Shared(floor=-1), "-1"),
        (lambda: Top(0), "not 0"),
        (lambda: Exclusive(()), "given none"),
        (lambda: Exclusive((NeuronSet(),), limit=10), "not 10"),
    ],
)
def test_a_wrong_setting_is_told(wrong, said):
    with pytest.raises(BadSetting, match=said):
        wrong()


def test_an_unknown_name_is_told_with_those_there_are():
    for wrong, close in [
        (lambda: Shared(preset="huntr"), "hunter"),
        (lambda: Shared(kind="relativ"), "relative"),
        (lambda: Exclusive((NeuronSet(),), preset="huntr"), "hunter"),
        (lambda: selectors["shard"], "shared"),
    ]:
        with pytest.raises(UnknownName, match=f"Did you mean {close}"):
            wrong()


def test_every_selector_is_found_by_its_name():
    found = {name: selectors[name] for name in selectors.names()}
    assert found == {"chance": Chance, "exclusive": Exclusive, "shared": Shared, "top": Top}


def test_the_how_to_shows_the_example_that_runs():
    page = (ROOT / "docs/how-to/add-a-selector.md").read_text(encoding="utf-8")
    assert f"```python\n{EXAMPLE.read_text(encoding='utf-8')}```" in page


def test_the_example_selector_passes_its_own_doctest():
    done = _python("-m", "doctest", "-v", str(EXAMPLE))
    assert done.returncode == 0, done.stdout
    assert "0 failed" in done.stdout
    assert "Expecting:\n    {L0.1, L1.0}" in done.stdout


def test_a_plug_in_with_an_entry_point_is_found_by_name_without_torch(tmp_path):
    (tmp_path / "my_selector.py").write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[engram.selectors]\nmass = my_selector\n", encoding="utf-8")
    ask = "import sys; from engram.selectors import selectors; print(selectors['mass'](0.3), 'torch' in sys.modules)"
    done = _python("-c", ask, path=tmp_path)
    assert done.stdout == "Mass(part=0.3, least=0.2) False\n", done.stderr


def _python(*arguments, path=""):
    env = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT / 'src'}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=60)
