"""A checkpoint that is not whole is told in one error, that names it and says what is wrong."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import engram as eg
from engram.errors import BrokenCheckpoint
from engram.testing import tiny

torch.set_num_threads(1)  # tiny networks: threads cost more than they save

DUBLIN = eg.Prompt("The capital of Ireland is [Y].", "Dublin")


@pytest.fixture
def bert(tmp_path):
    """A whole checkpoint, for a test to break."""
    net, tokenizer = tiny("bert")
    net.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def rewrite(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def _cut(name, keep=0.5):
    def cut(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * keep)])

    return cut


def _pickle(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _lose(*names):
    def lose(folder):
        for name in names:
            (folder / name).unlink()

    return lose


def _lose_a_weight(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["bert.encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _lose_a_shard(folder):
    transformers.AutoModelForMaskedLM.from_pretrained(folder).save_pretrained(folder / "x", max_shard_size="10KB")
    (folder / "model.safetensors").unlink()
    for file in (folder / "x").glob("model*"):
        file.rename(folder / file.name)
    next(folder.glob("model-00002*")).unlink()


BROKEN = {
    "config.json is missing": (_lose("config.json"), "a folder without config.json"),
    "config.json is cut in half": (_cut("config.json"), "not a valid JSON file"),
    "config.json has no model_type": (lambda f: rewrite(f, model_type=None), "model_type"),
    "config.json has a word for a number": (lambda f: rewrite(f, hidden_size="sixteen"), "hidden_size.*sixteen"),
    "config.json has no heads": (lambda f: rewrite(f, num_attention_heads=0), "ZeroDivisionError"),
    "the weights are missing": (_lose("model.safetensors"), "no safetensors weights"),
    "the weights are cut in half": (_cut("model.safetensors"), "cut off or not safetensors"),
    "the weights are empty": (_cut("model.safetensors", 0), "cut off or not safetensors"),
    "one weight is missing": (_lose_a_weight, r"lacks 1 weights.*bert.encoder.layer.1.output.dense.weight"),
    "one shard is missing": (_lose_a_shard, "model-00002"),
    "the head was not saved": (lambda f: tiny("bert")[0].bert.save_pretrained(f), r"lacks 6 weights.*cls\.predictions"),
    "the shapes are others": (lambda f: rewrite(f, intermediate_size=32), r"another shape.*\(24,\), not \(32,\)"),
    "there are more layers than weights": (lambda f: rewrite(f, num_hidden_layers=4), r"lacks 16 weights.*layer\.3"),
    "there are fewer layers than weights": (
        lambda f: rewrite(f, num_hidden_layers=2),
        r"16 weights of layers.*layer\.2",
    ),
    "the weights are pickled": (_pickle, "Pickled weights can run code; pass safetensors_only=False"),
    "the tokenizer is missing": (_lose("tokenizer.json", "tokenizer_config.json"), "no tokenizer files"),
    "the tokenizer is cut in half": (_cut("tokenizer.json"), "cannot be loaded"),
    "the tokenizer's settings are cut in half": (_cut("tokenizer_config.json"), "cannot be loaded"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_checkpoint_is_told_in_one_error(bert, how):
    breaking, message = BROKEN[how]
    breaking(bert)
    with pytest.raises(BrokenCheckpoint, match=message) as caught:
        eg.load(bert)
    assert str(bert) in str(caught.value)


def test_pickled_weights_are_read_where_they_are_trusted(bert):
    expected = eg.ask(eg.load(bert), DUBLIN)[0].logprob
    _pickle(bert)
    assert eg.ask(eg.load(bert, safetensors_only=False), DUBLIN)[0].logprob == expected
