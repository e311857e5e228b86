"""The least work that a sum of gradients can cost when its points are evaluated one by one, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..models import Model


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the count depends on: neurons of each layer, width, vocabulary, and whether tokens see the past only."""

    neurons: tuple[int, ...]
    width: int
    vocabulary: int
    causal: bool

    @classmethod
    def of(cls, model: Model) -> Sizes:
        """Those of a model of one stack."""
        config = model.config
        return cls(model.widths, int(config.hidden_size), int(config.vocab_size), model.blank_last)


def least(sizes: Sizes, tokens: int, nodes: Sequence[float]) -> int:
    """How many floating-point operations does one prompt of so many tokens need, all layers, at these α?

    Matrix products only, a multiplication and an addition for each pair, as torch counts them; norms, activation
    functions and softmax are left out. h is the width, f a layer's neurons, S the tokens, V the vocabulary. One row
    costs 8h² in the four maps of attention and 4hf in those of the FFN; one row's attention to S rows costs 4Sh, and on
    the way back 4Sh, or 8Sh where the rows it looks at are alive too. The way back costs a map as much as the way
    forth, for parameters are frozen.

    * One clean pass: every block in full, the last one (beside its keys and values) for the asked row only, and one row
      of the vocabulary.
    * From layer l on, only what is above: its FFN is linear in what is scaled, so its output at α is `b + α·u`, and u
      is known from the clean pass.
    * A causal model: the asked row is the last one, so no other row changes; every block above is one row, forth and
      back. In a masked model all rows change, except that in the block right above l only the asked row's query, key
      and value do (its attention is then a few rows: 8Sh forth, 10Sh back), and that of the last block only the asked
      row is wanted (of the others, keys and values).
    * One row of the vocabulary per point: `2hV` forth, and `2hV` back to `softmax·E`; BERT's head has a map h × h more.
    * The gradient at the neurons is that at the FFN's output times the value slots: `2hf` for each layer, once, after
      the points are summed.
    * The point α = 1 is the clean pass itself, for every layer: one way back gives it to all of them.

    Fewer points, or an estimate in place of the sum, is another matter: then give those points.
    """
    layers = range(len(sizes.neurons))
    inner = sum(a != 1 for a in nodes)
    work = _clean(sizes, tokens) + sum(2 * sizes.width * f for f in sizes.neurons)
    work += sum(inner * (_above(sizes, tokens, layer) + 2 * _head(sizes)) for layer in layers)
    if inner < len(nodes):
        work += _back(sizes, tokens)
    return work


def _head(sizes: Sizes) -> int:
    return 2 * sizes.width * (sizes.vocabulary + (0 if sizes.causal else sizes.width))


def _row(sizes: Sizes, layer: int) -> int:
    """One row through the maps of a block, one way."""
    return 8 * sizes.width**2 + 4 * sizes.width * sizes.neurons[layer]


def _clean(sizes: Sizes, tokens: int) -> int:
    h, last = sizes.width, len(sizes.neurons) - 1
    seen = tokens * (tokens + 1) // 2 if sizes.causal else tokens**2  # pairs of rows that see each other
    blocks = sum(tokens * _row(sizes, j) + 4 * seen * h for j in range(last))
    return blocks + _row(sizes, last) + 4 * (tokens - 1) * h**2 + 4 * tokens * h + _head(sizes)


def _above(sizes: Sizes, tokens: int, layer: int) -> int:
    """The blocks above a layer, forth and back, for one point."""
    h, s, last = sizes.width, tokens, len(sizes.neurons) - 1
    above = range(layer + 1, last + 1)
    if sizes.causal or len(above) < 2:
        return sum(2 * _row(sizes, j) + 8 * s * h for j in above)
    first, *between = above[:-1]
    work = 2 * (6 * h**2 + s * (_row(sizes, first) - 6 * h**2)) + 18 * s * h
    work += sum(2 * s * _row(sizes, j) + 12 * s**2 * h for j in between)
    return work + 2 * (_row(sizes, last) + 4 * (s - 1) * h**2) + 12 * s * h


def _back(sizes: Sizes, tokens: int) -> int:
    """From the clean answer back to every layer's FFN output at the asked row."""
    h, s, last = sizes.width, tokens, len(sizes.neurons) - 1
    above = range(1, last + 1)
    if sizes.causal:
        return _head(sizes) + sum(_row(sizes, j) + 4 * s * h for j in above)
    through = sum(s * _row(sizes, j) + 8 * s**2 * h for j in above[:-1])
    return _head(sizes) + through + (_row(sizes, last) + 4 * (s - 1) * h**2 + 8 * s * h if above else 0)
