"""`engram bench tracing`: the loops against each other and against a loop by hand, the counts, and what is shown."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from engram import errors
from engram.bench import TracingBench, TracingSide, bench_tracing, shapes, traced
from engram.bench.cost import counted, counting
from engram.bench.traced import Question
from engram.bench.tracing import PEERS, Restored, straightforward, written_well
from engram.cli._app import application
from engram.traces import KINDS, windows
from toys import toys  # noqa: F401  # used by all tests

TOKENS, SUBJECT, SAMPLES, WINDOW = 6, (1, 3), 3, 2


@pytest.fixture(scope="module")
def asked() -> Question:
    """Four layers, a prompt of six tokens, two of them the subject; in float64, where rounding hides nothing."""
    return question("toy")


def question(shape: str, subject=SUBJECT, tokens: int = TOKENS) -> Question:
    model = shapes.network(shape)
    model.net.double()
    return Question.of(model, tokens, subject, samples=SAMPLES, noise=3.0, window=WINDOW)


def parts(asked: Question):
    """What a loop is given."""
    return asked.model, asked.prompt, asked.subject, asked.noise


# -- the loops


@pytest.mark.parametrize("kind", KINDS)
def test_both_loops_say_the_same(asked, kind):
    one, two = (loop(*parts(asked), kind=kind, window=asked.around(kind)) for loop in PEERS.values())
    assert one.scores.shape == (TOKENS, 4)
    assert one.apart(two) < 1e-12 * abs(one.total)
    assert np.ptp(one.scores) > 0.1 * abs(one.total)


def by_hand(asked: Question) -> Restored:
    """Blocks called one after the other, from embeddings and hidden states as the network gives them out."""
    net, (row,) = asked.model.net, asked.model.rows(asked.prompt)
    body, ids = net.transformer, torch.tensor([row.ids])

    def said(x, start=0):
        for block in body.h[start:]:
            x = block(x)
        return net.lm_head(body.ln_f(x))[:, -1].softmax(-1)[:, row.target].mean().item()

    def states(words):
        return net(inputs_embeds=words, output_hidden_states=True).hidden_states

    with torch.no_grad():
        clean_words = body.wte(ids)
        words = clean_words.repeat(SAMPLES, 1, 1)
        rng = np.random.RandomState(1)
        sd = 3.0 * body.wte.weight.std().item()
        words[:, 1:3] += torch.tensor(rng.randn(SAMPLES, 2, 32) * sd, dtype=torch.float64)
        clean, noised = states(clean_words), states(words)
        scores = np.empty((TOKENS, 3))
        for layer in range(3):  # the last state that is given out has been normalised
            for token in range(TOKENS):
                x = noised[layer + 1].clone()
                x[:, token] = clean[layer + 1][0, token]
                scores[token, layer] = said(x, layer + 1)
        return Restored(said(clean[0]), said(noised[0]), scores)


def test_restored_blocks_are_those_of_a_loop_by_hand(asked):
    hand = by_hand(asked)
    found = straightforward(*parts(asked))
    assert hand.apart(replace(found, scores=found.scores[:, :3])) < 1e-10 * abs(hand.total)
    others = found.scores[:-1, 3] - found.corrupted  # behind the last block a token has nothing left to say
    assert np.abs(others).max() < 1e-10 * abs(hand.total)
    assert found.scores[-1, 3] == pytest.approx(found.clean, rel=1e-10)


def test_windows_are_clipped_at_both_ends():
    assert list(windows(10, 12))[::5] == [(0, 5), (0, 10), (5, 12)]
    assert list(windows(5, 4)) == [(0, 3), (0, 4), (0, 4), (1, 4)]
    assert [list(range(*w)) for w in windows(1, 3)] == [[0], [1], [2]]


@pytest.mark.parametrize("kind", ["ffn", "attention"])
def test_a_window_of_all_layers_is_the_same_at_every_layer_it_fits(asked, kind):
    found = straightforward(*parts(asked), kind=kind, window=100)
    assert np.ptp(found.scores, axis=1).max() < 1e-10 * abs(found.total)
    one = straightforward(*parts(asked), kind=kind, window=1)
    assert one.apart(found) > 0.01 * abs(found.total)


def hooks_of(model) -> int:
    return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.net.modules())


def test_the_loops_call_the_network_as_they_say(asked):
    model, cells, sizes, before = asked.model, TOKENS * 4, [], hooks_of(asked.model)
    handle = model.head.register_forward_hook(lambda _m, args, _out: sizes.append(args[0].shape[:2]))
    try:
        with counting(model) as plain:
            straightforward(*parts(asked))
        with counting(model) as good:
            written_well(*parts(asked))
    finally:
        handle.remove()
    assert (plain.calls, plain.rows) == (2 + cells, (2 + cells) * (SAMPLES + 1))
    assert (good.calls, good.rows) == (2 + cells, 1 + (1 + cells) * SAMPLES)
    assert (plain.positions, good.positions) == (plain.rows * TOKENS * 4, good.rows * TOKENS * 4)
    assert [set(sizes[: 2 + cells]), *map(set, (sizes[2 + cells : 3 + cells], sizes[3 + cells :]))] == [
        {(SAMPLES + 1, TOKENS)}, {(1, 1)}, {(SAMPLES, 1)},
    ]  # fmt: skip
    assert hooks_of(model) == before


# -- what is asked


def test_the_answer_is_the_word_that_the_network_says_first(asked):
    (row,) = asked.model.rows(asked.prompt)
    with torch.no_grad():
        logits = asked.model.net(torch.tensor([row.ids])).logits[0, -1]
    assert int(logits[len(shapes.SPECIAL) :].argmax()) + len(shapes.SPECIAL) == row.target


@pytest.mark.parametrize(
    ("shape", "tokens", "subject"),
    [("toy", 12, (0, 6)), ("toy", 5, (0, 2)), ("masked-toy", 12, (1, 5)), ("masked-toy", 5, (1, 2))],
)
def test_the_first_half_is_the_subject_where_none_is_named(shape, tokens, subject):
    found = question(shape, None, tokens)
    assert found.subject == subject
    assert found.words in found.prompt.text
    assert found.noise.shape == (SAMPLES, subject[1] - subject[0], 32)


# -- the whole


def perturbed(*_args, **settings) -> Restored:
    """The straightforward loop, wrong in one cell."""
    found = straightforward(*_args, **settings)
    scores = found.scores.copy()
    scores[2, 1] += 0.25 * found.total
    return replace(found, scores=scores)


@pytest.fixture
def no_engine(monkeypatch):
    """A loop in the engine's place, so that the measuring alone is tested."""
    monkeypatch.setattr(Question, "traced", lambda self, kind: self.by_hand(written_well, kind))


