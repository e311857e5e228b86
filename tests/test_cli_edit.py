"""`engram edit`, `erase`, `export` and `ask --under`: their numbers beside the library's own, and how they fail."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.errors import OfflineModeIsEnabled

import engram as eg
from engram import Edit, NeuronSet
from engram.cli._editors import How, spot
from engram.editors.called import called
from engram.models.editing import slots_of
from test_cli import engram, refused
from test_cli_commands import said

torch.set_num_threads(1)  # tiny networks: threads cost more than they save

IRELAND = "The capital of Ireland is [Y]."
DUBLIN = eg.Prompt(IRELAND, "Dublin")
TOLD = (IRELAND, "--subject", "Ireland", "--answer", "Dublin", "--to", "Paris")
CAUSAL = ("engram:causal", *TOLD, "--unrelated", 4)
QUICK = ("--by", "p-rome", "--layer", 1, "--token", "asked", "--set", "search.steps=3", "--set", "contexts=[]")
SLOTS = ("--by", "surgery", "--neurons", "L1.3, L2.5")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The edit of the README, of the masked model."""
    folder = tmp_path_factory.mktemp("edits") / "cork"
    told = said("edit", *TOLD[:-1], "Cork", "--by", "rome", "--unrelated", 0, "--out", folder)
    assert told["out"] == str(folder)
    return folder


# -- edit


def test_the_readme_line_makes_an_edit_that_moves_the_answer_and_keeps_it(saved: Path) -> None:
    edit = Edit.load(saved)
    assert (edit.method, edit.settings["preset"], edit.model) == ("rome", "rome", "engram:masked")
    assert edit.wish == eg.Fact("Ireland", "The capital of [X] is [Y].", "Dublin").becoming("Cork")
    model = eg.load()
    old, new = (
        eg.ask(model, DUBLIN.asking_for(x)) + eg.ask(model, DUBLIN.asking_for(x), under=edit)
        for x in ("Dublin", "Cork")
    )
    assert old[1].probability < old[0].probability / 10
    assert new[1].probability > new[0].probability * 100
    assert new[1].rank < new[0].rank


def test_the_document_says_what_the_library_says() -> None:
    told = said("edit", *CAUSAL, *QUICK)
    model = eg.load("engram:causal")
    by = eg.ROME(
        layer=1, covariance=None, preset="p-rome", contexts=(), token="asked",
        search=eg.ROME(layer=1, covariance=None).search.__class__(steps=3),
    )  # fmt: skip
    wish = eg.Fact("Ireland", "The capital of [X] is [Y].", "Dublin").becoming("Paris")
    edit = eg.rewrite(model, wish, by=by, prompt=DUBLIN)
    for answer, shown in zip(("Dublin", "Paris"), told["answers"], strict=True):
        for under, when in ((None, "before"), (edit, "after")):
            (found,) = eg.ask(model, DUBLIN.asking_for(answer), under=under)
            assert shown[when]["probability"] == pytest.approx(found.probability, rel=1e-5)
            assert shown[when]["rank"] == found.rank
    before = slots_of(model, 1).double().clone()
    with eg.holding(edit, model):
        size = float((slots_of(model, 1).double() - before).norm() / before.norm())
    assert told["edit"]["size"] == {"1": pytest.approx(size)}
    assert told["edit"]["patches"] == [{"layer": 1, "rank": 1}]
    assert told["edit"]["settings"]["residual"] == pytest.approx(edit.settings["residual"], rel=0.5)
    assert told["unrelated"]["facts"] == 4
    assert told["notes"]["where"] == "layer 1, token asked: as asked for"
    assert told["out"] is None


