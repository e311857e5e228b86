"""What did a change do, in a number of one's own? What metrics that are named share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, ClassVar

from ..errors import BadSetting
from ..registry import Registry
from ..results import Answer, Better


class Metric(ABC):
    """What does a change do to one prompt? Subclasses are frozen dataclasses: their fields are their settings.

    `compare` takes the mean over prompts, with an interval over facts. `unit` is that of the number, and `better` says
    whether it should be high or low, if it should.

    >>> from dataclasses import dataclass
    >>> from engram.facts import Prompt
    >>> from engram.metrics import compare
    >>> @dataclass(frozen=True)
    ... class Lost(Metric):
    ...     name, unit = "lost", "nats"
    ...     def of(self, before, after):
    ...         return before.logprob - after.logprob
    >>> before, after = ([Answer(Prompt("It is [Y].", "so"), ("so",), logprob, 1, ())] for logprob in (-1.0, -1.5))
    >>> print(compare(before, after, metrics=[Lost()])["lost"])
    lost: 0.5 nats (n=1)
    """

    __slots__ = ()

    name: ClassVar[str]
    unit: ClassVar[str]
    better: ClassVar[Better] = "neither"

    @abstractmethod
    def of(self, before: Answer, after: Answer) -> float:
        """The number of one prompt. NaN where it has none: such prompts are counted out."""


metrics: Registry[Any] = Registry("metric", "engram.metrics", Metric)
"""The metrics by name; a plug-in registers its own with `@metrics("name")`."""


def chosen(wanted: Iterable[Metric | str]) -> tuple[Metric, ...]:
    """These metrics; those that are named have their own defaults. Raises UnknownName, BadSetting.

    >>> [m.name for m in chosen(["flips"])]
    ['flips']
    """
    found = tuple(metrics[m]() if isinstance(m, str) else m for m in wanted)
    for m in found:
        if not isinstance(m, Metric):
            raise BadSetting(f"a metric is a name or an engram.metrics.Metric, not {type(m).__name__}")
    names = [m.name for m in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadSetting(f"the metric {twice[0]!r} is asked for twice; a report has room for one of that name")
    return found


def settings_of(metric: Metric) -> dict[str, Any]:
    """Its name and its settings, as plain values.

    >>> settings_of(chosen(["flips"])[0])
    {'name': 'flips'}
    """
    return {"name": metric.name, **asdict(metric)}  # type: ignore[call-overload]
