"""`engram trace`: where in the network does an answer come back?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from ..errors import BadData, BadSetting, UnknownName
from . import _show, _traced
from ._options import Json, ModelOptions, spread
from ._question import Question

if TYPE_CHECKING:
    from ..facts import Prompt
    from ..models import Model
    from ..tracers import Tracer
    from ..traces import Trace

ENDINGS = (".svg", ".png")


@dataclass(frozen=True)
class Subjected(Question):
    """A sentence with its answer and the words to corrupt, or a data set with a relation and a subject."""

    subject: Annotated[
        str | None, Option("--subject", "-s", help="The words to corrupt, as they stand in the prompt; with --data: "
                                                   "whom the fact is about.")
    ] = None  # fmt: skip
    template: Annotated[int | None, Option(help="With --data: ask in this template alone, by its number.")] = None

    def named(self) -> str | None:
        """The model among the words, if one is. Raises what can be said against the question without a model."""
        if self.data is not None:
            return super().named()
        if self.template is not None:
            raise BadSetting("--template is the number of a data set's; name the set with --data")
        name = Question(self.words, self.answer, self.against, relation=self.relation).named()
        if self.subject is None:
            raise BadSetting("which words of the prompt are to be corrupted? Name them with --subject")
        return name

    def prompts(self, model: Model) -> tuple[Prompt, ...]:
        """What this model is asked; of several templates the one named. Raises as `Question.prompts`."""
        found = super().prompts(model)
        if self.template is not None:
            there = [p.template for p in found]
            found = tuple(p for p in found if p.template == self.template)
            if not found:
                raise BadSetting(f"{model.name} can be asked {self.relation} in the templates {there}, not in "
                                 f"{self.template}")  # fmt: skip
        return tuple(replace(p, against=self.against) for p in found)


@dataclass(frozen=True)
class Method:
    """A tracer and its settings; those that are not given keep the method's own default."""

    method: Annotated[
        str, Option(help="causal_tracing (exact), attribution_patching (first order) or a plug-in's.")
    ] = "causal_tracing"
    kind: Annotated[
        list[str] | None, Option(help="What is restored: block, ffn, attention or all; may be given twice. [block]")
    ] = None
    window: Annotated[
        int | None, Option(help="Layers restored together, of ffn and attention. [10, but at most a quarter]")
    ] = None
    samples: Annotated[int | None, Option(help="How often the subject is corrupted. [10]")] = None
    noise: Annotated[
        str | None,
        Option(help="0.1 (absolute), 3s (of the embeddings' spread), uniform:3s, covariance:3, student:5, zero, mean, "
                    "resample or replace:Italy. [3s]"),
    ] = None  # fmt: skip
    rng: Annotated[str | None, Option(help="numpy, or rome: the draws of the published code. [numpy]")] = None
    seed: Annotated[int | None, Option(help="Of the noise. [0; with --rng rome 1]")] = None
    metric: Annotated[
        str | None, Option(help="probability, logprob, logit_difference (with --against) or rank. [probability]")
    ] = None
    answers: Annotated[
        str | None, Option(help="gold: the answer given; argmax: what the model says first. [gold]")
    ] = None  # fmt: skip
    severed: Annotated[
        str | None, Option(help="ffn or attention: kept as corrupted above the restored block.")
    ] = None  # fmt: skip

    def tracers(self) -> list[Tracer]:
        """One for each kind. Raises UnknownName for a method, or a setting that it does not have, and BadSetting."""
        from ..tracers import tracers
        from ..traces import KINDS

        method = tracers[self.method]
        known = {f.name for f in dataclasses.fields(method)}
        given = {k: v for k, v in vars(self).items() if k not in ("method", "kind") and v is not None}
        for name in given:
            if name not in known:
                raise UnknownName(f"setting of {self.method}", name, known)
        if self.noise is not None:
            given["noise"] = _noise(self.noise)
        kinds = list(dict.fromkeys(k for name in self.kind or ["block"] for k in (KINDS if name == "all" else [name])))
        made = []
        for kind in kinds:
            own = {k: v for k, v in given.items() if not (k == "window" and kind == "block" and len(kinds) > 1)}
            made.append(method(kind=kind, **own))
        return made


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("trace")(spread(trace))


def trace(
    *,
    question: Subjected,
    method: Method,
    out: Annotated[Path | None, Option("--out", "-o", help="Draw the heat map into this file, .svg or .png.")] = None,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Where in the network does the answer come back?

    Corrupts the subject, and gives one token in one layer (or a few layers) at a time what it was in the clean run:
    how much of the answer does that bring back? A fact of a data set is traced in each of its templates.

    \b
    engram trace engram:causal "The capital of Ireland is [Y]" --subject Ireland --answer Dublin
    engram trace gpt2 "The capital of Ireland is [Y]" -s Ireland -a Dublin --kind all --out ireland.svg
    engram trace --data shipped --relation capital --subject Ireland --noise replace:Italy
    """
    name = question.named()
    _drawable(out, question)
    by = method.tracers()
    model = options.load(name)
    prompts = question.prompts(model)
    subject = question.subject if question.data is None else None
    with _show.progress("tracing") as bar:
        found = list(_traces(model, prompts, subject, by, bar))
    if out is not None:
        _draw(found, out)
    report = _traced.Traced(model, tuple(found), len(by), out)
    report.document() if as_json else report.lines()


def _traces(
    model: Model, prompts: Sequence[Prompt], subject: str | None, by: Sequence[Tracer], bar: Any
) -> Iterator[Trace]:
    from ..tracers.base import trace_each
    from ..tracers.noise import Spread

    spread = Spread(model, by[0].spread_of)
    for prompt in prompts:
        yield from trace_each(model, prompt, subject, by, spread=spread, progress=bar)


def _noise(spec: str) -> float | str:
    try:
        return float(spec)
    except ValueError:
        return spec


def _drawable(out: Path | None, question: Subjected) -> None:
    """Raises BadSetting, before anything takes long."""
    if out is None:
        return
    if out.suffix not in ENDINGS:
        raise BadSetting(f"a picture is written as .svg or .png, not as {out.name!r}")
    if not out.parent.is_dir():
        raise BadSetting(f"--out {out}: there is no folder {str(out.parent)!r}")
    if question.data is not None and question.template is None:
        raise BadSetting("--out draws one prompt; with --data, say in which --template")


def _draw(found: Sequence[Trace], out: Path) -> None:
    from ..report import save
    from ..report.traces import heat_maps

    try:
        save(heat_maps(found), out)
    except OSError as error:
        raise BadData(out, None, f"cannot be written to ({error.strerror})") from error
