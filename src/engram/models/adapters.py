"""An edit on disk: a plain LoRA adapter that PEFT loads without engram, and beside it all that makes it an edit.

A map's weight becomes W + B · A, A [rank, neuron] and B [hidden, rank] (Hu et al. 2021, arXiv:2106.09685, section
4.1). A change of low rank is that already: its keys are A, its values Bᵀ. A value slot is a key that is one at its
neuron and zero elsewhere, and its value is what was added to it. All that change one map are stacked: the ranks add up.
"""

from __future__ import annotations

import copy
import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from ..edits import Edit, Network, Patch, Slot
from ..errors import BadSetting, BrokenCheckpoint, UnsupportedModel
from .conditions import holding
from .folders import free, whole
from .loading import load as load_model
from .loading import unreported
from .model import Model
from .records import Factors, as_json, from_json

CONFIG, WEIGHTS, EDIT = "adapter_config.json", "adapter_model.safetensors", "edit.json"
FORM = 1  # of edit.json
LIBRARIES = ("engram", "numpy", "safetensors", "torch", "transformers")
TASKS = {"next": "CAUSAL_LM", "sentinel": "SEQ_2_SEQ_LM", "infill": "SEQ_2_SEQ_LM"}  # PEFT has none for masked models
_ELSEWHERE = ("base_model_name_or_path", "revision", "auto_mapping", "task_type", "inference_mode")


def save(edit: Edit, folder: str | Path) -> None:
    """How is an edit kept, so that others can load it? As a LoRA adapter in a folder, whole or not there.

    `adapter_config.json` and `adapter_model.safetensors` (float32) are PEFT's; `edit.json` has the rest. An edit that
    is there already is replaced. Held, an edit is rounded to what the model keeps its weights in; an adapter is not, so
    in a bfloat16 model the two differ by that rounding. Raises BadSetting for an edit that does not know its network or
    changes nothing, BadData where the folder cannot be written or holds something else, and UnsupportedModel where PEFT
    has no such map.
    """
    network = _adaptable(edit)
    factors = _factors(edit, network)
    tensors = {}
    for path, (keys, values) in factors.items():
        tensors[f"base_model.model.{path}.lora_A.weight"] = keys
        tensors[f"base_model.model.{path}.lora_B.weight"] = np.ascontiguousarray(values.T)
    weights = safetensors.save(tensors, {"format": "pt"})
    said: dict[str, Any] = {
        "form": FORM, "edit": as_json(edit), "adapter": hashlib.sha256(weights).hexdigest(),
        "versions": {name: _version(name) for name in LIBRARIES},
    }  # fmt: skip
    with whole(folder, replacing=(CONFIG, WEIGHTS, EDIT)) as aside:
        (aside / CONFIG).write_text(_pretty(_config(network, factors)), encoding="utf-8")
        (aside / WEIGHTS).write_bytes(weights)
        (aside / EDIT).write_text(_pretty({**said, "checksum": _checksum(said)}), encoding="utf-8")


def free_for_an_edit(folder: str | Path) -> None:
    """Could an edit be saved there? Raises BadData where something else is there, which would be in the way."""
    free(folder, (CONFIG, WEIGHTS, EDIT))


def free_for_a_checkpoint(folder: str | Path) -> None:
    """Could a checkpoint be exported there? Raises BadData where anything is there."""
    free(folder)


def load(folder: str | Path) -> Edit:
    """Which edit was saved in this folder? The same to the last bit. Raises BrokenCheckpoint where it is not whole."""
    there = Path(folder).expanduser()
    missing = [name for name in (CONFIG, WEIGHTS, EDIT) if not (there / name).is_file()]
    if missing:
        raise BrokenCheckpoint(
            f"{folder} holds no whole edit: it lacks {', '.join(missing)}. An adapter that PEFT made is no edit"
            if there.is_dir()
            else f"there is no folder {folder}: an edit is kept in one by `engram edit --out`, or edit.save(folder)"
        )
    said, config, weights = _json(there / EDIT), _json(there / CONFIG), (there / WEIGHTS).read_bytes()
    if (form := said.get("form")) != FORM:
        raise BrokenCheckpoint(f"{there / EDIT} is written in form {form!r}; this engram reads form {FORM}")
    if said.pop("checksum", None) != _checksum(said):
        raise BrokenCheckpoint(f"{there / EDIT} is not what was saved: it was changed since")
    if (found := hashlib.sha256(weights).hexdigest()) != said["adapter"]:
        raise BrokenCheckpoint(
            f"{there / WEIGHTS} is not what was saved with this edit: it was cut off or changed "
            f"(SHA-256 {found[:12]}…, not {said['adapter'][:12]}…)"
        )
    try:
        factors = _read(weights)
        edit = from_json(said["edit"], factors)
        right = _config(_adaptable(edit), factors)
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        raise BrokenCheckpoint(f"{folder} holds no edit that can be read: {error}") from error
    if other := [name for name, x in right.items() if name not in _ELSEWHERE and config.get(name, x) != x]:
        raise BrokenCheckpoint(f"{there / CONFIG} is not what was saved: {', '.join(other)} was changed since")
    return edit


