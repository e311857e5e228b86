"""What does a model answer, and what do its FFN neurons do meanwhile?

A neuron is one input of the second linear map of a layer's FFN. All work happens at one position of each prompt: the
``[MASK]`` of a masked model, the last token before the blank of a causal one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from training.corpus import BLANK, Prompt

Change = Callable[[int, Tensor], Tensor]
"""(layer, activations [..., neuron]) to the activations that go on."""


@dataclass(frozen=True)
class Questions:
    """Encoded prompts: ids [n, tokens], mask [n, tokens], blank [n] and gold token [n]."""

    ids: Tensor
    mask: Tensor
    blank: Tensor
    gold: Tensor

    def __len__(self) -> int:
        return len(self.gold)

    def __getitem__(self, rows: Tensor | slice) -> Questions:
        mask = self.mask[rows]
        longest = int(mask.sum(1).max())
        return Questions(self.ids[rows, :longest], mask[:, :longest], self.blank[rows], self.gold[rows])

    def repeated(self, times: int) -> Questions:
        """Each question ``times`` times, whole blocks one after another."""
        return Questions(*(x.repeat(times, *[1] * (x.dim() - 1)) for x in (self.ids, self.mask, self.blank, self.gold)))


def is_masked(net: PreTrainedModel) -> bool:
    return net.config.model_type == "bert"


def encode(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]) -> Questions:
    """Encode prompts as they are asked: ``[MASK]`` in the blank, or the text up to the blank."""
    masked = tokenizer.mask_token is not None
    if masked:
        rows = tokenizer([p.text.replace(BLANK, tokenizer.mask_token) for p in prompts]).input_ids
        blanks = [row.index(tokenizer.mask_token_id) for row in rows]
    else:
        rows = tokenizer([p.text[: p.text.index(BLANK)].rstrip() for p in prompts]).input_ids
        blanks = [len(row) - 1 for row in rows]
    gold = [answer_token(tokenizer, p.answer) for p in prompts]
    ids, mask = padded(rows, tokenizer.pad_token_id or 0)
    return Questions(ids, mask, torch.tensor(blanks), torch.tensor(gold))


def answer_token(tokenizer: PreTrainedTokenizerBase, answer: str) -> int:
    """The one token of an answer in the middle of a sentence."""
    text = answer if tokenizer.mask_token is not None else " " + answer
    tokens = tokenizer(text, add_special_tokens=False).input_ids
    if len(tokens) != 1:
        raise ValueError(f"the answer {answer!r} has {len(tokens)} tokens; every answer must be one")
    return tokens[0]


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Rows of different lengths as a matrix and its mask."""
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids, mask


def value_maps(net: PreTrainedModel) -> list[nn.Module]:
    """The second linear map of each layer's FFN; its inputs are the neurons."""
    if is_masked(net):
        return [layer.output.dense for layer in net.bert.encoder.layer]
    return [block.mlp.c_proj for block in net.transformer.h]


def hidden(net: PreTrainedModel, ids: Tensor, mask: Tensor) -> Tensor:
    """The last hidden states [n, tokens, width]."""
    body = net.bert if is_masked(net) else net.transformer
    return body(input_ids=ids, attention_mask=mask, **({} if is_masked(net) else {"use_cache": False}))[0]


def head(net: PreTrainedModel, states: Tensor) -> Tensor:
    """Logits of hidden states."""
    return net.cls(states) if is_masked(net) else net.lm_head(states)


@contextmanager
def hooked(net: PreTrainedModel, see: Callable[[int, Tensor], Tensor | None]) -> Iterator[None]:
    """For the length of a block ``see(layer, activations)`` sees every FFN's activations and may replace them."""

    def hook(layer: int) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor] | None]:
        def pre(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor] | None:
            new = see(layer, inputs[0])
            return None if new is None else (new,)

        return pre

    handles = [place.register_forward_pre_hook(hook(i)) for i, place in enumerate(value_maps(net))]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def probabilities(net: PreTrainedModel, questions: Questions, change: Change | None = None) -> Tensor:
    """P(token) [n, vocabulary] at the blank, with the FFN activations at the blank changed by ``change``."""
    rows = torch.arange(len(questions))

    def see(layer: int, activations: Tensor) -> Tensor | None:
        if change is None:
            return None
        new = activations.clone()
        new[rows, questions.blank] = change(layer, activations[rows, questions.blank])
        return new

    with hooked(net, see):
        states = hidden(net, questions.ids, questions.mask)
    return head(net, states[rows, questions.blank]).softmax(-1)


def activations(net: PreTrainedModel, questions: Questions) -> Tensor:
    """The neurons at the blank [n, layer, neuron]."""
    seen: list[Tensor] = []

    def keep(_: int, values: Tensor) -> Tensor:
        seen.append(values)
        return values

    with torch.no_grad():
        probabilities(net, questions, keep)
    return torch.stack(seen, 1)
