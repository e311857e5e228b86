"""From a prompt to the rows of tokens that a network is given, whatever its way of being asked.

One row asks for one token of the answer. A causal model gets the text before the blank and, for later tokens of the
answer, the gold tokens before them. A masked model gets one mask per token of the answer, filled `left_to_right` with
the gold tokens before the asked one, or all left as masks (`together`). Of the two-stack models, T5 gets a sentinel
and BART one mask in the encoder, and the gold prefix in the decoder. The answer is tokenised where it stands, in its
sentence, so that casing, leading spaces and neighbours are exactly as written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import AnswerNotWritable, BadSetting, BlankNotLast, PromptTooLong, UnaskablePrompt, UnsupportedModel
from ..facts import BLANK, Prompt
from .family import Family, Side
from .hooks import Asked

Masks = Literal["left_to_right", "together"]


@dataclass(frozen=True, slots=True)
class Row:
    """One asked token: what the network reads, where the blank is, and which token is right (and which wrong)."""

    ids: tuple[int, ...]
    at: int
    target: int
    decoder: tuple[int, ...] = ()
    against: int | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows of the same shape can go through the network together, without padding."""
        return len(self.ids), len(self.decoder)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows of one shape as tensors: ids [row, token], at [row], target [row], decoder [row, token] or None.

    >>> import engram as eg
    >>> model = eg.load()
    >>> batch = Batch.of(model.rows(eg.Prompt("The author of Hamlet is [Y].", "Shakespeare")), model.device)
    >>> batch.ids.shape, batch.at.shape
    (torch.Size([1, 10]), torch.Size([1]))
    """

    ids: Tensor
    at: Tensor
    target: Tensor
    decoder: Tensor | None = None
    against: Tensor | None = None

    @classmethod
    def of(cls, rows: Sequence[Row], device: torch.device | str = "cpu") -> Batch:
        """All rows must have the same shape."""

        def tensor(values: list[Any]) -> Tensor:
            return torch.tensor(values, dtype=torch.long, device=device)

        against = [r.against for r in rows]
        return cls(
            tensor([r.ids for r in rows]),
            tensor([r.at for r in rows]),
            tensor([r.target for r in rows]),
            tensor([r.decoder for r in rows]) if rows[0].decoder else None,
            tensor(against) if all(a is not None for a in against) else None,
        )

    def __len__(self) -> int:
        return self.ids.shape[0]

    def take(self, index: Tensor) -> Batch:
        """The rows with these numbers, in this order, as often as named."""

        def taken(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.index_select(0, index)

        return Batch(
            self.ids.index_select(0, index),
            self.at.index_select(0, index),
            self.target.index_select(0, index),
            taken(self.decoder),
            taken(self.against),
        )

    @property
    def alone(self) -> Batch:
        """Every row's asked token as if it were the only one."""
        here = torch.zeros_like(self.at)
        ids = self.ids.gather(1, self.at[:, None])
        return Batch(ids, here, self.target, None if self.decoder is None else self.decoder[:, -1:], self.against)

    def length(self, side: Side) -> int:
        """How many tokens run through the stack of that side."""
        return int((self.ids if side == "input" or self.decoder is None else self.decoder).shape[1])

    @property
    def tokens(self) -> int:
        """How many tokens a row has, those of the decoder included."""
        return self.ids.shape[1] + (0 if self.decoder is None else self.decoder.shape[1])

    @property
    def answered_at(self) -> Tensor:
        """The position, in the stack that answers, whose logits are the answer. [row]"""
        return self.at if self.decoder is None else torch.full_like(self.at, self.decoder.shape[1] - 1)

    @property
    def asked(self) -> Asked:
        """For conditions that act at the blank."""
        at: dict[Side, Tensor] = {"input": self.at, "output": self.answered_at}
        return Asked(at, self.ids)

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Keyword arguments for the network."""
        given = {"input_ids": self.ids, "attention_mask": torch.ones_like(self.ids)}
        if self.decoder is not None:
            given["decoder_input_ids"] = self.decoder
        return given


def rows_of(prompt: Prompt, tokenizer: Any, config: Any, family: Family, masks: Masks) -> list[Row]:
    """One row per token of the prompt's answer. Raises UnaskablePrompt, each time naming the prompt."""
    rows = _ROWS[family.asks](prompt, bare(prompt, prompt.answer), tokenizer, config, masks)
    if prompt.against is not None:
        wrong = _ROWS[family.asks](prompt, bare(prompt, prompt.against), tokenizer, config, masks)
        if len(rows) != 1 or len(wrong) != 1:
            raise AnswerNotWritable(
                f"a contrast needs answers of one token each; {prompt.answer!r} has {len(rows)}, "
                f"{prompt.against!r} has {len(wrong)}"
            )
        rows = [Row(rows[0].ids, rows[0].at, rows[0].target, rows[0].decoder, wrong[0].target)]
    if (largest := max(max(*r.ids, *r.decoder, r.target) for r in rows)) >= config.vocab_size:
        raise UnaskablePrompt(
            f"the tokenizer writes {tokenizer.convert_ids_to_tokens(largest)!r} as token {largest}; the network has "
            f"{config.vocab_size}: is this the network's own tokenizer? ({prompt.text[:80]!r})"
        )
    limit = positions(tokenizer, config, family)
    if (longest := max(max(r.shape) for r in rows)) > limit:
        raise PromptTooLong(f"{longest} tokens, and this model has {limit} positions: {prompt.text[:80]!r}")
    return rows


