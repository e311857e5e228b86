"""A home-made architecture that transformers does not know: attention and an FFN side by side, as small as can be."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


class HomeMadeConfig(PreTrainedConfig):
    """Sizes, called as transformers calls them."""

    model_type = "home_made"

    def __init__(
        self, vocab_size: int = 64, hidden_size: int = 16, num_hidden_layers: int = 2, num_attention_heads: int = 2,
        intermediate_size: int = 32, max_position_embeddings: int = 64, **more: Any,
    ) -> None:  # fmt: skip
        self.vocab_size, self.hidden_size, self.num_hidden_layers = vocab_size, hidden_size, num_hidden_layers
        self.num_attention_heads, self.intermediate_size = num_attention_heads, intermediate_size
        self.max_position_embeddings = max_position_embeddings
        super().__init__(**more)


class Attention(nn.Module):
    """Each token looks at itself and those before it."""

    def __init__(self, config: HomeMadeConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.read = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.out = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.read(x).chunk(3, -1))
        found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(found.transpose(1, 2).flatten(2))


class FFN(nn.Module):
    """`down` is the second linear map: its inputs are the neurons."""

    def __init__(self, config: HomeMadeConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
    """Both read the same normalised state, and what they write is added to it."""

    def __init__(self, config: HomeMadeConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size)
        self.attention, self.ffn = Attention(config), FFN(config)

    def forward(self, x: Tensor) -> Tensor:
        read = self.norm(x)
        return x + self.attention(read) + self.ffn(read)


class HomeMade(PreTrainedModel):
    """Embeddings, blocks, a head."""

    config_class = HomeMadeConfig

    def __init__(self, config: HomeMadeConfig) -> None:
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.places = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.words

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, input_ids: Tensor, **_: Any) -> CausalLMOutput:
        """Logits at every position. Rows have no padding, so there is no mask to be looked at."""
        x = self.words(input_ids) + self.places(torch.arange(input_ids.shape[1], device=input_ids.device))
        for block in self.blocks:
            x = block(x)
        return CausalLMOutput(logits=self.head(x))


AutoConfig.register("home_made", HomeMadeConfig, exist_ok=True)
AutoModelForCausalLM.register(HomeMadeConfig, HomeMade, exist_ok=True)
