"""`engram run punctuation`: neurons of marks, found in half of their sentences and tried in the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from typer import Option

from ._drawn import Source
from ._options import Json, ModelOptions
from ._running import Places
from .locate import Method


@dataclass(frozen=True)
class Sentences(Source):
    """Which sentences, and which marks."""

    data: Annotated[
        str, Option("--data", "-d", help="Sentences cut off at a mark: punctuation (those that come along), or a path.")
    ] = "punctuation"
    relation: Annotated[
        list[str] | None, Option("--mark", help="Only this mark, such as ! or comma; may be given again.")
    ] = None


@dataclass(frozen=True)
class Sharing:
    """When is a neuron a mark's?"""

    sentences: Annotated[int | None, Option(min=2, help="At most so many of each mark, drawn by --seed.")] = None
    seed: Annotated[int, Option(min=0, help="Of the draws.")] = 0
    threshold: Annotated[float, Option(help="A neuron counts above this part of a sentence's largest score.")] = 0.3
    tried: Annotated[float, Option(help="Silenced are neurons that count in this share of the sentences.")] = 0.6
    like: Annotated[
        str | None,
        Option(help="engram; or published: sentences cut off, and for a causal model the text [MASK] behind them."),
    ] = None

    def settings(self) -> dict[str, Any]:
        """Those of the experiment."""
        own = {name: getattr(self, name) for name in ("sentences", "seed", "threshold", "tried")}
        return {**own, "preset": self.like}


def punctuation(
    *,
    source: Sentences,
    sharing: Sharing,
    method: Method,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Are there neurons for . , ! ? and ; and is each mark's own needed for it?

    Wen & Bai (2022), section 5.5: the neurons that sentences with a mark share. Here they are found in half of the
    sentences and silenced in the other half, beside random neurons and those of the other marks.

    \b
    engram run punctuation --model engram:causal --out runs/marks
    engram run punctuation --model bert-base-uncased --data data/punctuation --like published --out runs/bert
    """
    from ..experiments import Punctuation

    known = source.read()
    chosen = sharing.settings()
    if method != Method():
        chosen["locator"] = method.locator()
    relations = source.relations(known)
    places.do(Punctuation(**chosen, relations=tuple(relations) if relations else None), known, options, as_json=as_json)
