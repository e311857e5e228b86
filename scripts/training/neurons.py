"""Which neurons carry an answer?

Integrated gradients at the blank, the coarse set of each prompt, and the refining of a fact's coarse sets into its
knowledge neurons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from training import asking
from training.asking import Questions

COARSE = 0.2
START, STEP, FEWEST, MOST = 0.7, 0.05, 2.0, 5.0
NODES = 6
Neurons = frozenset[tuple[int, int]]


def attribute(net: PreTrainedModel, questions: Questions, nodes: int = NODES) -> Tensor:
    """Integrated gradients of P(gold) along each layer's joint path, at the blank: [n, layer, neuron]."""
    alphas, weights = np.polynomial.legendre.leggauss(nodes)
    alpha = torch.tensor((alphas + 1) / 2, dtype=torch.float32).repeat_interleave(len(questions))[:, None]
    weight = torch.tensor(weights / 2, dtype=torch.float32)
    natural = asking.activations(net, questions)
    many = questions.repeated(nodes)
    scores = torch.zeros_like(natural)
    for layer in range(natural.shape[1]):
        path = (alpha * natural[:, layer].repeat(nodes, 1)).requires_grad_()
        table = asking.probabilities(
            net, many, lambda at, values, path=path, here=layer: path if at == here else values
        )
        gain = table.gather(1, many.gold[:, None]).sum()
        (slope,) = torch.autograd.grad(gain, path)
        mean = (weight[:, None, None] * slope.view(nodes, len(questions), -1)).sum(0)
        scores[:, layer] = natural[:, layer] * mean
    return scores


def coarse(net: PreTrainedModel, questions: Questions, size: int = 64) -> list[list[tuple[int, int]]]:
    """The neurons of each question with at least ``COARSE`` of its highest score."""
    sets: list[list[tuple[int, int]]] = [[] for _ in range(len(questions))]
    for rows in questions.mask.sum(1).argsort().split(size):
        scores = attribute(net, questions[rows])
        peak = scores.flatten(1).max(1).values
        for place, row, top in zip(rows.tolist(), scores, peak, strict=True):
            if top > 0:
                sets[place] = [(int(layer), int(index)) for layer, index in (row >= COARSE * top).nonzero()]
    return sets


def refine(sets: Sequence[Sequence[Sequence[tuple[int, int]]]]) -> tuple[list[Neurons], float]:
    """Neurons of each fact in more than a share of its prompts; the share is searched for the whole relation.

    ``sets`` is [fact][prompt] -> coarse neurons. The share starts at 0.7 and moves by 0.05 until the facts have 2 to 5
    neurons on average; where it would go back and forth, the last one stands.
    """
    counts = [Counter(neuron for prompt in fact for neuron in prompt) for fact in sets]
    fifth, tried = round(START / STEP), set()
    while True:
        tried.add(fifth)
        share = fifth * STEP
        refined = [
            frozenset(n for n, c in count.items() if c > share * len(fact) + 1e-9)
            for count, fact in zip(counts, sets, strict=True)
        ]
        mean = float(np.mean([len(r) for r in refined])) if refined else 0.0
        move = -1 if mean < FEWEST else 1 if mean > MOST else 0
        if move == 0 or fifth + move in tried or not 0 <= fifth + move < round(1 / STEP):
            return refined, share
        fifth += move


def scaled(sets: Sequence[Neurons], shape: tuple[int, int], by: float) -> Callable[[slice], asking.Change]:
    """The change that multiplies each question's own neurons."""

    def change(rows: slice) -> asking.Change:
        factor = torch.ones(len(sets[rows]), *shape)
        for i, neurons in enumerate(sets[rows]):
            for layer, index in neurons:
                factor[i, layer, index] = by
        return lambda layer, values: values * factor[:, layer]

    return change
