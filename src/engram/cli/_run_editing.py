"""`engram run editing` and `engram run in_turn`: edits over a data set, judged beside their controls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from ..errors import UnknownName
from ._drawn import Drawing, Source
from ._editors import How
from ._options import Json, ModelOptions
from ._running import Places

if TYPE_CHECKING:
    from ..cases import CaseSet
    from ..experiments.planning import Planner
    from ..models import Model

THROUGH = ("surgery", "erasure")  # editors that find a case's neurons first
TRACED = 10  # facts that the place of an edit is looked for with


@dataclass(frozen=True)
class Cases(Source):
    """Which data set with wishes, and which of its relations."""

    masked: Annotated[
        bool, Option("--masked", help="Where cases are made of facts: whole sentences, with their blank anywhere.")
    ] = False

    def cases(self, seed: int) -> CaseSet:
        """The cases of the data set; made of its facts by `seed` where it has none. Raises as `engram.data.read`."""
        from .. import data
        from ..cases import CaseSet

        known = data.read(self.data)
        if not isinstance(known, CaseSet):
            return data.counterfact_from(known, seed=seed, relations=self.relations(known), masked=self.masked)
        wanted = self.relations(known)
        return known if wanted is None else known.only(wanted)


@dataclass(frozen=True)
class Editors:
    """Which editors, and where they write."""

    by: Annotated[
        list[str] | None,
        Option(help="rome, r-rome, p-rome, memit, alphaedit, ft, ft-l, ft-m, causal_neuron, surgery, erasure or a "
                    "plug-in's; may be given again. [r-rome, surgery]"),
    ] = None  # fmt: skip
    layer: Annotated[
        list[int] | None, Option(help="Where they write; memit in several. [where traces have their largest effect]")
    ] = None
    token: Annotated[str | None, Option(help="subject, asked, subject_first. [where traces say]")] = None
    covariance: Annotated[
        str | None, Option(help="Of ordinary text: none (the identity), shipped, or a file of lines. [none]")
    ] = None
    tokens: Annotated[int, Option(min=1, help="Of that text, how many are read.")] = 20_000
    set_: Annotated[
        list[str] | None, Option("--set", help="Another setting, of the editors that have it: clamp=2, search.steps=40")
    ] = None

    @property
    def named(self) -> list[str]:
        """The editors, each once."""
        return list(dict.fromkeys(self.by or ["r-rome", "surgery"]))

    def check(self) -> None:
        """Raises UnknownName, BadSetting, before anything takes long."""
        for name in self.named:
            if name not in THROUGH:
                How(by=name).kind()

    def planners(self, model: ModelOptions, known: CaseSet) -> Iterator[Planner]:
        """A planner for each editor. Loads the model where it has to be asked. Raises EngramError."""
        from ..experiments.planning import By, ByNeurons

        loaded: Model | None = None
        place: tuple[int, str] | None = None
        for name in self.named:
            if name in THROUGH:
                yield ByNeurons(kind=name)  # type: ignore[arg-type]
                continue
            how = How(by=name, covariance=self.covariance, tokens=self.tokens, set_=self._settings(name))
            loaded = loaded or model.load()
            if how.placed and place is None:
                place = self._place(loaded, known)
            yield By(how.at(loaded, self.layer or ([place[0]] if place else []), self._token(place)), called=name)

    def _token(self, place: tuple[int, str] | None) -> str | int | None:
        if self.token is not None:
            return int(self.token) if self.token.isdecimal() else self.token
        return None if place is None else place[1]

    def _place(self, model: Model, known: CaseSet) -> tuple[int, str]:
        """The layer and the token that traces of some cases name."""
        from . import _show

        if self.layer and self.token is not None:
            return self.layer[-1], self.token
        from ..experiments import suggest_layer

        with _show.progress("tracing") as bar:
            found = suggest_layer(model, known, n=TRACED, progress=bar)
        return found.layer, found.token

    def _settings(self, name: str) -> list[str]:
        """Those of --set that this editor has."""
        import dataclasses

        known = {f.name for f in dataclasses.fields(How(by=name).kind()[1])}
        return [s for s in self.set_ or () if s.partition("=")[0].partition(".")[0] in known]


def editing(
    *,
    source: Cases,
    drawing: Drawing,
    editors: Editors,
    control: Annotated[
        list[str] | None, Option(help="random neurons, random layer, toward the truth, or none. [all three]")
    ] = None,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """Do edits do what they should, and nothing else?

    Each case is edited by itself, by every editor, and judged on the sentence that was edited, its paraphrases and its
    neighbours: table 4 of Meng et al. (2022), beside changes of the same size that have nothing to do with the fact.

    \b
    engram run editing --by rome --by r-rome --by memit --limit 100 --out runs/editing
    engram run editing --model gpt2 --data data/counterfact --by rome --layer 5 --covariance wiki.txt --sample 1000
    """
    from ..experiments import Editing

    editors.check()
    known = source.cases(drawing.seed)
    by = tuple(editors.planners(options, known))
    experiment = Editing(by, _controls(control), **drawing.drawn(replace(source, relation=None), known))
    places.do(experiment, known, options, as_json=as_json)


def in_turn(
    *,
    source: Cases,
    drawing: Drawing,
    editors: Editors,
    check: Annotated[list[int] | None, Option(help="Look after so many edits. [1, 2, 5, 10, 20, 50 …]")] = None,
    growth: Annotated[float, Option("--alarm", help="Ordinary text may grow so many times as surprising.")] = 1.5,
    stop: Annotated[bool, Option("--stop/--go-on", help="Edit no further after an alarm.")] = True,
    places: Places,
    as_json: Json = False,
    options: ModelOptions,
) -> None:
    """How many edits does a model bear, one after the other?

    Each edit is planned on the weights that the last one left. After some, all cases edited so far are asked again,
    ordinary text is read, and the weights are measured: where they came to harm, an alarm is given.

    \b
    engram run in_turn --by rome --limit 50 --out runs/in-turn
    """
    from ..experiments import InTurn

    editors.check()
    known = source.cases(drawing.seed)
    by = tuple(editors.planners(options, known))
    more: dict[str, Any] = {"checks": tuple(check)} if check else {}
    drawn = {k: v for k, v in drawing.drawn(replace(source, relation=None), known).items() if k != "shard"}
    places.do(InTurn(by, growth=growth, stop=stop, **more, **drawn), known, options, as_json=as_json)


def _controls(named: Sequence[str] | None) -> tuple[str, ...]:
    from ..experiments.planning import ARMS

    if named is None:
        return ARMS
    if list(named) == ["none"]:
        return ()
    for name in named:
        if name not in ARMS:
            raise UnknownName("control", name, ARMS)
    return tuple(dict.fromkeys(named))
