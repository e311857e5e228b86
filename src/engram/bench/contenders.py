"""The sides of a measurement, ready to run: peers and variants of the engine, on one network and the same prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ..facts import Prompt
from ..locators import IntegratedGradients, locate, quadrature
from ..models import Model
from ..results import Floats
from .attribution import PEERS, RULE, STEPS
from .cost import flops
from .least import Sizes, least
from .shapes import network, questions
from .variants import VARIANTS

Scores = list[Floats]  # of each prompt, [layer, neuron]
PRECISE = "float32"  # the numbers of the peers and of every reference


@dataclass(frozen=True, slots=True)
class Contender:
    """`run` scores its prompts, `count` says the operations of one prompt, `precise` scores in float32 if it is not."""

    name: str
    what: str
    engine: bool
    dtype: str
    settings: Mapping[str, Any]
    prompts: int
    run: Callable[[], Scores]
    count: Callable[[], int]
    least: int | None
    precise: Callable[[], Scores] | None = None


@dataclass(frozen=True, slots=True)
class Ring:
    """One shape on one device, and prompts of one length; networks of other numbers are made when they are asked for.

    `few` of the prompts are given to the peers.
    """

    shape: str
    tokens: int
    few: int
    dtype: str
    device: torch.device
    budget: int
    prompts: Sequence[Prompt]
    models: dict[str, Model] = field(default_factory=dict)

    @classmethod
    def of(cls, shape: str, *, prompts: int, tokens: int, few: int, dtype: str, device: str, budget: int) -> Ring:
        """Raises UnknownName, BadSetting."""
        model = network(shape, device=device, budget=budget)
        asked = questions(model, prompts, tokens)
        return cls(shape, tokens, min(few, prompts), dtype, torch.device(device), budget, asked, {PRECISE: model})

    @property
    def network(self) -> Model:
        """The network in float32."""
        return self.models[PRECISE]

    def model(self, dtype: str) -> Model:
        """The same network in these numbers."""
        if dtype not in self.models:
            self.models[dtype] = network(self.shape, dtype=dtype, device=str(self.device), budget=self.budget)
        return self.models[dtype]

    def scored(self, by: IntegratedGradients, dtype: str = PRECISE, prompts: int | None = None) -> Scores:
        """The engine's scores of the first prompts, or of all."""
        return [a.dense() for a in locate(self.model(dtype), self.prompts[:prompts], by=by)]

    def peer(self, name: str) -> Contender:
        """A loop that takes one prompt at a time, on the first few prompts. Its operations are counted by shape."""
        loop = PEERS[name]

        def count() -> int:
            with FakeTensorMode():  # shapes only: nothing is computed
                model = network(self.shape)
                return flops(lambda: loop(model, self.prompts[:1]))

        def run() -> Scores:
            return [s.cpu().numpy() for s in loop(self.network, self.prompts[: self.few])]

        settings = {"rule": RULE, "steps": STEPS}
        fewest = least(Sizes.of(self.network), self.tokens, quadrature(RULE, STEPS)[0].tolist())
        what = f"{RULE} {STEPS}, {PRECISE}"
        return Contender(name, what, False, PRECISE, settings, self.few, run, count, fewest)

    def engine(self, name: str) -> Contender:
        """The engine with these settings, on all prompts."""
        variant = VARIANTS[name]
        by, dtype = variant.by, variant.dtype or self.dtype
        self.model(dtype)  # before anything is measured
        return Contender(
            name, variant.described(dtype), True, dtype, asdict(by), len(self.prompts),
            run=lambda: self.scored(by, dtype),
            count=lambda: flops(lambda: self.scored(by, dtype, 1)),
            least=variant.least(Sizes.of(self.network), self.tokens),
            precise=None if dtype == PRECISE else lambda: self.scored(by, PRECISE, self.few),
        )  # fmt: skip

    def warm(self) -> None:
        """The first passes of a process are not typical."""
        for dtype in self.models:
            self.scored(IntegratedGradients(rule="gauss", steps=2), dtype, 1)
