"""`engram run determiners` and `engram run localisation`: where syntax is, and how localised beside facts."""

from __future__ import annotations

from typing import Annotated, Any

from typer import Option

from ..errors import BadSetting
from ._drawn import Drawing, Pairs, Source
from ._options import Json, ModelOptions
from ._running import Places
from .locate import Method

ALL, NONE = "all", "none"


def determiners(
    *,
    source: Pairs,
    drawing: Drawing,
    asked: Annotated[
        str, Option(help="determiner, before its noun; noun, behind its determiner: for causal models.")
    ] = "determiner",
    templates: Annotated[
        str, Option(help="So many sentences for each pair of a determiner and a noun, drawn by --seed; or all.")
    ] = "20",
    like: Annotated[
        str | None, Option(help="engram: the integral itself; niu: the sum and the search of the code. [engram]")
    ] = None,
    method: Method,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Which neurons tell the number of determiners, whatever the noun?

    Niu et al. (2024), table 4 and figure 2: the neurons of every pair of a determiner and a noun, and in which part of
    each determiner's pairs a neuron is among them. What is drawn are pairs.

    \b
    engram run determiners --out runs/determiners
    engram run determiners --model engram:causal --asked noun --templates 10
    engram run determiners --model bert-base-cased --data data/blimp --templates all --out runs/determiners
    """
    from ..experiments import Determiners

    known = source.read()
    named = source.relations(known) or ()
    if len(named) > 1:
        raise BadSetting(f"determiners are asked in one paradigm, not in {len(named)}")
    chosen: dict[str, Any] = {**drawing.drawn(source, known), "relations": None, "preset": like}
    if method != Method():
        chosen["locator"] = method.locator()
    experiment = Determiners(asked, _count("templates", templates), paradigm=next(iter(named), None), **chosen)
    places.do(experiment, known, options, as_json=as_json)


def localisation(
    *,
    source: Source,
    drawing: Drawing,
    syntax: Annotated[
        str, Option(help="Minimal pairs to stand beside the facts: pairs (shipped), the folder of BLiMP; or none.")
    ] = "pairs",
    sentences: Annotated[int, Option(min=2, help="How many sentences make a set of minimal pairs.")] = 10,
    prompts: Annotated[str, Option(help="Of each fact or set the first so many that can be asked, or all.")] = "all",
    method: Method,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Is syntax as localised as facts are?

    Niu et al. (2024), tables 8 and 9: how many neurons a fact or an agreement has, at which share of its prompts there
    are two to five, and how alike the scores of its prompts are. --facts and --sample draw sets as well as facts.

    \b
    engram run localisation --facts 5 --out runs/localisation
    engram run localisation --model gpt2 --data pararel --syntax data/blimp --facts 20 --out runs/localisation
    """
    from .. import data
    from ..experiments import Localisation
    from ..locators import IntegratedGradients

    known, drawn = source.read(), drawing.seed
    if relations := source.relations(known):
        known = known.only(relations)
    sets = None if syntax == NONE else data.sentence_sets(data.read(syntax), prompts=sentences, seed=drawn)
    both = known if sets is None else data.together(known, sets)
    chosen = {**drawing.drawn(source, known), "relations": None}
    locator = method.locator() if method != Method() else IntegratedGradients(rule="gauss")
    paradigms = tuple(r.id for r in sets.relations) if sets is not None else ()
    experiment = Localisation(locator, prompts=_count("prompts", prompts), syntax=paradigms, **chosen)
    places.do(experiment, both, options, as_json=as_json)


def _count(name: str, given: str) -> int | None:
    if given == ALL:
        return None
    if not given.isdecimal():
        raise BadSetting(f"--{name} is a number, or all, not {given!r}")
    return int(given)
