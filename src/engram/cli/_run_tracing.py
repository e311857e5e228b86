"""`engram run tracing` and `engram run agreement`: causal tracing over a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from ..errors import BadSetting
from ._drawn import Drawing, Source
from ._options import Json, ModelOptions
from ._running import Places

if TYPE_CHECKING:
    from ..tracers import CausalTracing, Tracer

REPLACE = "replace"

Known = Annotated[bool, Option("--known-only/--all", help="Only prompts that the model answers first, or all.")]


@dataclass(frozen=True)
class Corruption:
    """How subjects are corrupted, and in what the answer is measured; what is not given is as the tracer has it."""

    samples: Annotated[int | None, Option(min=1, help="How often each subject is corrupted. [10]")] = None
    noise: Annotated[
        str | None,
        Option(help="0.1 (absolute), 3s (of the embeddings' spread), uniform:3s, covariance:3, student:5, zero, mean, "
                    "resample; tracing also replace (another subject of the relation). [3s]"),
    ] = None  # fmt: skip
    rng: Annotated[str | None, Option(help="numpy, or rome: the draws of the published code. [numpy]")] = None
    noise_seed: Annotated[int | None, Option(min=0, help="Of the noise. [0; with --rng rome 1]")] = None
    metric: Annotated[
        str | None,
        Option(help="probability, logprob, logit_difference (facts with a wrong answer), rank. [probability]"),
    ] = None
    answers: Annotated[
        str | None, Option(help="gold: the fact's answer; argmax: what the model says first. [gold]")
    ] = None

    def settings(self) -> dict[str, Any]:
        """Those of `Corrupting` that were given, but for a replacement, which is no noise."""
        given = {**vars(self), "seed": self.noise_seed, "noise": None if self.replaced else _number(self.noise)}
        return {k: v for k, v in given.items() if k != "noise_seed" and v is not None}

    @property
    def replaced(self) -> bool:
        """Is another fact's subject put there?"""
        return self.noise == REPLACE


def tracing(
    *,
    source: Source,
    drawing: Drawing,
    method: Annotated[str, Option(help="causal_tracing (exact), attribution_patching (first order).")] = (
        "causal_tracing"
    ),
    kind: Annotated[
        list[str] | None, Option(help="What is restored: block, ffn, attention or all; may be given again. [all]")
    ] = None,
    window: Annotated[
        int | None, Option(min=1, help="Layers restored together, of ffn and attention. [10, but at most a quarter]")
    ] = None,
    severed: Annotated[
        bool, Option("--severed/--no-severed", help="Blocks also with the FFNs, and the attention, above them severed.")
    ] = False,
    corruption: Corruption,
    prompts: Annotated[str, Option(help="Of each fact the first so many prompts that can be asked, or all.")] = "1",
    known_only: Known = True,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Where do facts come back, when their subjects are corrupted and one site at a time is restored?

    Meng et al. (2022), figures 3 and 7: the average effect at each category of tokens, by layer, of blocks, FFNs and
    attention. Any data set will do, and known_1000 and BLiMP, whose facts have sentences of their own.

    \b
    engram run tracing --facts 5 --severed --out runs/tracing
    engram run tracing --model gpt2 --data data/known_1000 --sample 100 --out runs/known
    engram run tracing --model gpt2 --data data/blimp --metric logit_difference --all --facts 20
    """
    from ..experiments import Tracing

    known = source.read()
    experiment = Tracing(
        _tracers(method, kind, window, corruption), severed=severed, prompts=_prompts(prompts), known_only=known_only,
        replace=corruption.replaced, **drawing.drawn(source, known),
    )  # fmt: skip
    places.do(experiment, known, options, as_json=as_json)


def agreement(
    *,
    source: Source,
    drawing: Drawing,
    window: Annotated[int, Option(min=1, help="Layers whose FFNs are restored together.")] = 1,
    corruption: Corruption,
    known_only: Known = True,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Do knowledge neurons and causal tracing point to the same layers and neurons?

    Integrated gradients, gradient × activation, activation, each neuron silenced alone, each restored alone, and
    tracing of FFNs and blocks, of the same prompts: rank correlations of every two, fact by fact.

    \b
    engram run agreement --facts 2 --out runs/agreement
    engram run agreement --model gpt2 --data data/known_1000 --sample 20 --out runs/agreement
    """
    from ..experiments import Agreement
    from ..locators import IntegratedGradients

    if corruption.replaced:
        raise BadSetting("agreement corrupts by noise; --noise replace is for tracing")
    known = source.read()
    by = _tracing("ffn", window, corruption)
    locator = IntegratedGradients(rule="gauss", target=by.metric)
    experiment = Agreement(locator, by, known_only=known_only, **drawing.drawn(source, known))
    places.do(experiment, known, options, as_json=as_json)


def _tracers(method: str, kinds: list[str] | None, window: int | None, corruption: Corruption) -> tuple[Tracer, ...]:
    """One for each kind. Raises UnknownName, BadSetting."""
    from ..tracers import tracers
    from ..traces import KINDS

    named = list(dict.fromkeys(k for name in kinds or ["all"] for k in (KINDS if name == "all" else (name,))))
    made = []
    for kind in named:
        own = {"window": window} if window is not None and (kind != "block" or named == ["block"]) else {}
        made.append(tracers[method](kind=kind, **own, **corruption.settings()))
    return tuple(made)


def _tracing(kind: Any, window: int, corruption: Corruption) -> CausalTracing:
    from ..tracers import CausalTracing

    return CausalTracing(kind=kind, window=window, **corruption.settings())


def _prompts(given: str) -> int | None:
    if given == "all":
        return None
    if not given.isdecimal():
        raise BadSetting(f"--prompts is a number, or all, not {given!r}")
    return int(given)


def _number(noise: str | None) -> float | str | None:
    try:
        return None if noise is None else float(noise)
    except ValueError:
        return noise
