"""ParaRel (Elazar et al. 2021) as its authors give it, and as Dai et al. (2022) put it together with LAMA's facts.

The two hold the same templates (but for double spaces in P279), and different facts; both count differently. What
comes out of each, and how the published counts follow from it:

    preset      facts                                    relations   facts    prompts   kept
    eleuther    ParaRel's `trex_lms_vocab`               39          27,610   224,674   every relation with templates
    dai         LAMA's T-REx, in Dai's query_pairs.json  34          27,738   253,448   with at least 4 templates

Dai et al.'s "8.63 templates on average" is not the average of the 34 relations they keep, which is 9.35.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from ...errors import BadData, BadSetting, UnknownName
from ...facts import Fact, FactSet, Relation
from .. import form, wikidata
from ..base import DataSet, data_sets
from ..download import Pinned
from ..jsonl import by_name, existing, whole

Facts = Literal["lms_vocab", "trex"]
Preset = Literal["dai", "eleuther"]

CHECKSUMS = Path(__file__).parent.parent / "checksums"
SOURCES = {
    "lms_vocab": Pinned("yanaiela/pararel", "cb5554678457beb5ac163d888f1ce8cf174b3f0b", CHECKSUMS / "pararel.txt"),
    "trex": Pinned(
        "Hunter-DDM/knowledge-neurons", "922dfd9e05ef55f46af078ba4bd334989a45a618", CHECKSUMS / "knowledge-neurons.txt"
    ),
}
PRESETS: Mapping[str, tuple[Facts, int]] = {"dai": ("trex", 4), "eleuther": ("lms_vocab", 1)}


@data_sets("pararel")
@dataclass(frozen=True)
class ParaRel(DataSet):
    """Paraphrased templates for 39 Wikidata relations, with facts (Elazar et al. 2021; Dai et al. 2022).

    `facts="lms_vocab"` are the facts of ParaRel's authors, whose answers are in the vocabularies of several models;
    `"trex"` are those of Dai et al.: all of LAMA's T-REx. Without it, those that lie in the folder; without a path,
    `"lms_vocab"`. Relations with fewer than `min_templates` templates are left out, and so are those without
    templates or without facts. `preset="dai"` and `"eleuther"` are what Dai et al. and EleutherAI's package read.

    Relations stand in the order of their numbers, templates and facts in that of their files; a fact that stands
    there twice is kept twice. A fact's id is its uuid; Dai's facts have none, theirs is relation and position
    (`P36.0` is the first), by which his other files are aligned. Answers keep their case.

    Without a path the files are downloaded once, from one commit, and checked; `data_all_allbags.json`, which holds
    prompts and no templates, is not read. Raises BadData, BadSetting.

    >>> ParaRel(preset="dai").chosen
    ('trex', 4)
    """

    origin: ClassVar[str] = "https://github.com/yanaiela/pararel, https://github.com/Hunter-DDM/knowledge-neurons"
    licence: ClassVar[str] = "MIT; the facts are Wikidata's (CC0), through LAMA (CC BY-NC 4.0)"
    layout: ClassVar[str] = (
        "pattern_data/graphs_json/P*.jsonl and trex_lms_vocab/P*.jsonl (ParaRel's), or PARAREL/query_pairs.json, "
        "PARAREL/raw_data/patterns/P*.jsonl and LAMA/raw_data/relations.jsonl (Dai's), here or in data/"
    )

    facts: Facts | None = None
    min_templates: int | None = None
    preset: Preset | None = None

    @property
    def chosen(self) -> tuple[Facts | None, int]:
        """Which facts, and the fewest templates of a relation. Raises BadSetting, UnknownName."""
        facts, least = self.facts, 1 if self.min_templates is None else self.min_templates
        if self.preset is not None:
            if (facts, self.min_templates) != (None, None):
                raise BadSetting(f"preset={self.preset!r} already says which facts and how many templates")
            if self.preset not in PRESETS:
                raise UnknownName("preset of ParaRel", self.preset, PRESETS)
            facts, least = PRESETS[self.preset]
        if facts is not None and facts not in SOURCES:
            raise UnknownName("set of facts in ParaRel", facts, SOURCES)
        if least < 1:
            raise BadSetting(f"min_templates is at least 1, not {least}")
        return facts, least

    @classmethod
    def fits(cls, folder: Path) -> bool:
        return any(_home(folder, kind) for kind in SOURCES)

    def read(self) -> FactSet:
        wanted, least = self.chosen
        if self.path is None:
            kind = wanted or "lms_vocab"
            folder, source = SOURCES[kind].fetch(), str(SOURCES[kind])
        else:
            folder, source = self.folder, str(self.path)
            kind = wanted or ("lms_vocab" if _home(folder, "lms_vocab") else "trex")
        if (home := _home(folder, kind)) is None:
            raise BadData(folder, None, f"holds no facts {kind!r}. Expected are {self.layout}")
        templates, described, facts = _authors(home) if kind == "lms_vocab" else _dai(home)
        kept = [id_ for id_ in templates if id_ in facts and len(templates[id_]) >= least]
        relations = tuple(replace(described.get(i, wikidata.named(i)), templates=templates[i]) for i in kept)
        return FactSet("pararel", relations, {id_: facts[id_] for id_ in kept}, source)


Parts = tuple[dict[str, tuple[str, ...]], dict[str, Relation], dict[str, tuple[Fact, ...]]]


def _home(folder: Path, kind: str) -> Path | None:
    mark = {"lms_vocab": "trex_lms_vocab", "trex": "PARAREL"}[kind]
    return next((home for home in (folder, folder / "data") if (home / mark).is_dir()), None)


def _templates(folder: Path) -> dict[str, tuple[str, ...]]:
    return {id_: form.templates(file) for id_, file in by_name(folder).items()}


def _authors(home: Path) -> Parts:
    templates = _templates(home / "pattern_data" / "graphs_json")
    facts = by_name(home / "trex_lms_vocab")
    return templates, {}, {id_: form.facts(file, id_) for id_, file in facts.items() if id_ in templates}


def _dai(home: Path) -> Parts:
    described = form.relations(existing(home / "LAMA" / "raw_data" / "relations.jsonl"))
    facts = _query_pairs(existing(home / "PARAREL" / "query_pairs.json"))
    return _templates(home / "PARAREL" / "raw_data" / "patterns"), {i: r for i, (r, _) in described.items()}, facts


def _query_pairs(path: Path) -> dict[str, tuple[Fact, ...]]:
    pairs = whole(path)
    if not isinstance(pairs, dict) or not all(isinstance(rows, list) for rows in pairs.values()):
        raise BadData(path, None, "is to be an object: relation → list of [subject, answer]")
    for id_, rows in pairs.items():
        for i, row in enumerate(rows):
            if not (isinstance(row, list) and len(row) == 2 and all(isinstance(x, str) and x.strip() for x in row)):
                raise BadData(path, None, f"{id_}, entry {i}: is to be [subject, answer], not {row!r}")
    return {id_: tuple(Fact(s, id_, a, f"{id_}.{i}") for i, (s, a) in enumerate(rows)) for id_, rows in pairs.items()}