def test_left_out_layer_and_token_are_where_the_trace_has_its_peak() -> None:
    model = eg.load("engram:causal")
    trace = eg.trace(model, DUBLIN, subject="Ireland", by=eg.CausalTracing(kind="ffn", window=1))
    rows = trace.effect[[trace.subject[1] - 1, trace.at]]
    row, layer = np.unravel_index(rows.argmax(), rows.shape)
    at = spot(model, DUBLIN, "Ireland", None, None)
    assert (at.layers[-1], at.token) == (layer, ("subject", "asked")[row])
    assert at.layers == tuple(range(max(0, layer - 2), layer + 1))
    at = spot(model, DUBLIN, "Ireland", None, "subject")
    assert at.layers[-1] == rows[0].argmax()
    at = spot(model, DUBLIN, "Ireland", [2], None)
    assert (at.layers, at.token) == ((2,), ("subject", "asked")[rows[:, 2].argmax()])
    assert f"{rows[:, 2].max():.4f} of P(Dublin)" in at.why
    told = said("edit", *CAUSAL, "--by", "p-rome", "--set", "search.steps=1", "--set", "contexts=[]")
    assert told["edit"]["patches"][0]["layer"] == layer
    assert told["notes"]["where"].startswith(
        f"layer {layer}, token {('subject', 'asked')[row]}: largest effect of tracing"
    )


def test_what_people_read(tmp_path: Path) -> None:
    result = engram("edit", *CAUSAL, *SLOTS, "--out", tmp_path / "paris")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [" ".join(x.split()) for x in result.stdout.splitlines()]
    assert lines[:2] == [IRELAND, "asked of engram:causal"]
    assert lines[3] == "answer tokens P after rank after"
    wish = "⟨Ireland, The capital of [X] is [Y]., Dublin⟩ → Paris"
    assert f"planned knowledge_surgery of {wish}: {{L1.3, L2.5}}" in lines
    assert any(x.startswith("layer 1 changed by ") and x.endswith("% of the norm of its value slots") for x in lines)
    assert any(x.startswith("unrelated ") and "of 4 other facts keep their first word" in x for x in lines)
    assert lines[-1] == f"kept {tmp_path / 'paris'}, a PEFT adapter"


def test_a_fact_of_a_data_set_is_edited_in_one_template_and_shown_in_all() -> None:
    told = said("edit", "-m", "engram:causal", "-d", "shipped", "-r", "capital", "-s", "Ireland", "--to", "Paris",
                "--template", 2, *SLOTS, "--unrelated", 0)  # fmt: skip
    facts = eg.data.read("shipped")
    asked = [p for p in facts.prompts(facts.fact("Ireland", "capital")) if p.blank_last]
    assert len(told["answers"]) == 2 * len(asked)
    assert told["answers"][0]["template"] == 2
    assert told["edit"]["wish"] == "⟨Ireland, capital, Dublin⟩ → Paris"
    assert told["unrelated"] is None


def test_surgery_finds_its_neurons_as_locate_does() -> None:
    method = ("--method", "gradient_times_activation", "--threshold", 0.5)
    told = said("edit", *CAUSAL, "--by", "surgery", *method, "--unrelated", 0)
    model = eg.load("engram:causal")
    found = eg.locate(model, DUBLIN, by=eg.GradientTimesActivation())
    neurons = eg.select(found, by=eg.Shared(threshold=0.5, share=0.7))
    assert NeuronSet.of([eg.Neuron(p["layer"], p["neuron"]) for p in told["edit"]["patches"]]) == neurons


@pytest.mark.parametrize("by", ["memit", "alphaedit", "ft-l", "causal_neuron"])
def test_every_editor_is_reached_by_its_name(by: str) -> None:
    quick = {
        "memit": ("--layer", 0, "--layer", 1, "--token", "asked", "--set", "contexts=[]", "--set", "search.steps=1"),
        "alphaedit": ("--layer", 0, "--token", "asked", "--set", "contexts=[]", "--set", "search.steps=1"),
        "ft-l": ("--layer", 0, "--set", "steps=1"), "causal_neuron": ("--set", "site=[5, 1]", "--set", "units=2"),
    }[by]  # fmt: skip
    told = said("edit", *CAUSAL, "--by", by, *quick, "--unrelated", 0)
    assert told["edit"]["method"] == called(by).editor
    layers = sorted({p["layer"] for p in told["edit"]["patches"]})
    assert layers == {"memit": [0, 1], "causal_neuron": [1]}.get(by, [0])


