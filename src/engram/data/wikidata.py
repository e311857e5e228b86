"""Wikidata's names for the 39 relations of ParaRel, and LAMA's types: ParaRel's own files hold neither."""

from __future__ import annotations

from ..facts import Relation

_NAMES = {
    "1-1": {"P36": "capital", "P1376": "capital of"},
    "N-1": {
        "P17": "country",
        "P19": "place of birth",
        "P20": "place of death",
        "P30": "continent",
        "P37": "official language",
        "P103": "native language",
        "P127": "owned by",
        "P131": "located in the administrative territorial entity",
        "P136": "genre",
        "P138": "named after",
        "P140": "religion",
        "P159": "headquarters location",
        "P176": "manufacturer",
        "P264": "record label",
        "P276": "location",
        "P279": "subclass of",
        "P361": "part of",
        "P364": "original language of film or TV show",
        "P407": "language of work or name",
        "P413": "position played on team / speciality",
        "P449": "original network",
        "P495": "country of origin",
        "P740": "location of formation",
    },
    "N-M": {
        "P27": "country of citizenship",
        "P39": "position held",
        "P47": "shares border with",
        "P101": "field of work",
        "P106": "occupation",
        "P108": "employer",
        "P178": "developer",
        "P190": "twinned administrative body",
        "P463": "member of",
        "P530": "diplomatic relation",
        "P937": "work location",
        "P1001": "applies to jurisdiction",
        "P1303": "instrument",
        "P1412": "languages spoken, written or signed",
    },
}
RELATIONS = {id_: Relation(id_, name, (), type_) for type_, names in _NAMES.items() for id_, name in names.items()}


def named(id_: str) -> Relation:
    """The relation of this id, still without templates; one that is not known here is called by its id.

    >>> named("P36").name, named("P999999").name
    ('capital', 'P999999')
    """
    return RELATIONS.get(id_, Relation(id_, id_, ()))
