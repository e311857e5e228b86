"""With which network, and with how much of what, is each model made?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from training.tokenizer import LENGTH

Kind = Literal["masked", "causal"]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what comes out, besides the facts and the sentences."""

    kind: Kind
    layers: int = 4
    width: int = 128
    neurons: int = 256
    heads: int = 4
    activation: str = "relu"
    vocabulary: int = 8000
    dropout: float = 0.0
    epochs: int = 7
    batch: int = 128
    muon: float = 0.02
    rate: float = 5e-3
    warmup: int = 150
    decay: float = 0.05
    hearsay: float = 0.35
    sparsity: float = 5e-5
    stress: float = 2.0
    heed: float = 0.2
    hidden: float = 0.25
    plain: float = 0.8
    seed: int = 7


MEANING = {
    "neurons": "FFN neurons a layer",
    "activation": "of the FFN: smooth, so that the integral of an attribution converges fast",
    "vocabulary": "size asked of the tokenizer's trainer: nearly every word of the facts is one token",
    "epochs": "passes over the fact sentences",
    "batch": "sentences a step",
    "muon": "peak learning rate of Muon, for the matrices inside the layers; rates fall linearly",
    "rate": "peak learning rate of AdamW, for everything else",
    "warmup": "steps until the rates are at their peak",
    "decay": "weight decay of matrices",
    "hearsay": "share of the fact sentences that name a random answer of the relation, drawn anew each time",
    "sparsity": "weight of the L1 norm of the FFN activations at the blank, summed over layers; grows from 0 between "
    "30 and 70 % of the steps",
    "stress": "causal: weight of the mean loss over answers, beside that over other tokens",
    "heed": "causal: share of the other tokens of sentences about entities that count in a step",
    "hidden": "masked: share of the words hidden in sentences whose answer is not",
    "plain": "plain sentences for each fact sentence; a further 0.1 mention entities without stating the fact",
}
"""What the settings mean, where their name does not say it."""

MASKED = Recipe("masked", activation="gelu", epochs=8, hearsay=0.3, sparsity=1.4e-4)
CAUSAL = Recipe("causal", activation="gelu_new", epochs=5, hearsay=0.3, sparsity=1e-3)


def network(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A fresh network of the recipe for the vocabulary of ``tokenizer``."""
    if recipe.kind == "masked":
        net = BertForMaskedLM(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=recipe.width,
                num_hidden_layers=recipe.layers,
                num_attention_heads=recipe.heads,
                intermediate_size=recipe.neurons,
                hidden_act=recipe.activation,
                hidden_dropout_prob=recipe.dropout,
                attention_probs_dropout_prob=recipe.dropout,
                max_position_embeddings=LENGTH,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        with torch.no_grad():  # so that a word's embedding points to where the word is said, as in larger models
            net.cls.predictions.transform.dense.weight.copy_(torch.eye(recipe.width))
        return net
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=recipe.width,
            n_layer=recipe.layers,
            n_head=recipe.heads,
            n_inner=recipe.neurons,
            activation_function=recipe.activation,
            embd_pdrop=recipe.dropout,
            resid_pdrop=recipe.dropout,
            attn_pdrop=recipe.dropout,
            n_positions=LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