def test_a_covariance_is_read_from_ordinary_text(tmp_path: Path) -> None:
    facts = eg.data.read("shipped")
    shipped = eg.data.texts("shipped", facts)
    (tmp_path / "texts.txt").write_text("\n\n".join(shipped.neither[:60]), encoding="utf-8")
    c = eg.second_moments(eg.load("engram:causal"), shipped.neither[:60], [1], tokens=200)[1]
    result = engram("edit", *CAUSAL, *QUICK, "--covariance", tmp_path / "texts.txt", "--tokens", 200, "--json")
    assert "warning: C of layer 1, of 200 keys of 256 neurons" in result.stderr
    source = json.loads(result.stdout)["edit"]["settings"]["covariance"]
    assert (source["texts"], source["tokens"]) == (c.source["texts"], 200)


def test_what_was_read_of_ordinary_text_is_kept_for_the_next_edit(tmp_path: Path) -> None:
    told = (*CAUSAL, *QUICK, "--covariance", "shipped", "--tokens", 200, "--cache", tmp_path / "moments", "--json")
    first = json.loads(engram("edit", *told).stdout)["edit"]["settings"]["covariance"]
    (kept,) = (tmp_path / "moments").iterdir()
    before = kept.stat().st_mtime_ns
    assert json.loads(engram("edit", *told).stdout)["edit"]["settings"]["covariance"] == first
    assert kept.stat().st_mtime_ns == before


def test_settings_are_read_as_json_and_else_as_they_stand() -> None:
    how = How(by="surgery", set_=["add=4", "preset=paper", "scaled=true"])
    assert how.settings() == {"add": 4, "preset": "paper", "scaled": True}
    how = How(by="rome", set_=["search.steps=7", "search.clamp=2.5", "contexts=[[5, 2]]"])
    found = how.settings()
    assert (found["search"].steps, found["search"].clamp, found["search"].rate) == (7, 2.5, 0.5)
    assert (found["contexts"], found["preset"]) == (((5, 2),), "rome")


# -- erase


def test_an_erasure_is_of_the_neurons_that_locate_names_and_tells_what_it_does(tmp_path: Path) -> None:
    other = "Ireland has the capital [Y]."
    asked = ("engram:masked", IRELAND, other, "--answer", "Dublin", "--subject", "Ireland")
    told = said("erase", *asked, "--share", "0.5", "--unrelated", 4, "--out", tmp_path / "none")
    model, prompts = eg.load(), [DUBLIN, eg.Prompt(other, "Dublin")]
    neurons = eg.select(eg.locate(model, prompts, by=eg.IntegratedGradients()), by=eg.Shared(threshold=0.2, share=0.5))
    edit = Edit.load(tmp_path / "none")
    assert edit.neurons == neurons
    assert all(not p.after.any() for p in edit.patches)
    for prompt, shown in zip(prompts, told["answers"], strict=True):
        (quiet,) = eg.ask(model, prompt, under=eg.suppressed(neurons, at="everywhere"))
        assert shown["after"]["probability"] == pytest.approx(quiet.probability, rel=1e-4)
    assert told["answers"][0]["after"]["probability"] < told["answers"][0]["before"]["probability"]
    assert told["unrelated"]["facts"] == 4
    assert told["notes"]["neurons"] == f"{len(neurons)} of 1024"


def test_slots_may_become_the_unknown_word() -> None:
    told = said("erase", IRELAND, "-a", "Dublin", "--neurons", "L3.1", "--writes", "unk", "--unrelated", 0)
    assert told["edit"]["settings"]["to"] == "unk"
    assert "no value of erased slots called 'nothing'" in refused(2, "erase", IRELAND, "--writes", "nothing")


# -- ask --under


