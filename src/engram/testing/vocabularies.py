"""Tokenizers of a few dozen words, made in memory, one for each convention that real ones follow.

All know the words of `WORDS`, can spell others (`Tallinn` takes two tokens, `Cork` several) and cannot write `Ж`.
What differs is what a model has to be right about: whether a space belongs to the word behind it (byte-level and
metaspace: yes, WordPiece: no; T5 splits at spaces first), what frames a text, and how a gap is marked.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

Kind = Literal["wordpiece", "bytes", "metaspace", "split metaspace"]

WORDS = (
    "The", "the", "A", "a", "capital", "of", "city", "is", "in", "has", "and", "was", "born", "Once", "upon", "time",
    "Ireland", "France", "Italy", "Estonia", "Dublin", "Paris", "Rome", "Lyon", "Limerick", "Tall",
)  # fmt: skip
ENDINGS = ("inn",)  # Tall + inn
SIGNS = string.ascii_letters + string.punctuation


@dataclass(frozen=True)
class Convention:
    """How one tokenizer writes: the kind of its pieces, its special tokens by role and in order, what frames a text.

    `frame` is a template such as `"[CLS] $A [SEP]"`. A mask that is `greedy` swallows the space before it.
    """

    kind: Kind
    special: dict[str, str]
    frame: str = "$A"
    greedy: bool = False
    extra: tuple[str, ...] = field(default=())

    def tokenizer(self) -> Any:
        """The tokenizer, a `PreTrainedTokenizerFast` as `AutoTokenizer` would give it."""
        from transformers import PreTrainedTokenizerFast  # heavy: seconds

        names = list(dict.fromkeys([*self.special.values(), *self.extra]))
        unknown = self.special.get("unk_token")
        inner = _MAKE[self.kind](names, unknown)
        ids = inner.get_vocab()
        inner.post_processor = processors.Sequence(
            [
                *([processors.ByteLevel(trim_offsets=True)] if self.kind == "bytes" else []),
                processors.TemplateProcessing(single=self.frame, special_tokens=[(n, ids[n]) for n in names]),
            ]
        )
        special: dict[str, Any] = dict(self.special)
        if self.greedy:
            special["mask_token"] = AddedToken(special["mask_token"], lstrip=True, special=True)
        return PreTrainedTokenizerFast(
            tokenizer_object=inner, additional_special_tokens=list(self.extra), model_max_length=64, **special
        )


def _wordpiece(special: list[str], unknown: str | None) -> Tokenizer:
    letters = [*SIGNS, *(f"##{c}" for c in string.ascii_letters), *(f"##{e}" for e in ENDINGS)]
    inner = Tokenizer(models.WordPiece(_numbered([*special, *WORDS, *letters]), unk_token=unknown or "[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    return inner


def _bytes(special: list[str], _unknown: str | None) -> Tokenizer:
    inner = _merging(special, sorted(pre_tokenizers.ByteLevel.alphabet()), "Ġ", None)  # bytes write everything
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return inner


def _metaspace(special: list[str], unknown: str | None) -> Tokenizer:
    inner = _merging(special, ["▁", *SIGNS], "▁", unknown)
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    inner.decoder = decoders.Metaspace(prepend_scheme="first", split=True)
    return inner


def _split_metaspace(special: list[str], unknown: str | None) -> Tokenizer:
    inner = _metaspace(special, unknown)
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always", split=True)]
    )
    return inner


def _merging(special: list[str], signs: Iterable[str], space: str, unknown: str | None) -> Tokenizer:
    """Byte-pair merges that build every word with its space from left to right."""
    words = [*(space + w for w in WORDS), *WORDS, *ENDINGS]
    steps = dict.fromkeys((w[:i], w[i]) for w in words for i in range(1, len(w)))
    vocab = _numbered([*special, *signs, *(a + b for a, b in steps)])
    return Tokenizer(models.BPE(vocab, list(steps), unk_token=unknown, fuse_unk=True))


def _numbered(tokens: Iterable[str]) -> dict[str, int]:
    return dict(zip(dict.fromkeys(tokens), itertools.count()))


_MAKE = {"wordpiece": _wordpiece, "bytes": _bytes, "metaspace": _metaspace, "split metaspace": _split_metaspace}

_BERT = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
_ROBERTA = {
    "bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "cls_token": "<s>",
    "sep_token": "</s>", "mask_token": "<mask>",
}  # fmt: skip
_GPT2 = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
_OPT = {"bos_token": "</s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "</s>"}
_LLAMA = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
_T5 = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}

CONVENTIONS = {
    "bert": Convention("wordpiece", _BERT, "[CLS] $A [SEP]"),
    "roberta": Convention("bytes", _ROBERTA, "<s> $A </s>", greedy=True),
    "xlm-roberta": Convention("metaspace", _ROBERTA, "<s> $A </s>", greedy=True),
    "albert": Convention("metaspace", _BERT, "[CLS] $A [SEP]", greedy=True),
    "modernbert": Convention("bytes", _BERT, "[CLS] $A [SEP]", greedy=True),
    "gpt2": Convention("bytes", _GPT2),
    "opt": Convention("bytes", _OPT, "</s> $A"),
    "llama": Convention("metaspace", _LLAMA, "<s> $A"),
    "t5": Convention("split metaspace", _T5, "$A </s>", extra=tuple(f"<extra_id_{i}>" for i in range(4))),
}