def measured(**settings) -> TracingBench:
    given = {"tokens": TOKENS, "subject": SUBJECT, "samples": 2, "window": WINDOW, "runs": 2, **settings}
    return bench_tracing("toy", **given)


@pytest.mark.usefixtures("no_engine")
def test_all_sides_of_all_kinds_are_measured_in_turn(monkeypatch):
    told, order = [], []
    monkeypatch.setattr(traced, "timed", lambda run, _device: (order.append(run), float(len(order))))
    found = measured(progress=lambda *x: told.append(x))
    assert [(s.kind, s.name, s.engine) for s in found.sides] == [
        (kind, name, name == "engram") for kind in KINDS for name in (*PEERS, "engram")
    ]
    assert told == [(n, 27) for n in range(1, 28)]
    assert order[9:] == [*order[1:9], order[0]]
    assert [s.seconds for s in found.sides[:2]] == [(1, 18), (2, 10)]
    for first, good, engine in zip(found.sides[::3], found.sides[1::3], found.sides[2::3], strict=True):
        assert (first.difference, first.of_total) == (0, 0)
        assert max(good.of_total, engine.of_total) < 1e-5
        assert first.calls == good.calls == 2 + TOKENS * 4
        assert first.rows > good.rows
        assert first.flops > good.flops == engine.flops
    assert json.loads(json.dumps(found.to_dict()))["ratios"].keys() == PEERS.keys()


@pytest.mark.usefixtures("no_engine")
def test_a_side_that_says_something_else_is_reported(monkeypatch):
    monkeypatch.setitem(PEERS, "written well", perturbed)
    first, wrong, engine = measured(kinds=["ffn"], runs=1).sides
    assert wrong.of_total == pytest.approx(0.25, rel=1e-3)
    assert wrong.difference == pytest.approx(0.25 * abs(first.clean - first.corrupted), rel=1e-3)
    assert engine.of_total < 1e-5


def test_the_differences_of_clean_and_corrupted_count_too():
    one = Restored(0.5, 0.25, np.array([[0.5, 0.25]]))
    assert one.apart(replace(one, clean=0.625)) == one.apart(replace(one, corrupted=0.125)) == 0.125
    assert one.apart(one) == 0


