"""`engram run editing` and `engram run in_turn`: edits over a data set, judged beside their controls."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from ..errors import BadSetting, UnknownName
from ._drawn import Drawing, Source
from ._editors import Among, How, useful
from ._options import Json, ModelOptions
from ._running import Places

if TYPE_CHECKING:
    from ..cases import CaseSet
    from ..experiments import Experiment
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
                    "plug-in's, with settings of its own: \"memit layers=[0,1]\"; may be given again. "
                    "[r-rome, surgery]"),
    ] = None  # fmt: skip
    layer: Annotated[
        list[int] | None, Option(help="Where they write; memit in several. [where traces have their largest effect]")
    ] = None
    token: Annotated[str | None, Option(help="subject, asked, subject_first. [where traces say]")] = None
    covariance: Annotated[
        str | None,
        Option(help="Of keys: none (the identity), shipped or a file of lines (of ordinary text), or asked (of the "
                    "facts of the data that are not edited, where they are asked). [none]"),
    ] = None  # fmt: skip
    tokens: Annotated[int, Option(min=1, help="Of that text, how many are read.")] = 20_000
    cache: Annotated[
        Path | None, Option(help="A folder that keeps what was read of ordinary text, for the next time. [none]")
    ] = None
    set_: Annotated[
        list[str] | None, Option("--set", help="Another setting, of the editors that have it: clamp=2, search.steps=40")
    ] = None

    @property
    def named(self) -> dict[str, tuple[str, list[str]]]:
        """The editors by what was written, each once: their names, and settings of their own."""
        texts = dict.fromkeys(self.by or ["r-rome", "surgery"])
        return {text: (name, own) for text in texts for name, *own in [text.split()]}

    def check(self) -> None:
        """Raises UnknownName, BadSetting, before anything takes long."""
        useful(self.cache, self.covariance)
        for name, own in self.named.values():
            if name in THROUGH:
                _through(name, own)
            else:
                How(by=name, set_=own).settings()

    def planners(self, model: ModelOptions, known: CaseSet, edited: Collection[int]) -> Iterator[Planner]:
        """A planner for each editor; `edited` are the numbers of the facts that will be edited.

        Loads the model where it has to be asked. Raises EngramError.
        """
        from ..experiments.planning import By

        loaded: Model | None = None
        among = Among(known, {f.subject for i, f in enumerate(known) if i in edited})
        place: tuple[int, str] | None = None
        for text, (name, own) in self.named.items():
            if name in THROUGH:
                yield _through(name, own)
                continue
            settings = [*self._settings(name), *own]
            covariance = self._covariance(name)
            cache = None if covariance is None else self.cache
            how = How(by=name, covariance=covariance, tokens=self.tokens, cache=cache, set_=settings)
            loaded = loaded or model.load()
            given = how.settings()
            layers = given.get("layers") or ([given["layer"]] if "layer" in given else self.layer)
            if how.placed and place is None and (not layers or not (self.token or "token" in given)):
                place = self._place(loaded, known)
            token = given.get("token", self._token(place))
            yield By(how.at(loaded, layers or ([place[0]] if place else []), token, among), called=text)

    def _token(self, place: tuple[int, str] | None) -> str | int | None:
        if self.token is not None:
            return int(self.token) if self.token.isdecimal() else self.token
        return None if place is None else place[1]

    def _place(self, model: Model, known: CaseSet) -> tuple[int, str]:
        """The layer and the token that traces of some cases name."""
        from ..experiments import suggest_layer
        from . import _show

        with _show.progress("tracing") as bar:
            found = suggest_layer(model, known, n=TRACED, progress=bar)
        return found.layer, found.token

    def _covariance(self, name: str) -> str | None:
        """That of --covariance, where this editor has one."""
        return self.covariance if {"covariance", "covariances"} & _fields(name) else None

    def _settings(self, name: str) -> list[str]:
        """Those of --set that this editor has."""
        known = _fields(name)
        return [s for s in self.set_ or () if s.partition("=")[0].partition(".")[0] in known]


def _fields(name: str) -> set[str]:
    return {f.name for f in dataclasses.fields(How(by=name).kind()[1])}


def _through(name: str, own: Sequence[str]) -> Planner:
    """An editor that finds neurons first. Raises BadSetting, UnknownName."""
    from ..experiments.planning import ByNeurons

    given: dict[str, Any] = {"kind": name}
    for one in own:
        setting, _, text = one.partition("=")
        if setting not in ("threshold", "most"):
            raise UnknownName(f"setting of {name}", setting, ("threshold", "most"))
        try:
            given[setting] = float(text) if setting == "threshold" else int(text)
        except ValueError:
            raise BadSetting(f"{setting} is a number, not {text!r}") from None
    return ByNeurons(**given)


def editing(
    *,
    source: Cases,
    drawing: Drawing,
    editors: Editors,
    control: Annotated[
        list[str] | None, Option(help="random neurons, random layer, toward the truth, or none. [all three]")
    ] = None,
    speaks: Annotated[
        bool, Option("--speaks/--silent", help="A causal model also answers by itself, beside being scored.")
    ] = True,
    writes: Annotated[
        int, Option(min=0, help="A causal model also writes texts of so many tokens, for their entropy. 0: none.")
    ] = 0,
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
    drawn = drawing.drawn(replace(source, relation=None), known)
    experiment = Editing(controls=_controls(control), speaks=speaks, writes=writes, **drawn)
    experiment = replace(experiment, by=tuple(editors.planners(options, known, _edited(experiment, known))))
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
    more: dict[str, Any] = {"checks": tuple(check)} if check else {}
    drawn = {k: v for k, v in drawing.drawn(replace(source, relation=None), known).items() if k != "shard"}
    experiment = InTurn(growth=growth, stop=stop, **more, **drawn)
    experiment = replace(experiment, by=tuple(editors.planners(options, known, _edited(experiment, known))))
    places.do(experiment, known, options, as_json=as_json)


def _edited(experiment: Experiment, known: CaseSet) -> set[int]:
    """The numbers of the facts that will be edited."""
    return {number for case in experiment.cases(known) for number in case["facts"]}


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
