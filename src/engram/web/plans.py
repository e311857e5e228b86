"""Which editor does the page mean, where does it write, and which Python makes the same edit?"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import editors as home
from ..editors import editors, rewrite
from ..editors.called import CALLED, Called, called
from ..edits import Edit
from ..errors import UnknownName
from ..experiments.pointing import with_below
from ..facts import SUBJECT, Fact, Prompt
from ..locators import IntegratedGradients, locate
from ..models import Model, holding
from ..selectors import Shared
from . import keys
from .stages import Tell, passes, stage

FOUND = {"threshold": 0.2, "share": "0.7"}  # of neurons, as `engram edit` finds them
GIVEN = {"layer", "layers", "token", "neurons", "covariance", "covariances"}  # what a plan can say to an editor


def offered() -> dict[str, Called]:
    """The editors of the page, plug-ins among them: those that give a fact another answer and need no more than GIVEN.

    >>> "r-rome" in offered() and "erasure" not in offered()
    True
    """
    named = {c.editor for c in CALLED.values()} | {"erasure"}  # erasing wishes for no answer
    free = [n for n in editors.names() if n not in named and _needed(editors[n]) <= GIVEN]
    return {name: called(name) for name in (*CALLED, *free)}


def described() -> list[dict[str, Any]]:
    """What the page's form has to know of each editor: its words, and what it can be told.

    >>> described()[0]["name"], described()[0]["takes"]
    ('r-rome', ['covariance', 'layer', 'token'])
    """
    return [
        {"name": name, "says": c.words, "takes": sorted(_fields(editors[c.editor]) & {*GIVEN, "balance"})}
        for name, c in offered().items()
    ]


@dataclass(frozen=True)
class Plan:
    """A wish and an editor by its name on the page. `fact` is as the page has it, `to` the new answer.

    `kind` and `tokens` say of what its second moments are, `more` are other settings. Raises UnknownName.

    >>> plan = Plan(Prompt("The capital of Ireland is [Y].", "Dublin"), "Ireland", "Cork", "ft-m")
    >>> str(plan.fact), plan.settings((1,), None)
    ('⟨Ireland, The capital of [X] is [Y]., Dublin⟩', {'layer': 1, 'preset': 'ft-m'})
    """

    prompt: Prompt
    subject: str
    to: str
    by: str
    kind: keys.Kind = "none"
    tokens: int = 20_000
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.by not in offered():
            raise UnknownName("editor", self.by, offered())

    @property
    def fact(self) -> Fact:
        """Its relation is the sentence with the subject taken out."""
        return Fact(self.subject, self.prompt.text.replace(self.subject, SUBJECT, 1), self.prompt.answer)

    @property
    def editor(self) -> type[Any]:
        """The editor's class."""
        return editors[called(self.by).editor]

    @property
    def takes(self) -> set[str]:
        """The names of what it can be told."""
        return _fields(self.editor)

    @property
    def placed(self) -> bool:
        """Does it write in a layer that is named?"""
        return bool({"layer", "layers"} & self.takes)

    @property
    def looks_up(self) -> bool:
        """Does it look up a token?"""
        return "token" in self.takes

    def layers(self, layer: int | None) -> tuple[int, ...]:
        """Those it writes in, where this one is named."""
        if layer is None or not self.placed:
            return ()
        return with_below(layer) if "layers" in self.takes else (layer,)

    def settings(self, layers: Sequence[int], token: str | None) -> dict[str, Any]:
        """All of the editor's that are given, but for neurons and second moments."""
        found: dict[str, Any] = {}
        if layers:
            found = {"layers": tuple(layers)} if "layers" in self.takes else {"layer": layers[-1]}
        if self.looks_up and token is not None:
            found["token"] = token
        return {**found, **called(self.by).settings, **self.more}

    def made(self, model: Model, layer: int | None, token: str | None, progress: Tell | None = None) -> Edit:
        """The edit. Changes nothing. Raises EngramError."""
        layers = self.layers(layer)
        own = self.settings(layers, token)
        reading, planning = (stage(progress, i, 2, s) for i, s in enumerate(("Reading second moments", "Planning")))
        if "neurons" in self.takes:
            scores = locate(model, [self.prompt], by=IntegratedGradients(rule="gauss"), progress=reading)
            own["neurons"] = Shared(**FOUND).select(scores)  # type: ignore[arg-type]
        if {"covariance", "covariances"} & self.takes:
            c = keys.moments(model, layers, self.kind, self.subject, self.tokens, reading)
            own |= {"covariances": c} if "covariances" in self.takes else {"covariance": c and c[layers[-1]]}
        with passes(model, planning):
            return rewrite(model, self.fact.becoming(self.to), by=self.editor(**own), prompt=self.prompt)

    def python(self, layer: int | None, token: str | None, held: str = "") -> str:
        """The same in Python, after `import engram as eg` and `model = …`: lines that end with `edit = …`.

        Where the editor wants a layer or a token and none is given, the lines ask a trace. `held` is Python for the
        edits that it is planned under.
        """
        f = self.fact
        lines = [
            f"fact = eg.Fact({f.subject!r}, {f.relation!r}, {f.answer!r})",
            f"prompt = eg.Prompt({self.prompt.text!r}, {self.prompt.answer!r})",
        ]
        inside = "\n".join(self._planning(layer, token)) + "\n"
        if held:
            lines.append(f"with eg.holding({held}, model):")
            inside = textwrap.indent(inside, "    ")
        return "\n".join(lines) + "\n" + inside

    def _planning(self, layer: int | None, token: str | None) -> list[str]:
        """Lines that find what the editor is told, and plan."""
        lines: list[str] = []
        if "neurons" in self.takes:
            lines.append('scores = eg.locate(model, [prompt], by=eg.IntegratedGradients(rule="gauss"))')
        asks = self.placed and (layer is None or (self.looks_up and token is None))
        if asks:
            named = [f"layers=[{layer}]"] * (layer is not None) + [f"token={token!r}"] * (token is not None)
            given = ", ".join(["model", "prompt", repr(self.subject), *named])
            lines += ["from engram.experiments.pointing import pointed", f"found = pointed({given})"]
        if self.placed:
            lines.append(f"layers = {self._layers_python(layer)}")
        has = {"covariance", "covariances"} & self.takes
        lines += keys.python(self.kind, self.subject, self.tokens) if has else []
        name = self.editor.__name__
        made = f"eg.{name}"
        if not hasattr(home, name):  # a plug-in's
            lines.append("from engram.editors import editors")
            made = f"editors[{called(self.by).editor!r}]"
        return [
            *lines, f"by = {made}({', '.join(self._told(token))})",
            f"edit = eg.rewrite(model, fact.becoming({self.to!r}), by=by, prompt=prompt)",
        ]  # fmt: skip

    def _layers_python(self, layer: int | None) -> str:
        if layer is not None:
            return repr(self.layers(layer))
        return "found.layers" if "layers" in self.takes else "(found.layer,)"

    def _told(self, token: str | None) -> list[str]:
        """The settings as Python has them."""
        told = []
        if "neurons" in self.takes:
            how = ", ".join(f"{k}={v!r}" for k, v in FOUND.items())
            told.append(f"neurons=eg.select(scores, by=eg.Shared({how}))")
        if self.placed:
            told.append("layers=layers" if "layers" in self.takes else "layer=layers[-1]")
        if self.looks_up:
            told.append("token=found.token" if token is None else f"token={token!r}")
        if "covariances" in self.takes:
            told.append("covariances=None" if self.kind == "none" else "covariances=covariances")
        if "covariance" in self.takes:
            told.append("covariance=None" if self.kind == "none" else "covariance=covariances[layers[-1]]")
        return [*told, *(f"{k}={v!r}" for k, v in {**called(self.by).settings, **self.more}.items())]


def planned(plan: Plan, model: Model, at: tuple[int | None, str | None], under: Sequence[Edit], tell: Tell) -> Edit:
    """The edit of this plan, on the model under these edits."""
    with holding(list(under), model):
        return plan.made(model, *at, tell)


def _fields(editor: type[Any]) -> set[str]:
    return {f.name for f in dataclasses.fields(editor)}


def _needed(editor: type[Any]) -> set[str]:
    """What an editor cannot be made without."""
    missing = dataclasses.MISSING
    return {f.name for f in dataclasses.fields(editor) if f.default is missing and f.default_factory is missing}
