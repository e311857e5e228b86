"""Options of `engram ask`: which numbers of before and after, by the names of metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from ..errors import BadSetting
from . import _show
from ._named import named

if TYPE_CHECKING:
    from ..metrics import Metric
    from ..results import Answer, Score


@dataclass(frozen=True)
class Measuring:
    """Metrics, each by its name and with settings of its own."""

    metric: Annotated[
        list[str] | None,
        Option(help="A number of the change, over all prompts: flips, or a plug-in's. Settings go behind its name."),
    ] = None

    def check(self, *, changed: bool) -> None:
        """Raises UnknownName, BadSetting, before anything takes long."""
        if self.metrics and not changed:
            raise BadSetting(
                "--metric is of before and after: say what is changed, with --suppress, --amplify or --under"
            )

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """Those that were named. Raises UnknownName, BadSetting."""
        from ..metrics import metrics
        from ..metrics.base import chosen

        return chosen(named(metrics, text) for text in self.metric or ())

    def plain(self, pairs: Sequence[tuple[Answer, Answer | None]]) -> list[dict[str, Any]]:
        """Every number, with its unit, n and interval, and the settings of its metric, in plain values."""
        from ..metrics.base import settings_of

        found = self._scores(pairs)
        there = [m for m in self.metrics if m.name in found]
        return [{**dataclasses.asdict(found[m.name]), "settings": settings_of(m)} for m in there]

    def lines(self, pairs: Sequence[tuple[Answer, Answer | None]]) -> None:
        """A line for each metric, behind a blank one; nothing where none was named."""
        if not self.metric:
            return
        found = self._scores(pairs)
        said = {name: str(score).removeprefix(f"{name}: ") for name, score in found.items()}
        _show.line()
        _show.entries((m.name, said.get(m.name, "no prompt has such a number")) for m in self.metrics)

    def _scores(self, pairs: Sequence[tuple[Answer, Answer | None]]) -> dict[str, Score]:
        from ..metrics import compare

        if not self.metric:
            return {}
        report = compare([b for b, _ in pairs], [a for _, a in pairs if a], metrics=self.metrics)
        return {s.name: s for s in report.scores if s.name in {m.name for m in self.metrics}}
