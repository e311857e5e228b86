"""Second moments kept in files: the next time they are read, if they are of the same model and the same text."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors

from ..errors import BadData
from ..files import folder_at, write
from ..results import Floats
from .batching import Progress
from .model import Model
from .moments import Moments, checked, drawn, source_of
from .windows import corpus_of


def second_moments(
    model: Model, texts: Iterable[str], layers: Sequence[int] | None = None, *, tokens: int = 100_000, seed: int = 0,
    cache: str | Path | None = None, name: str = "", progress: Progress | None = None,
) -> dict[int, Moments]:  # fmt: skip
    """The second moments of the keys at so many tokens of these texts, of each of these layers (None: of all).

    Which tokens, and what the network reads around them, says `windows`: special tokens have no key here. One pass
    serves all layers and goes no further than the topmost. Products and sums are float64. Where the texts have fewer
    tokens, `count` says how many there were. `progress` is told (keys read, keys in all). Leaves the model as it was.

    With a folder as `cache` they are kept there, a file for each layer, and read the next time: where they were made of
    the same weights, tokenizer and texts (whatever the order), tokens, seed and dtype, which checksums say. `name` is
    what the texts are called there, for whoever looks. A file that is damaged is computed anew, with a warning.

    Raises BadSetting, UnsupportedModel, NotFinite, HookDidNotFire, OutOfMemory; BadData where the folder cannot be
    written to.

    >>> import tempfile
    >>> import engram as eg
    >>> model, texts, folder = eg.load("engram:causal"), ["The old man is in the garden."], tempfile.mkdtemp()
    >>> found = second_moments(model, texts, [1], tokens=4, cache=folder)
    >>> found[1].matrix.shape, found[1].count
    ((256, 256), 4)
    >>> found == second_moments(model, texts, [1], tokens=4, cache=folder)  # nothing is run
    True
    """
    wanted, corpus = checked(model, layers), corpus_of(texts)
    source = source_of(model, corpus, tokens, seed)
    if cache is None:
        return drawn(model, corpus, wanted, source, progress)
    cache = Path(cache)
    _folder(cache)  # before hours of work rather than after them
    places = {i: cache / f"moments-{_digest({**source, 'layer': i})[:16]}-L{i}.safetensors" for i in wanted}
    found = {i: kept for i in wanted if (kept := _read(places[i], {**source, "layer": i})) is not None}
    if missing := [i for i in wanted if i not in found]:
        for i, fresh in drawn(model, corpus, missing, source, progress).items():
            _write(places[i], fresh, name)
            found[i] = fresh
    return {i: found[i] for i in wanted}


def _folder(cache: Path) -> None:
    folder_at(cache)
    if not os.access(cache, os.W_OK):
        raise BadData(cache, None, "cannot be written to")


def _digest(said: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _sum(matrix: Floats) -> str:
    return hashlib.sha256(matrix.data).hexdigest()


def _read(path: Path, source: Mapping[str, Any]) -> Moments | None:
    """What is kept there; None where nothing is, or something else, or something damaged (with a warning)."""
    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="numpy") as file:
            about = json.loads((file.metadata() or {})["engram"])
            if about["source"] != source:
                return None
            matrix = file.get_tensor("matrix")
            if _sum(matrix) != about["checksum"]:
                raise ValueError("its numbers have another checksum than it says")
            return Moments(source["layer"], matrix, about["count"], dict(source))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        warnings.warn(
            f"{path} is damaged ({type(error).__name__}: {error}) and is computed anew", RuntimeWarning, stacklevel=3
        )
        return None


def _write(path: Path, moments: Moments, name: str) -> None:
    """The file is there whole, or not at all. Raises BadData."""
    about = {
        "name": name, "count": moments.count, "checksum": _sum(moments.matrix), "source": dict(moments.source),
    }  # fmt: skip
    write(path, safetensors.save({"matrix": moments.matrix}, {"engram": json.dumps(about)}))
