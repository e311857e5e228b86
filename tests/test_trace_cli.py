"""`engram trace`: its numbers beside the network's own, what people and programs read of it, and how it fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import engram as eg
from engram.cli._app import application
from test_cli import engram, refused
from test_cli_commands import said

IRELAND = "The capital of Ireland is [Y]"
ASKED = ("engram:causal", IRELAND, "--subject", "Ireland", "--answer", "Dublin", "--samples", 3)
SHIPPED = ("--data", "shipped", "--relation", "capital", "--subject", "Ireland", "--samples", 1)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def network() -> tuple[torch.Tensor, list[str], Any]:
    """Of the shipped causal model alone: the chances of the next token, the tokens of the prompt, the tokenizer."""
    model = eg.load("engram:causal")
    ids = model.tokenizer("The capital of Ireland is", return_tensors="pt")
    with torch.no_grad():
        chances = model.net(**ids).logits[0, -1].softmax(-1)
    return chances, model.tokenizer.convert_ids_to_tokens(ids["input_ids"][0].tolist()), model.tokenizer


def table(text: str) -> list[list[str]]:
    """The rows of the map in what people read."""
    lines = text.splitlines()
    head = next(i for i, line in enumerate(lines) if line.split()[:2] == ["L0", "L1"])
    rows = lines[head + 1 : lines.index("", head)]
    return [row.split() for row in rows]


def test_clean_is_what_the_network_says_and_the_last_state_brings_all_of_it_back(network) -> None:
    chances, tokens, words = network
    found = said("trace", *ASKED)
    (trace,) = found["traces"]
    dublin = words(" Dublin", add_special_tokens=False)["input_ids"][0]
    assert trace["clean"] == pytest.approx(float(chances[dublin]), rel=1e-5)
    assert trace["tokens"] == tokens
    first, end = trace["subject"]
    assert tokens[first:end] == ["ĠIreland"]
    effect = np.array(trace["effect"])
    assert trace["total"] == pytest.approx(trace["clean"] - trace["corrupted"])
    assert effect[-1, -1] == pytest.approx(trace["total"], abs=1e-6), "the state that is read"
    assert (effect[:first] == 0).all(), "before the subject nothing changed"
    assert (effect[:-1, -1] == 0).all(), "behind the last block nothing reads the other tokens"
    assert effect.shape == (len(tokens), found["model"]["layers"])
    assert trace["best"]["effect"] == effect.max() == effect[trace["best"]["token"], trace["best"]["layer"]]
    assert trace["last_subject"]["token"] == end - 1
    assert (trace["samples"], trace["unit"], trace["kind"]) == (3, "probability", "block")
    assert {"effect", "spread", "total"} <= set(found["units"])
    assert found["picture"] is None


def test_the_table_has_tokens_down_layers_across_and_the_numbers_of_the_document() -> None:
    result = engram("trace", *ASKED)
    (trace,) = said("trace", *ASKED)["traces"]
    rows = table(result.stdout)
    assert [row[0] for row in rows] == ["<|endoftext|>", "The", "·capital", "·of", "·Ireland*", "·is"]
    assert np.array([row[1:] for row in rows], float) == pytest.approx(np.array(trace["effect"]), abs=6e-4)
    assert "\x1b" not in result.stdout, "nothing but text, where nobody looks"
    for part in (
        IRELAND, "asked of engram:causal", "one block restored: effect on P(Dublin) (probability)",
        "clean (probability)",
        f"{trace['clean']:.4f}", f"{trace['corrupted']:.4f}", f"{trace['total']:.4f}", "noise 3s", "samples 3",
        "seed 0",
        f"largest: {trace['best']['effect']:.4f} (sd {trace['best']['spread']:.4f}, 3 samples) at ·is, L",
        "at the last subject token: ",
    ):  # fmt: skip
        assert part in result.stdout, part


def test_a_terminal_sees_shades_and_pieces_as_wide_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "34"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = CliRunner().invoke(application(), [str(a) for a in ("trace", *ASKED)], color=True).stdout
    assert re.search(r"\x1b\[38;5;231m\x1b\[48;5;55m +0\.\d{3}\x1b", text), "the largest has the deepest shade"
    plain = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    heads = [line.split() for line in plain if re.match(r" +L\d", line)]
    assert heads == [["L0", "L1", "L2"], ["L3"]]
    start = next(i for i, line in enumerate(plain) if line.split() == heads[0])
    assert max(map(len, plain[start : start + 14])) == 34
    monkeypatch.setenv("NO_COLOR", "1")
    assert "48;5" not in CliRunner().invoke(application(), [str(a) for a in ("trace", *ASKED)], color=True).stdout


def test_all_kinds_are_traced_in_turn_and_the_window_is_for_those_that_take_one() -> None:
    traces = said("trace", *ASKED, "--kind", "all", "--window", 3)["traces"]
    assert [t["kind"] for t in traces] == ["block", "ffn", "attention"]
    windows = [[b - a for a, b in t["windows"]] for t in traces]
    assert windows == [[1, 1, 1, 1], [2, 3, 3, 2], [2, 3, 3, 2]]
    assert len({t["corrupted"] for t in traces}) == 1, "the same noise"
    twice = said("trace", *ASKED, "--kind", "attention", "--kind", "attention")["traces"]
    assert [t["kind"] for t in twice] == ["attention"]
    text = engram("trace", *ASKED, "--kind", "all", "--window", 3).stdout
    assert "windows of ffn and attention: 3 layers; fewer around L0, L3" in text


def test_settings_reach_the_tracer_and_come_back() -> None:
    (trace,) = said("trace", *ASKED, "--severed", "ffn", "--noise", "0.5", "--rng", "rome", "--metric", "logprob")[
        "traces"
    ]
    settings = trace["settings"]
    assert (settings["severed"], settings["noise"], settings["rng"], trace["seed"]) == ("ffn", 0.5, "rome", 1)
    assert (trace["unit"], trace["metric"]) == ("nats", "logprob")
    by = eg.CausalTracing(samples=3, severed="ffn", noise=0.5, rng="rome", metric="logprob")
    same = eg.trace(eg.load("engram:causal"), eg.Prompt(IRELAND, "Dublin"), subject="Ireland", by=by)
    assert trace["effect"] == same.effect.tolist()
    found = said("trace", *ASKED, "--method", "attribution_patching", "--noise", "zero", "--seed", 4)
    assert found["method"] == "attribution_patching"
    (trace,) = found["traces"]
    assert (trace["samples"], trace["seed"], trace["spread"][0][0]) == (1, 4, None)
    assert any("the same in every sample" in note for note in trace["notes"])
    (contrast,) = said("trace", *ASKED, "--metric", "logit_difference", "--against", "Paris")["traces"]
    assert (contrast["unit"], contrast["against"]) == ("logits", "Paris")


@pytest.mark.parametrize("answers", ["gold", "argmax"])
def test_without_an_answer_the_models_own_first_word_is_traced(network, answers) -> None:
    chances, _, words = network
    (trace,) = said("trace", *ASKED[:4], "--answers", answers, "--samples", 1)["traces"]
    assert trace["answer"] == words.decode([int(chances.argmax())]).strip()
    assert trace["clean"] == pytest.approx(float(chances.max()), rel=1e-5)


def test_argmax_is_what_the_model_says_and_not_what_was_given(network) -> None:
    chances, _, words = network
    (trace,) = said("trace", *ASKED[:4], "-a", "Paris", "--answers", "argmax", "--samples", 1)["traces"]
    assert trace["answer"] == words.decode([int(chances.argmax())]).strip() != "Paris"


def test_a_picture_is_drawn_where_it_was_asked_for_and_nowhere_else(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert engram("trace", *ASKED).exit_code == 0
    assert list(tmp_path.iterdir()) == []
    assert "map.svg" in engram("trace", *ASKED, "--kind", "all", "--out", "map.svg").stdout
    root = ElementTree.parse(tmp_path / "map.svg").getroot()
    shown = ["".join(t.itertext()) for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"one block restored", "FFN of one layer restored", "attention of one layer restored"} <= set(shown)
    assert [t for t in shown if t.startswith("·")] == ["·capital", "·of", "·Ireland*", "·is"]
    assert said("trace", *ASKED, "-o", "one.png")["picture"] == "one.png"
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "taken.svg").mkdir()
    assert "taken.svg: cannot be written to" in refused(1, "trace", *ASKED, "--out", "taken.svg")


def test_a_fact_is_traced_in_each_of_its_templates_or_in_one(tmp_path) -> None:
    found = said("trace", "--model", "engram:causal", *SHIPPED)
    traces = found["traces"]
    assert found["fact"] == "⟨Ireland, capital, Dublin⟩"
    assert len(traces) > 3
    assert all(t["prompt"].rstrip(" .").endswith("[Y]") for t in traces), "what a causal model can be asked"
    assert all(t["answer"] == "Dublin" for t in traces)
    text = engram("trace", "--model", "engram:causal", *SHIPPED, "--kind", "block", "--kind", "ffn").stdout
    assert f"in {len(traces)} templates" in text
    for t in traces:
        row, _of_ffn = (line for line in text.splitlines() if t["prompt"] in line)
        numbers = [f"{t['clean']:.4f}", f"{t['total']:.4f}", f"{t['best']['effect']:.4f}", f"L{t['best']['layer']}"]
        assert row.split()[0] == str(t["template"])
        assert set(numbers) <= set(row.split())
    out = tmp_path / "a.svg"
    one = said("trace", "--model", "engram:causal", *SHIPPED, "--template", traces[1]["template"], "--out", out)
    assert one["traces"] == traces[1:2]
    assert out.is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "what is to be asked?"),
        ([IRELAND], "Name them with --subject"),
        ([IRELAND, "--relation", "capital"], "name it with --data"),
        ([IRELAND, "-s", "Peru", "-a", "Lima"], "'Peru' is not in"),
        (["The capital of Ireland is", "-s", "Ireland"], "exactly one blank [Y]"),
        ([IRELAND, "-s", "Ireland", "-a", "Dublin", "--kind", "blok"], "Did you mean block"),
        ([IRELAND, "-s", "Ireland", "-a", "Dublin", "--window", "3"], "--kind ffn and --kind attention take wider"),
        ([IRELAND, "-s", "Ireland", "-a", "Dublin", "--noise", "loud"], "no noise called 'loud'"),
        ([IRELAND, "-s", "Ireland", "-a", "Dublin", "--metric", "luck"], "no metric called 'luck'"),
        ([IRELAND, "-s", "Ireland", "-a", "Dublin", "--metric", "logit_difference"], "--against"),
        ([IRELAND, "-s", "Ireland", "-a", "Dublin", "--samples", "0"], "at least 1 sample"),
        ([IRELAND, "-s", "Ireland", "-a", "Dublin", "--rng", "dice"], "no rng called 'dice'"),
        ([IRELAND, "-s", "Ireland", "-a", "Dublin", "--answers", "silver"], "no answers called 'silver'"),
        ([IRELAND, "-s", "Ireland", "-a", "Dublin", "--method", "guess"], "no tracer called 'guess'"),
        ([IRELAND, "-s", "Ireland", "-a", "Dublin", "--severed", "head"], "no severed called 'head'"),
        (
            [IRELAND, "-s", "Ireland", "-a", "Dublin", "--method", "attribution_patching", "--severed", "ffn"],
            "no setting of attribution_patching called 'severed'",
        ),
        ([IRELAND, "-s", "Ireland", "-a", "Dublin", "--out", "map.gif"], "as .svg or .png, not as 'map.gif'"),
        ([IRELAND, "-s", "Ireland", "-a", "Dublin", "--out", "no/where.png"], "there is no folder 'no'"),
        ([IRELAND, "-s", "Ireland", "--template", "1"], "name the set with --data"),
        ([*SHIPPED, "--out", "map.svg"], "say in which --template"),
        ([*SHIPPED, "--template", "99"], "can be asked capital in the templates [0, 1, "),
    ],
)
def test_misuse_ends_with_2_and_one_line_that_helps(arguments: list[object], message: str) -> None:
    assert message in refused(2, "trace", "--model", "engram:causal", *arguments)
