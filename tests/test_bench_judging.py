"""`engram bench judging`: the loops against a loop by hand, the counts, and what is shown."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from engram import errors
from engram.bench import JudgingBench, JudgingSide, bench_judging, judged, shapes
from engram.bench.cost import counting
from engram.bench.judged import Bench
from engram.bench.judging import PEERS, Judged, questions, straightforward, written_well
from engram.cli._app import application
from engram.models import holding
from toys import toys  # noqa: F401  # used by all tests

EDITS, TOKENS, LAYER, QUESTIONS = 5, 6, 1, 26


@pytest.fixture(scope="module")
def asked() -> Bench:
    """Four layers, five edits of the second, in float64, where rounding hides nothing."""
    model = shapes.network("toy")
    model.net.double()
    return Bench.of(model, EDITS, TOKENS, LAYER)


def by_hand(asked: Bench) -> Judged:
    """Every question by itself, token after token, the edit held."""
    model = asked.model

    def nats(prompt):
        with torch.no_grad():
            each = [
                model.net(torch.tensor([row.ids])).logits[0, -1].log_softmax(-1)[row.target]
                for row in model.rows(prompt)
            ]
        return -float(sum(each) / len(each))

    def said(i, case):
        before = [nats(p) for p in questions(case)]
        with holding(asked.edits[i], model):
            return before, [nats(p) for p in questions(case)]

    before, after = zip(*(said(i, case) for i, case in enumerate(asked.cases)), strict=True)
    return Judged(np.array(before), np.array(after))


# -- the loops


def test_all_sides_say_what_a_loop_by_hand_says(asked):
    hand = by_hand(asked)
    assert hand.after.shape == (EDITS, QUESTIONS)
    for found in (*(asked.by_hand(loop) for loop in PEERS.values()), asked.judged(), asked.judged_again(hand.before)):
        assert found.apart(hand) < 1e-6  # a loop's weights are the same sum, in another order
    assert np.abs(hand.after - hand.before).min(1).max() > 1e-3


def test_a_case_asks_each_sentence_for_both_answers(asked):
    for case in asked.cases:
        mine = questions(case)
        assert len(mine) == QUESTIONS == 2 * len({p.text for p in mine})
        assert [p.answer for p in mine[::2]] == [case.fact.answer] * 13
        assert [p.answer for p in mine[1::2]] == [case.new] * 13
        assert {len(asked.model.rows(p)) for p in mine} == {1}
        lengths = [len(p.text.split()) - 1 for p in mine]
        assert TOKENS - 4 <= min(lengths) < max(lengths) <= TOKENS + 4


def test_the_loops_call_the_network_as_they_say_and_put_the_weights_back(asked):
    before = {name: x.clone() for name, x in asked.model.net.state_dict().items()}
    with counting(asked.model) as plain:
        asked.by_hand(straightforward)
    with counting(asked.model) as good:
        asked.by_hand(written_well)
    with counting(asked.model) as ours:
        asked.judged()
    assert (plain.calls, plain.rows) == (2 * EDITS, 2 * EDITS * QUESTIONS)
    assert (good.calls, good.rows) == (2 * EDITS, EDITS * QUESTIONS)
    assert ours.positions < good.positions < plain.positions / 2
    assert all(torch.equal(x, before[name]) for name, x in asked.model.net.state_dict().items())


def test_the_engine_runs_a_sentence_once_below_the_edit_and_twice_above(asked):
    with counting(asked.model) as ours:
        asked.judged()
    lengths = sum(len(asked.model.rows(p)[0].ids) for case in asked.cases for p in questions(case)[::2])
    assert ours.positions == lengths * (LAYER + 2 * (4 - LAYER))


# -- the whole


def perturbed(model, cases, edits) -> Judged:
    """The straightforward loop, wrong in one number."""
    found = straightforward(model, cases, edits)
    after = found.after.copy()
    after[1, 2] += 0.25
    return replace(found, after=after)


def measured(**settings) -> JudgingBench:
    return bench_judging("toy", **{"edits": 2, "tokens": TOKENS, "runs": 2, **settings})


def test_all_sides_are_measured_in_turn(monkeypatch):
    told, order = [], []
    monkeypatch.setattr(judged, "timed", lambda run, _device: (order.append(run), float(len(order))))
    found = measured(progress=lambda *x: told.append(x))
    assert [(s.name, s.engine) for s in found.sides] == [
        ("straightforward", False), ("written well", False), ("engram", True), ("engram, before kept", True),
    ]  # fmt: skip
    assert told == [(n, 12) for n in range(1, 13)]
    assert order[4:] == [*order[1:4], order[0]]
    assert [s.seconds for s in found.sides[:2]] == [(0.5, 4.0), (1.0, 2.5)]  # per edit
    first, good, engine, kept = found.sides
    assert first.difference == 0
    assert max(s.difference for s in found.sides) < 1e-5 < 1e-3 < found.moved
    assert first.flops > good.flops > engine.flops > kept.flops
    assert (found.layer, found.questions) == (1, QUESTIONS)
    assert json.loads(json.dumps(found.to_dict()))["ratios"].keys() == PEERS.keys()


def test_a_side_that_says_something_else_is_reported(monkeypatch):
    monkeypatch.setitem(PEERS, "written well", perturbed)
    _, wrong, engine, _ = measured(runs=1).sides
    assert wrong.difference == pytest.approx(0.25, rel=1e-3)
    assert engine.difference < 1e-5


def test_what_was_said_before_counts_too():
    one = Judged(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))
    assert one.apart(replace(one, before=one.before + 0.5)) == one.apart(replace(one, after=one.after - 0.5)) == 0.5
    assert one.apart(one) == 0


def flops_by_hand(layers: int, rows: int, positions: int, edits: int, vocabulary: int = 500, h: int = 32) -> float:
    """Of the plain call: three maps of attention and one behind it, two of the FFN, and the vocabulary, everywhere.

    And the edits themselves: a product of key and value. `rows` are all of one length.
    """
    positions //= layers
    maps = layers * (8 * h * h + 16 * h * h) + 2 * h * vocabulary
    return positions * (maps + 4 * layers * positions / rows * h) + edits * 2 * 4 * h * h


def test_flops_are_those_by_hand():
    side = measured(edits=1, runs=1).sides[0]
    assert side.flops == flops_by_hand(4, side.rows, side.positions, 1)
    two = measured(runs=1).sides[0]
    assert two.flops == pytest.approx(flops_by_hand(4, two.rows, two.positions, 2) / 2, rel=0.01)  # of one edit


@pytest.mark.parametrize(
    ("settings", "kind", "says"),
    [
        ({"against": ["someone"]}, errors.UnknownName, "no peer called"),
        ({"against": []}, errors.BadSetting, "at least one peer"),
        ({"edits": 0}, errors.BadSetting, "at least 1 edit"),
        ({"runs": 0}, errors.BadSetting, "at least 1 edit and run"),
        ({"tokens": 4}, errors.BadSetting, "and 5 tokens"),
        ({"layer": 4}, errors.BadSetting, "layers 0 to 3, not 4"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings, kind, says):
    with pytest.raises(kind, match=says):
        measured(**settings)


def test_a_masked_model_is_refused():
    with pytest.raises(errors.BadSetting, match="causal models"):
        bench_judging("masked-toy")


# -- the command


def engram(*arguments, code=0):
    result = CliRunner().invoke(application(), ["bench", "judging", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def made() -> JudgingBench:
    def side(name, seconds, difference):
        return JudgingSide(name, name.startswith("engram"), seconds, None, 10**9, 200, 5200, 62_400, difference)

    sides = (
        side("straightforward", (8.0, 6.0, 4.0), 0.0), side("engram", (1.0, 2.0, 1.0), 2e-6),
        side("engram, before kept", (0.5, 0.5, 0.5), 2e-6),
    )  # fmt: skip
    return JudgingBench(
        "gpt2", 12, 5, 100, 26, 12, 3, "cpu", 2**30, 0.5, sides, {"threads": 2}, {"torch": "2"}
    )  # fmt: skip


def test_ratios_are_what_one_works_out_by_hand():
    assert made().ratios("straightforward") == [8, 3, 4]
    told = made().to_dict()["ratios"]["straightforward"]
    assert told["engram"] == {"median": 4, "each": [8, 3, 4]}
    assert told["engram, before kept"]["median"] == 12


def test_the_command_shows_times_ratios_and_differences(monkeypatch):
    given = {}

    def bench(shape, **settings):
        given.update(settings, shape=shape)
        return made()

    monkeypatch.setattr("engram.bench.bench_judging", bench)
    shown = engram("--edits", 7, "--layer", 3, "--against", "straightforward").stdout
    assert (given["edits"], given["layer"], given["against"]) == (7, 3, ["straightforward"])
    for part in (
        "gpt2, 12 layers, random weights; 100 edits of rank one in layer 5, each with 26 questions of about 12 tokens",
        "4.00 (3.00 to 8.00)", "12.00 (8.00 to 16.00)", "2.0e-06", "by 0.5 nats in the mean", "threads 2",
    ):  # fmt: skip
        assert part in shown
    document = json.loads(engram("--json").stdout)
    assert (document["what"], given["edits"], given["against"]) == ("judging", 100, PEERS)
    assert set(document["units"]) <= {*document, *document["sides"][0]}


def test_the_command_measures():
    document = json.loads(engram("--shape", "toy", "--tokens", 5, "--edits", 2, "--runs", 1, "--json").stdout)
    assert [s["name"] for s in document["sides"]] == [*PEERS, "engram", "engram, before kept"]
    assert document["ratios"]["straightforward"]["engram"]["median"] > 0
