"""What exactly was asked: checksums of weights and tokenizer, and the versions that decide the numbers."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import version
from typing import Any

import torch

from .. import __version__
from ..experiments import Experiment
from ..facts import FactSet
from ..models import Model
from ..store import RunKey, canonical, checksum, data_key

LIBRARIES = ("numpy", "pyarrow", "tokenizers", "torch", "transformers")


def key_of(experiment: Experiment, model: Model, facts: FactSet, *, threads: int) -> RunKey:
    """All that decides the numbers of this experiment on this model and these facts.

    `threads` are torch's: sums over a number of threads differ in their last bits from sums over another.
    """
    return RunKey(
        experiment.name, experiment.settings(), {**model_key(model), "threads": threads}, data_key(facts), __version__,
        {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    )  # fmt: skip


def model_key(model: Model) -> dict[str, Any]:
    """Which model this is, to the last weight, and how it is asked."""
    return {
        "name": model.name, "revision": getattr(model.net.config, "_commit_hash", None), "weights": weights_of(model),
        "tokenizer": tokenizer_of(model), "family": model.family.name, "widths": list(model.widths),
        "dtype": str(model.dtype).removeprefix("torch."), "device": model.device.type, "masks": model.masks,
        "budget": model.budget,
    }  # fmt: skip


def weights_of(model: Model) -> str:
    """A checksum of all parameters and buffers, by name, shape and type."""
    digest = hashlib.sha256()
    for name, x in sorted(model.net.state_dict().items()):
        digest.update(f"{name} {tuple(x.shape)} {x.dtype}\n".encode())
        digest.update(x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def tokenizer_of(model: Model) -> str:
    """A checksum of the tokenizer's rules, or, of one that is all Python, of its words."""
    words = model.tokenizer
    fast = getattr(words, "backend_tokenizer", None)
    rules = fast.to_str() if fast is not None else sorted(words.get_vocab().items())
    return checksum(canonical([type(words).__name__, rules, {k: str(v) for k, v in words.special_tokens_map.items()}]))