def export(model: Model, edit: Edit, folder: str | Path) -> None:
    """What is the model with this edit in its weights? A whole checkpoint, with the tokenizer, in a new folder.

    The model itself is as it was. Raises OtherWeights, BadData where the folder holds something, and UnsupportedModel
    where an adapter is on the network, for then transformers would save the adapter alone.
    """
    net: Any = model.net
    if getattr(net, "_hf_peft_config_loaded", False):
        raise UnsupportedModel(f"{model.name} has an adapter on it: merge it or take it off before you export")
    config = net.config
    with whole(folder) as aside:
        try:
            net.config = copy.deepcopy(config)  # saving writes into it
            with holding(edit, model), unreported():
                net.save_pretrained(aside)
        finally:
            net.config = config
        model.tokenizer.save_pretrained(aside)


def exported(edit: Edit, folder: str | Path, model: Model | str | Path | None = None) -> None:
    """Write the checkpoint of `export`, of a model that is loaded first where it is not given; see `Edit.export`."""
    if not isinstance(model, Model):
        where = model if model is not None else edit.network.source if edit.network else None
        if where is None:
            raise BadSetting(f"this edit ({edit.method}) does not know where its model lies; name it, model=…")
        model = load_model(str(where), dtype=edit.patches[0].dtype if edit.patches else "float32")
    export(model, edit, folder)


def _adaptable(edit: Edit) -> Network:
    """The edit's network, seen to be one that LoRA can change. Raises BadSetting, UnsupportedModel."""
    if edit.network is None or not edit.patches:
        lacks = "changes nothing" if edit.network else "does not say which network it is for; have `rewrite` plan it"
        raise BadSetting(f"this edit ({edit.method}) {lacks}, so it cannot be saved")
    for place in edit.network.places:
        if place.kind not in ("Linear", "Conv1D"):
            raise UnsupportedModel(
                f"{place.path} of {edit.network.kind} is a {place.kind}; PEFT's LoRA changes Linear and Conv1D maps"
            )
        if place.tied:
            raise UnsupportedModel(
                f"{place.path} of {edit.network.kind} shares its weight with {', '.join(place.tied)}: the edit changes "
                "all of them, and an adapter would change one"
            )
    return edit.network


def _factors(edit: Edit, network: Network) -> Factors:
    """Of each map that changes, the keys and values of all patches, stacked in their order."""
    places = {p.layer: p for p in network.places}
    parts: dict[str, list[tuple[Any, Any]]] = {}
    for p in edit.patches:
        if (place := places.get(p.layer)) is None:
            raise BadSetting(f"this edit ({edit.method}) changes layer {p.layer}, and does not say where that is")
        parts.setdefault(place.path, []).append(_factor(p, place.neurons))
    return {path: (np.concatenate([k for k, _ in x]), np.concatenate([v for _, v in x])) for path, x in parts.items()}


def _factor(p: Patch, neurons: int) -> tuple[Any, Any]:
    if not isinstance(p, Slot):
        return p.keys, p.values
    key = np.zeros((1, neurons), np.float32)
    key[0, p.index] = 1
    return key, (p.after.astype(np.float64) - p.before.astype(np.float64)).astype(np.float32)[None]


def _read(weights: bytes) -> Factors:
    tensors = safetensors.load(weights)
    paths = {name.removeprefix("base_model.model.").rpartition(".lora_")[0]: None for name in tensors}
    found = {p: [tensors[f"base_model.model.{p}.lora_{x}.weight"] for x in "AB"] for p in paths}
    return {path: (a, b.T) for path, (a, b) in found.items()}


def _config(network: Network, factors: Factors) -> dict[str, Any]:
    """What PEFT reads. The same scale everywhere, 1, is said in each of its ways: alpha = rank, by name too.

    Only what every version knows: one field more is a warning, one field less is its default.
    """
    ranks = {path: len(keys) for path, (keys, _) in sorted(factors.items())}
    task = TASKS.get(network.asks)
    own = {"base_model_class": network.kind, "parent_library": network.library}
    return {
        "peft_type": "LORA", "task_type": task, "auto_mapping": None if task else own,
        "base_model_name_or_path": network.source, "revision": network.revision, "inference_mode": True,
        "target_modules": list(ranks), "r": max(ranks.values()), "lora_alpha": max(ranks.values()),
        "rank_pattern": ranks, "alpha_pattern": ranks, "lora_dropout": 0.0, "bias": "none",
        "fan_in_fan_out": any(p.kind == "Conv1D" for p in network.places), "init_lora_weights": True,
        "layers_pattern": None, "layers_to_transform": None, "layer_replication": None, "modules_to_save": None,
        "exclude_modules": None, "loftq_config": {}, "megatron_config": None, "megatron_core": "megatron.core",
        "use_dora": False, "use_rslora": False,
    }  # fmt: skip


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # engram may run from a folder
        return "unknown"


def _json(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BrokenCheckpoint(f"{path} cannot be read: {error}") from error
    if not isinstance(said, dict):
        raise BrokenCheckpoint(f"{path} is not an object of JSON")
    return said


def _pretty(said: object) -> str:
    return json.dumps(said, indent=1, ensure_ascii=False) + "\n"


def _checksum(said: object) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
