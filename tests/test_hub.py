"""What the hub is asked for, without the hub; and what happens where there is none."""

from __future__ import annotations

import logging as std_logging
import urllib.error
from types import SimpleNamespace

import pytest
import torch

import engram as eg
from engram.errors import BadSetting, BrokenCheckpoint, UnknownName
from engram.models import loading
from engram.testing import tiny


@pytest.fixture
def hub(monkeypatch):
    """The edge: what would be asked of transformers, and a tiny GPT-2 for an answer."""
    asked = {}
    net, tokenizer = tiny("gpt2")
    report = {"missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": set()}

    def fake(kind, answer):
        def from_pretrained(name, **settings):
            asked[kind] = {"name": name, **settings}
            return answer

        monkeypatch.setattr(f"transformers.{kind}", SimpleNamespace(from_pretrained=from_pretrained))

    fake("AutoConfig", net.config)
    fake("AutoTokenizer", tokenizer)
    fake("AutoModelForCausalLM", (net, report))
    monkeypatch.setattr(loading, "_hub_answers", lambda: True)
    monkeypatch.setattr(net, "to", lambda *a, **k: asked.update(moved=a))
    return SimpleNamespace(asked=asked, report=report)


def test_what_is_said_to_load_is_passed_on(hub):
    model = eg.load("me/my-gpt2", revision="v2", dtype="bfloat16", device_map="auto", attn_implementation="eager")
    assert model.name == "me/my-gpt2@v2"
    for kind in ("AutoConfig", "AutoTokenizer", "AutoModelForCausalLM"):
        assert hub.asked[kind]["name"] == "me/my-gpt2"
        assert hub.asked[kind]["revision"] == "v2"
        assert hub.asked[kind]["trust_remote_code"] is False
        assert hub.asked[kind]["local_files_only"] is False
    weights = hub.asked["AutoModelForCausalLM"]
    assert weights["dtype"] == torch.bfloat16
    assert weights["device_map"] == "auto"
    assert weights["attn_implementation"] == "eager"
    assert weights["use_safetensors"] is True
    assert "moved" not in hub.asked  # a network that was spread is not moved


def test_what_is_not_said_is_the_careful_choice(hub):
    eg.load("me/my-gpt2", device="cpu")
    weights = hub.asked["AutoModelForCausalLM"]
    assert weights["dtype"] == torch.float32
    assert weights["use_safetensors"] is True
    assert weights["revision"] is None
    assert hub.asked["moved"] == (torch.device("cpu"),)


def test_trust_has_to_be_said(hub):
    eg.load("me/my-gpt2", trust_remote_code=True, safetensors_only=False, local_files_only=True)
    weights = hub.asked["AutoModelForCausalLM"]
    assert weights["trust_remote_code"] is True
    assert weights["use_safetensors"] is None
    assert weights["local_files_only"] is True


def test_a_checkpoint_of_the_hub_that_lacks_weights_is_broken_too(hub):
    hub.report["missing_keys"] = {"lm_head.weight"}
    hub.report["unexpected_keys"] = {"score.weight"}
    with pytest.raises(BrokenCheckpoint, match=r"lacks 1 weights.*lm_head.weight; it has score.weight instead"):
        eg.load("me/my-gpt2")


def test_a_network_that_needs_a_missing_package_says_which(hub, monkeypatch):
    def from_pretrained(*_args, **_settings):
        raise ImportError("Using a `device_map` requires `accelerate`")

    monkeypatch.setattr("transformers.AutoModelForCausalLM", SimpleNamespace(from_pretrained=from_pretrained))
    with pytest.raises(BadSetting, match="requires `accelerate`"):
        eg.load("me/my-gpt2", device_map="auto")


# -- no hub at all


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, an empty cache."""

    def urlopen(*_args, **_settings):
        raise urllib.error.URLError("no network here")

    monkeypatch.setattr(loading.urllib.request, "urlopen", urlopen)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


def test_an_unknown_id_without_a_network_is_told_at_once(offline, monkeypatch, caplog):
    def never(*_args, **_settings):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("huggingface_hub.file_download.get_hf_file_metadata", never)
    with (
        caplog.at_level(std_logging.DEBUG),
        pytest.raises(UnknownName, match=r"no model called 'bert-base-casd'.*no folder here.*does not answer"),
    ):
        eg.load("bert-base-casd")
    assert "Retrying" not in caplog.text


def test_offline_mode_does_not_ask_whether_the_hub_is_there(monkeypatch):
    def never(*_args, **_settings):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(loading.urllib.request, "urlopen", never)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UnknownName, match="no model called 'nobody/nothing'"):
        eg.load("nobody/nothing")


@pytest.mark.parametrize("answer", [urllib.error.HTTPError("", 403, "no", None, None), None])
def test_a_hub_that_answers_anything_is_there(monkeypatch, answer):
    def urlopen(*_args, **_settings):
        if answer is not None:
            raise answer
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(loading.urllib.request, "urlopen", urlopen)
    assert loading._hub_answers()


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere", "~/nowhere", "a/b/c", "a b", "", "../x", "engram"])
def test_a_path_that_leads_nowhere_is_told(offline, name):
    with pytest.raises(UnknownName, match="It is no folder here"):
        eg.load(name)
