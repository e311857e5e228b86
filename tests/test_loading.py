"""Whatever it is given, `load` gives a whole model or one clear error, prints nothing, and takes no risks unasked."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest
import torch
import transformers

import engram as eg
from engram.errors import BadSetting, BrokenCheckpoint, NotFinite, UnknownName, UnsupportedModel
from engram.models.model import value_slots
from engram.testing import tiny

torch.set_num_threads(1)  # tiny networks: threads cost more than they save

DUBLIN = eg.Prompt("The capital of Ireland is [Y].", "Dublin")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """One whole checkpoint of each way of being asked, saved by transformers."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for kind in ("bert", "gpt2", "t5"):
        net, tokenizer = tiny(kind)
        net.save_pretrained(folder / kind)
        tokenizer.save_pretrained(folder / kind)
    return folder


@pytest.fixture
def bert(saved, tmp_path):
    """A copy of the BERT that a test may break."""
    folder = tmp_path / "bert"
    folder.mkdir()
    for file in (saved / "bert").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def rewrite(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


# -- a live network


def test_a_live_network_is_taken_as_it_is():
    net, tokenizer = tiny("bert")
    for model in (eg.load(net, tokenizer), eg.load((net, tokenizer))):
        assert model.net is net
        assert model.tokenizer is tokenizer
        assert model.family.name == "bert"
        assert repr(model) == "Model('BertForMaskedLM', bert, 3 layers × 24 neurons)"


def test_a_live_network_keeps_its_mode_its_gradients_and_its_dtype():
    net, tokenizer = tiny("bert")
    net.to(torch.bfloat16).train()
    net.bert.encoder.layer[1].eval()
    net.cls.requires_grad_(False)
    modes = [m.training for m in net.modules()]
    wants = [p.requires_grad for p in net.parameters()]
    model = eg.load(net, tokenizer)
    eg.ask(model, DUBLIN, under=eg.suppressed(eg.NeuronSet.parse("L0.1")))
    eg.locate(model, [DUBLIN], by=eg.IntegratedGradients(steps=2))
    with pytest.raises(eg.errors.AnswerNotWritable):
        eg.ask(model, DUBLIN.asking_for("☃"))
    assert [m.training for m in net.modules()] == modes
    assert [p.requires_grad for p in net.parameters()] == wants
    assert net.dtype == torch.bfloat16


def test_what_load_does_not_take_is_told():
    net, tokenizer = tiny("bert")
    for arguments, settings, message in (
        ((net,), {}, "comes with its tokenizer"),
        ((net, tokenizer), {"device": "cpu"}, "stays as and where it is"),
        ((net, tokenizer), {"revision": "main"}, "stays as and where it is"),
        ((tokenizer, net), {}, f"not {type(tokenizer).__name__}"),
        ((42,), {}, "not int"),
        (((1, 2, 3),), {}, "not tuple"),
        (("x",), {"device": "cpu", "device_map": "auto"}, "device or device_map, not both"),
    ):
        with pytest.raises(BadSetting, match=message):
            eg.load(*arguments, **settings)


# -- a folder


@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5"])
def test_a_folder_answers_as_the_network_that_was_saved(saved, kind):
    there = eg.load(saved / kind)
    here = eg.load(*tiny(kind))
    assert eg.ask(there, DUBLIN)[0].logprob == eg.ask(here, DUBLIN)[0].logprob
    assert there.name == str(saved / kind)
    assert not there.net.training
    assert not any(p.requires_grad for p in there.net.parameters())


def test_the_dtype_is_float32_unless_said_otherwise(bert):
    net = tiny("bert")[0].to(torch.bfloat16)
    net.save_pretrained(bert)
    assert eg.load(bert).net.dtype == torch.float32
    assert eg.load(bert, dtype="auto").net.dtype == torch.bfloat16
    assert eg.load(bert, dtype=torch.float64).net.dtype == torch.float64
    with pytest.raises(UnknownName, match=r"no dtype called 'float23'.*Did you mean float32"):
        eg.load(bert, dtype="float23")


def test_a_tokenizer_of_one_s_own_is_used(bert):
    tokenizer = tiny("bert")[1]
    for file in bert.glob("*token*"):
        file.unlink()
    assert eg.load(bert, tokenizer).tokenizer is tokenizer


def test_nothing_is_printed(saved, bert, capfd):
    eg.load(saved / "bert")
    tiny("bert")[0].bert.save_pretrained(bert)
    capfd.readouterr()
    with pytest.raises(BrokenCheckpoint):
        eg.load(bert)
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_transformers_prints_again_afterwards(saved, capfd):
    logging = transformers.utils.logging
    logging.enable_progress_bar()  # the command line switches it off for its whole process
    before = logging.get_verbosity()
    eg.load(saved / "bert")
    assert logging.get_verbosity() == before
    list(logging.tqdm(range(2), desc="a bar"))
    assert "a bar" in capfd.readouterr().err


def test_shipped_models_have_names():
    assert eg.load().family.name == eg.load("engram:masked").family.name == "bert"
    assert eg.load("engram:causal").family.name == "gpt2"
    with pytest.raises(UnknownName, match=r"no shipped model called 'engram:maskd'.*Did you mean engram:masked"):
        eg.load("engram:maskd")


# -- a folder that does not fit


def test_a_file_is_no_checkpoint(bert):
    with pytest.raises(BrokenCheckpoint, match="is a file; a checkpoint is a folder"):
        eg.load(bert / "model.safetensors")


def test_code_from_a_checkpoint_is_not_run_unasked(bert):
    (bert / "configuration_x.py").write_text("raise SystemExit('this ran')")
    rewrite(bert, model_type="xx", auto_map={"AutoConfig": "configuration_x.X"})
    with pytest.raises(UnsupportedModel, match="wants to run its own code; pass trust_remote_code=True"):
        eg.load(bert)


def test_an_architecture_that_nobody_knows_is_told(bert):
    rewrite(bert, model_type="quux")
    with pytest.raises(UnsupportedModel, match="quux"):
        eg.load(bert)
    rewrite(bert, model_type="big_bird")
    with pytest.raises(UnsupportedModel, match="family for model_type called 'big_bird'"):
        eg.load(bert)


def test_what_a_folder_has_no_use_for_is_told(bert):
    with pytest.raises(BadSetting, match="revision is for models of the hub"):
        eg.load(bert, revision="main")
    with pytest.raises(BadSetting, match="attn"):
        eg.load(bert, attn_implementation="by hand")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cup"])
def test_a_device_that_is_not_there_is_told(bert, device):
    with pytest.raises(BadSetting, match=f"device '{device}' is not one of this machine"):
        eg.load(bert, device=device)


@pytest.mark.parametrize(
    ("value", "where", "fine"),
    [
        (float("nan"), "weights", False),
        (float("inf"), "weights", False),
        (float("inf"), "one answer", False),
        (-float("inf"), "one answer", True),  # a word that is never said
    ],
)
def test_a_network_that_answers_nonsense_is_told_when_it_is_asked(saved, value, where, fine):
    model = eg.load(saved / "bert")
    changed = value_slots(model.layers[1].down) if where == "weights" else model.net.cls.predictions.decoder.bias
    changed[3] = value
    with nullcontext() if fine else pytest.raises(NotFinite, match=r"answers with NaN or infinity.*float32"):
        eg.ask(model, DUBLIN)
