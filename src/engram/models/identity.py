"""Which model is this, to the last weight? Checksums of weights and tokenizer."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch

from .model import Model


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
    said = [type(words).__name__, rules, {k: str(v) for k, v in words.special_tokens_map.items()}]
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
