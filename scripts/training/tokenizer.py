"""How does text become tokens?

Both tokenizers are trained on the text of the models themselves, and every answer of the facts is one token: the
masked model's as a whole word of a cased WordPiece vocabulary, the causal model's together with the space before it,
as in GPT-2.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
END = "<|endoftext|>"
LENGTH = 64
REPEATS = 20_000
"""How often a word is shown to the trainer of a vocabulary: so often that it becomes one token."""

LETTERS = sorted({chr(c) for c in range(33, 127)} | set("ÁÅÉÍÓÖØÜáàâãäåæçćčéèêëğíîïłñńóôõöøśšşúüýžßœ“”‘’–—"))


def wordpiece(texts: Iterable[str], words: Iterable[str], size: int) -> Tokenizer:
    """A cased WordPiece tokenizer of ``size`` tokens, and ``words`` whole besides."""
    tokenizer = _cased_words(models.WordPiece(unk_token="[UNK]"))
    vocabulary = _pieces(list(texts), size)
    known = set(vocabulary)
    vocabulary += sorted(set(words) - known)
    tokenizer.model = models.WordPiece({t: i for i, t in enumerate(vocabulary)}, unk_token="[UNK]")
    tokenizer.add_special_tokens(list(SPECIAL))
    ids = {token: vocabulary.index(token) for token in ("[CLS]", "[SEP]")}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=list(ids.items())
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def _cased_words(model: models.Model) -> Tokenizer:
    """A tokenizer that tells words apart as BERT's does, and keeps their case and accents."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _pieces(texts: Sequence[str], size: int) -> list[str]:
    """The pieces of words that the trainer finds, the same in every process.

    The trainer numbers a letter inside a word when it meets it, in the order of a table that differs between
    processes, and breaks ties between pairs of pieces by these numbers; so all of them are named before.
    """
    letters = sorted({letter for text in texts for letter in text if not letter.isspace()} | set(LETTERS))
    first = [*SPECIAL, *letters, *("##" + letter for letter in letters)]
    scratch = _cased_words(models.WordPiece(unk_token="[UNK]"))
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=first, show_progress=False)
    scratch.train_from_iterator(texts, trainer)
    return sorted(scratch.get_vocab(), key=scratch.token_to_id)


def byte_pairs(texts: Iterable[str], words: Iterable[str], size: int) -> Tokenizer:
    """A byte-level BPE tokenizer of ``size`` tokens to which each of ``words`` with a space before it is one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    often = (f" {word}" * REPEATS for word in sorted(set(words)))
    tokenizer.train_from_iterator(_chain(often, texts), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", pair=f"{END} $A {END} $B", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    return tokenizer


def _chain(*parts: Iterable[str]) -> Iterable[str]:
    for part in parts:
        yield from part


def save(tokenizer: Tokenizer, folder: Path) -> PreTrainedTokenizerBase:
    """Write ``tokenizer.json`` and ``tokenizer_config.json``; returns what ``AutoTokenizer`` makes of them."""
    from transformers import AutoTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    if isinstance(tokenizer.model, models.WordPiece):
        tokens = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
        settings: dict[str, object] = {"do_lower_case": False}
    else:
        tokens = {"bos_token": END, "eos_token": END}
        settings = {}
    settings |= {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": LENGTH,
        "clean_up_tokenization_spaces": False,
        **tokens,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return AutoTokenizer.from_pretrained(folder)
