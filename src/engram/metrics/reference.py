"""Does what is written resemble what should be? Meng et al. (2022), section 3.4: the reference score, RS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..errors import BadSetting
from ..results import Floats
from .entropy import words


def inverse_frequencies(corpus: Iterable[str]) -> dict[str, float]:
    """Of every word of these texts, ln((1 + n) / (1 + texts with it)) + 1, lower-cased, as scikit-learn smooths it."""
    texts = [set(_words(t)) for t in corpus]
    if not texts:
        raise BadSetting("inverse frequencies are of at least one text")
    within = Counter(word for own in texts for word in own)
    return {word: float(np.log((1 + len(texts)) / (1 + n)) + 1) for word, n in within.items()}


def reference_score(written: Sequence[str], references: Sequence[str], idf: Mapping[str, float] | None = None) -> float:
    """The cosine of the TF-IDF vectors of all that was written, and of all references, put together; 0 to 1.

    `idf` are those of a large corpus (`inverse_frequencies`; None: of the texts themselves); a word that it does not
    have has no part. The published references are 883 MB of Wikipedia about things with the new answer, which are not
    engram's to ship: bring your own. Raises BadSetting where there is nothing to compare.

    >>> round(reference_score(["The old man sings."], ["The old man sings."]), 6)
    1.0
    >>> reference_score(["A red boat."], ["The old man sings."])
    0.0
    """
    if not written or not references:
        raise BadSetting("a reference score compares what was written with at least one reference")
    known = inverse_frequencies([*written, *references]) if idf is None else idf
    place = {word: i for i, word in enumerate(known)}
    one, other = (_vector(texts, known, place) for texts in (written, references))
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / size if size else 0.0


def _vector(texts: Sequence[str], idf: Mapping[str, float], place: Mapping[str, int]) -> Floats:
    found = np.zeros(len(place))
    for word, n in Counter(w for t in texts for w in _words(t)).items():
        if word in place:
            found[place[word]] = n * idf[word]
    return found


def _words(text: str) -> list[str]:
    return [w.lower() for w in words(text) if w[0].isalnum()]
