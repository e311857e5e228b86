"""`engram run profile` and `engram run minimal_pairs`: what number neurons do to words and to minimal pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from ..errors import BadSetting
from ._drawn import Pairs
from ._options import Json, ModelOptions
from ._running import Places
from .locate import Method

if TYPE_CHECKING:
    from ..facts import FactSet


@dataclass(frozen=True)
class Carriers:
    """Which neurons fall silent, or how they are found."""

    plural: Annotated[str | None, Option(help="The neurons of the plural, such as L9.1094. [they are found]")] = None
    singular: Annotated[str | None, Option(help="The same, of the singular.")] = None
    size: Annotated[int, Option(min=1, help="How many neurons a number has, where they are found.")] = 1
    threshold: Annotated[float, Option(help="A neuron counts in a prompt above this part of its largest score.")] = 0.2
    draws: Annotated[int, Option(min=0, help="How often as many random neurons of the same layers are tried.")] = 5
    facts: Annotated[int | None, Option(min=2, help="At most so many pairs of each paradigm, drawn by --seed.")] = None
    seed: Annotated[int, Option(min=0, help="Of every draw.")] = 0

    def settings(self, source: Pairs, known: FactSet, method: Method) -> dict[str, Any]:
        """Those of `Numbered`. Raises UnknownName, BadSetting."""
        relations = source.relations(known)
        own: dict[str, Any] = {n: getattr(self, n) for n in ("size", "threshold", "draws", "facts", "seed")}
        given = {k: v for k in ("plural", "singular") if (v := getattr(self, k)) is not None}
        if given and method != Method():
            raise BadSetting("neurons that are given are not located: leave out --method and its settings")
        if method != Method():
            own["locator"] = method.locator()
        return {**own, "neurons": given or None, "relations": tuple(relations) if relations else None}


def profile(
    *,
    source: Pairs,
    carriers: Carriers,
    words: Annotated[
        str, Option(help="determiners (24 modifiers), or verbs (14), which a causal model can be asked.")
    ] = "determiners",
    corpus: Annotated[
        str | None, Option(help="A text, plain or .jsonl, or shipped: the shifts are regressed on its co-occurrences.")
    ] = None,
    nouns: Annotated[
        str | None, Option(help="A lexicon, .jsonl or .json, with singular and plural of each noun. [engram's own]")
    ] = None,
    within: Annotated[int, Option(min=1, help="How many words away a noun may stand.")] = 3,
    shift: Annotated[str, Option(help="What is regressed: log ratio, or symmetric fold (published).")] = "log ratio",
    method: Method,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Which words does a model say less, and which more, without the neurons of a number?

    Niu et al. (2024), figures 3, 10 and 11; with --corpus, whether what moves is what stands beside plural nouns.

    \b
    engram run profile --corpus shipped --out runs/profile
    engram run profile --model gpt2 --words verbs --out runs/verbs
    engram run profile --model bert-base-cased --data data/blimp -r determiner_noun_agreement_2 --plural L9.1094
    """
    from ..experiments import Profile

    known = source.read()
    experiment = Profile(
        words=words, corpus=corpus, nouns=nouns, within=within, shift=shift,  # type: ignore[arg-type]
        **carriers.settings(source, known, method),
    )  # fmt: skip
    places.do(experiment, known, options, as_json=as_json)


def minimal_pairs(
    *,
    source: Pairs,
    carriers: Carriers,
    method: Method,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """How often is the right word of a minimal pair still the likelier one without the neurons of its number?

    Niu et al. (2024), figure 6b: the neurons of its number silent, of both, and as many random ones.

    \b
    engram run minimal_pairs --out runs/pairs
    engram run minimal_pairs --model bert-base-cased --data data/blimp --facts 200 --out runs/blimp
    """
    from ..experiments import MinimalPairs

    known = source.read()
    places.do(MinimalPairs(**carriers.settings(source, known, method)), known, options, as_json=as_json)
