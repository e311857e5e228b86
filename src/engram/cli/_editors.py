"""Options of `engram edit`: which editor, and where in the model it writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from ..errors import BadData, BadSetting, UnknownName
from ..neurons import NeuronSet
from ..registry import told
from ._named import value
from ._show import number

if TYPE_CHECKING:
    from ..editors import Editor
    from ..facts import FactSet, Prompt
    from ..models import Model


@dataclass(frozen=True)
class Spot:
    """Where an editor writes: the layers (the last is the one that was named), the token, and why there."""

    layers: tuple[int, ...]
    token: str | int
    why: str


@dataclass(frozen=True)
class Among:
    """Other facts: those of a data set that are not about these subjects."""

    facts: FactSet
    without: Collection[str]

    def prompts(self, model: Model) -> list[Prompt]:
        """Their sentences, as `experiments.elsewhere` draws them."""
        from ..experiments.elsewhere import elsewhere

        return elsewhere(model, self.facts, self.without)


def useful(cache: Path | None, covariance: str | None) -> None:
    """Raises BadSetting for a cache where no ordinary text is read that it could keep."""
    if cache is not None and covariance in (None, "none", "asked"):
        raise BadSetting(
            "--cache keeps what was read of ordinary text, and none is read: give --covariance shipped, or a file"
        )


@dataclass(frozen=True)
class How:
    """An editor and where it writes; what is not given is looked for, and told."""

    by: Annotated[
        str,
        Option(help="rome, r-rome, p-rome, surgery, memit, alphaedit, ft, ft-l, ft-m, causal_neuron, or a plug-in's."),
    ] = "r-rome"
    layer: Annotated[
        list[int] | None, Option(help="Where it writes; of memit several. [where a trace has its largest effect]")
    ] = None
    token: Annotated[
        str | None, Option(help="subject, asked, subject_first, or a token's number. [where the trace says]")
    ] = None
    covariance: Annotated[
        str | None,
        Option(help="Of keys: none (the identity), shipped or a file of lines (of ordinary text), or asked (of other "
                    "facts, where they are asked). [none]"),
    ] = None  # fmt: skip
    tokens: Annotated[int, Option(min=1, help="Of that text, how many are read.")] = 20_000
    cache: Annotated[
        Path | None, Option(help="A folder that keeps what was read of ordinary text, for the next time. [none]")
    ] = None
    neurons: Annotated[str | None, Option(help='With surgery: "L3.1, L4.5". [as `engram locate` finds them]')] = None
    set_: Annotated[
        list[str] | None, Option("--set", help="Another setting of the editor: add=4, search.steps=40 …")
    ] = None

    def kind(self) -> tuple[str, type[Any]]:
        """The editor of this name. Raises UnknownName, BadSetting."""
        from ..editors import editors
        from ..editors.called import CALLED, called

        name = called(self.by).editor
        known = sorted({*CALLED, *editors.names()} - {"erasure"})
        if name == "erasure":
            raise BadSetting("to erase is another command: engram erase")
        if name not in editors:
            raise UnknownName("editor", self.by, known, told(editors.broken()))
        return name, editors[name]

    def settings(self) -> dict[str, Any]:
        """Those of the preset and of --set, seen to be the editor's. Raises UnknownName, BadSetting."""
        _, kind = self.kind()
        known = {f.name: f for f in dataclasses.fields(kind)}
        for option, names in (("layer", ("layer", "layers")), ("token", ("token",)), ("neurons", ("neurons",)),
                              ("covariance", ("covariance", "covariances"))):  # fmt: skip
            if getattr(self, option) is not None and not {*names} & {*known}:
                raise BadSetting(f"--{option} is not for --by {self.by}")
        if "layer" in known and len(self.layer or ()) > 1:
            raise BadSetting(f"--by {self.by} writes in one layer, not in {len(self.layer or ())}")
        from ..editors.called import called

        useful(self.cache, self.covariance)
        given: dict[str, Any] = dict(called(self.by).settings)
        for one in self.set_ or ():
            name, equals, text = one.partition("=")
            name, dot, inner = name.partition(".")
            if not equals:
                raise BadSetting(f"a setting is given as name=value, not {one!r}")
            if name in ("covariance", "covariances"):
                raise BadSetting(f"a covariance is named by --covariance, not by {one!r}")
            if name not in known:
                raise UnknownName(f"setting of {self.by}", name, known)
            given[name] = _inside(given.get(name, known[name]), inner, text) if dot else value(text)
        return given

    def editor(self, model: Model, prompt: Prompt, subject: str, found: NeuronSet | None) -> tuple[Editor, Spot | None]:
        """The editor with all its settings, and where it writes, if that is for a trace to say.

        `found` are the neurons of an editor that has some. Raises EngramError.
        """
        known = self._fields()
        if "neurons" in known:
            return self.kind()[1](**{"neurons": found, **self.settings()}), None
        if not self.placed:
            return self.at(model, (), None), None
        from .. import data

        among = Among(data.read("shipped"), (subject,)) if self.covariance == "asked" else None
        spot_ = self._spot(model, prompt, subject, looks_up="token" in known)
        layers = spot_.layers if "layers" in known else spot_.layers[-1:]
        token = spot_.token if "token" in known else None
        return self.at(model, layers, token, among), dataclasses.replace(spot_, layers=layers)

    @property
    def placed(self) -> bool:
        """Does it write in layers that are named? Raises UnknownName, BadSetting."""
        return bool({"layer", "layers"} & self._fields())

    @property
    def of_neurons(self) -> bool:
        """Does it change neurons that are named, or found first? Raises UnknownName, BadSetting."""
        return "neurons" in self._fields()

    def at(self, model: Model, layers: Sequence[int], token: str | int | None, among: Among | None = None) -> Editor:
        """The editor with all its settings, in these layers (the last, if it takes one) and at this token.

        What it does not have is left out. Reads ordinary text where its covariance was asked for, or asks the facts of
        `among`. Raises EngramError.
        """
        known, own = self._fields(), dict[str, Any]()
        if beyond := [i for i in layers if not 0 <= i < len(model.layers)]:
            raise BadSetting(f"{model.name} has layers 0 to {len(model.layers) - 1}, and not {beyond[0]}")
        if self.placed:
            own = {"layers": tuple(layers)} if "layers" in known else {"layer": layers[-1]}
        if "token" in known and token is not None:
            own["token"] = token
        if {"covariance", "covariances"} & known:
            c = self._moments(model, layers if "layers" in known else layers[-1:], among)
            own |= {"covariances": c} if "covariances" in known else {"covariance": c and c[layers[-1]]}
        given = {**own, **self.settings()}
        if self.of_neurons and "neurons" not in given:
            raise BadSetting(f"--by {self.by} changes neurons, and here none are found for it: engram edit finds them")
        made: Editor = self.kind()[1](**given)
        return made

    def _fields(self) -> set[str]:
        return {f.name for f in dataclasses.fields(self.kind()[1])}

    def _spot(self, model: Model, prompt: Prompt, subject: str, *, looks_up: bool) -> Spot:
        token = int(self.token) if self.token is not None and self.token.isdecimal() else self.token
        if self.layer and (token is not None or not looks_up):
            return Spot(tuple(sorted(self.layer)), token if token is not None else "", "as asked for")
        return spot(model, prompt, subject, self.layer, token)

    def _moments(self, model: Model, layers: Sequence[int], among: Among | None) -> Mapping[int, Any] | None:
        if self.covariance in (None, "none"):
            return None
        from ..models import asked_moments, second_moments
        from ..models.moments import cost
        from ._show import progress

        if self.covariance == "asked":
            if among is None:
                raise BadSetting("--covariance asked is of the keys of other facts, and none are at hand here")
            with progress("asking other facts") as bar:
                return asked_moments(model, among.prompts(model), layers, progress=bar)

        texts = _texts(str(self.covariance))
        typer.echo(f"second moments: {cost(model, self.tokens, layers)}", err=True)
        with progress("reading ordinary text") as bar:
            return second_moments(
                model, texts, layers, tokens=self.tokens, cache=self.cache, name=str(self.covariance), progress=bar
            )


