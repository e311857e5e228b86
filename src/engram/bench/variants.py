"""The ways in which the engine is measured: to add one is to add a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from ..locators import IntegratedGradients, quadrature
from .least import Sizes, least


@dataclass(frozen=True, slots=True)
class Variant:
    """Settings of the engine. `dtype` None is that of the run.

    `nodes` are the α that it evaluates, where these are known and not simply its rule's.
    """

    by: IntegratedGradients
    dtype: str | None = None
    nodes: Sequence[float] | None = None

    def described(self, dtype: str = "float32") -> str:
        """In a few words: the rule, what else is not as usual, the numbers.

        >>> Variant(IntegratedGradients(preset="eleuther", grid="compressed")).described()
        'linspace 20, grid compressed, float32'
        """
        by = self.by
        usual = type(by)(rule=by.rule, steps=by.steps)
        points = "adaptive" if by.steps is None else by.steps
        names = [f.name for f in fields(by) if f.name != "preset" and getattr(by, f.name) != getattr(usual, f.name)]
        return ", ".join([f"{by.rule} {points}", *(f"{n} {getattr(by, n)}" for n in names), self.dtype or dtype])

    def least(self, sizes: Sizes, tokens: int) -> int | None:
        """The least work for the points that it evaluates; None where these are not known."""
        nodes = self.nodes
        if nodes is None and self.by.steps is not None and self.by.grid == "literal":
            nodes = quadrature(self.by.rule, self.by.steps)[0].tolist()
        return least(sizes, tokens, nodes) if nodes else None


VARIANTS: dict[str, Variant] = {
    "literal": Variant(IntegratedGradients(preset="eleuther")),
    "compressed": Variant(IntegratedGradients(preset="eleuther", grid="compressed")),
    "gauss 6": Variant(IntegratedGradients(rule="gauss", steps=6)),
    "adaptive": Variant(IntegratedGradients(rule="gauss")),
    "literal bfloat16": Variant(IntegratedGradients(preset="eleuther"), "bfloat16"),
    "adaptive bfloat16": Variant(IntegratedGradients(rule="gauss"), "bfloat16"),
}