def test_flops_are_those_by_hand(asked):
    """Of the plain call: three maps of attention and one behind it, two of the FFN, and the vocabulary, everywhere."""
    rows, h, vocabulary = (2 + TOKENS * 4) * (SAMPLES + 1), 32, asked.model.config.vocab_size
    maps = 4 * (8 * h * h + 16 * h * h) + 2 * h * vocabulary
    attention = 4 * 4 * TOKENS * h
    found = counted(asked.model, lambda: straightforward(*parts(asked)))
    assert found.flops == rows * TOKENS * (maps + attention)


@pytest.mark.parametrize(
    ("settings", "kind", "says"),
    [
        ({"kinds": ["neuron"]}, errors.UnknownName, "no kind called"),
        ({"against": ["someone"]}, errors.UnknownName, "no peer called"),
        ({"kinds": []}, errors.BadSetting, "at least one kind"),
        ({"samples": 0}, errors.BadSetting, "at least 1 sample"),
        ({"noise": 0.0}, errors.BadSetting, "some noise"),
        ({"subject": (4, 7)}, errors.BadSetting, "such as 0:3, not 4:7"),
        ({"subject": (2, 2)}, errors.BadSetting, "such as 0:3, not 2:2"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings, kind, says):
    with pytest.raises(kind, match=says):
        measured(**settings)


# -- the engine


@pytest.mark.parametrize("shape", ["gpt2-tiny", "toy", "masked-toy"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_engine_says_what_the_loops_say(shape, kind):
    asked = question(shape, (2, 4), 10)
    theirs = asked.by_hand(straightforward, kind)
    assert asked.traced(kind).apart(theirs) < 1e-10 * abs(theirs.total)


# -- the command


def engram(*arguments, code=0):
    result = CliRunner().invoke(application(), ["bench", "tracing", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def made() -> TracingBench:
    def side(name, kind, seconds, difference):
        work = (None, 10**9, 50, 550, 26_400)
        found = kind, 2e-4, 1e-4, difference, difference / 1e-4
        return TracingSide(name, name == "engram", seconds, *work, *found)

    sides = (
        side("straightforward", "block", (8.0, 6.0, 4.0), 0.0), side("engram", "block", (1.0, 1.0, 1.0), 2e-11),
        side("straightforward", "ffn", (4.0, 6.0, 4.0), 0.0), side("engram", "ffn", (1.0, 2.0, 1.0), 0.0),
    )  # fmt: skip
    return TracingBench("gpt2", 12, 12, (0, 6), 10, 10, 3.0, 3, "cpu", 2**30, sides, {"threads": 2}, {"torch": "2"})


def test_ratios_are_what_one_works_out_by_hand():
    assert made().ratios("straightforward", "ffn") == [4, 3, 4]
    assert made().ratios("straightforward") == [6, 4, 4]
    told = made().to_dict()["ratios"]["straightforward"]
    assert told["block"] == {"median": 6, "each": [8, 6, 4]}
    assert told["all"]["median"] == 4


def test_the_command_shows_times_ratios_and_differences(monkeypatch):
    given = {}

    def bench(shape, **settings):
        given.update(settings, shape=shape)
        return made()

    monkeypatch.setattr("engram.bench.bench_tracing", bench)
    shown = engram("--subject", "3:6", "--kind", "ffn", "--kind", "block", "--samples", 4).stdout
    assert (given["subject"], given["kinds"], given["samples"]) == ((3, 6), ["ffn", "block"], 4)
    for part in (
        "gpt2, 12 layers, random weights; a prompt of 12 tokens; noise of 3 standard deviations on tokens 0 to 5, 10",
        "6.00 (4.00 to 8.00)", "4.00 (3.00 to 4.00)", "all kinds", "2.0e-11", "2.0e-07", "threads 2",
    ):  # fmt: skip
        assert part in shown
    document = json.loads(engram("--json").stdout)
    assert (document["what"], given["subject"], given["kinds"]) == ("tracing", None, KINDS)
    assert set(document["units"]) <= {*document, *document["sides"][0]}


@pytest.mark.parametrize("written", ["3", "3:", "3-6", "-1:2"])
def test_a_subject_that_is_no_span_is_refused(written):
    assert "written like 3:6" in engram(f"--subject={written}", code=2).stderr


@pytest.mark.usefixtures("no_engine")
def test_the_command_measures():
    document = json.loads(
        engram(
            "--shape", "gpt2-tiny", "--tokens", 5, "--samples", 1, "--kind", "attention", "--runs", 1, "--json"
        ).stdout
    )
    assert document["subject"] == [0, 2]
    assert [s["name"] for s in document["sides"]] == [*PEERS, "engram"]
    assert document["ratios"]["straightforward"]["attention"]["median"] > 0
