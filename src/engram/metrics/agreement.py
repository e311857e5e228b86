"""Do two attributions name the same neurons? Against ablation, this says which cheap method may be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import BadSetting
from ..results import Attribution, Floats
from .likeness import spearman


@dataclass(frozen=True, slots=True)
class Agreement:
    """How alike are two attributions of one prompt? Made by `agreement`.

    `spearman` over all neurons, None where one side's scores are all equal; `jaccard` of the `top` best neurons.

    >>> import engram as eg
    >>> model, prompt = eg.load(), eg.Prompt("The capital of Ireland is [Y].", "Dublin")
    >>> one, other = (eg.locate(model, prompt, by=by)[0] for by in (eg.GradientTimesActivation(), eg.Activation()))
    >>> agreement(one, one, top=10)
    Agreement(spearman=1.0, jaccard=1.0, top=10)
    >>> agreement(one, other, top=10).spearman < 0.9
    True
    """

    spearman: float | None
    jaccard: float
    top: int


def agreement(a: Attribution, b: Attribution, *, top: int = 20) -> Agreement:
    """How alike do two methods (or two prompts) rank the neurons of a model, and are their best `top` the same?

    Spearman's rank correlation over all neurons, all layers pooled, and the Jaccard index of the best `top`: shared /
    all that either names. Raises BadSetting for different models or scores that are not finite, BelowFloor where only
    high scores were kept.

    >>> from engram.facts import Prompt
    >>> def scored(*scores):
    ...     prompt, nothing = Prompt("It is [Y].", "so"), np.zeros(1)
    ...     return Attribution(prompt, "toy", np.array([scores]), gap=nothing, change=nothing, widths=(len(scores),))
    >>> agreement(scored(0.1, 0.4, 0.2), scored(1.0, 9.0, 3.0), top=2)
    Agreement(spearman=1.0, jaccard=1.0, top=2)
    """
    if a.widths != b.widths:
        shapes = [f"{len(s.widths)} layers of up to {max(s.widths)} neurons" for s in (a, b)]
        raise BadSetting(f"attributions of different models cannot be compared: {shapes[0]}, and {shapes[1]}")
    if top < 1:
        raise BadSetting(f"at least one best neuron is compared, not {top}")
    x, y = _all(a), _all(b)
    best = [{neuron for neuron, _ in s.best(top)} for s in (a, b)]
    jaccard = len(best[0] & best[1]) / len(best[0] | best[1])
    return Agreement(spearman(x, y), jaccard, top)


def _all(a: Attribution) -> Floats:
    scores = a.dense()[np.arange(a.scores.shape[1])[None] < np.asarray(a.widths)[:, None]].astype(float)
    if not np.isfinite(scores).all():
        raise BadSetting(f"some scores by {a.method} for {a.prompt.text!r} are not finite")
    return scores
