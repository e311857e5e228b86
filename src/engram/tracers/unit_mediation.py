"""Causal mediation of single neurons (Vig et al. 2020): which of them bring the answer back, at one site?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import BadSetting, UnknownName
from ..facts import Prompt
from ..models import Model, detours, holding, hooks
from ..models.batching import Progress
from ..models.patching import Cell
from ..results import Floats
from ..traces import Control, Mediation
from .attribution_patching import chained, changes, smooth
from .base import Asked, Corrupting, corrupted, settings_of
from .metrics import metric_of
from .noise import Spread

PLACES = ("last subject", "last")


@dataclass(frozen=True, slots=True)
class UnitMediation(Corrupting):
    """How much of the answer does each neuron of `layer` bring back at `token`, alone?

    `token` is "last subject", "last" (what answers: the mask of a masked model) or a number. `exact` restores every
    neuron by itself, in one batch; `first_order` estimates the same by its change times the gradient. The neurons with
    the `best` so many effects are restored together too, beside `draws` random sets of as many of the same layer.
    Other settings as in `Corrupting`. Raises BadSetting, UnknownName.

    >>> UnitMediation(layer=2, token="last").metric
    'probability'
    """

    name: ClassVar[str] = "unit_mediation"
    layer: int | None = None
    token: str | int = "last subject"
    exact: bool = True
    first_order: bool = True
    best: tuple[int, ...] = (1, 2, 5, 10)
    draws: int = 20

    def __post_init__(self) -> None:
        Corrupting.__post_init__(self)
        if isinstance(self.token, str) and self.token not in PLACES:
            raise UnknownName("token", self.token, PLACES)
        if not (self.exact or self.first_order):
            raise BadSetting("neither exact nor first_order effects were asked for: ask for one")
        if self.layer is None:
            raise BadSetting("name the layer whose neurons are restored: UnitMediation(layer=…)")
        if self.layer < 0 or self.draws < 0 or any(k < 1 for k in self.best):
            raise BadSetting(
                f"layer and draws are not negative, best is from 1 up: {self.layer}, {self.draws}, {self.best}"
            )
        if self.first_order:
            smooth(self.metric)

    @property
    def where(self) -> int:
        """The layer whose neurons are restored."""
        return int(self.layer or 0)


def mediate(
    model: Model,
    prompt: Prompt,
    *,
    subject: str | None = None,
    by: UnitMediation,
    under: object = None,
    spread: Spread | None = None,
    progress: Progress | None = None,
) -> Mediation:
    """Which neurons of one site bring the answer back? Their indirect effects, exact and of first order.

    Vig et al. (2020), with the corruption of Meng et al. (2022). Leaves the model as it was. Raises BadSetting for a
    site that the model does not have, and what `trace` raises.

    >>> import engram as eg
    >>> prompt = eg.Prompt("The capital of Ireland is [Y]", "Dublin")
    >>> found = eg.mediate(eg.load("engram:causal"), prompt, subject="Ireland", by=eg.UnitMediation(layer=0, samples=3))
    >>> ten = found.controls[-1]
    >>> found.effect.shape, ten.k, bool(ten.effect > max(ten.chance))
    ((256,), 10, True)
    """
    if by.where >= len(model.layers):
        raise BadSetting(f"{model.name} has no layer {by.where}: it has layers 0 to {len(model.layers) - 1}")
    with hooks.quiet(model.net), detours.fused(model.net), holding(under, model):
        asked = corrupted(model, prompt, subject, by, spread or Spread(model, by.spread_of))
        asked.progress = progress
        return _mediated(by, asked)


def _mediated(by: UnitMediation, asked: Asked) -> Mediation:
    token, width = _token(by, asked), asked.model.widths[by.where]
    clean, low = asked.said(metric_of(by.metric))
    first = _first_order(by, asked, token, low) if by.first_order else None
    single = [(j,) for j in range(width)] if by.exact else []
    every = _together(by, asked, token, [tuple(range(width)), *single], low)
    effect, spread = None, None
    if by.exact:
        effect = every[1:].mean(-1)
        spread = every[1:].std(-1, ddof=1) if len(low) > 1 else np.full(width, np.nan)
    scores = effect if effect is not None else first
    controls = _controls(by, asked, token, np.asarray(scores), low)
    model = asked.model
    return Mediation(
        asked.prompt, by.name, tuple(model.tokenizer.convert_ids_to_tokens(list(asked.rows[0].ids))),
        (asked.span.first, asked.span.end), token, by.where, asked.answer, by.metric, effect, spread, first,
        float(every[0].mean()), controls, clean, float(low.mean()), len(low), by.luck, settings_of(by, model),
        tuple(asked.notes),
    )  # fmt: skip


def _token(by: UnitMediation, asked: Asked) -> int:
    if by.token == "last subject":
        return asked.span.end - 1
    if by.token == "last":
        return asked.rows[0].at
    if not 0 <= int(by.token) < asked.tokens:
        raise BadSetting(f"the prompt has tokens 0 to {asked.tokens - 1}, not {by.token}")
    return int(by.token)


def _together(by: UnitMediation, asked: Asked, token: int, sets: Sequence[tuple[int, ...]], low: Floats) -> Floats:
    """What restoring each set of neurons together brings back, [set, sample]."""
    if asked.nothing:
        return np.zeros((len(sets), len(low)))
    cells = [Cell(token, {by.where: (("ffn", units),)}) for units in sets]
    return np.asarray(asked.patched(metric_of(by.metric), cells) - low)


def _first_order(by: UnitMediation, asked: Asked, token: int, low: Floats) -> Floats:
    """The neurons' change from corrupted to clean times the gradient there, mean over samples. [neuron]"""
    parts = [changes(asked, i, "neurons", by.metric)[by.where][:, token].cpu().numpy() for i in range(len(asked.runs))]
    return np.asarray(chained(by.metric, parts, low).mean(0))


def _controls(by: UnitMediation, asked: Asked, token: int, scores: Floats, low: Floats) -> tuple[Control, ...]:
    """The best so many together, and as many random ones of the same layer."""
    order, luck = np.argsort(-scores, kind="stable"), np.random.default_rng(by.luck)
    sizes = [k for k in by.best if k <= len(scores)]
    sets = []
    for k in sizes:
        sets += [order[:k], *(luck.choice(len(scores), k, replace=False) for _ in range(by.draws))]
    found = _together(by, asked, token, [tuple(sorted(x.tolist())) for x in sets], low).mean(-1)
    each = found.reshape(len(sizes), 1 + by.draws)
    return tuple(Control(k, float(own[0]), own[1:]) for k, own in zip(sizes, each, strict=True))
