"""Random networks of every family, small enough to be made afresh for each test. Nothing is downloaded."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..errors import UnknownName
from ..models.family import Asks, families
from ..models.loading import auto_class
from .vocabularies import CONVENTIONS

GAIN = 1.5  # of the weights: with those that transformers draws (0.02), a network would be nearly linear

_LLAMA = {"num_key_value_heads": 1, "head_dim": 8}
_SEEN = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8,
    "patch_size": 4,
}  # fmt: skip
COMMON = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 64,
}  # fmt: skip
# model_type: the convention of its tokenizer, and what is special about it (what a table could be wrong about is on)
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {}),
    "roberta": ("roberta", {"max_position_embeddings": 66}),
    "xlm-roberta": ("xlm-roberta", {"max_position_embeddings": 66}),
    "distilbert": ("bert", {"hidden_dim": 24}),
    "electra": ("bert", {"embedding_size": 8}),
    "albert": ("albert", {"embedding_size": 8, "hidden_dropout_prob": 0.1}),
    "deberta-v2": ("albert", {
        "relative_attention": True, "position_buckets": 4, "max_relative_positions": 16, "position_biased_input": False,
        "pos_att_type": ["p2c", "c2p"], "norm_rel_ebd": "layer_norm", "share_att_key": True,
        "type_vocab_size": 0,
    }),
    "modernbert": ("modernbert", {"global_attn_every_n_layers": 2, "local_attention": 4}),
    "gpt2": ("gpt2", {"n_inner": 24}),
    "gpt_neo": ("gpt2", {"attention_types": [[["global", "local"], 1], [["global"], 1]], "window_size": 4}),
    "gptj": ("gpt2", {"n_inner": 24, "rotary_dim": 4}),
    "gpt_neox": ("gpt2", {}),
    "opt": ("opt", {"ffn_dim": 24, "word_embed_proj_dim": 8}),
    "bloom": ("gpt2", {}),
    "falcon": ("gpt2", {"ffn_hidden_size": 24}),
    "phi": ("gpt2", {}),
    "llama": ("llama", _LLAMA),
    "mistral": ("llama", {**_LLAMA, "sliding_window": 4}),
    "qwen2": ("gpt2", {**_LLAMA, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    "qwen3": ("gpt2", _LLAMA),
    "gemma": ("llama", _LLAMA),
    "gemma2": ("llama", {**_LLAMA, "sliding_window": 4, "query_pre_attn_scalar": 8}),
    "gemma3_text": ("llama", {
        **_LLAMA, "sliding_window": 4, "sliding_window_pattern": 2, "query_pre_attn_scalar": 8,
    }),
    "gemma3": ("llama", {
        **_LLAMA, "sliding_window": 4, "sliding_window_pattern": 2, "query_pre_attn_scalar": 8,
        "vision_config": _SEEN, "mm_tokens_per_image": 4,
    }),
    "olmo": ("gpt2", _LLAMA),
    "olmo2": ("gpt2", _LLAMA),
    "phi3": ("llama", _LLAMA),
    "granite": ("gpt2", {**_LLAMA, "embedding_multiplier": 2.0, "residual_multiplier": 0.5, "logits_scaling": 2.0}),
    "stablelm": ("gpt2", _LLAMA),
    "smollm3": ("gpt2", _LLAMA),
    "t5": ("t5", {"d_kv": 8, "d_ff": 24, "num_decoder_layers": 2}),
    "mt5": ("t5", {"d_kv": 8, "d_ff": 24, "num_decoder_layers": 2}),
    "bart": ("roberta", {
        "num_hidden_layers": 2, "decoder_layers": 3, "decoder_attention_heads": 2, "encoder_ffn_dim": 24,
        "decoder_ffn_dim": 32,
    }),
}  # fmt: skip
_USUAL: dict[Asks, str] = {"mask": "bert", "next": "gpt2", "sentinel": "t5", "infill": "roberta"}


def tiny(model_type: str, *, seed: int = 0, convention: str | None = None, **settings: Any) -> tuple[nn.Module, Any]:
    """A random network of this type and a tokenizer that goes with it: `engram.load(*tiny("bert"))`.

    Two to five layers of 24 to 64 neurons, float32, in evaluation mode, with weights large enough that it is far from
    linear. The weights depend on `seed` alone, and drawing them leaves torch's random state as it was. `settings` go
    to the configuration; `convention` names a tokenizer of `engram.testing.vocabularies`. Any type with a family will
    do, also one of a plug-in. Raises UnknownName.

    >>> net, tokenizer = tiny("gpt2")
    >>> tokenizer.tokenize("The capital of Ireland is Dublin")
    ['The', 'Ġcapital', 'Ġof', 'ĠIreland', 'Ġis', 'ĠDublin']
    >>> type(net).__name__, net.config.num_hidden_layers
    ('GPT2LMHeadModel', 3)
    """
    if model_type not in families():
        raise UnknownName("family for model_type", model_type, families())
    asks = families()[model_type].asks
    usual, own = SETTINGS.get(model_type, (_USUAL[asks], {}))
    tokenizer = CONVENTIONS[convention or usual].tokenizer()
    return _network(model_type, asks, COMMON | own | _ids(tokenizer, asks) | settings, seed), tokenizer


def _network(model_type: str, asks: Asks, settings: dict[str, Any], seed: int) -> nn.Module:
    import transformers  # heavy: seconds

    if "vision_config" in settings:  # a network that also sees keeps what concerns text apart
        sees = ("vision_config", "mm_tokens_per_image")
        text = {k: v for k, v in settings.items() if k not in sees}
        settings = {"text_config": text} | {k: settings[k] for k in sees}
    config = transformers.AutoConfig.for_model(model_type, **settings)
    with torch.random.fork_rng(devices=[]):
        net: nn.Module = getattr(transformers, auto_class(asks)).from_config(config, dtype=torch.float32)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            noise = torch.randn(parameter.shape, generator=draw)
            if parameter.ndim > 1:
                parameter.copy_(noise * GAIN / parameter.shape[-1] ** 0.5)
            else:
                parameter.add_(0.2 * noise)
    return net.eval()


def _ids(tokenizer: Any, asks: Asks) -> dict[str, Any]:
    """What the configuration has to know of the tokenizer."""
    roles = ("pad", "bos", "eos", "cls", "sep")
    ids: dict[str, Any] = {f"{r}_token_id": getattr(tokenizer, f"{r}_token_id", None) for r in roles}
    if asks in ("sentinel", "infill"):
        ids["decoder_start_token_id"] = ids["pad_token_id"] if asks == "sentinel" else ids["eos_token_id"]
    return ids | {"vocab_size": len(tokenizer)}
