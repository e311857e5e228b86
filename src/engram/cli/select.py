"""`engram select`: neurons from the scores of a run, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from ..errors import BadData
from . import _show
from ._options import Json
from ._show import NUMBER, TEXT

if TYPE_CHECKING:
    from ..facts import Fact
    from ..neurons import NeuronSet

Chosen = list[tuple["Fact", int, "NeuronSet"]]  # a fact, how many prompts it has, its neurons


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("select")(select)


def select(
    run: Annotated[Path, Argument(help="The folder of a run of attribution.")],
    threshold: Annotated[float, Option(help="A neuron counts in a prompt above this part of its largest score.")] = 0.2,
    share: Annotated[str, Option(help="And is kept if it does in more than this share of a fact's prompts.")] = "0.7",
    relation: Annotated[str | None, Option("--relation", "-r", help="Only this relation, by id or name.")] = None,
    as_json: Json = False,
) -> None:
    """Which neurons do the scores of a run name, at this threshold and this share?

    Needs neither the model nor a GPU, only what `engram run attribution` stored. A threshold below the floor of the
    run is refused.

    \b
    engram select runs/gpt2 --threshold 0.3 --share 0.5
    """
    from ..selectors import Shared
    from ..store import open_run

    selector = Shared(threshold=threshold, share=share)
    opened = open_run(run)
    chosen: Chosen = [(fact, len(own), selector.select(own)) for fact, own in opened.by_fact(relation)]
    if not chosen:
        raise BadData(run, None, "holds no score yet" if relation is None else f"holds no score of {relation!r} yet")
    mean = sum(len(neurons) for _, _, neurons in chosen) / len(chosen)
    if as_json:
        facts = [_plain(fact, prompts, neurons) for fact, prompts, neurons in chosen]
        settings = {"threshold": threshold, "share": str(selector.exact_share)}
        _show.document("select", run=str(run), complete=opened.complete, settings=settings, mean=mean, facts=facts)
        return
    whole = "" if opened.complete else " The run is not complete."
    _show.line(f"{len(chosen)} facts, {mean:.2f} neurons per fact.{whole}")
    _show.line()
    rows = [(str(fact), prompts, len(neurons), " ".join(map(str, neurons))) for fact, prompts, neurons in chosen]
    _show.table([("fact", TEXT), ("prompts", NUMBER), ("neurons", NUMBER), ("", TEXT)], rows)


def _plain(fact: Fact, prompts: int, neurons: NeuronSet) -> dict[str, object]:
    return {
        "relation": fact.relation, "subject": fact.subject, "answer": fact.answer, "id": fact.id, "prompts": prompts,
        "neurons": [str(n) for n in neurons],
    }  # fmt: skip
