"""Does a text go round in circles? The entropy of its pairs and triples of words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import BadSetting
from ..results import Floats

WEIGHTS = {2: 2 / 3, 3: 4 / 3}  # of n-grams, by n, as published
_WORD = re.compile(r"\w+(?:[-'’]\w+|(?<=\d)[.,]\d+)*|[^\w\s]")


def words(text: str) -> list[str]:
    """Words and numbers, with hyphens, apostrophes and decimal signs inside, and every other sign by itself.

    The published figures rest on nltk's `word_tokenize`, which cuts "don't" in two and leaves "U.S." and "..." whole.
    Entropies by the two differ a little, and changes of one by less: compare like with like.

    >>> words("The sea-wind didn't rest, 3.5 days long.")
    ['The', 'sea-wind', "didn't", 'rest', ',', '3.5', 'days', 'long', '.']
    """
    return _WORD.findall(text)


def entropies(texts: Iterable[str]) -> Floats:
    """Of every text, in bits: (2/3 · H₂ + 4/3 · H₃) / 2, where Hₙ is the entropy of its n-grams' frequencies. [text]

    0 where the same word stands again and again, and in a text of less than three words. Meng et al. (2022) call its
    mean over texts generation entropy (GE), and print it times 100.

    >>> [round(float(x), 2) for x in entropies(["a b c d e f", "a a a a a a", ""])]
    [2.11, 0.0, 0.0]
    """
    return np.array([np.mean([w * _entropy(words(t), n) for n, w in WEIGHTS.items()]) for t in texts])


def ngram_entropy(texts: Iterable[str]) -> float:
    """The mean of `entropies` over texts, in bits. Raises BadSetting where there is none.

    >>> ngram_entropy(["again and again and again and"]) < ngram_entropy(["once upon a time there was"])
    True
    """
    found = entropies(texts)
    if not len(found):
        raise BadSetting("the entropy of no text was asked for")
    return float(found.mean())


def _entropy(tokens: Sequence[str], n: int) -> float:
    """Of the n-grams' frequencies, in bits."""
    counts = np.array([*Counter(zip(*(tokens[i:] for i in range(n)), strict=False)).values()], float)
    shares = counts / counts.sum() if len(counts) else counts
    return abs(float(-(shares * np.log2(shares)).sum()))
