"""`engram run`: a whole experiment, into a folder that survives."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer import Option

from . import _run_context, _run_criteria, _run_editing, _run_numbers, _run_punctuation, _run_syntax, _run_tracing
from ._drawn import Drawing, Source
from ._finding import Finding
from ._options import Json, ModelOptions, spread
from ._run_plugin import Experiments
from ._running import Places
from .locate import Method

OTHERS = 20
Told = Annotated[str, Option("--texts", help="Texts about the facts: shipped, or a folder of BingRel.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    experiments = typer.Typer(
        cls=Experiments,
        help="Run a whole experiment. With --out, stop it or kill it, and run it again: it goes on where it was. Run "
        "it several times at once, on machines that share the disk: they share the work.",
        no_args_is_help=True,
    )
    for command in (
        attribution, neurons, suppression, activation_by_prompt, trigger_prompts, updating, erasing,
        _run_context.demonstrations, _run_context.perturbation,
        _run_punctuation.punctuation, _run_tracing.tracing, _run_tracing.agreement, _run_editing.editing,
        _run_editing.in_turn, _run_criteria.criteria, _run_numbers.profile, _run_numbers.minimal_pairs,
        _run_syntax.determiners, _run_syntax.localisation,
    ):  # fmt: skip
        experiments.command(command.__name__)(spread(command))
    app.add_typer(experiments, name="run")


def attribution(
    *,
    source: Source,
    drawing: Drawing,
    floor: Annotated[float, Option(help="Scores of at least this part of a prompt's largest are kept.")] = 0.1,
    method: Method,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """The scores of all prompts of a data set, sparse: the dear step, done once.

    `engram select` finds neurons in what was kept, `engram run neurons --scores` takes it, `engram verify` checks it.

    \b
    engram run attribution --limit 64 --rule gauss --out runs/first
    engram run attribution --model gpt2 --data pararel --sample 1000 --on processes --workers 2 --out runs/gpt2
    """
    from ..experiments import Attributions

    known = source.read()
    experiment = Attributions(method.locator(), floor, **drawing.drawn(source, known))
    places.do(experiment, known, options, as_json=as_json)


def neurons(
    *, source: Source, found: Finding, method: Method, places: Places, as_json: Json = False, options: ModelOptions
) -> None:
    """Which neurons carry each fact, how many are there, in which layers, and how many do facts share?

    Dai et al. (2022), table 2 and figure 3, with neurons chosen by activation beside them.

    \b
    engram run neurons --facts 5 --out runs/neurons
    engram run neurons --like paper --model bert-base-cased --data pararel --out runs/neurons
    """
    known = source.read()
    places.do(found.located(method, source.relations(known)), known, options, as_json=as_json)


def suppression(
    *,
    source: Source,
    found: Finding,
    by: Annotated[float, Option(help="How many times louder amplified neurons are.")] = 2.0,
    unrelated: Annotated[
        bool, Option("--unrelated", help="Other facts with the neurons amplified, too, and changes in points.")
    ] = False,
    method: Method,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """What happens to the right answer when its neurons fall silent?

    Finds the neurons of every fact on its discovery templates, suppresses and amplifies them in its test templates,
    and does the same with the neurons of the baseline, with random ones and with other facts. Dai et al. (2022),
    figures 4 and 5.

    \b
    engram run suppression --facts 5 --relation capital --known-only
    engram run suppression --model gpt2 --data pararel --facts 20 --out runs/gpt2
    """
    from ..experiments import Suppression

    known = source.read()
    experiment = Suppression(found.finder(method, source.relations(known)), by=by, unrelated=unrelated)
    places.do(experiment, known, options, as_json=as_json)


def activation_by_prompt(
    *,
    source: Source,
    found: Finding,
    texts: Told = "shipped",
    slot: Annotated[
        str | None, Option(help="Hidden in texts that do not state the fact: a random word, or an entity. [word]")
    ] = None,
    clean: Annotated[
        bool | None, Option("--clean/--all", help="Leave out texts that say more than their type should. [clean]")
    ] = None,
    others: Annotated[
        str | None, Option(help="Other texts are: all texts about facts, or neither, ordinary ones. [neither]")
    ] = None,
    method: Method,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Do texts that state a fact activate its neurons more than texts that do not?

    Dai et al. (2022), table 4: texts that mention subject and answer, the subject alone, and others. With --slot
    entity, an entity's place is compared with an entity's place.

    \b
    engram run activation_by_prompt --facts 5 --out runs/prompts
    engram run activation_by_prompt --neurons runs/neurons --slot entity --out runs/entities
    """
    from .. import data
    from ..experiments import ActivationByPrompt

    known = source.read()
    finder = found.finder(method, source.relations(known))
    chosen: dict[str, Any] = {"clean": clean, "slot": slot, "others": others, "preset": found.like}
    experiment = ActivationByPrompt(data.texts(texts, known), finder, **chosen)
    places.do(experiment, known, options, as_json=as_json)


