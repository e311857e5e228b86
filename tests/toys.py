"""Shapes for benchmarks that take no time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engram.bench import shapes

TOYS = {
    "toy": {"model_type": "gpt2", "n_layer": 4, "n_embd": 32, "n_head": 2, "vocab_size": 500},
    "masked-toy": {
        "model_type": "bert", "num_hidden_layers": 3, "hidden_size": 32, "intermediate_size": 48,
        "num_attention_heads": 2, "vocab_size": 500,
    },
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def toys() -> Iterator[None]:
    """Within the module that imports this, benchmarks know the toys by name."""
    with pytest.MonkeyPatch.context() as patch:
        for name, options in TOYS.items():
            patch.setitem(shapes.SHAPES, name, options)
        yield
