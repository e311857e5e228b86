"""What an edit did, for people and as JSON: what `engram edit` and `engram erase` measure and print alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from typer import Option

from ..errors import BadSetting, UnaskablePrompt
from ..facts import SUBJECT, Fact, Prompt
from . import _show
from ._show import number
from .ask import UNITS, Pair, in_templates, sentence

if TYPE_CHECKING:
    from ..edits import Edit, Patch
    from ..models import Model
    from ..neurons import NeuronSet
    from .locate import Method

AUDIT = ("residual", "residuals", "left", "rounding", "experimental")  # settings that are said to people, if there


@dataclass(frozen=True)
class Kept:
    """Where an edit is kept, and on how many other facts it is tried."""

    out: Annotated[Path | None, Option("--out", "-o", help="Keep the edit in this folder, as a PEFT adapter.")] = None
    unrelated: Annotated[int, Option(min=0, help="On how many other facts (of the shipped set) it is tried.")] = 20

    def check(self) -> None:
        """Raises BadData where nothing could be kept there, before anything takes long."""
        if self.out is not None:
            from ..models.adapters import free_for_an_edit

            free_for_an_edit(self.out)


@dataclass(frozen=True)
class Sharing:
    """Which neurons count as a fact's, where they are to be found."""

    threshold: Annotated[
        float, Option(help="Of neurons: one counts in a prompt above this part of the largest score.")
    ] = 0.2
    share: Annotated[str, Option(help="And is taken if it does in more than this share of prompts.")] = "0.7"

    def neurons(self, model: Model, prompts: Sequence[Prompt], method: Method) -> NeuronSet:
        """Those that the answer comes from, as `engram locate` finds them. Raises BadSetting where there are none."""
        from ..locators import locate
        from ..selectors import Shared

        by, selector = method.locator(), Shared(threshold=self.threshold, share=self.share)
        with _show.progress("locating") as bar:
            found = selector.select(locate(model, prompts, by=by, progress=bar))
        if not found:
            raise BadSetting(
                f"no neuron scores above {self.threshold:g} of the largest in more than {self.share} of the "
                f"{len(prompts)} prompts: lower --share or --threshold, or ask in fewer"
            )
        return found


def about(prompt: Prompt, subject: str | None, answer: str) -> Fact:
    """The fact that a sentence is of: its relation is the sentence with the subject taken out.

    >>> str(about(Prompt("The capital of Ireland is [Y].", "Dublin"), "Ireland", "Dublin"))
    '⟨Ireland, The capital of [X] is [Y]., Dublin⟩'
    """
    if prompt.fact is not None:
        return replace(prompt.fact, answer=answer)
    if subject is None:
        return Fact(prompt.text, "says", answer)
    return Fact(subject, prompt.text.replace(subject, SUBJECT, 1), answer)


