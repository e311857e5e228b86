"""Networks of the real shapes with random weights, and a tokenizer of plain numbered words."""

from __future__ import annotations

from typing import Any

import torch

from ..errors import UnknownName
from ..models import Model

SHAPES: dict[str, dict[str, Any]] = {
    "bert-base": {"model_type": "bert"},
    "bert-tiny": {
        "model_type": "bert", "num_hidden_layers": 2, "hidden_size": 128, "intermediate_size": 512,
        "num_attention_heads": 2,
    },
    "gpt2": {"model_type": "gpt2"},
    "gpt2-tiny": {"model_type": "gpt2", "n_layer": 2, "n_embd": 128, "n_head": 2},
}  # fmt: skip


def network(shape: str, seed: int = 0) -> Model:
    """A network of this shape with random weights, float32. Raises UnknownName."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

    if shape not in SHAPES:
        raise UnknownName("shape", shape, SHAPES)
    options = dict(SHAPES[shape])
    config = AutoConfig.for_model(options.pop("model_type"), **options)
    masked = config.model_type == "bert"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = (AutoModelForMaskedLM if masked else AutoModelForCausalLM).from_config(config)
    return Model.wrap(net.eval().requires_grad_(False), _words(config.vocab_size, masked), name=f"{shape} shape")


def _words(size: int, masked: bool) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {w: i for i, w in enumerate([*special, *(f"w{i}" for i in range(size - len(special)))])}
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