def text_rows(text: str, tokenizer: Any, config: Any, family: Family) -> list[Row]:
    """One row per token of a text, special tokens left out: a causal model reads what is before it, any other model
    the text with this token masked. Raises UnaskablePrompt.
    """
    ids = tokenizer(text)["input_ids"]
    if family.asks == "next":
        ids = without_end(ids, tokenizer)
    special = set(tokenizer.all_special_ids)
    asked = [i for i, t in enumerate(ids) if t not in special and (i > 0 or family.asks != "next")]
    if not asked:
        raise UnaskablePrompt(f"there is no token to ask for in {text!r}")
    if len(ids) > (limit := positions(tokenizer, config, family)):
        raise PromptTooLong(f"{len(ids)} tokens, and this model has {limit} positions: {text[:80]!r}")
    if family.asks == "next":
        return [Row(tuple(ids[:i]), i - 1, ids[i]) for i in asked]
    mark = tokenizer.convert_tokens_to_ids("<extra_id_0>") if family.asks == "sentinel" else _mask_id(tokenizer)
    said = () if family.asks == "mask" else (_decoder_start(config), *((mark,) if family.asks == "sentinel" else ()))
    return [
        Row((*ids[:i], mark, *ids[i + 1 :]), i, ids[i], (*said, *(ids[:i] if family.asks == "infill" else ())))
        for i in asked
    ]


def _mask_rows(prompt: Prompt, answer: str, tokenizer: Any, _config: Any, masks: Masks) -> list[Row]:
    ids, first, last = _answer_in_place(prompt, answer, tokenizer)
    mask = _mask_id(tokenizer)
    rows = []
    for i in range(first, last):
        blanked = [mask if first <= j < last and (masks == "together" or j >= i) else t for j, t in enumerate(ids)]
        rows.append(Row(tuple(blanked), i, ids[i]))
    return rows


def _next_rows(prompt: Prompt, answer: str, tokenizer: Any, _config: Any, _masks: Masks) -> list[Row]:
    if not prompt.blank_last:
        after = prompt.text.split(BLANK)[1]
        raise BlankNotLast(
            f"a causal model continues a text, and here {after!r} follows the blank: {prompt.text!r}. "
            "Ask with the blank at the end, or ask a masked model."
        )
    before = prompt.text.split(BLANK)[0]
    known = without_end(tokenizer(before.removesuffix(" "))["input_ids"], tokenizer)  # the space is the answer's
    if not known:
        raise UnaskablePrompt(f"there is nothing before the blank to continue: {prompt.text!r}")
    whole = without_end(tokenizer(before + answer)["input_ids"], tokenizer)
    if whole[: len(known)] != known:
        raise AnswerNotWritable(f"the tokenizer merges {answer!r} with the text before it: {prompt.text!r}")
    target = _written(whole[len(known) :], answer, tokenizer)
    return [Row(tuple(whole[: len(known) + i]), len(known) + i - 1, t) for i, t in enumerate(target)]