def trigger_prompts(
    *,
    source: Source,
    found: Finding,
    texts: Told = "shipped",
    k: Annotated[int | None, Option("--k", min=1, help="How many texts from the top, and from the bottom. [2]")] = None,
    method: Method,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Which texts that state a fact activate its neurons most, and which least?

    Dai et al. (2022), table 3.

    \b
    engram run trigger_prompts --relation capital --facts 5 --out runs/triggers
    """
    from .. import data
    from ..experiments import TriggerPrompts

    known = source.read()
    finder = found.finder(method, source.relations(known))
    chosen: dict[str, Any] = {"k": k, "preset": found.like}
    experiment = TriggerPrompts(data.texts(texts, known), finder, **chosen)
    places.do(experiment, known, options, as_json=as_json)


def updating(
    *,
    source: Source,
    found: Finding,
    edited: Annotated[int, Option(min=1, help="Facts of each relation that are given another answer.")] = 10,
    remove: Annotated[float | None, Option(help="How much of the old answer is taken out of a value slot. [1]")] = None,
    add: Annotated[float | None, Option(help="How much of the new one is put in. [8]")] = None,
    scaled: Annotated[
        bool | None, Option("--scaled/--unscaled", help="Both in lengths of the slot, as the code has it. [scaled]")
    ] = None,
    exclusive: Annotated[
        str, Option(help="Neurons that more than this share of the relation's facts have are left alone.")
    ] = "1/10",
    method: Method,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Can a fact be given another answer through its neurons, and what else changes?

    Dai et al. (2022), table 6, with random neurons beside; and on paraphrases that had no part in it. Every edit is
    undone before the next.

    \b
    engram run updating --facts 20 --edited 3 --out runs/updating
    """
    from ..experiments import Updating

    known = source.read()
    finder = found.finder(method, source.relations(known))
    chosen: dict[str, Any] = {"remove": remove, "add": add, "scaled": scaled, "preset": found.like}
    experiment = Updating(finder, **chosen, exclusive=exclusive, facts=edited)
    places.do(experiment, known, options, as_json=as_json)


def erasing(
    *,
    source: Source,
    found: Finding,
    erased: Annotated[int, Option(min=1, help="How many of the relation's most frequent neurons are erased.")] = 20,
    others: Annotated[
        int | None, Option(min=0, help="Facts of each other relation that are asked. [20; all with --like paper]")
    ] = None,
    method: Method,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Can a relation be erased through its neurons, and what goes with it?

    Dai et al. (2022), table 5: the cloze perplexity of the relation, of all others, and of ordinary text, before and
    after. Each relation is erased by itself, and everything is undone.

    \b
    engram run erasing --relation capital --relation currency --out runs/erasing
    """
    from ..experiments import Erasing

    known = source.read()
    asked = others if others is not None or found.like in ("paper", "hunter") else OTHERS
    relations = source.relations(known) or ()
    finder = found.finder(method, relations if found.neurons is None else None)
    experiment = Erasing(finder, neurons_erased=erased, others=asked, relations=tuple(relations))
    places.do(experiment, known, options, as_json=as_json)
