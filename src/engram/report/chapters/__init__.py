"""A chapter for each experiment, from the folder of a run alone: no model, no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...errors import BadData
from ...results import Report
from ...store import Run
from . import (
    activation_by_prompt,
    agreement,
    attribution,
    criteria,
    demonstrations,
    determiners,
    differing,
    editing,
    erasing,
    in_turn,
    localisation,
    minimal_pairs,
    neurons,
    perturbation,
    profile,
    punctuation,
    suppression,
    tracing,
    trigger_prompts,
    updating,
)
from .base import Chapter, rest
from .plain import plain

__all__ = ["CHAPTERS", "Chapter", "chapter", "rest"]

CHAPTERS: Mapping[str, Callable[[Run, Report], Chapter]] = {
    "attribution": attribution.chapter,
    "neurons": neurons.chapter,
    "suppression": suppression.chapter,
    "punctuation": punctuation.chapter,
    "activation_by_prompt": activation_by_prompt.chapter,
    "trigger_prompts": trigger_prompts.chapter,
    "updating": updating.chapter,
    "erasing": erasing.chapter,
    "tracing": tracing.chapter,
    "agreement": agreement.chapter,
    "differing": differing.chapter,
    "editing": editing.chapter,
    "criteria": criteria.chapter,
    "in_turn": in_turn.chapter,
    "profile": profile.chapter,
    "minimal_pairs": minimal_pairs.chapter,
    "demonstrations": demonstrations.chapter,
    "perturbation": perturbation.chapter,
    "determiners": determiners.chapter,
    "localisation": localisation.chapter,
}


def chapter(run: Run) -> Chapter:
    """What a run found, told. An experiment that has no chapter of its own gets one of its summary.

    Raises BadData for a run that is not done, or whose folder is damaged.
    """
    name = run.manifest["experiment"]
    if not run.complete:
        done, shards = len(run.folder.done()), len(run.folder.sizes)
        raise BadData(run.path, None, f"is not done yet ({done} of {shards} shards are): run it again, and it goes on")
    report = run.summary()
    if report is None:
        return plain(run, Report(name, (), run.manifest["settings"], ("nothing that was drawn could be asked",)))
    return CHAPTERS.get(name, plain)(run, report)