def spot(model: Model, prompt: Prompt, subject: str, layers: Sequence[int] | None, token: str | int | None) -> Spot:
    """Where is the largest effect of a causal trace with one FFN restored: in which layer, at which token?

    Looked for at the subject's last token and the one that is asked, or the one that was named; in all layers, or
    those named. Raises as `trace` does.
    """
    from ..experiments.pointing import pointed

    at = pointed(model, prompt, subject, layers=layers, token=token)
    found = at.trace
    why = (
        f"largest effect of tracing with one FFN restored: {number(at.effect)} of P({found.answer.strip()}) "
        f"{number(found.clean)}, corrupted {number(found.corrupted)}, mean of {found.samples} samples"
    )
    return Spot(at.layers if layers is None else tuple(sorted(layers)), at.token, why)


def _texts(spec: str) -> list[str]:
    """Raises BadData."""
    from .. import data

    if spec == "shipped":
        shipped = data.texts(spec, data.read(spec))
        return [*shipped.everything, *shipped.neither]
    try:
        lines = Path(spec).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(spec, None, f"is no file of ordinary text ({error})") from error
    if not (kept := [line for line in lines if line.strip()]):
        raise BadData(spec, None, "holds no line of text")
    return kept


def _inside(now: Any, name: str, text: str) -> Any:
    """A setting that has settings itself, such as a search, with one of them changed."""
    if isinstance(now, dataclasses.Field):
        now = now.default_factory() if callable(now.default_factory) else now.default
    if not dataclasses.is_dataclass(now) or isinstance(now, type):
        raise BadSetting(f"{name} is set in {now!r}, which has no settings")
    if name not in (known := [f.name for f in dataclasses.fields(now)]):
        raise UnknownName("setting", name, known)
    return dataclasses.replace(now, **{name: value(text)})