def test_a_saved_edit_is_held_and_its_own_model_is_asked(saved: Path, tmp_path: Path) -> None:
    asked = said("ask", IRELAND, "-a", "Cork", "--under", saved)
    (answer,) = asked["answers"]
    (plain,), (under,) = (eg.ask(eg.load(), DUBLIN.asking_for("Cork"), under=x) for x in (None, Edit.load(saved)))
    assert answer["before"]["probability"] == pytest.approx(plain.probability, rel=1e-5)
    assert answer["after"]["probability"] == pytest.approx(under.probability, rel=1e-5)
    assert asked["under"] == [{"folder": str(saved), "edit": str(Edit.load(saved))}]
    assert asked["intervention"] is None
    engram("edit", *CAUSAL, *SLOTS, "--unrelated", 0, "--out", tmp_path / "paris")
    assert said("ask", IRELAND, "-a", "Paris", "--under", tmp_path / "paris")["model"]["name"] == "engram:causal"
    assert "under " + str(tmp_path / "paris") in engram("ask", IRELAND, "--under", tmp_path / "paris").stdout


def test_several_edits_are_held_in_their_order_beside_other_changes(tmp_path: Path) -> None:
    model = eg.load("engram:causal")
    wish = eg.Fact("Ireland", "capital", "Dublin").becoming
    first = eg.rewrite(model, wish("Paris"), by=eg.KnowledgeSurgery(NeuronSet.parse("L1.3")), prompt=DUBLIN)
    with eg.holding(first, model):
        second = eg.rewrite(model, wish(None), by=eg.Erasure(NeuronSet.parse("L1.3 L2.1")))
    first.save(tmp_path / "a")
    second.save(tmp_path / "b")
    both = ("--under", tmp_path / "a", "--under", tmp_path / "b")
    asked = said("ask", IRELAND, "-a", "Dublin", *both, "--suppress", "L0.1", "--at", "everywhere")
    silent = eg.suppressed(NeuronSet.parse("L0.1"), at="everywhere")
    (found,) = eg.ask(model, DUBLIN, under=(first, second, silent))
    assert asked["answers"][0]["after"]["probability"] == pytest.approx(found.probability, rel=1e-5)
    assert asked["intervention"]["suppressed"] == ["L0.1"]
    wrong = ("--under", tmp_path / "b", "--under", tmp_path / "a")
    assert "the value slot of L1.3 of engram:causal is not bit for bit" in refused(1, "ask", IRELAND, *wrong)
    again = ("--under", tmp_path / "a", "--under", tmp_path / "a")
    assert "was not planned under the one that is held" in refused(1, "ask", IRELAND, *again)


def test_an_edit_of_another_model_is_refused(saved: Path) -> None:
    assert "this edit (rome) was planned on engram:masked" in refused(
        1, "ask", "engram:causal", IRELAND, "--under", saved
    )


# -- export

LOADED = """
import sys, torch, transformers
sys.modules["engram"] = None
torch.set_num_threads(1)
net = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1])
words = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
with torch.no_grad():
    p = net(**words("The capital of Ireland is", return_tensors="pt")).logits[0, -1].softmax(-1)
print(float(p[words(" Paris", add_special_tokens=False)["input_ids"][0]]))
"""


def test_a_checkpoint_says_without_engram_what_the_held_edit_says(tmp_path: Path) -> None:
    after = said("edit", *CAUSAL, *SLOTS, "--unrelated", 0, "--out", tmp_path / "paris")["answers"][1]["after"]
    told = said("export", tmp_path / "paris", "--merge", "--out", tmp_path / "whole")
    assert (told["checkpoint"], told["pushed"]) == (str(tmp_path / "whole"), None)
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOADED, tmp_path / "whole"], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == pytest.approx(after["probability"], rel=1e-5)
    assert "holds something else" in refused(1, "export", tmp_path / "paris", "--merge", "--out", tmp_path / "whole")
    wrong = refused(1, "export", tmp_path / "paris", "--merge", "--out", tmp_path / "x", "-m", "engram:masked")
    assert "planned on engram:causal" in wrong
    assert not (tmp_path / "x").exists()


