"""Which second moments does a layer's change go by? Those given, seen to be of that layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import BadSetting
from ..models import Model
from ..models.moments import Moments


def usable(model: Model, layer: int, covariance: Any) -> Moments | None:
    """The layer's second moments, from `Moments` or a matrix [neuron, neuron]; None is the identity.

    Raises BadSetting where they are of another layer or size.
    """
    if covariance is None:
        return None
    c = covariance if isinstance(covariance, Moments) else _given(layer, covariance)
    if (c.layer, c.neurons) != (layer, model.widths[layer]):
        raise BadSetting(
            f"layer {layer} has {model.widths[layer]} neurons, and the covariance is {c.neurons} × {c.neurons} of "
            f"layer {c.layer}"
        )
    return c


def source(covariance: Any) -> Any:
    """Where they are from, in plain values."""
    return "none: the identity" if covariance is None else getattr(covariance, "source", "given")


def _given(layer: int, matrix: Any) -> Moments:
    """Second moments that somebody has already: of how many keys is not known, and taken to be enough."""
    found = np.asarray(matrix, float)
    return Moments(layer, found, max(1, len(np.atleast_1d(found))))
