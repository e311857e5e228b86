"""`engram ask`: does the model know it, and what becomes of that without some of its neurons, or with an edit?"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer import Option

from ..errors import BadSetting
from ..neurons import NeuronSet
from . import _show
from ._measured import Measuring
from ._options import Json, ModelOptions, spread
from ._question import Question
from ._show import NUMBER, TEXT, WORD, number

if TYPE_CHECKING:
    from ..edits import Edit
    from ..interventions import Intervention
    from ..interventions.base import Place
    from ..results import Answer

UNITS = {"probability": "over the whole vocabulary, 0 to 1", "logprob": "nats", "rank": "1 is the model's first word"}
Pair = tuple["Answer", "Answer | None"]  # without and with the intervention


@dataclass(frozen=True)
class Change:
    """What is done to the model's neurons before it is asked again."""

    suppress: Annotated[str, Option(help='Silence these neurons, such as "L3.1, L4.5".')] = ""
    amplify: Annotated[str, Option(help="Let these neurons speak louder.")] = ""
    by: Annotated[float, Option(help="How many times louder.")] = 2.0
    at: Annotated[str, Option(help="Where neurons are changed: blank or everywhere.")] = "blank"

    @functools.cached_property
    def neurons(self) -> tuple[NeuronSet, NeuronSet]:
        """Those to silence, and those to amplify. Raises BadSetting."""
        silent, loud = NeuronSet.parse(self.suppress), NeuronSet.parse(self.amplify)
        if both := silent & loud:
            raise BadSetting(f"{both} cannot be both suppressed and amplified")
        return silent, loud

    def conditions(self) -> list[Intervention]:
        """None, where no neurons are named."""
        from ..interventions import amplified, suppressed

        (silent, loud), at = self.neurons, cast("Place", self.at)
        conditions: list[Intervention] = [suppressed(silent, at=at)] if silent else []
        return conditions + ([amplified(loud, by=self.by, at=at)] if loud else [])

    def plain(self) -> dict[str, Any]:
        """In plain values."""
        silent, loud = ([str(n) for n in neurons] for neurons in self.neurons)
        return {"suppressed": silent, "amplified": loud, "by": self.by if loud else None, "at": self.at}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ask")(spread(ask))


