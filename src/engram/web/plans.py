"""Which editor does the page mean, where does it write, and which Python makes the same edit?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import editors
from ..edits import Edit
from ..errors import UnknownName
from ..facts import SUBJECT, Fact, Prompt
from ..locators import IntegratedGradients, locate
from ..models import Model
from ..selectors import Shared

BELOW = 2  # layers below the one that was named, which an editor of several layers changes too
FOUND = {"threshold": 0.2, "share": "0.7"}  # of neurons, as `engram edit` finds them
EDITORS: dict[str, tuple[str, dict[str, Any]]] = {  # what the page calls an editor: its class, and settings of it
    "r-rome": ("ROME", {"covariance": None, "preset": "r-rome"}),
    "rome": ("ROME", {"covariance": None, "preset": "rome"}),
    "p-rome": ("ROME", {"covariance": None, "preset": "p-rome"}),
    "memit": ("MEMIT", {"covariances": None}), "alphaedit": ("AlphaEdit", {"covariances": None}),
    "surgery": ("KnowledgeSurgery", {}), "causal-neuron": ("CausalNeuron", {}),
    "ft-m": ("FineTuning", {"preset": "ft-m"}), "ft": ("FineTuning", {"preset": "ft"}),
    "ft-l": ("FineTuning", {"preset": "ft-l"}),
}  # fmt: skip
LAYERED, LOOKS_UP, PLACED = {"MEMIT", "AlphaEdit"}, {"ROME", "MEMIT", "AlphaEdit"}, {"KnowledgeSurgery", "CausalNeuron"}


@dataclass(frozen=True)
class Plan:
    """A wish and an editor by its name on the page. `fact` is as the page has it, `to` the new answer.

    `more` are other settings of the editor. Raises UnknownName.

    >>> plan = Plan(Prompt("The capital of Ireland is [Y].", "Dublin"), "Ireland", "Cork", "ft-m")
    >>> str(plan.fact), plan.settings(1, None)
    ('⟨Ireland, The capital of [X] is [Y]., Dublin⟩', {'layer': 1, 'preset': 'ft-m'})
    """

    prompt: Prompt
    subject: str
    to: str
    by: str
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.by not in EDITORS:
            raise UnknownName("editor", self.by, EDITORS)

    @property
    def fact(self) -> Fact:
        """Its relation is the sentence with the subject taken out."""
        return Fact(self.subject, self.prompt.text.replace(self.subject, SUBJECT, 1), self.prompt.answer)

    @property
    def kind(self) -> str:
        """The editor's class, a public name."""
        return EDITORS[self.by][0]

    @property
    def placed(self) -> bool:
        """Does it write in a layer that is named?"""
        return self.kind not in PLACED

    @property
    def looks_up(self) -> bool:
        """Does it look up a token?"""
        return self.kind in LOOKS_UP

    def layers(self, layer: int) -> tuple[int, ...]:
        """Those it writes in, where this one is named."""
        return tuple(range(max(0, layer - BELOW), layer + 1)) if self.kind in LAYERED else (layer,)

    def settings(self, layer: int | None, token: str | None) -> dict[str, Any]:
        """All of the editor's that are given, but for neurons."""
        found: dict[str, Any] = {}
        if self.placed and layer is not None:
            found = {"layers": self.layers(layer)} if self.kind in LAYERED else {"layer": layer}
        if self.looks_up and token is not None:
            found["token"] = token
        return {**found, **EDITORS[self.by][1], **self.more}

    def made(self, model: Model, layer: int | None, token: str | None) -> Edit:
        """The edit. Changes nothing. Raises EngramError."""
        own = self.settings(layer, token)
        if self.kind == "KnowledgeSurgery":
            scores = locate(model, [self.prompt], by=IntegratedGradients(rule="gauss"))
            own["neurons"] = Shared(**FOUND).select(scores)  # type: ignore[arg-type]
        editor = getattr(editors, self.kind)(**own)
        return editors.rewrite(model, self.fact.becoming(self.to), by=editor, prompt=self.prompt)

    def python(self, layer: int | None, token: str | None) -> str:
        """The same in Python, after `import engram as eg` and `model = …`: lines that end with `edit = …`.

        Where the editor wants a layer or a token and none is given, the lines ask a trace.
        """
        f = self.fact
        lines = [
            f"fact = eg.Fact({f.subject!r}, {f.relation!r}, {f.answer!r})",
            f"prompt = eg.Prompt({self.prompt.text!r}, {self.prompt.answer!r})",
        ]
        own = [f"{k}={v!r}" for k, v in self.settings(layer, token).items()]
        if self.kind == "KnowledgeSurgery":
            how = ", ".join(f"{k}={v!r}" for k, v in FOUND.items())
            lines.append('scores = eg.locate(model, [prompt], by=eg.IntegratedGradients(rule="gauss"))')
            own.insert(0, f"neurons=eg.select(scores, by=eg.Shared({how}))")
        if self.placed and (layer is None or (self.looks_up and token is None)):
            lines += self._asking(layer, token)
            own = [*self._found(layer, token), *own]
        lines += [
            f"by = eg.{self.kind}({', '.join(own)})",
            f"edit = eg.rewrite(model, fact.becoming({self.to!r}), by=by, prompt=prompt)",
        ]
        return "\n".join(lines) + "\n"

    def _asking(self, layer: int | None, token: str | None) -> list[str]:
        named: Sequence[str] = [
            *([f"layers=[{layer}]"] if layer is not None else []), *([f"token={token!r}"] if token else [])
        ]  # fmt: skip
        given = ", ".join(["model", "prompt", repr(self.subject), *named])
        return ["from engram.experiments.pointing import pointed", f"found = pointed({given})"]

    def _found(self, layer: int | None, token: str | None) -> list[str]:
        """The settings that the trace gives."""
        found = []
        if layer is None:
            several = f"layers=tuple(range(max(0, found.layer - {BELOW}), found.layer + 1))"
            found.append(several if self.kind in LAYERED else "layer=found.layer")
        if self.looks_up and token is None:
            found.append("token=found.token")
        return found