def unrelated(model: Model, prompts: Sequence[Prompt], answers: Sequence[str], count: int) -> list[Prompt]:
    """So many facts of the shipped set that these sentences are not about, drawn with seed 0, from each relation alike.

    Left out are the relation of the fact, where it is known, subjects that the sentences name, and these answers.
    """
    from .. import data

    shipped, luck = data.read("shipped"), np.random.default_rng(0)
    texts, relations = [p.text for p in prompts], {p.fact.relation for p in prompts if p.fact is not None}
    free = [r for r in shipped.relations if r.id not in relations]
    drawn: list[list[Prompt]] = []
    for i in luck.permutation(len(free)):
        own = [
            f for f in shipped.facts(free[i].id) if f.answer not in answers and not any(f.subject in t for t in texts)
        ]
        order = luck.permutation(len(own))[: count // len(free) + 1]
        drawn.append([p for k in order if (p := _askable(model, own[k].prompts(free[i]))) is not None])
    rounds = max(map(len, drawn), default=0)
    return [own[i] for i in range(rounds) for own in drawn if i < len(own)][:count]


def _askable(model: Model, prompts: Sequence[Prompt]) -> Prompt | None:
    for prompt in prompts:
        try:
            model.rows(prompt)
        except UnaskablePrompt:
            continue
        return prompt
    return None


@dataclass(frozen=True)
class Beside:
    """What became of `count` facts that the edit was not about: `same` first words, and the mean P before and after."""

    count: int
    same: int
    before: float
    after: float
    interval: tuple[float, float] | None  # of the change of the mean, 95 %, over facts

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Beside:
        """Asked without and with the edit."""
        from ..metrics import absolute
        from ..metrics.intervals import bootstrap

        p = np.array([[x.probability for x in pair if x] for pair in pairs])
        same = sum(b.top[0][0] == a.top[0][0] for b, a in pairs if a)
        around = bootstrap(absolute, (p[:, 0], p[:, 1]), range(len(p)))
        return cls(len(p), same, float(p[:, 0].mean()), float(p[:, 1].mean()), around)

    def __str__(self) -> str:
        around = "" if self.interval is None else " (95 % of the change: {:+.4f} to {:+.4f})".format(*self.interval)
        return (
            f"{self.same} of {self.count} other facts keep their first word; their mean P "
            f"{number(self.before)} → {number(self.after)}{around}"
        )


def tried(model: Model, prompts: Sequence[Prompt], edit: Edit, top: int = 5) -> list[Pair]:
    """Asked without the edit, and with it."""
    from .. import models

    if not prompts:
        return []
    return list(zip(models.ask(model, prompts, top=top), models.ask(model, prompts, under=edit, top=top), strict=True))


def sizes(model: Model, edit: Edit) -> dict[int, float]:
    """‖change‖ / ‖value slots‖ of each layer that changes, as it is stored."""
    from ..models import holding
    from ..models.editing import slots_of

    before = {i: slots_of(model, i).double().clone() for i in edit.layers}
    with holding(edit, model):
        return {i: float((slots_of(model, i).double() - x).norm() / x.norm()) for i, x in before.items()}


@dataclass(frozen=True)
class Edited:
    """An edit that was tried: the pairs of its own sentences (`templates` of the old answer first), and of others."""

    command: str
    model: Model
    edit: Edit
    pairs: list[Pair]
    templates: int
    sizes: Mapping[int, float]
    beside: Beside | None
    out: Path | None
    notes: tuple[tuple[str, str], ...] = ()

    def show(self, as_json: bool) -> None:
        """Print it, for people or as JSON."""
        self._document() if as_json else self._lines()

    def _lines(self) -> None:
        one = self.templates == 1
        sentence(self.pairs, self.model.name) if one else in_templates(self.pairs, self.templates, self.model.name)
        _show.line()
        entries = [("planned", str(self.edit)), *self.notes]
        entries += [(f"layer {i}", f"changed by {x:.2%} of the norm of its value slots") for i, x in self.sizes.items()]
        entries += [(k, _said(self.edit.settings[k])) for k in AUDIT if self.edit.settings.get(k) is not None]
        if self.beside is not None:
            entries.append(("unrelated", str(self.beside)))
        kept = f"{self.out}, a PEFT adapter" if self.out else "nowhere: --out FOLDER keeps it"
        _show.entries([*entries, ("kept", kept)])

    def _document(self) -> None:
        _show.document(
            self.command, model=_show.about(self.model), units={**UNITS, "size": "‖change‖ / ‖value slots‖"},
            edit={
                "method": self.edit.method, "wish": str(self.edit).partition(" of ")[2].rpartition(": ")[0],
                "patches": [_plain(p) for p in self.edit.patches], "settings": self.edit.settings,
                "size": self.sizes,
            },
            notes=dict(self.notes),
            answers=[
                {"prompt": b.prompt.text, "answer": b.prompt.answer, "template": b.prompt.template,
                 "before": _show.answered(b), "after": a and _show.answered(a)} for b, a in self.pairs
            ],
            unrelated=None if self.beside is None else vars_of(self.beside), out=self.out and str(self.out),
        )  # fmt: skip


def vars_of(beside: Beside) -> dict[str, Any]:
    """In plain values."""
    return {
        "facts": beside.count, "same_first_word": beside.same,
        "mean_probability": {"before": beside.before, "after": beside.after, "interval_of_change": beside.interval},
    }  # fmt: skip


def _plain(p: Patch) -> dict[str, Any]:
    from ..edits import LowRank

    return {"layer": p.layer, "rank": p.rank} if isinstance(p, LowRank) else {"layer": p.layer, "neuron": p.index}


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_said(x)}" for k, x in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_said, value))
    return number(value) if isinstance(value, float) else str(value)
