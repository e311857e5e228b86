"""Networks of the real shapes with random weights, a tokenizer of plain numbered words, and prompts of a length."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..errors import BadSetting, UnknownName
from ..facts import Prompt
from ..models import Model
from ..models.loading import device_of
from ..models.model import GIB

SHAPES: dict[str, dict[str, Any]] = {
    "bert-tiny": {
        "model_type": "bert", "num_hidden_layers": 2, "hidden_size": 128, "intermediate_size": 512,
        "num_attention_heads": 2,
    },
    "bert-base": {"model_type": "bert"},
    "bert-large": {
        "model_type": "bert", "num_hidden_layers": 24, "hidden_size": 1024, "intermediate_size": 4096,
        "num_attention_heads": 16,
    },
    "gpt2-tiny": {"model_type": "gpt2", "n_layer": 2, "n_embd": 128, "n_head": 2},
    "gpt2": {"model_type": "gpt2"},
    "gpt2-medium": {"model_type": "gpt2", "n_layer": 24, "n_embd": 1024, "n_head": 16},
}  # fmt: skip
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
DTYPES = ("float32", "bfloat16", "float16")


def network(shape: str, seed: int = 0, *, dtype: str = "float32", device: str = "cpu", budget: int = GIB) -> Model:
    """A network of this shape with random weights, drawn in float32 on the CPU, then cast and moved.

    `shape` is a name of SHAPES; `"bert-base@6"` is that shape with 6 layers. Raises UnknownName, BadSetting.
    """
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    if dtype not in DTYPES:
        raise UnknownName("dtype", dtype, DTYPES)
    config = _config(shape)
    place = device_of(device)
    masked = config.model_type == "bert"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = (AutoModelForMaskedLM if masked else AutoModelForCausalLM).from_config(config)
    if (dtype, place.type) != ("float32", "cpu"):
        net.to(device=place, dtype=getattr(torch, dtype))
    return Model.wrap(
        net.eval().requires_grad_(False), _words(config.vocab_size, masked), name=f"{shape} shape", budget=budget
    )


def questions(model: Model, prompts: int, tokens: int) -> list[Prompt]:
    """Prompts of random words, of exactly so many tokens as the network reads them; always the same ones."""
    rng = np.random.default_rng(0)
    words = tokens if model.blank_last else tokens - 3
    before = words if model.blank_last else words // 2
    known = min(10_000, int(model.config.vocab_size) - len(SPECIAL))
    texts = []
    for _ in range(prompts):
        chosen = [f"w{i}" for i in rng.integers(0, known, words)]
        texts.append(" ".join([*chosen[:before], "[Y]", *chosen[before:]]))
    return [Prompt(t, f"w{rng.integers(0, known)}") for t in texts]


def _config(shape: str) -> Any:
    from transformers import AutoConfig

    name, _, layers = shape.partition("@")
    if name not in SHAPES:
        raise UnknownName("shape", shape, SHAPES)
    options = dict(SHAPES[name])
    config = AutoConfig.for_model(options.pop("model_type"), **options)
    if "@" in shape:
        if not layers.isdecimal() or int(layers) < 1:
            raise BadSetting(f"a shape with so many layers is written like {name}@6, not {shape!r}")
        config.num_hidden_layers = int(layers)
    return config


def _words(size: int, masked: bool) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {w: i for i, w in enumerate([*SPECIAL, *(f"w{i}" for i in range(size - len(SPECIAL)))])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if masked:
        core.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", mask_token="[MASK]", pad_token="[PAD]",
        cls_token="[CLS]", sep_token="[SEP]",
    )  # fmt: skip
