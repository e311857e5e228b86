"""A family says where, in one architecture of Hugging Face, the named places are."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import warnings
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, Literal

from ..errors import BrokenPlugin, UnknownName, UnsupportedModel
from ..registry import broken, entries, told
from ..registry import load as load_plugin

GROUP = "engram.families"  # of plug-ins' entry points

Asks = Literal["mask", "next", "sentinel", "infill"]
Side = Literal["input", "output"]

ASKS: dict[str, str] = {
    "mask": "fills masks in the sentence",
    "next": "continues the text",
    "sentinel": "an encoder reads the sentence with a sentinel, a decoder says what belongs there",
    "infill": "an encoder reads the sentence with one mask, a decoder writes the sentence again",
}


EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")


@dataclass(frozen=True, slots=True)
class Stack:
    """One column of blocks, bottom to top.

    `blocks` is the path of the ModuleList in the network; `ffn_down` the path, inside a block, of the FFN's second
    linear map, whose *input* are the neurons; `attention` the paths, inside a block, of its attention modules in the
    order they run (everything else in a block works on each position by itself): without them, the network is run
    whole where its blocks could be run from recorded states. `attended` is the path of the module that gives out what
    attention adds to the hidden states, where the attention module itself gives out more (in BERT, the sum behind the
    normalisation). `side` says which tokens run through the stack: those of
    the input, or those of the output (decoders of two-stack models). `per_block` names modules applied in turn
    inside one entry of `blocks` (ALBERT's groups); then a block is such a module. `repeats` says that the entries are
    shared: they are applied again and again until `num_hidden_layers` layers are done, and every application is a
    layer of its own.

    >>> Stack("transformer.h", "mlp.c_proj", ("attn",)).attention
    ('attn',)
    """

    blocks: str
    ffn_down: str
    attention: tuple[str, ...] = ()
    attended: str = ""
    side: Side = "input"
    per_block: str = ""
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture as a table of places. One file of `engram/models/families` holds one family.

    `model_types` are values of `config.model_type`; `head` is the path of the first module behind the stack that
    works on each position by itself: from there on, only the asked positions are computed (of several paths, the
    first that a network has). `reserved_positions` says how many rows of the position table a text cannot use.

    >>> mine = Family("mine", ("mine",), "next", (Stack("model.layers", "mlp.down_proj", ("self_attn",)),), "lm_head")
    >>> mine.stacks[0].side
    'input'
    """

    name: str
    model_types: tuple[str, ...]
    asks: Asks
    stacks: tuple[Stack, ...]
    head: str | tuple[str, ...]
    reserved_positions: int = 0
    note: str = ""


def family_of(config: Any) -> Family:
    """The family that serves a configuration. Raises UnsupportedModel, with the reason where it is known."""
    kind = str(getattr(config, "model_type", "") or "")
    known, errors = read()
    if family := known.get(kind):
        return family
    if experts := _experts(config):
        raise UnsupportedModel(
            f"model_type {kind!r} is a mixture of experts ({experts}): its experts are kept fused, and a token passes "
            "a few of them, so there is no second linear map per FFN whose inputs could be read or changed. "
            "Use a dense model."
        )
    hint = f"A new family is one file: see docs/how-to/add-a-family.md. {told(errors)}"
    raise UnsupportedModel(str(UnknownName("family for model_type", kind, known, hint.rstrip())))


def _experts(config: Any) -> str:
    """How a configuration says that it is a mixture of experts, e.g. `num_local_experts=8`; empty if it is none."""
    parts = [config, getattr(config, "text_config", None), getattr(config, "ffn_config", None)]
    for part in parts:
        for key in EXPERTS:
            if count := getattr(part, key, None):
                return f"{key}={count}"
    return ""


def families() -> dict[str, Family]:
    """Every family by each model_type that it serves: those in `engram/models/families`, and plug-ins'.

    Warns of plug-ins that are broken.

    >>> families()["gpt2"].stacks[0].ffn_down
    'mlp.c_proj'
    """
    found, errors = read()
    for error in errors:
        warnings.warn(str(error), stacklevel=2)
    return found


@functools.cache
def read() -> tuple[dict[str, Family], tuple[BrokenPlugin, ...]]:
    """Every family by each model_type that it serves, and why which plug-ins bring none. Done once.

    >>> read()[1]
    ()
    """
    package = importlib.import_module(".families", __package__)
    found: dict[str, Family] = {}
    for file in pkgutil.iter_modules(package.__path__):
        found |= _served(importlib.import_module(f"{package.__name__}.{file.name}").FAMILY, found)
    errors: list[BrokenPlugin] = []
    for entry in entries(GROUP):
        try:
            found |= _brought(entry, found)
        except BrokenPlugin as error:
            errors.append(error)
    return found, tuple(errors)


def _brought(entry: EntryPoint, found: dict[str, Family]) -> dict[str, Family]:
    """The family of a plug-in by each model_type that it serves. Raises BrokenPlugin."""
    family = getattr(load_plugin(entry), "FAMILY", None)
    if not isinstance(family, Family):
        raise broken(entry, "its module has no table FAMILY, an engram.models.family.Family")
    if family.name != entry.name:
        raise broken(entry, f"its table FAMILY is called {family.name!r}")
    try:
        return _served(family, found)
    except ValueError as error:
        raise broken(entry, str(error)) from error


def _served(family: Family, found: dict[str, Family]) -> dict[str, Family]:
    """This family by each model_type that it serves. Raises ValueError where another one does."""
    for kind in family.model_types:
        if kind in found:
            raise ValueError(f"{kind} is already served by the family {found[kind].name}")
    return dict.fromkeys(family.model_types, family)


def table() -> str:
    """The page `docs/families.md`: every family and its places, as the tables have them."""
    rows = [
        "# Families",
        "",
        "Generated from `engram/models/families` by `engram.models.family.table()`; a test holds it up to date.",
        "A neuron is one input of the map in the column *neurons are the inputs of*; `{i}` is the number of the block.",
        "",
        "| family | `model_type` | is asked | neurons are the inputs of | head | note |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for family in sorted({f.name: f for f in families().values()}.values(), key=lambda f: f.name):
        kinds = ", ".join(f"`{kind}`" for kind in family.model_types)
        places = "<br>".join(
            f"`{s.blocks}.{{i}}{'.' + s.per_block + '.{j}' if s.per_block else ''}.{s.ffn_down}`" for s in family.stacks
        )
        heads = (family.head,) if isinstance(family.head, str) else family.head
        head = " or ".join(f"`{h}`" for h in heads)
        rows.append(f"| {family.name} | {kinds} | {family.asks} | {places} | {head} | {family.note} |")
    return "\n".join([*rows, "", "How a model is asked:", "", *(f"* {k}: {v}" for k, v in ASKS.items()), ""])