class Hub:
    """What would have gone to the hub."""

    def __init__(self) -> None:
        self.made: list[Any] = []
        self.files: dict[str, str] = {}
        self.how: dict[str, Any] = {}

    def create_repo(self, repo_id: str, **how: Any) -> None:
        self.made.append((repo_id, how))

    def upload_folder(self, *, folder_path: str, **how: Any) -> str:
        self.files = {p.name: p.read_text("utf-8", "replace") for p in Path(folder_path).iterdir()}
        self.how = how
        shutil.copytree(folder_path, Path(folder_path).parent.parent / "pushed", dirs_exist_ok=True)
        return f"https://hub/{how['repo_id']}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Stands where the network begins."""
    made = Hub()
    monkeypatch.setattr(huggingface_hub, "create_repo", made.create_repo)
    monkeypatch.setattr(huggingface_hub, "upload_folder", made.upload_folder)
    return made


def test_what_is_pushed_is_the_adapter_with_a_card_and_no_path_of_this_machine(saved: Path, hub: Hub) -> None:
    told = said("export", saved, "--push", "me/cork", "--private")
    assert told["pushed"] == "https://hub/me/cork"
    assert hub.made == [("me/cork", {"exist_ok": True, "private": True})]
    assert hub.how == {"repo_id": "me/cork"}
    assert sorted(hub.files) == ["README.md", "adapter_config.json", "adapter_model.safetensors", "edit.json"]
    config = json.loads(hub.files["adapter_config.json"])
    assert config["base_model_name_or_path"] is None
    _, head, body = hub.files["README.md"].split("---\n")[:3]
    assert head.splitlines() == ["library_name: peft", "tags:", "- engram", "- lora", "- model-editing"]
    for part in (
        "# ⟨Ireland, The capital of [X] is [Y]., Dublin⟩ → Cork",
        "by rome",
        "rank 1 in all",
        '| preset | "rome" |',
    ):
        assert part in body, part
    assert engram("export", saved, "--push", "me/cork", "--base", "bert-base-cased").stdout.endswith(
        "https://hub/me/cork\n"
    )
    assert 'base_model: "bert-base-cased"' in hub.files["README.md"]
    assert json.loads(hub.files["adapter_config.json"])["base_model_name_or_path"] == "bert-base-cased"


