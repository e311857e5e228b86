"""Edits on disk: plain LoRA adapters to all who do not know engram, and to engram the same edits to the last bit."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

import engram as eg
from engram import Edit, Fact, NeuronSet, Relation
from engram.errors import BadData, BadSetting, BrokenCheckpoint, UnsupportedModel
from engram.models import folders
from engram.models.adapters import CONFIG, EDIT, WEIGHTS, export
from engram.models.editing import low_rank, planned, slots_of
from engram.models.family import families
from engram.models.loading import auto_class
from engram.models.merging import stacked
from engram.testing import tiny

torch.set_num_threads(1)  # tiny networks: threads cost more than they save

IRELAND = Fact("Ireland", "capital", "Dublin")
NEURONS = NeuronSet.parse("L0.3 L0.5 L1.7")
KINDS = {"gpt2": "Conv1D", "bert": "Linear", "llama": "Linear"}
PEFTS_OWN = "ignore:.*is_gradient_checkpointing.*"  # what PEFT asks of transformers, of any model

# What somebody does who has never heard of engram. Every warning is an error.
ELSEWHERE = """
import json, sys, warnings
sys.modules["engram"] = None  # an import of it fails
import peft, torch, transformers
from safetensors.torch import save_file

torch.set_num_threads(1)
warnings.simplefilter("error")
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
warnings.filterwarnings("ignore", message="Implicitly cleaning up", category=ResourceWarning)  # torch 2.6's own folder
out = {}
for name, case in json.loads(sys.argv[1]).items():
    auto, ids = getattr(transformers, case["auto"]), torch.tensor(case["ids"])

    def said(net):
        with torch.no_grad():
            return net.eval()(input_ids=ids).logits

    def fresh():
        return auto.from_pretrained(case["base"], dtype=getattr(torch, case["dtype"]))  # as planned

    out[f"{name} base"] = said(fresh())
    for edit, folder in case["edits"].items():
        net = peft.PeftModel.from_pretrained(fresh(), folder)
        out[f"{name} {edit} PeftModel"] = said(net)
        with net.disable_adapter():
            out[f"{name} {edit} off"] = said(net)
        out[f"{name} {edit} merged"] = said(net.merge_and_unload())
        own = fresh()
        own.load_adapter(folder)
        out[f"{name} {edit} load_adapter"] = said(own)
        out[f"{name} {edit} from_pretrained"] = said(auto.from_pretrained(folder))
    for edit, folder in case["alone"].items():
        net = peft.PeftModel.from_pretrained(fresh(), folder)
        out[f"{name} {edit} PeftModel"] = said(net)
        with net.disable_adapter():
            out[f"{name} {edit} off"] = said(net)
    if not case["edits"]:
        continue
    first, second = case["edits"].values()
    net = peft.PeftModel.from_pretrained(fresh(), first, adapter_name="first")
    net.load_adapter(second, adapter_name="second")
    net.base_model.set_adapter(["first", "second"])
    out[f"{name} both"] = said(net)