def _sentinel_rows(prompt: Prompt, answer: str, tokenizer: Any, config: Any, _masks: Masks) -> list[Row]:
    sentinel = "<extra_id_0>"
    mark = tokenizer.convert_tokens_to_ids(sentinel)
    if mark is None or mark == tokenizer.unk_token_id:
        raise UnsupportedModel(f"this tokenizer has no {sentinel}, by which a T5 is asked")
    ids = tokenizer(prompt.text.replace(BLANK, sentinel))["input_ids"]
    if ids.count(mark) != 1:
        raise UnaskablePrompt(f"{sentinel} marks the blank, and the prompt has one of its own: {prompt.text!r}")
    target = _written(tokenizer(answer, add_special_tokens=False)["input_ids"], answer, tokenizer)
    start = (_decoder_start(config), mark)
    return [Row(tuple(ids), ids.index(mark), t, (*start, *target[:i])) for i, t in enumerate(target)]


def _infill_rows(prompt: Prompt, answer: str, tokenizer: Any, config: Any, _masks: Masks) -> list[Row]:
    ids, first, last = _answer_in_place(prompt, answer, tokenizer)
    read = (*ids[:first], _mask_id(tokenizer), *ids[last:])
    return [Row(read, first, ids[i], (_decoder_start(config), *ids[:i])) for i in range(first, last)]


_ROWS = {"mask": _mask_rows, "next": _next_rows, "sentinel": _sentinel_rows, "infill": _infill_rows}


def bare(prompt: Prompt, answer: str) -> str:
    """The answer as it is written behind what stands before the blank: no space twice, none at the end."""
    before = prompt.text.split(BLANK)[0]
    bare = answer.strip() if before.endswith(" ") else answer.rstrip()
    if not bare:
        raise AnswerNotWritable(f"the answer of {prompt.text!r} is empty")
    return bare


def _answer_in_place(prompt: Prompt, answer: str, tokenizer: Any) -> tuple[list[int], int, int]:
    """The sentence with the answer written in it, as ids, and from which to which token the answer goes."""
    before, after = prompt.text.split(BLANK)
    text, start, end = before + answer + after, len(before), len(before) + len(answer)
    if not getattr(tokenizer, "is_fast", False):
        raise UnsupportedModel(
            f"{type(tokenizer).__name__} cannot tell which tokens the answer is; use a fast tokenizer"
        )
    encoded = tokenizer(text, return_offsets_mapping=True)
    ids, spans = encoded["input_ids"], encoded["offset_mapping"]
    inside = [i for i, (a, b) in enumerate(spans) if a < end and b > start]
    if not inside:
        raise AnswerNotWritable(f"the tokenizer writes no token for {answer!r}")
    first, last = inside[0], inside[-1] + 1
    own = first > 0 and encoded.sequence_ids(0)[first - 1] is not None
    if own and before.endswith(" ") and spans[first - 1][0] >= start - 1:
        first -= 1  # the space before the answer, where it is a token by itself
    if text[spans[first][0] : start].strip() or text[end : spans[last - 1][1]].strip():
        raise AnswerNotWritable(f"the tokenizer merges {answer!r} with its neighbours in {text!r}")
    _written(ids[first:last], answer, tokenizer)
    return ids, first, last


def _written(ids: list[int], answer: str, tokenizer: Any) -> list[int]:
    if not ids:
        raise AnswerNotWritable(f"the tokenizer writes no token for {answer!r}")
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids and answer != tokenizer.unk_token:
        raise AnswerNotWritable(
            f"the tokenizer cannot write {answer!r}: it would become {tokenizer.unk_token!r}. "
            "Answers are taken exactly as given; is the casing that of this model?"
        )
    return ids


def without_end(ids: list[int], tokenizer: Any) -> list[int]:
    """Some tokenizers close a text with a special token; a text to be continued is not closed."""
    ends = {tokenizer.eos_token_id, getattr(tokenizer, "sep_token_id", None)} - {None}
    while len(ids) > 1 and ids[-1] in ends:
        ids = ids[:-1]
    return list(ids)


def _mask_id(tokenizer: Any) -> int:
    if tokenizer.mask_token_id is None:
        raise UnsupportedModel("this tokenizer has no mask token, by which a masked model is asked")
    return int(tokenizer.mask_token_id)


def _decoder_start(config: Any) -> int:
    start = getattr(config, "decoder_start_token_id", None)
    if start is None:
        raise BadSetting("the configuration does not say decoder_start_token_id")
    return int(start)


def positions(tokenizer: Any, config: Any, family: Family) -> int:
    network = getattr(config, "max_position_embeddings", None) if family.asks != "sentinel" else None
    limits = [tokenizer.model_max_length, network - family.reserved_positions if network else None]
    return min(int(x) for x in (*limits, 10**9) if x is not None and x > 0)
