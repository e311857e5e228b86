"""What each command says, held against the network itself and against counting by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import engram as eg
from engram.cli._question import own_word
from engram.testing import tiny
from test_cli import engram, refused

UPON = "Once upon a [Y]"
MADE = "the capital of Ireland is [Y] ."


def said(*arguments: object) -> dict[str, Any]:
    """The one JSON document on stdout, with nothing on stderr."""
    result = engram(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    document: dict[str, Any] = json.loads(result.stdout, parse_constant=pytest.fail)
    assert document["command"] == arguments[0]
    return document


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def stories(shared_models: Path) -> Path:
    """A real causal checkpoint."""
    return shared_models / "stories260K"


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random masked checkpoint."""
    return saved(tmp_path_factory.mktemp("masked"), *tiny("bert"))


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of one relation with four templates, two of them with their blank last."""
    folder = tmp_path_factory.mktemp("facts")
    templates = ["[X] is in [Y]", "[Y] is a city in [X]", "the capital of [X] is [Y]", "[Y] has [X]"]
    (folder / "relations.jsonl").write_text('{"relation": "R1", "label": "city", "type": "1-1"}')
    for part, lines in {
        "patterns": [{"pattern": t} for t in templates],
        "facts": [{"sub_label": "Ireland", "obj_label": "Dublin"}, {"sub_label": "France", "obj_label": "Paris"}],
    }.items():
        (folder / part).mkdir()
        (folder / part / "R1.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def saved(folder: Path, net: Any, tokenizer: Any) -> Path:
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def following(stories: Path, text: str, silent: tuple[int, int] | None = None) -> tuple[torch.Tensor, Any]:
    """The probabilities of the next token, from the network alone; one value slot may be zeroed."""
    net = AutoModelForCausalLM.from_pretrained(stories, dtype=torch.float32)
    words = AutoTokenizer.from_pretrained(stories)
    with torch.no_grad():
        if silent is not None:
            net.model.layers[silent[0]].mlp.down_proj.weight[:, silent[1]] = 0
        return net(**words(text, return_tensors="pt")).logits[0, -1].softmax(-1), words


def test_ask_says_what_the_network_says(stories: Path) -> None:
    chances, words = following(stories, "Once upon a")
    asked = said("ask", stories, UPON, "--answer", "time", "--top", 3)
    assert asked["model"] | {"name": ""} == {
        "name": "", "family": "llama", "layers": 5, "neurons": [172] * 5, "dtype": "float32", "device": "cpu",
    }  # fmt: skip
    (answer,) = asked["answers"]
    assert (answer["prompt"], answer["answer"], answer["after"]) == (UPON, "time", None)
    best = chances.topk(3)
    assert answer["before"]["tokens"] == words.convert_ids_to_tokens([int(best.indices[0])])
    assert answer["before"]["rank"] == 1
    assert answer["before"]["probability"] == pytest.approx(float(best.values[0]), rel=1e-5)
    assert [t["probability"] for t in answer["before"]["top"]] == pytest.approx(best.values.tolist(), rel=1e-4)


def test_without_an_answer_the_models_own_first_word_is_asked_for(stories: Path, masked: Path) -> None:
    for model, prompt in ((stories, "The little [Y]"), (masked, MADE)):
        (answer,) = said("ask", model, prompt)["answers"]
        assert answer["before"]["rank"] == 1
        assert answer["before"]["top"][0]["word"] == answer["answer"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_models_own_word_is_a_token_of_its_own_and_none_that_reads_the_same(seed: int) -> None:
    model, text = eg.load(*tiny("llama", seed=seed)), "the capital of Ireland is [Y]"
    word = own_word(model, text)
    (answer,) = eg.ask(model, eg.Prompt(text, word), top=20)
    assert (word, pytest.approx(answer.probability)) in answer.top


def test_a_neuron_silent_everywhere_is_a_value_slot_of_zero(stories: Path) -> None:
    without, words = following(stories, "Once upon a", silent=(4, 14))
    (answer,) = said("ask", stories, UPON, "-a", "time", "--suppress", "L4.14", "--at", "everywhere")["answers"]
    time = words.convert_tokens_to_ids(answer["before"]["tokens"])[0]
    assert answer["after"]["probability"] == pytest.approx(float(without[time]), rel=1e-5)
    assert answer["after"]["probability"] < answer["before"]["probability"]


def test_amplifying_by_one_changes_nothing_and_by_two_does(stories: Path) -> None:
    for by, same in ((1, True), (2, False)):
        asked = said("ask", stories, UPON, "-a", "time", "--amplify", "L4.14, L4.168", "--by", by)
        (answer,) = asked["answers"]
        assert (answer["after"] == answer["before"]) is same
        change = {"suppressed": [], "amplified": ["L4.14", "L4.168"], "by": by, "at": "blank"}
        assert asked["intervention"] == change


def test_a_wrong_answer_is_asked_beside_the_right_one(stories: Path) -> None:
    right, wrong = said("ask", stories, UPON, "-a", "time", "--against", "day")["answers"]
    assert (right["answer"], wrong["answer"]) == ("time", "day")
    assert right["before"]["top"] == wrong["before"]["top"]
    assert wrong["before"]["rank"] > right["before"]["rank"]


def test_a_place_that_is_none_is_misuse(stories: Path) -> None:
    assert "'blank' or 'everywhere'" in refused(2, "ask", stories, UPON, "--suppress", "L1.1", "--at", "nowhere")
    assert "has no neuron L9.1" in refused(2, "ask", stories, UPON, "--suppress", "L9.1")


def test_a_causal_model_is_asked_the_templates_that_it_can_be_asked(stories: Path, masked: Path, facts: Path) -> None:
    question = ("--data", facts, "--relation", "city", "--subject", "Ireland")
    assert [a["template"] for a in said("ask", masked, *question)["answers"]] == [0, 1, 2, 3]
    assert [a["template"] for a in said("ask", "--model", stories, *question)["answers"]] == [0, 2]
    assert "follows the blank" in refused(2, "ask", stories, "[Y] is here.", "-a", "time")


def test_locate_finds_the_same_with_one_or_two_arguments(stories: Path) -> None:
    two = said("locate", stories, UPON, "--answer", "time", "--steps", 4)
    one = said("locate", UPON, "--model", stories, "--answer", "time", "--steps", 4)
    assert one == two
    assert two["settings"]["steps"] == 4
    assert two["selection"] is None


def test_what_a_layers_scores_must_add_up_to_is_what_its_silence_costs(stories: Path) -> None:
    found = said("locate", stories, UPON, "-a", "time", "--rule", "gauss", "--best", 10_000)
    (prompt,) = found["prompts"]
    assert len(prompt["neurons"]) == 5 * 172
    scores = [n["score"] for n in prompt["neurons"]]
    assert scores == sorted(scores, reverse=True)
    assert prompt["peak"] == scores[0]
    for layer in prompt["layers"]:
        mine = [n for n in prompt["neurons"] if n["layer"] == layer["layer"]]
        assert sum(n["score"] for n in mine) == pytest.approx(layer["sum"], abs=1e-6)
        assert sum(n["share_of_layer"] for n in mine) == pytest.approx(1)
        assert layer["sum"] - layer["change"] == pytest.approx(layer["gap"], abs=1e-6)
        assert abs(layer["gap"]) < 0.005
    whole = ", ".join(f"L4.{i}" for i in range(172))
    (answer,) = said("ask", stories, UPON, "-a", "time", "--suppress", whole)["answers"]
    cost = answer["before"]["probability"] - answer["after"]["probability"]
    assert prompt["layers"][4]["change"] == pytest.approx(cost, abs=1e-6)


def test_the_votes_of_a_fact_are_those_counted_by_hand(masked: Path, facts: Path) -> None:
    question = ("--data", facts, "-r", "R1", "-s", "Ireland", "--threshold", 0.3, "--share", 0.5)
    found = said("locate", masked, *question, "--steps", 3, "--best", 1000)
    votes: dict[str, int] = {}
    for prompt in found["prompts"]:
        for n in prompt["neurons"]:
            votes[n["neuron"]] = votes.get(n["neuron"], 0) + (n["score"] > 0.3 * prompt["peak"])
    kept = {n["neuron"]: n["votes"] for n in found["selection"]["neurons"]}
    assert kept == {n: v for n, v in votes.items() if v > 0.5 * 4}
    assert kept
    assert found["selection"]["least_votes"] == 3


def test_a_method_that_promises_no_sum_gives_null_and_says_so(stories: Path) -> None:
    arguments = ("locate", stories, UPON, "--answer", "time", "--method", "activation")
    assert {layer["gap"] for layer in said(*arguments)["prompts"][0]["layers"]} == {None}
    assert "promises no sum" in engram(*arguments).stdout


def test_a_contrast_needs_its_wrong_answer(masked: Path) -> None:
    arguments = ("locate", masked, MADE, "-a", "Dublin", "--target", "logit_difference", "--steps", 2)
    assert "needs prompts with a wrong answer: --against" in refused(2, *arguments)
    assert said(*arguments, "--against", "Paris")["units"]["score"].startswith("logits")


def test_prompts_without_a_score_are_warned_of_in_one_line(tmp_path: Path, facts: Path) -> None:
    net, tokenizer = tiny("bert")
    with torch.no_grad():
        net.cls.predictions.decoder.weight.zero_()
        net.cls.predictions.decoder.bias.zero_()
    model = saved(tmp_path, net, tokenizer)
    result = engram("locate", model, "--data", facts, "-r", "R1", "-s", "France", "--steps", 1)
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: 4 of 4 prompts have no score above 0")
    assert result.stderr.count("\n") == 1
    assert "above 0.2 of the largest score in at least 3 of 4 templates: 0 of 72 neurons" in result.stdout


def test_tables_stand_in_columns_and_end_where_their_words_end(stories: Path) -> None:
    lines = engram("locate", stories, UPON, "-a", "time", "--best", 4).stdout.splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("neuron"))
    rows = lines[header : header + 5]
    assert {len(row) for row in rows} == {len(rows[0])}
    assert all(line == line.rstrip() and "\x1b" not in line for line in lines)
    assert any(line.startswith("time ") and line.endswith("1") for line in lines)


def test_a_fact_is_shown_in_all_its_templates_before_and_after(masked: Path, facts: Path) -> None:
    layer = " ".join(f"L2.{i}" for i in range(24))
    question = ("--data", facts, "-r", "city", "-s", "Ireland", "--suppress", layer)
    lines = engram("ask", masked, *question).stdout.splitlines()
    assert lines[0].startswith("⟨Ireland, R1, Dublin⟩ in 4 templates")
    assert lines[2].split() == ["prompt", "P", "after", "rank", "after", "says", "after"]
    assert lines[3].startswith("Ireland is in [Y]  ")
    assert all(line == line.rstrip() for line in lines)
    (answer, *_) = said("ask", masked, *question)["answers"]
    ranks = [str(answer[side]["rank"]) for side in ("before", "after")]
    words = [answer[side]["top"][0]["word"] for side in ("before", "after")]
    assert lines[3].split()[-4:] == [*ranks, *words]
    assert ranks[0] != ranks[1]
    assert [line.split()[0] for line in lines[-2:]] == ["before", "after"]


def test_data_lists_the_sets_and_the_relations_of_one(facts: Path) -> None:
    assert {"shipped", "pararel"} <= {d["name"] for d in said("data")["data_sets"]}
    assert "shipped" in engram("data").stdout
    (relation,) = said("data", facts)["relations"]
    assert (relation["id"], relation["name"], relation["type"], relation["facts"]) == ("R1", "city", "1-1", 2)
    assert (len(relation["templates"]), relation["blank_last"]) == (4, 2)
    assert relation["example"] == ["Ireland", "Dublin"]
    shown = engram("data", facts).stdout.splitlines()
    assert shown[3].split() == ["R1", "city", "1-1", "4", "2", "2", "Ireland:", "Dublin"]


def test_models_says_what_a_model_is(stories: Path) -> None:
    model = said("models", stories)["model"]
    assert model["parameters"] == sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(stories).parameters())
    assert model["places"][4] == "model.layers.4.mlp.down_proj"
    assert (model["family"], model["neurons"], model["asked_by"]) == ("llama", [172] * 5, "next")
    half = said("models", stories, "--dtype", "bfloat16")["model"]
    assert half["dtype"] == "bfloat16"
    assert "172 in a layer, 860 in all" in engram("models", stories).stdout


def test_models_without_a_name_lists_every_family() -> None:
    from engram.models.family import families

    listed = said("models")
    assert {t for f in listed["families"] for t in f["model_types"]} == set(families())
    (bert,) = (f for f in listed["families"] if f["family"] == "bert")
    assert bert["places"] == ["bert.encoder.layer.*.output.dense"]
    assert "bert.encoder.layer.*.output.dense" in engram("models").stdout


def test_where_points_run_out_before_the_error_is_small_the_layers_are_named(tmp_path: Path, masked: Path) -> None:
    prompt = eg.Prompt("The capital of Ireland is [Y] .", "Dublin")
    kinks = saved(tmp_path, *tiny("t5"))  # its neurons are ReLU's
    (found,) = eg.locate(eg.load(str(kinks)), prompt, by=eg.IntegratedGradients(rule="gauss"))
    loose = [f"L{i}" for i, error in enumerate(found.error) if error > 0.01 * abs(found.scores).max()]
    assert 0 < len(loose) < len(found.error)
    asked = (prompt.text, "--answer", prompt.answer, "--rule", "gauss")
    shown = engram("locate", kinks, *asked).stdout
    assert f"note: in {', '.join(loose)} the estimated error stays above the tolerance" in shown
    assert "note" not in engram("locate", masked, *asked).stdout
