"""Noise in the word embeddings: where they are read, where answers are compared with them, or both (Wen & Bai)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import BadSetting, HookDidNotFire, UnknownName, UnsupportedModel
from ..models import Model, holding
from ..models.detours import instead

Where = Literal["input", "output", "both"]
Unit = Literal["sigma", "absolute", "published"]
DECIMALS = 100  # as published, the size of noise is cut off behind two decimals


@dataclass(frozen=True, slots=True)
class Perturbed:
    """A model with Gaussian noise in its word embeddings: in the table it reads (input), in the one by which it scores
    words (output), or in both. No weight is written.

    The same noise for the same word wherever it stands, and in both tables where they are of one shape, tied or not.
    `size` is its standard deviation, in a `unit`: "sigma" is that of the table's own numbers; "published" a third of
    their mean absolute value, cut off behind two decimals where that leaves something (Wen & Bai: 0.03 for GPT-2, 0.01
    for BERT); "absolute" is the table's own. `seed` and `draw` tell the noise, of every size and place the same up to
    scale. The size is that of noise in the table: what the network makes of its embeddings (Gemma multiplies them) it
    makes of the noise. Raises BadSetting, UnknownName.

    >>> import engram as eg
    >>> from engram.interventions.perturbed import Perturbed
    >>> model, prompt = eg.load(), eg.Prompt("The author of Hamlet is [Y].", "Shakespeare")
    >>> clean, noisy = eg.ask(model, prompt) + eg.ask(model, prompt, under=Perturbed(3.0, "input"))
    >>> clean.probability > noisy.probability
    True
    """

    size: float
    where: Where = "both"
    unit: Unit = "sigma"
    seed: int = 0
    draw: int = 0

    def __post_init__(self) -> None:
        if self.where not in get_args(Where):
            raise UnknownName("table of word embeddings", self.where, get_args(Where))
        if self.unit not in get_args(Unit):
            raise UnknownName("unit of noise", self.unit, get_args(Unit))
        if not (np.isfinite(self.size) and self.size >= 0) or self.seed < 0 or self.draw < 0:
            raise BadSetting(f"a size, a seed and a draw are not negative: {self.size}, {self.seed}, {self.draw}")


@dataclass(frozen=True, slots=True)
class Table:
    """One table of word embeddings: the modules that use it, its shape, and how its numbers lie."""

    modules: tuple[nn.Module, ...]
    weight: Tensor

    @property
    def sigma(self) -> float:
        """The standard deviation of all its numbers."""
        return float(self.weight.detach().float().std())

    @property
    def mean(self) -> float:
        """Their mean absolute value."""
        return float(self.weight.detach().float().abs().mean())

    def absolute(self, size: float, unit: Unit) -> float:
        """A size of noise in the table's own numbers."""
        if unit == "absolute":
            return size
        return size * (self.sigma if unit == "sigma" else published(self.mean))

    def noise(self, seed: int, draw: int) -> Tensor:
        """Standard normal, as large as the table: a draw of its own for every seed and number."""
        drawn = np.random.default_rng([seed, draw]).standard_normal(tuple(self.weight.shape), dtype=np.float32)
        return torch.from_numpy(drawn)


def published(mean: float) -> float:
    """The size of noise that Wen & Bai take where embeddings have this mean absolute value.

    >>> published(0.1132), published(0.0408), published(0.012)
    (0.03, 0.01, 0.004)
    """
    return int(mean / 3 * DECIMALS) / DECIMALS or mean / 3


def tables(model: Model) -> dict[str, Table]:
    """The table that is read (input) and the one by which words are scored (output); one and the same where tied.

    Raises UnsupportedModel where one of them is no plain matrix, or is not there.
    """
    net: Any = model.net
    read, scored = net.get_input_embeddings(), net.get_output_embeddings()
    for name, module in (("read", read), ("scored", scored)):
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim != 2 or not weight.is_floating_point():
            raise UnsupportedModel(f"{model.name} keeps no plain matrix by which words are {name}")
    readers = [m for m in net.modules() if isinstance(m, nn.Embedding) and m.weight is read.weight]
    return {"input": Table(tuple(readers) or (read,), read.weight), "output": Table((scored,), scored.weight)}


@holding.register(Perturbed)
@contextmanager
def _hold(condition: Perturbed, model: Model) -> Iterator[None]:
    sides = ("input", "output") if condition.where == "both" else (condition.where,)
    met: dict[str, bool] = dict.fromkeys(sides, False)
    own = tables(model)
    forwards: dict[nn.Module, Callable[..., Any]] = {}
    drawn: Mapping[Any, Tensor] = {}
    for side in sides:
        table = own[side]
        shape = tuple(table.weight.shape)
        drawn = drawn if shape in drawn else {shape: table.noise(condition.seed, condition.draw)}
        noise = (drawn[shape] * table.absolute(condition.size, condition.unit)).to(table.weight)
        forwards |= {m: _noisy(m, noise, met, side) for m in table.modules}
    with instead(forwards):
        yield
    if missing := [side for side, there in met.items() if not there]:
        raise HookDidNotFire(f"no forward pass came by the {missing[0]} table of word embeddings of {model.name}")


def _noisy(module: nn.Module, noise: Tensor, met: dict[str, bool], side: str) -> Callable[..., Any]:
    """The module's forward with the noise added to its table: what it makes of the noise alone comes on top.

    That is the same, for a table is looked up, or multiplied with: linear in its numbers.
    """
    own, alone = module.forward, copy.copy(module)
    parameters = {**module._parameters, "weight": nn.Parameter(noise, requires_grad=False)}
    if parameters.get("bias") is not None:
        parameters["bias"] = None
    alone.__dict__["_parameters"] = parameters

    def forward(*args: Any, **kwargs: Any) -> Any:
        met[side] = True
        return own(*args, **kwargs) + type(alone).forward(alone, *args, **kwargs)

    return forward
