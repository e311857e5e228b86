"""Earlier runs that an experiment builds on: seen to be of the same model and the same facts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from weakref import WeakKeyDictionary

from ..errors import OtherRun
from ..facts import FactSet
from ..models import Model
from ..models.identity import weights_of
from ..results import Attribution
from ..store import Run, data_key, open_run
from ..store.folder import MANIFEST

_WEIGHTS: WeakKeyDictionary[Model, str] = WeakKeyDictionary()  # of a network that is as it was loaded


def stored_scores(
    folder: str | Path, model: Model, facts: FactSet, relation: str
) -> Iterator[tuple[int, list[Attribution]]]:
    """The scores that a run of `Attributions` keeps of one relation: (the fact's number in it, one for each prompt).

    Raises OtherRun for another model or other facts, BadData for a shard that is not done or damaged.
    """
    run = opened(folder, "attribution")
    same_facts(run, facts)
    same_model(run, model)
    first = sum(len(facts.facts(r.id)) for r in facts.relations[: [r.id for r in facts.relations].index(relation)])
    for number, scores in run.by_number(relation):
        yield number - first, scores


def opened(folder: str | Path, experiment: str) -> Run:
    """The run of this experiment in the folder. Raises OtherRun where it is one of another, BadData without a run."""
    manifest = Path(folder) / MANIFEST
    stamp = manifest.stat() if manifest.is_file() else None
    run = _opened(str(folder), stamp and (stamp.st_ino, stamp.st_mtime_ns, stamp.st_size))
    if run.manifest["experiment"] != experiment:
        raise OtherRun(f"{folder} is a run of {run.manifest['experiment']}, not of {experiment}")
    return run


@lru_cache(maxsize=8)
def _opened(folder: str, _stamp: tuple[int, int, int] | None) -> Run:
    """Its manifest read once: it is asked for with every prompt."""
    return open_run(folder)


def same_facts(run: Run, facts: FactSet) -> None:
    """Raises OtherRun where the run asked others."""
    if run.manifest["data"]["checksum"] != data_key(facts)["checksum"]:
        raise OtherRun(f"{run.path} is of other facts ({run.manifest['data']['name']}) than {facts.name}, or of more")


def same_model(run: Run, model: Model) -> None:
    """Raises OtherRun where the run asked another model."""
    if model not in _WEIGHTS:
        _WEIGHTS[model] = weights_of(model)
    there = run.manifest["model"]
    if there["weights"] != _WEIGHTS[model]:
        raise OtherRun(f"{run.path} is of the model {there['name']}, whose weights are not those of {model.name}")
