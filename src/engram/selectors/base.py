"""A selector turns scores into neurons: cheap, and repeatable years after the GPU has gone."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence

from ..errors import BadSetting
from ..facts import Prompt
from ..neurons import NeuronSet
from ..registry import Registry
from ..results import Attribution


class DegenerateScores(UserWarning):
    """Some prompts have no score above 0, or one that is not finite: they name no neuron.

    >>> import numpy as np
    >>> from engram.selectors import Top
    >>> zero = np.zeros(1)
    >>> a = Attribution(Prompt("It is [Y].", "so"), "toy", np.zeros((1, 2)), gap=zero, change=zero, widths=(2,))
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     len(select([a], by=Top(1))), told[0].category.__name__
    (0, 'DegenerateScores')
    """


class Selector(ABC):
    """A rule from scores to neurons: its settings are its fields, the scores are the method's argument.

    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> @dataclass(frozen=True)
    ... class Best(Selector):
    ...     def select(self, scores):
    ...         same_widths(scores)
    ...         return NeuronSet.of(a.best(1)[0][0] for a in scores)
    >>> a = Attribution(Prompt("It is [Y].", "so"), "toy", np.array([[0.1, 0.9], [0.5, 0.0]]),
    ...                 gap=np.zeros(2), change=np.zeros(2), widths=(2, 2))
    >>> print(select([a], by=Best()))
    {L0.1}
    """

    __slots__ = ()

    @abstractmethod
    def select(self, scores: Sequence[Attribution]) -> NeuronSet:
        """The neurons these scores, one Attribution per prompt, name together.

        Raises BadSetting where there are no scores, or scores of different models (`same_widths` does both).
        """


selectors: Registry[Selector] = Registry("selector", "engram.selectors", Selector)
"""The selectors by name; a plug-in registers its own with `@selectors("name")`."""


def select(scores: Sequence[Attribution], *, by: Selector) -> NeuronSet:
    """Which few neurons do these scores, one Attribution per prompt of a fact, name together?

    Raises BadSetting without scores, BelowFloor where `by` needs lower scores than were kept.

    >>> import numpy as np
    >>> from engram.facts import Prompt
    >>> from engram.selectors import Top
    >>> a = Attribution(Prompt("It is [Y].", "so"), "toy", np.array([[0.1, 0.9], [0.5, 0.0]]),
    ...                 gap=np.zeros(2), change=np.zeros(2), widths=(2, 2))
    >>> print(select([a], by=Top(2)))
    {L0.1, L1.0}
    """
    same_widths(scores)
    return by.select(scores)


def same_widths(scores: Sequence[Attribution]) -> tuple[int, ...]:
    """How many neurons each layer has, in all these scores. Raises BadSetting where there are none, or they differ."""
    if not scores:
        raise BadSetting("there are no scores to select from; give at least one prompt's")
    for a in scores:
        if a.widths != scores[0].widths:
            raise BadSetting(
                f"scores of different models cannot be selected from together: {scores[0].prompt.text!r} has layers "
                f"of {_shape(scores[0].widths)} neurons, {a.prompt.text!r} of {_shape(a.widths)}"
            )
    return scores[0].widths


def usable(score: Attribution) -> bool:
    """Is the peak above 0, and every score a number? Otherwise no threshold means anything for this prompt."""
    return 0 < score.peak < math.inf


def degenerate(scores: Sequence[Attribution]) -> list[Prompt]:
    """The prompts whose peak is not above 0, or not finite.

    A share of such a peak would let every zero score pass (the published code then keeps all 36,864 neurons of
    BERT-base). Here these prompts name no neuron, and still count among the prompts.

    >>> import numpy as np
    >>> zero = np.zeros(1)
    >>> a = Attribution(Prompt("It is [Y].", "so"), "toy", np.zeros((1, 2)), gap=zero, change=zero, widths=(2,))
    >>> [prompt.text for prompt in degenerate([a])]
    ['It is [Y].']
    """
    return [a.prompt for a in scores if not usable(a)]


def warn_degenerate(prompts: Sequence[Prompt], of: int) -> None:
    """One DegenerateScores that quotes the first few of these prompts, out of `of`; silent where there are none."""
    if prompts:
        quoted = ", ".join(repr(p.text) for p in prompts[:3]) + (", …" if len(prompts) > 3 else "")
        text = f"{len(prompts)} of {of} prompts have no score above 0, or one that is not finite: they name no neuron"
        warnings.warn(DegenerateScores(f"{text}: {quoted}"), stacklevel=4)  # whoever called select or search_share


def _shape(widths: tuple[int, ...]) -> str:
    return f"{len(widths)} × {widths[0]}" if len(set(widths)) == 1 else str(widths)
