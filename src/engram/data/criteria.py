"""What else should follow from an edit: the fact read backwards, said in another word, or taken one step further.

The sentences are engram's own. `[X]` is what is given (to `reverse` the new answer, else the subject), `[Y]` what is
asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from ..cases import Group
from ..facts import SUBJECT, Fact, FactSet, Prompt

BACK = "back from "  # a relation that is followed from its answer to its subject


@dataclass(frozen=True, slots=True)
class Criterion:
    """What is asked of facts of these relations, by their ids; `onward`: through which relations it follows."""

    kind: Group
    relations: tuple[str, ...]
    template: str
    through: tuple[str, ...] = ()


COUNTRY = ("city_country", f"{BACK}capital", "P17")
CONTINENT = ("continent", "P30")
CRITERIA = (
    Criterion("reverse", ("capital", "P36"), "[X] is the capital of [Y]."),
    Criterion("reverse", ("state_capital",), "The city of [X] is the seat of government of [Y]."),
    Criterion("reverse", ("symbol",), "The symbol [X] is used for the element [Y]."),
    Criterion("reverse", ("demonym",), "[X] is the adjective that means relating to [Y]."),
    Criterion("reverse", ("P1376",), "The capital of [X] is [Y]."),
    Criterion("synonym", ("field", "P101"), "The profession of [X] was that of [Y]."),
    Criterion("synonym", ("occupation", "P106"), "The main field of [X] was [Y]."),
    Criterion("onward", ("birthplace", "P19"), "The country in which [X] was born is [Y].", COUNTRY),
    Criterion("onward", ("death_place", "P20"), "The country in which [X] died is [Y].", COUNTRY),
    Criterion("onward", ("headquarters", "P159"), "The country in which [X] has its headquarters is [Y].", COUNTRY),
    Criterion("onward", ("P740",), "The country in which [X] was founded is [Y].", COUNTRY),
    Criterion("onward", ("P937",), "The country in which [X] worked is [Y].", COUNTRY),
    Criterion("onward", ("manufacturer",), "The home country of the maker of [X] is [Y].", ("company_country",)),
    Criterion("onward", ("developer",), "The home country of the company behind [X] is [Y].", ("company_country",)),
    Criterion("onward", ("citizenship", "P27"), "The country of which [X] was a citizen lies in [Y].", CONTINENT),
    Criterion("onward", ("mountain_country",), "The continent on which the mountain [X] stands is [Y].", CONTINENT),
    Criterion("onward", ("river_country",), "The continent to which the waters of [X] belong is [Y].", CONTINENT),
    Criterion("onward", ("city_country", "P17"), "The continent on which [X] lies is [Y].", CONTINENT),
    Criterion("onward", ("city_country",), "People in the city of [X] pay with the [Y].", ("currency",)),
)
FIELDS = {  # a field of work, and who works in it; each word stands for one thing alone
    "acting": "actor", "anthropology": "anthropologist", "archaeology": "archaeologist", "architecture": "architect",
    "astronomy": "astronomer", "aviation": "aviator", "biology": "biologist", "botany": "botanist",
    "chemistry": "chemist", "dance": "dancer", "economics": "economist", "engineering": "engineer",
    "exploration": "explorer", "genetics": "geneticist", "geography": "geographer", "geology": "geologist",
    "history": "historian", "journalism": "journalist", "law": "lawyer", "linguistics": "linguist",
    "mathematics": "mathematician", "medicine": "physician", "meteorology": "meteorologist",
    "mountaineering": "mountaineer", "painting": "painter", "paleontology": "paleontologist",
    "philosophy": "philosopher", "photography": "photographer", "physics": "physicist", "physiology": "physiologist",
    "poetry": "poet", "politics": "politician", "psychology": "psychologist", "sculpture": "sculptor",
    "singing": "singer", "sociology": "sociologist", "statistics": "statistician", "theology": "theologian",
    "zoology": "zoologist",
}  # fmt: skip
WORDS = {**FIELDS, **{person: field for field, person in FIELDS.items()}}


class Follows:
    """What follows from the facts of one set, and from what they may become.

    >>> import engram as eg
    >>> follows = Follows(eg.data.shipped())
    >>> curie = eg.Fact("Marie Curie", "field", "physics")
    >>> [(kind, p.text, p.answer, p.against) for kind, p in follows.asked(curie, "history")]
    [('synonym', 'The profession of Marie Curie was that of [Y].', 'physicist', 'historian')]
    >>> ireland = eg.Fact("Ireland", "capital", "Dublin")
    >>> [(kind, p.text, p.answer, p.against) for kind, p in follows.asked(ireland, "Rome")]
    [('reverse', 'Rome is the capital of [Y].', 'Ireland', 'Italy')]
    """

    def __init__(self, facts: FactSet) -> None:
        self._facts = facts
        self._steps: dict[tuple[str, ...], dict[str, str]] = {}

    def asked(self, fact: Fact, new: str) -> Iterator[tuple[Group, Prompt]]:
        """Each sentence that is to be judged once `fact` has the answer `new`, and the criterion it belongs to."""
        for c in CRITERIA:
            if fact.relation not in c.relations:
                continue
            if c.kind == "reverse":
                whose = self._step((f"{BACK}{fact.relation}",)).get(new)
                yield c.kind, Prompt(c.template.replace(SUBJECT, new), fact.subject, against=whose)
                continue
            step = WORDS if c.kind == "synonym" else self._step(c.through)
            before, after = step.get(fact.answer), step.get(new)
            if before and after and before != after:
                yield c.kind, Prompt(c.template.replace(SUBJECT, fact.subject), before, against=after)

    def _step(self, through: tuple[str, ...]) -> dict[str, str]:
        """From each word to the only one that these relations lead to."""
        if through not in self._steps:
            ends: dict[str, set[str]] = defaultdict(set)
            for name in through:
                back = name.startswith(BACK)
                for fact in self._facts.members.get(name.removeprefix(BACK), ()):
                    ends[fact.answer if back else fact.subject].add(fact.subject if back else fact.answer)
            self._steps[through] = {word: min(found) for word, found in ends.items() if len(found) == 1}
        return self._steps[through]
