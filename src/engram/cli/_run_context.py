"""`engram run demonstrations`, `engram run perturbation`, `engram data contexts-from`: what Wen & Bai ask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from . import _show
from ._drawn import Drawing, Source
from ._options import Json, ModelOptions
from ._running import Places

if TYPE_CHECKING:
    from ..facts import FactSet

SHORT = 2  # demonstrations that fit into the 64 positions of the models that come with engram


@dataclass(frozen=True)
class Context:
    """Demonstrations before the sentences of a data set that has none of its own."""

    demonstrations: Annotated[
        int | None, Option(min=0, help="Other facts of the relation before each sentence. [4; of the shipped facts 2]")
    ] = None
    variant: Annotated[
        str | None,
        Option(help="paper22: the published relations; auto: all with 4 templates that end with the answer. [auto, but "
                    "paper22 of ParaRel]"),
    ] = None  # fmt: skip
    most: Annotated[int, Option(min=1, help="Facts of each relation that are kept.")] = 100
    sampled: Annotated[bool, Option("--sampled/--first", help="Those kept are drawn, or the first, as published.")] = (
        False
    )
    demonstration_seed: Annotated[int, Option(min=0, help="Of the draw of demonstrations, and of facts.")] = 2022

    def put(self, known: FactSet) -> FactSet:
        """The data set behind demonstrations, or as it is where it has some. Raises BadSetting, UnknownName."""
        from .. import data
        from ..data.contexts import PAPER22

        if _most(known):
            return known if self.demonstrations is None else data.fewer_demonstrations(known, self.demonstrations)
        listed = {r.id for r in known.relations} >= set(PAPER22)
        variant: Any = self.variant or ("paper22" if listed else "auto")
        return data.with_demonstrations(
            known, variant=variant, demonstrations=self.number(known), most=self.most, sampled=self.sampled,
            seed=self.demonstration_seed,
        )  # fmt: skip

    def number(self, known: FactSet) -> int:
        """How many are put before a sentence."""
        if self.demonstrations is not None:
            return self.demonstrations
        return SHORT if known.name == "shipped" else 4


def demonstrations(
    *,
    source: Source,
    drawing: Drawing,
    context: Context,
    prompts: Annotated[int | None, Option(min=1, help="Of each fact the first so many sentences. [all]")] = None,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """What becomes of the answer when other facts, in the same words, stand before the sentence?

    Asks the same sentences alone and behind 1, 2, 4 … demonstrations (Wen & Bai, context-ParaRel). A data set whose
    sentences have none gets some; context_pararel has the published ones.

    \b
    engram run demonstrations --facts 5 --out runs/demonstrations
    engram run demonstrations --model gpt2 --data data/context_pararel --out runs/demonstrations
    engram run demonstrations --model gpt2 --data pararel --variant auto --sampled --out runs/auto
    """
    from ..experiments import Demonstrations

    known = context.put(source.read())
    experiment = Demonstrations(_counts(_most(known)), prompts, **drawing.drawn(source, known))
    places.do(experiment, known, options, as_json=as_json)


def perturbation(
    *,
    source: Source,
    drawing: Drawing,
    context: Context,
    size: Annotated[
        list[float] | None, Option(help="Standard deviation of the noise; may be given again. [.25 .5 1 2 3]")
    ] = None,
    unit: Annotated[
        str | None,
        Option(help="Of sizes: sigma (the table's), absolute, published (a third of its mean absolute value). [sigma]"),
    ] = None,
    where: Annotated[
        list[str] | None, Option(help="Where there is noise: input, output or both; may be given again. [all]")
    ] = None,
    samples: Annotated[int | None, Option(min=1, help="Draws of the whole table of noise. [3]")] = None,
    tables: Annotated[str | None, Option(help="Draws are shared by all facts, or each fact's own. [shared]")] = None,
    like: Annotated[
        str | None, Option(help="published: the one size, both tables, and a draw for each fact, of Wen & Bai.")
    ] = None,
    prompts: Annotated[int | None, Option(min=1, help="Of each fact the first so many prompts. [all]")] = None,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """What becomes of the answer when there is noise in the word embeddings, and in which use of them?

    A model reads words by one table and scores them by another, which in many models is the same; noise is put into
    the first use, the second, or both (Wen & Bai put it into both). Facts are asked as they are; with
    --demonstrations, behind so many.

    \b
    engram run perturbation --facts 5 --prompts 2 --out runs/noise
    engram run perturbation --like published --model gpt2 --data data/context_pararel --out runs/published
    """
    from ..experiments import Perturbation

    known = source.read()
    known = known if context.demonstrations is None else context.put(known)
    given: dict[str, Any] = {
        "sizes": tuple(sorted(set(size))) if size else None, "where": tuple(dict.fromkeys(where)) if where else None,
        "unit": unit, "samples": samples, "tables": tables, "prompts": prompts, "preset": like,
    }  # fmt: skip
    experiment = Perturbation(**given, **drawing.drawn(source, known))
    places.do(experiment, known, options, as_json=as_json)


def contexts_from(
    dataset: Annotated[str, Argument(help="The facts: a data set, by its name or its folder.")],
    *,
    out: Annotated[Path | None, Option("--out", "-o", help="Write the sentences into this folder.")] = None,
    context: Context,
    as_json: Json = False,
) -> None:
    """Put demonstrations before the sentences of a data set, as context-ParaRel was made (Wen & Bai).

    The folder is a data set itself: give it with --data. Without --out sentences are counted, and not kept.

    \b
    engram data contexts-from shipped --demonstrations 2
    engram data contexts-from pararel --variant auto --sampled --out contexts
    """
    from .. import data
    from ..data.contexts import InContext

    facts = context.put(data.read(dataset))
    if out is not None:
        data.save_contexts(facts, out)
    sentences = sum(map(len, facts.own.values()))
    notes = facts.notes if isinstance(facts, InContext) else ()
    if as_json:
        _show.document(
            "data contexts-from", out=out, name=facts.name, source=facts.source, relations=len(facts.relations),
            facts=len(facts), sentences=sentences, demonstrations=_most(facts), notes=notes,
        )  # fmt: skip
        return
    _show.line(
        f"{facts.name}: {len(facts):,} facts of {len(facts.relations)} relations in {sentences:,} sentences, each "
        f"behind {_most(facts)} others"
    )
    for note in notes:
        _show.line(f"note: {note}")
    if out is not None:
        _show.line(f"Written to {out}.")


def _most(known: FactSet) -> int:
    """How many demonstrations do the sentences of a data set have, the one that has fewest?"""
    from ..data.contexts import demonstrations_of

    own = [prompts for fact in known if (prompts := known.own.get(fact.id))]
    return min((demonstrations_of(p) for prompts in own for p in prompts), default=0) if len(own) == len(known) else 0


def _counts(most: int) -> tuple[int, ...]:
    """None, and 1, 2, 4 … up to all of them.

    >>> _counts(4), _counts(3)
    ((0, 1, 2, 4), (0, 1, 2, 3))
    """
    return tuple(sorted({0, most, *(2**i for i in range(most.bit_length()))}))
