"""`engram select`: neurons from the scores of a run, without a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer import Argument, Option

from ..errors import BadData, BadSetting
from . import _named, _show
from ._options import Json
from ._show import NUMBER, TEXT

if TYPE_CHECKING:
    from ..facts import Fact
    from ..neurons import NeuronSet
    from ..selectors import Selector

THRESHOLD, SHARE = 0.2, "0.7"  # the paper's
Chosen = list[tuple["Fact", int, "NeuronSet"]]  # a fact, how many prompts it has, its neurons


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("select")(select)


def select(
    run: Annotated[Path, Argument(help="The folder of a run of attribution.")],
    threshold: Annotated[
        float, Option(help="A neuron counts in a prompt above this part of its largest score.")
    ] = THRESHOLD,
    share: Annotated[str, Option(help="And is kept if it does in more than this share of a fact's prompts.")] = SHARE,
    by: Annotated[str, Option(help="A selector: shared (--threshold and --share), or a plug-in's.")] = "shared",
    set_: Annotated[
        list[str] | None, Option("--set", help="A setting of that selector, name=value; may be given again.")
    ] = None,
    relation: Annotated[str | None, Option("--relation", "-r", help="Only this relation, by id or name.")] = None,
    as_json: Json = False,
) -> None:
    """Which neurons do the scores of a run name, at this threshold and this share, or by another selector?

    Needs neither the model nor a GPU, only what `engram run attribution` stored. A threshold below the floor of the
    run is refused.

    \b
    engram select runs/gpt2 --threshold 0.3 --share 0.5
    """
    from ..store import open_run

    selector, settings = _selector(by, threshold, share, set_ or ())
    opened = open_run(run)
    chosen: Chosen = [(fact, len(own), selector.select(own)) for fact, own in opened.by_fact(relation)]
    if not chosen:
        raise BadData(run, None, "holds no score yet" if relation is None else f"holds no score of {relation!r} yet")
    mean = sum(len(neurons) for _, _, neurons in chosen) / len(chosen)
    if as_json:
        facts = [_plain(fact, prompts, neurons) for fact, prompts, neurons in chosen]
        _show.document("select", run=str(run), complete=opened.complete, settings=settings, mean=mean, facts=facts)
        return
    whole = "" if opened.complete else " The run is not complete."
    _show.line(f"{len(chosen)} facts, {mean:.2f} neurons per fact.{whole}")
    _show.line()
    rows = [(str(fact), prompts, len(neurons), " ".join(map(str, neurons))) for fact, prompts, neurons in chosen]
    _show.table([("fact", TEXT), ("prompts", NUMBER), ("neurons", NUMBER), ("", TEXT)], rows)


def _selector(by: str, threshold: float, share: str, more: Sequence[str]) -> tuple[Selector, dict[str, Any]]:
    """The selector that is meant, and its settings as they are told. Raises UnknownName, BadSetting, BrokenPlugin."""
    from ..selectors import Shared, selectors

    if by != "shared":
        if (threshold, share) != (THRESHOLD, SHARE):
            raise BadSetting(f"--threshold and --share are for --by shared; settings of {by} are given by --set")
        made: Selector = _named.made(selectors, by, more)
        return made, {"by": by, **{f.name: getattr(made, f.name) for f in dataclasses.fields(cast("Any", made))}}
    if more:
        raise BadSetting("--set is for --by another selector; those of shared are --threshold and --share")
    shared = Shared(threshold=threshold, share=share)
    return shared, {"threshold": threshold, "share": str(shared.exact_share)}


def _plain(fact: Fact, prompts: int, neurons: NeuronSet) -> dict[str, object]:
    return {
        "relation": fact.relation, "subject": fact.subject, "answer": fact.answer, "id": fact.id, "prompts": prompts,
        "neurons": [str(n) for n in neurons],
    }  # fmt: skip
