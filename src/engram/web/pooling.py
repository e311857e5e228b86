"""What is seen of very many neurons at once? A few columns, each the strongest score of its neurons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import BadSetting
from ..results import Floats

COLUMNS = 256


def pooled(
    scores: Floats, widths: Sequence[int], layers: tuple[int, int], neurons: tuple[int, int], columns: int = COLUMNS
) -> dict[str, Any]:
    """Of the layers and neurons from the first up to, not with, the second: at most `columns` bins in each layer.

    `size` is how many neurons a bin has (the last may have fewer); `values[layer][bin]` the score of largest absolute
    value in it, with its sign, and `strongest[layer][bin]` the index of that neuron; None where a layer is narrower.
    Raises BadSetting.

    >>> seen = pooled(np.array([[0.1, -0.5, 0.2, 0.3]]), (4,), (0, 1), (0, 4), columns=2)
    >>> seen["values"], seen["strongest"]
    ([[-0.5, 0.3]], [[1, 3]])
    """
    top = min(layers[1], len(scores)), min(neurons[1], scores.shape[1])
    if not (0 <= layers[0] < top[0] and 0 <= neurons[0] < top[1]):
        raise BadSetting(
            f"there is nothing between layers {layers[0]} and {layers[1]}, neurons {neurons[0]} and {neurons[1]}: "
            f"the model has layers 0 to {len(scores) - 1} of up to {scores.shape[1]} neurons"
        )
    part = scores[layers[0] : top[0], neurons[0] : top[1]]
    size = -(-part.shape[1] // columns)
    bins = -(-part.shape[1] // size)
    there = np.arange(neurons[0], top[1])[None] < np.asarray(widths)[layers[0] : top[0], None]
    loud = np.full((len(part), bins * size), -1.0)
    loud[:, : part.shape[1]] = np.where(there, np.abs(part), -1.0)
    at = loud.reshape(len(part), bins, size).argmax(-1) + np.arange(bins) * size
    at = np.minimum(at, part.shape[1] - 1)
    found = np.take_along_axis(part, at, 1)
    known = np.take_along_axis(there, at, 1)
    return {
        "layers": [layers[0], top[0]],
        "neurons": [neurons[0], top[1]],
        "size": size,
        "values": [
            [short(v) if k else None for v, k in zip(row, here, strict=True)]
            for row, here in zip(found, known, strict=True)
        ],
        "strongest": [
            [int(i) if k else None for i, k in zip(row, here, strict=True)]
            for row, here in zip(at + neurons[0], known, strict=True)
        ],
    }


def short(number: float) -> float:
    """Six digits of it, so that a picture's numbers are not longer than they need to be."""
    return float(f"{number:.6g}")
