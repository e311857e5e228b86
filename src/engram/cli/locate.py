"""`engram locate`: which neurons does an answer come from?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from ..errors import UnknownName
from . import _located
from ._options import Json, ModelOptions, spread
from ._question import Question
from ._show import progress

if TYPE_CHECKING:
    from ..locators import Locator


@dataclass(frozen=True)
class Method:
    """A locator and its settings; those that are not given keep the method's own default."""

    method: Annotated[
        str, Option(help="integrated_gradients, gradient_times_activation, activation, ablation or a plug-in's.")
    ] = "integrated_gradients"
    steps: Annotated[
        int | None, Option(help="Steps of the integral; with --rule gauss, left out, as many as are needed. [20]")
    ] = None
    rule: Annotated[
        str | None,
        Option(help="right, left, linspace, trapezoid, midpoint, gauss (recommended), radau or lobatto. [right]"),
    ] = None
    grid: Annotated[
        str | None, Option(help="The published sums: literal, or compressed into a few points of theirs. [literal]")
    ] = None
    tolerance: Annotated[
        float | None, Option(help="Error allowed where points are chosen, as part of the largest score. [0.01]")
    ] = None
    target: Annotated[
        str | None, Option(help="probability, logprob, logit, or logit_difference (with --against). [probability]")
    ] = None
    preset: Annotated[
        str | None, Option(help="Published rule and steps, where not given: paper, hunter, eleuther.")
    ] = None
    path: Annotated[str | None, Option(help="joint: a layer's neurons together; neuron: one by one. [joint]")] = None

    def locator(self) -> Locator:
        """Raises UnknownName for a method, or a setting that the method does not have, and BadSetting."""
        from ..locators import locators

        kind = locators[self.method]
        known = {f.name for f in dataclasses.fields(kind)}
        given = {k: v for k, v in dataclasses.asdict(self).items() if k != "method" and v is not None}
        for name in given:
            if name not in known:
                raise UnknownName(f"setting of {self.method}", name, known)
        made: Locator = kind(**given)
        return made


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("locate")(spread(locate))


def locate(
    *,
    question: Question,
    method: Method,
    threshold: Annotated[
        float, Option(help="With --data: a neuron counts in a prompt above this part of its largest score.")
    ] = 0.2,
    share: Annotated[
        str, Option(help="With --data: and is kept if it does in more than this share of prompts.")
    ] = "0.7",
    best: Annotated[int, Option(min=1, help="How many neurons are shown.")] = 10,
    beside: Annotated[
        str | None, Option(help="Another --dtype: is the same found in it? Loads the model once more.")
    ] = None,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Which neurons does the answer come from?

    Scores every neuron for a prompt, and says how far the scores of each layer are from what they must add up to. For
    a fact of a data set, keeps the neurons that score high in most of its templates.

    \b
    engram locate "The capital of Ireland is [Y]." --answer Dublin
    engram locate gpt2 "The capital of Ireland is [Y]" --answer Dublin --method ablation
    engram locate --data shipped --relation capital --subject Ireland --share 0.5
    engram locate --data shipped --relation capital --subject Ireland --rule gauss --dtype bfloat16 --beside float32
    """
    name = question.named()
    from .. import locators, models
    from ..selectors import Shared

    chosen, selector = method.locator(), Shared(threshold=threshold, share=share)
    model = options.load(name)
    prompts: Sequence[Any] = [replace(p, against=question.against) for p in question.prompts(model)]
    answers = models.ask(model, prompts)
    with progress("locating") as bar:
        found = locators.locate(model, prompts, by=chosen, progress=bar)
    votes = selector.votes(found) if question.data else {}
    kept = selector.select(found) if question.data else None
    other = None
    if beside is not None:
        again = replace(options, dtype=beside).load(name)
        with progress(f"locating in {beside}") as bar:
            same = locators.locate(again, prompts, by=chosen, progress=bar)
        other = _located.Beside.of(found, same, selector, beside)
    report = _located.Located(model, tuple(answers), tuple(found), best, selector, votes, kept, other)
    report.document() if as_json else report.lines()