def ask(
    *,
    question: Question,
    change: Change,
    under: Annotated[
        list[Path] | None, Option(help="A saved edit that is held; several in their order. [model: the edit's own]")
    ] = None,
    measuring: Measuring,
    top: Annotated[int, Option(min=1, help="How many of the model's own words are shown.")] = 5,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """What does the model say, and how likely is the answer?

    Without --answer, the answer in question is the model's own first word. With --suppress, --amplify or --under,
    before and after are shown side by side. A fact of a data set is asked in all its templates.

    \b
    engram ask "The capital of Ireland is [Y]." --answer Dublin
    engram ask gpt2 "The capital of Ireland is [Y]" --answer Dublin --against Cork
    engram ask --data shipped --relation capital --subject Ireland
    engram ask "The capital of Ireland is [Y]." --under edits/cork
    """
    name, _ = question.named(), change.neurons
    measuring.check(changed=bool(under or any(change.neurons)))
    edits = _edits(under or [])
    model = options.load(name or (own_model(edits[0]) if edits and options.model is None else None))
    from .. import models

    held = [*edits, *change.conditions()]
    asked = list(question.prompts(model))
    prompts = asked + ([p.asking_for(question.against) for p in asked] if question.against else [])
    with _show.progress("asking") as bar:
        before = models.ask(model, prompts, top=top, progress=bar)
        after = models.ask(model, prompts, under=held, top=top, progress=bar) if held else [None] * len(prompts)
    pairs: list[Pair] = list(zip(before, after, strict=True))
    if as_json:
        _show.document(
            "ask", model=_show.about(model), settings={"masks": model.masks, "top": top}, units=UNITS,
            intervention=change.plain() if len(held) > len(edits) else None,
            under=[{"folder": str(f), "edit": str(e)} for f, e in zip(under or [], edits, strict=True)],
            answers=[_plain(p) for p in pairs],
            metrics=measuring.plain(pairs[: len(asked)]),
        )  # fmt: skip
        return
    sentence(pairs, model.name) if question.data is None else in_templates(pairs, len(asked), model.name)
    measuring.lines(pairs[: len(asked)])
    if edits:
        _show.line()
        _show.entries((f"under {folder}", str(e)) for folder, e in zip(under or [], edits, strict=True))


def _edits(folders: Sequence[Path]) -> list[Edit]:
    from ..edits import Edit

    return [Edit.load(folder) for folder in folders]


def own_model(edit: Edit) -> str | None:
    """What the model that an edit was planned on is called, or where it lay."""
    shipped = edit.model.startswith("engram:")
    return edit.model if shipped or edit.network is None else edit.network.source


def _plain(pair: Pair) -> dict[str, Any]:
    before, after = pair
    return {
        "prompt": before.prompt.text, "answer": before.prompt.answer, "template": before.prompt.template,
        "before": _show.answered(before), "after": _show.answered(after) if after else None,
    }  # fmt: skip


def sentence(pairs: Sequence[Pair], model: str) -> None:
    """A sentence: the answer (and the wrong one), then the model's own words."""
    first, changed = pairs[0]
    _show.line(first.prompt.text)
    _show.line(f"asked of {model}")
    _show.line()
    columns = [("answer", WORD), ("tokens", TEXT), *_columns(changed is not None)]
    _show.table(columns, [(b.prompt.answer, " ".join(b.tokens), *_numbers(b, a)) for b, a in pairs])
    _show.line()
    if changed is None:
        _show.table([("", NUMBER), ("says", WORD), ("P", NUMBER)], _words(first))
        return
    columns = [("", NUMBER), ("says before", WORD), ("P", NUMBER), ("says after", WORD), ("P", NUMBER)]
    both = zip_longest(_words(first), _words(changed), fillvalue=("", "", ""))
    _show.table(columns, [(b[0] or a[0], *b[1:], *a[1:]) for b, a in both])


def in_templates(pairs: Sequence[Pair], templates: int, model: str) -> None:
    """A fact in its templates, and below them the means."""
    first, changed = pairs[0]
    _show.line(f"{first.prompt.fact} in {templates} templates, asked of {model}")
    _show.line()
    says = [("says", WORD), ("after", WORD)] if changed else [("says", WORD)]
    contrast = [("answer", WORD)] if len(pairs) > templates else []
    rows = [
        (
            b.prompt.text,
            *((b.prompt.answer,) if contrast else ()),
            *_numbers(b, a),
            *(x.top[0][0] or "''" for x in (b, a) if x),
        )
        for b, a in pairs
    ]
    _show.table([("prompt", TEXT), *contrast, *_columns(changed is not None), *says], rows)
    _show.line()
    for name, side in (("before", 0), ("after", 1)) if changed else (("", 0),):
        answers = [x for p in pairs[:templates] if (x := p[side])]
        mean = sum(x.probability for x in answers) / len(answers)
        known = sum(x.knows for x in answers)
        _show.line(f"{name:<8}mean P {number(mean)}, first word in {known} of {len(answers)} templates".strip())


def _columns(changed: bool) -> list[tuple[str, str]]:
    names = ("P", "after", "rank", "after") if changed else ("P", "rank")
    return [(name, NUMBER) for name in names]


def _numbers(before: Answer, after: Answer | None) -> tuple[object, ...]:
    if after is None:
        return number(before.probability), before.rank
    return number(before.probability), number(after.probability), before.rank, after.rank


def _words(answer: Answer) -> Iterable[tuple[object, str, str]]:
    return [(i, word or "''", number(p)) for i, (word, p) in enumerate(answer.top, 1)]