assert sys.modules["engram"] is None
save_file(out, sys.argv[2])
"""


def load(kind, dtype=torch.float32):
    net, tokenizer = tiny(kind)
    return eg.load(net.to(dtype), tokenizer)


def surgery(model):
    return eg.rewrite(model, IRELAND.becoming("Paris"), by=eg.KnowledgeSurgery(NEURONS, remove=0.5, add=2))


def erasure(model):
    return eg.rewrite(model, IRELAND.becoming(None), by=eg.Erasure(NEURONS))


def rome(model, answer="Paris"):
    prompt = eg.Prompt("The capital of Ireland is [Y]", "Dublin")
    by = eg.ROME(layer=1, covariance=None, contexts=(), token="asked")
    return eg.rewrite(model, IRELAND.becoming(answer), by=by, prompt=prompt)


def five(model):
    """Value slots, one rank, an answer of several tokens, and both together."""
    return {
        "surgery": surgery(model), "erasure": erasure(model), "ROME": rome(model),
        "ROME of several tokens": rome(model, "New Paris"), "stacked": stacked(surgery(model), by_hand(model)),
    }  # fmt: skip


def by_hand(model, layer=2, rank=2):
    neurons, hidden = slots_of(model, layer).shape
    draw = torch.Generator().manual_seed(1)
    keys, values = torch.randn(rank, neurons, generator=draw), torch.randn(rank, hidden, generator=draw)
    change = low_rank(model, layer, keys, values / 10)
    return planned("by hand", IRELAND.becoming("Paris"), [change], model, {"rank": rank})


def logits(model, ids):
    with torch.no_grad():
        return model.net(input_ids=torch.tensor(ids)).logits.clone()


def bits(model):
    return {name: x.contiguous().view(torch.uint8).clone() for name, x in model.net.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(x, b[name]) for name, x in a.items())


# -- without engram


def kept_and_held(home, kind, model, ids, here, edits, alone):
    """Saves the edits, notes what the model says with each of them held, and tells what is to be loaded elsewhere."""
    here[f"{kind} base"] = logits(model, ids)
    for name, edit in {**edits, **alone}.items():
        edit.save(home / f"{kind} {name}")
        with eg.holding(edit, model):
            here[f"{kind} {name}"] = logits(model, ids)
    where = [{name: str(home / f"{kind} {name}") for name in some} for some in (edits, alone)]
    base, dtype = model.net.name_or_path, str(model.dtype).removeprefix("torch.")
    auto = auto_class(model.family.asks)
    return {"auto": auto, "base": base, "dtype": dtype, "ids": ids, "edits": where[0], "alone": where[1]}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """What PEFT and transformers say of the adapters in a process of their own, and what engram says."""
    pytest.importorskip("peft")
    home, cases, here = tmp_path_factory.mktemp("elsewhere"), {}, {}
    for kind in KINDS:
        net, tokenizer = tiny(kind)
        net.save_pretrained(home / kind)
        tokenizer.save_pretrained(home / kind)
        model = eg.load(str(home / kind))
        ids = [[7, 12, 9, 15, 11], [9, 20, 8, 7, 10]]
        edits = {"surgery": surgery(model), "by hand": by_hand(model)}
        with eg.holding(tuple(edits.values()), model):
            here[f"{kind} both"] = logits(model, ids)
        alone = {name: edit for name, edit in five(model).items() if name not in edits}
        cases[kind] = kept_and_held(home, kind, model, ids, here, edits, alone)
    for name in ("engram:causal", "engram:masked"):
        kind, model = name.partition(":")[2], eg.load(name, dtype="float64")  # wide enough to blur 1e-6 in float32
        cases[kind] = kept_and_held(home, kind, model, ids, here, {}, five(model))
    done = subprocess.run(
        [sys.executable, "-I", "-c", ELSEWHERE, json.dumps(cases), str(home / "said")],
        capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for word in ("issing", "nexpected", "not initialized", "fan_in_fan_out", "Warning"):
        assert word not in done.stderr, done.stderr
    return here, load_file(home / "said")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("edit", ["surgery", "by hand"])
@pytest.mark.parametrize("way", ["PeftModel", "merged", "load_adapter", "from_pretrained"])
def test_the_adapter_alone_says_what_the_held_edit_says(elsewhere, kind, edit, way):
    here, there = elsewhere
    held = here[f"{kind} {edit}"]
    assert (there[f"{kind} {edit} {way}"] - held).abs().max() <= 1e-6 * held.abs().max()
    assert (held - here[f"{kind} base"]).abs().max() > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_switched_off_the_model_is_itself_to_the_last_bit(elsewhere, kind):
    here, there = elsewhere
    assert torch.equal(there[f"{kind} base"], here[f"{kind} base"])
    for edit in ("surgery", "by hand"):
        assert torch.equal(there[f"{kind} {edit} off"], there[f"{kind} base"])


@pytest.mark.parametrize("kind", [*KINDS, "causal", "masked"])
@pytest.mark.parametrize("edit", ["surgery", "erasure", "ROME", "ROME of several tokens", "stacked"])
def test_five_edits_of_every_kind_load_without_engram_in_one_process(elsewhere, kind, edit):
    here, there = elsewhere
    held, base = here[f"{kind} {edit}"], here[f"{kind} base"]
    assert (there[f"{kind} {edit} PeftModel"] - held).abs().max() <= 1e-6 * held.abs().max()
    assert (held - base).abs().max() > 1e-3 * base.abs().max()
    assert torch.equal(there[f"{kind} {edit} off"], base)


@pytest.mark.parametrize("kind", KINDS)
def test_two_adapters_at_once_are_two_edits_held(elsewhere, kind):
    here, there = elsewhere
    held = here[f"{kind} both"]
    assert (there[f"{kind} both"] - held).abs().max() <= 1e-6 * held.abs().max()
    assert (held - here[f"{kind} by hand"]).abs().max() > 1e-2


@pytest.mark.filterwarnings(PEFTS_OWN)
@pytest.mark.parametrize("kind", sorted(families()))
def test_the_adapter_of_every_family_says_what_the_held_edit_says(tmp_path, kind):
    peft = pytest.importorskip("peft")
    model = load(kind)
    prompts = [eg.Prompt(f"The capital of {x} is [Y].", "Dublin") for x in ("Ireland", "France")]
    first = erasure(model)
    with eg.holding(first, model):  # on top of it, in a layer that it changes too
        more = by_hand(model, layer=1)
    edit = planned("both", first.wish, [*first.patches, *more.patches], model)
    plain, held = eg.ask(model, prompts), eg.ask(model, prompts, under=edit)
    edit.save(tmp_path / "edit")
    assert Edit.load(tmp_path / "edit") == edit
    wrapped = peft.PeftModel.from_pretrained(model.net, tmp_path / "edit")
    adapted = eg.ask(eg.load(wrapped.base_model.model, model.tokenizer), prompts)
    assert [a.logprob for a in adapted] == pytest.approx([a.logprob for a in held], abs=5e-6)
    assert max(abs(a.logprob - b.logprob) for a, b in zip(held, plain, strict=True)) > 1e-3


def test_peft_knows_every_field_and_fills_in_no_other_meaning(tmp_path):
    peft = pytest.importorskip("peft")
    for kind in KINDS:
        surgery(load(kind)).save(tmp_path / kind)
        written = json.loads((tmp_path / kind / CONFIG).read_text())
        read = peft.PeftConfig.from_pretrained(tmp_path / kind).to_dict()
        assert {k: set(v) if k == "target_modules" else v for k, v in written.items()}.items() <= read.items()
        down = load(kind).layers[0].path
        usual = peft.LoraConfig(
            r=2, lora_alpha=2, target_modules=[down, down.replace("0", "1")], inference_mode=True,
            fan_in_fan_out=KINDS[kind] == "Conv1D", task_type=None if kind == "bert" else "CAUSAL_LM",
        ).to_dict()  # fmt: skip
        own = {"rank_pattern", "alpha_pattern", "auto_mapping", "base_model_name_or_path"}
        assert {k: v for k, v in read.items() if k not in own} == {k: v for k, v in usual.items() if k not in own}


def test_what_changes_one_map_is_stacked(tmp_path):
    model = load("gpt2")
    slots = erasure(model)
    with eg.holding(slots, model):
        (more,) = by_hand(model, layer=1, rank=3).patches
    planned("both", slots.wish, [more, *slots.patches][::-1], model).save(tmp_path / "edit")
    config = json.loads((tmp_path / "edit" / CONFIG).read_text())
    ranks = {"transformer.h.0.mlp.c_proj": 2, "transformer.h.1.mlp.c_proj": 4}
    assert (config["rank_pattern"], config["alpha_pattern"], config["target_modules"]) == (ranks, ranks, [*ranks])
    assert (config["r"], config["lora_alpha"], config["fan_in_fan_out"]) == (4, 4, True)
    a, b = (
        [load_file(tmp_path / "edit" / WEIGHTS)[f"base_model.model.{p}.lora_{x}.weight"] for p in ranks] for x in "AB"
    )
    before = [model.net.transformer.h[i].mlp.c_proj.weight for i in (0, 1)]
    one_hot = torch.eye(24)
    assert torch.equal(a[0], one_hot[[5, 3]])
    assert torch.equal(b[0], -before[0][[5, 3]].T)
    assert torch.equal(a[1], torch.cat([one_hot[[7]], torch.tensor(more.keys)]))
    assert torch.equal(b[1], torch.cat([-before[1][[7]], torch.tensor(more.values)]).T)


# -- and back


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_what_was_saved_comes_back_to_the_last_bit_and_is_undone_to_it(tmp_path, kind, dtype):
    model = load(kind, dtype)
    before = bits(model)
    for make in (surgery, by_hand):
        edit = make(model)
        edit.save(tmp_path / "edit")  # the second takes the place of the first
        back = Edit.load(tmp_path / "edit")
        assert (back, hash(back), back.settings) == (edit, hash(edit), edit.settings)
        with eg.holding(edit, model):
            held = bits(model)
        with eg.holding(back, model):
            assert same(bits(model), held)
        assert same(bits(model), before)
        assert not same(held, before)


WISHES = [
    IRELAND.becoming("Córk"), IRELAND.becoming(None), (IRELAND.becoming(None), Fact("a", "b", "c", "7").becoming("d")),
    Relation("P36", "capital", ("The capital of [X] is [Y].",), "1-1", "where it is governed from"),
]  # fmt: skip


@pytest.mark.parametrize("wish", WISHES)
def test_every_wish_and_setting_comes_back(tmp_path, wish):
    edit = erasure(load("bert"))
    settings = {"a": (1, [2.5, (True, None)]), "b": {"c": "x", "d": {"e": ()}}, "f": float("inf")}
    edit = dataclasses.replace(edit, wish=wish, settings=settings)
    edit.save(tmp_path / "edit")
    back = Edit.load(tmp_path / "edit")
    assert (back, back.wish, back.settings) == (edit, wish, settings)
    assert type(back.settings["a"]) is tuple


def test_what_edit_json_says_of_where_it_comes_from(tmp_path):
    model = eg.load()
    eg.rewrite(model, IRELAND.becoming(None), by=eg.Erasure(NEURONS)).save(tmp_path / "edit")
    said = json.loads((tmp_path / "edit" / EDIT).read_text())
    assert (said["edit"]["method"], said["edit"]["settings"]) == ("erasure", {"neurons": str(NEURONS), "to": "zero"})
    assert said["versions"]["transformers"] == transformers.__version__
    config = json.loads((tmp_path / "edit" / CONFIG).read_text())
    assert Path(config["base_model_name_or_path"], "config.json").is_file()
    assert config["auto_mapping"] == {
        "base_model_class": "BertForMaskedLM", "parent_library": type(model.net).__module__,
    }  # fmt: skip


# -- what is not whole


def change(folder, name, old, new):
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))


def flip(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-3] ^= 1
    (folder / WEIGHTS).write_bytes(content)


DAMAGE = {
    "no adapter": (lambda f: (f / WEIGHTS).unlink(), "lacks adapter_model.safetensors"),
    "only the adapter": (lambda f: (f / EDIT).unlink(), "lacks edit.json. An adapter that PEFT made is no edit"),
    "no folder": (lambda f: f.rename(f.with_name("moved")), "there is no folder"),
    "a bit of the adapter": (flip, r"adapter_model.safetensors is not what was saved .* \(SHA-256 \w{12}…, not \w{12}"),
    "half of the adapter": (lambda f: os.truncate(f / WEIGHTS, 200), "cut off or changed"),
    "half of the record": (lambda f: os.truncate(f / EDIT, 200), "edit.json cannot be read"),
    "another record": (lambda f: change(f, EDIT, '"neuron": 5', '"neuron": 6'), "edit.json is not what was saved"),
    "no record": (lambda f: (f / EDIT).write_text("[]"), "is not an object of JSON"),
    "a later form": (lambda f: change(f, EDIT, '"form": 1', '"form": 2'), "in form 2; this engram reads form 1"),
    "another strength": (
        lambda f: change(f, CONFIG, '"lora_alpha": 2', '"lora_alpha": 4'), "is not what was saved: lora_alpha was",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_missing_or_was_changed_is_told(tmp_path, damage):
    erasure(load("bert")).save(tmp_path / "edit")
    do, message = DAMAGE[damage]
    do(tmp_path / "edit")
    with pytest.raises(BrokenCheckpoint, match=message):
        Edit.load(tmp_path / "edit")


def test_where_the_base_model_lies_may_be_said_anew(tmp_path):
    edit = erasure(load("bert"))
    edit.save(tmp_path / "edit")
    change(tmp_path / "edit", CONFIG, '"base_model_name_or_path": null', '"base_model_name_or_path": "/elsewhere"')
    assert Edit.load(tmp_path / "edit") == edit


def full(*args):
    raise OSError(28, "No space left on device")


def test_a_save_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    model = load("bert")
    edit = erasure(model)
    edit.save(tmp_path / "edit")
    other, rename, fails = by_hand(model), Path.rename, iter([False, True, False])
    with monkeypatch.context() as patch:
        patch.setattr(folders.os, "fsync", full)
        with pytest.raises(BadData, match=r"cannot be written \(No space left"):
            other.save(tmp_path / "edit")
    with monkeypatch.context() as patch:
        patch.setattr(folders.Path, "rename", lambda old, new: full() if next(fails) else rename(old, new))
        with pytest.raises(BadData, match="No space left"):
            other.save(tmp_path / "edit")
    assert Edit.load(tmp_path / "edit") == edit
    assert [p.name for p in tmp_path.iterdir()] == ["edit"]


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path):
    edit = erasure(load("bert"))
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BadData, match=r"holds something else \(thesis.tex\), which stays"):
        edit.save(tmp_path)
    with pytest.raises(BadData, match="is a file"):
        edit.save(tmp_path / "thesis.tex")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("thesis.tex", "years of work")]


# -- what is no adapter


def test_an_edit_that_does_not_know_its_network_says_so(tmp_path):
    edit = erasure(load("bert"))
    for one, message in (
        (dataclasses.replace(edit, network=None), "does not say which network it is for"),
        (dataclasses.replace(edit, patches=()), "changes nothing"),
        (dataclasses.replace(edit, patches=by_hand(load("bert")).patches), "changes layer 2, and does not say where"),
        (dataclasses.replace(edit, settings={"c": {"x": tmp_path}}), "the setting c.x of this edit is a PosixPath"),
    ):
        with pytest.raises(BadSetting, match=message):
            one.save(tmp_path / "edit")
    assert list(tmp_path.iterdir()) == []


def test_maps_that_lora_cannot_change_are_refused(tmp_path):
    model = load("llama")
    down = [x.mlp.down_proj for x in model.net.model.layers]
    down[2].weight = down[0].weight
    with pytest.raises(UnsupportedModel, match=r"0.mlp.down_proj of \w+ shares its weight with model.layers.2.mlp"):
        erasure(model).save(tmp_path / "edit")
    place = dataclasses.replace(erasure(load("llama")).network.places[0], kind="Sparse")
    edit = erasure(load("llama"))
    edit = dataclasses.replace(edit, network=dataclasses.replace(edit.network, places=(place,)))
    with pytest.raises(UnsupportedModel, match="is a Sparse; PEFT's LoRA changes Linear and Conv1D maps"):
        edit.save(tmp_path / "edit")


# -- a whole checkpoint


@pytest.mark.parametrize("kind", [*KINDS, "t5"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_exported_model_is_the_held_one_to_the_last_bit(tmp_path, kind, dtype):
    model = load(kind, dtype)
    edit, before, config = by_hand(model, layer=1), bits(model), model.net.config.to_dict()
    export(model, edit, tmp_path / "model")
    assert same(bits(model), before)
    assert model.net.config.to_dict() == config
    auto = getattr(transformers, auto_class(model.family.asks))
    net = auto.from_pretrained(tmp_path / "model", dtype=dtype)
    with eg.holding(edit, model):
        assert same(bits(eg.load(net, model.tokenizer)), bits(model))
    words = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    assert words("The capital of Ireland").input_ids == model.tokenizer("The capital of Ireland").input_ids


def test_an_export_that_fails_leaves_nothing_and_overwrites_nothing(tmp_path, monkeypatch):
    model = load("gpt2")
    config, edit = model.net.config, by_hand(model)
    with monkeypatch.context() as patch:
        patch.setattr(model.tokenizer, "save_pretrained", full)
        with pytest.raises(BadData, match="No space left"):
            export(model, edit, tmp_path / "model")
    assert model.net.config is config
    assert list(tmp_path.iterdir()) == []
    export(model, by_hand(model), tmp_path / "model")
    with pytest.raises(BadData, match="holds something else"):
        export(model, by_hand(model), tmp_path / "model")


@pytest.mark.filterwarnings(PEFTS_OWN)
def test_a_model_with_an_adapter_on_it_is_not_exported(tmp_path):
    peft = pytest.importorskip("peft")
    model = load("gpt2")
    edit = by_hand(model)
    model.net.add_adapter(peft.LoraConfig(target_modules=["c_fc"], fan_in_fan_out=True))
    with pytest.raises(UnsupportedModel, match="has an adapter on it: merge it or take it off"):
        export(model, edit, tmp_path / "model")