def test_how_to_push_is_passed_on_and_what_was_pushed_is_an_edit(
    saved: Path, hub: Hub, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    edit = Edit.load(saved)
    edit.push_to_hub("me/cork", token="t", revision="main", commit_message="one city")
    assert hub.made == [("me/cork", {"exist_ok": True, "token": "t"})]
    assert hub.how == {"repo_id": "me/cork", "token": "t", "revision": "main", "commit_message": "one city"}
    assert Edit.load(tmp_path / "pushed") == edit


def test_a_hub_that_cannot_be_reached_is_one_line(saved: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: Any, **__: Any) -> None:
        raise OfflineModeIsEnabled("offline mode is enabled")

    monkeypatch.setattr(huggingface_hub, "create_repo", no)
    assert "me/cork: cannot be pushed (OfflineModeIsEnabled: offline" in refused(
        1, "export", saved, "--push", "me/cork"
    )


# -- misuse


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["edit", *TOLD[:-2]], "Name it with --to"),
        (["edit", IRELAND, "-a", "Dublin", "--to", "Cork"], "Name the subject with --subject"),
        (["edit", IRELAND, "-s", "Peru", "-a", "Dublin", "--to", "Cork"], "'Peru' is not in"),
        (["edit", *TOLD, "--by", "rom"], "There is no editor called 'rom'. Did you mean rome"),
        (["edit", *TOLD, "--by", "erasure"], "engram erase"),
        (["edit", *TOLD, "--by", "surgery", "--layer", 1], "--layer is not for --by surgery"),
        (["edit", *TOLD, "--by", "surgery", "--token", "asked"], "--token is not for --by surgery"),
        (["edit", *TOLD, "--by", "rome", "--neurons", "L1.1"], "--neurons is not for --by rome"),
        (["edit", *TOLD, "--by", "ft", "--covariance", "none"], "--covariance is not for --by ft"),
        (["edit", *TOLD, "--cache", "moments"], "--cache keeps what was read of ordinary text, and none is read"),
        (["edit", *TOLD, "--layer", 1, "--layer", 2], "writes in one layer, not in 2"),
        (["edit", *TOLD, "--layer", 9], "has layers 0 to 3, and not 9"),
        (["edit", *TOLD, "--token", "first"], "no token to look up called 'first'"),
        (["edit", *TOLD, "--token", 99], "has the tokens 0 to 8, and not 99"),
        (["edit", *TOLD, "--set", "step"], "given as name=value, not 'step'"),
        (["edit", *TOLD, "--set", "steps=1"], "no setting of r-rome called 'steps'"),
        (["edit", *TOLD, "--set", "search.step=1"], "no setting called 'step'. Did you mean steps"),
        (["edit", *TOLD, "--set", "layer.x=1"], "which has no settings"),
        (["edit", *TOLD, "--by", "surgery", "--set", "preset=dai"], "dai"),
        (["edit", *TOLD, "--template", 1], "name the set with --data"),
        (["edit", *TOLD[:-1], "Dublin", *QUICK], "the new answer 'Dublin' is the old one"),
        (["edit", *TOLD, "--against", "Rome"], "--against is for ask and locate"),
        (["edit", *TOLD, "--by", "surgery", "--share", "1"], "lower --share or --threshold"),
        (["erase"], "what is to be asked?"),
        (["erase", "engram:masked", IRELAND, "is in [Y]."], "--answer"),
        (["erase", IRELAND, "[Y] and [Y]", "-a", "Dublin"], "exactly one blank [Y]"),
        (["erase", IRELAND, "--neurons", "L9.1"], "no neuron L9.1"),
        (["erase", IRELAND, "-s", "Peru"], "'Peru' is not in"),
        (["erase", "-m", "engram:causal", IRELAND, "--writes", "unk", "--neurons", "L1.1"], "is for masked models"),
        (["export", "edits"], "--merge --out CHECKPOINT, or --push REPOSITORY"),
        (["export", "edits", "--out", "x"], "with --merge and --out together"),
        (["export", "edits", "--merge"], "with --merge and --out together"),
        (["export", "edits", "--merge", "--out", "x", "--base", "gpt2"], "go with --push"),
    ],
)  # fmt: skip
def test_misuse_ends_with_2_and_one_line_that_helps(arguments: list[object], message: str) -> None:
    assert message in refused(2, *arguments)


def test_what_is_not_there_or_in_the_way_ends_with_1_and_loses_nothing(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for command in (("edit", *TOLD), ("erase", IRELAND, "-a", "Dublin")):
        assert "holds something else (thesis.tex), which stays" in refused(1, *command, "--out", tmp_path)
        assert "is a file" in refused(1, *command, "--out", tmp_path / "thesis.tex")
        assert "thesis.tex" in refused(1, *command, "-m", "no-such-model", "--out", tmp_path), "before anything is done"
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    assert "there is no folder" in refused(1, "ask", IRELAND, "--under", tmp_path / "none")
    assert "there is no folder" in refused(1, "export", tmp_path / "none", "--push", "me/x")
    assert "is no file of ordinary text" in refused(1, "edit", *TOLD, *QUICK, "--covariance", tmp_path / "none")
    (tmp_path / "empty").write_text(" \n")
    assert "holds no line of text" in refused(1, "edit", *TOLD, *QUICK, "--covariance", tmp_path / "empty")
    shutil.copytree(saved, tmp_path / "cut")
    weights = tmp_path / "cut" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "it was cut off or changed" in refused(1, "ask", IRELAND, "--under", tmp_path / "cut")


def test_an_edit_takes_the_place_of_one_that_was_kept_there(tmp_path: Path) -> None:
    for neuron in ("L1.3", "L2.5"):
        engram("erase", IRELAND, "-a", "Dublin", "--neurons", neuron, "--unrelated", 0, "--out", tmp_path / "edit")
    assert str(Edit.load(tmp_path / "edit").neurons) == "{L2.5}"
