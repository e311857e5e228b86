"""What would this fact say with another answer? The page's view of an edit: planned, tried, and kept."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...edits import Edit
from ...errors import BadSetting
from ...experiments.before_after import MEANT, Told, before_after, known, sizes, together
from ...experiments.pointing import Pointed, pointed
from ...facts import Prompt
from ...models import Model, ask, holding
from ...report import trace_words as words
from ..kept import kept
from ..keys import Kind
from ..plans import Plan, planned
from ..serving import serving
from ..stages import Tell, stage
from .base import KeptIds, Text, View, Word, plain, views

SHADES = {"before": "#8a94a0", "after": "#4a8fd6"}  # to be told apart on white and on black
SIZE = "‖change‖ / ‖value slots‖"
AUDIT = {  # settings of an edit that are shown: what they are called, and their unit
    "residual": ("missing of what was to be written", "‖missing‖ / ‖wanted‖"),
    "rank": ("ranks of the change", "ranks"), "furthest": ("largest change of one number", "as the weights"),
    "taken": ("steps taken", "steps"), "rounding": ("of the change lost by rounding, by layer", "‖lost‖ / ‖change‖"),
    "undone": ("weights to the last bit as before, once it was let go", ""),
}  # fmt: skip


@views("plan_edit")
class PlanEdit(View):
    """A wish and an editor; what is not said of where it writes, a trace says.

    Planned on the model under the edits of `under`, and then held after them. `covariance` says of what the editor's
    second moments are, of `tokens` tokens where they are of text.
    """

    anew: ClassVar[bool] = True
    prompt: Text
    answer: Word
    subject: Word
    to: Word
    by: Word = "r-rome"
    layer: Annotated[int, Field(ge=0, le=999)] | None = None
    token: Literal["subject", "subject_first", "asked"] | None = None
    balance: Annotated[float, Field(ge=0, le=1e9)] | None = None
    covariance: Kind = "none"
    tokens: Annotated[int, Field(ge=100, le=10_000_000)] = 20_000
    under: KeptIds = Field(default_factory=list)

    def run(self, model: Model, progress: Tell) -> dict[str, Any]:
        plan = self._plan()
        tracing, planning, trying = (
            stage(progress, i, 3, said)
            for i, said in enumerate(("Looking for where to write", "Planning the edit", "Asking before and after"))
        )
        on = [one.id for level in kept.levels(self.under, model.name) for one in level]
        base = kept.under(self.under, model.name)
        with holding(base, model):
            at = self._at(plan, model, tracing)
        layer, token = (at.layer, str(at.token)) if at is not None else (self.layer, self.token)
        if layer is not None and layer >= len(model.layers):
            raise BadSetting(f"{model.name} has layers 0 to {len(model.layers) - 1}, and not {layer}")
        edit = planned(plan, model, (layer, token), base, planning)
        with holding(base, model):
            found = self._tried(plan, model, edit, trying)
        says = f"{self.subject}: {self.answer} → {self.to} ({self.by})"
        lines = plan.python(layer, token, kept.held(self.under, model.name))
        name = kept.keep(model.name, edit, says, lines, on)
        return {
            "id": name, "says": says, "planned": str(edit), "where": _where(edit, at), "on": on,
            "moments": self._moments(plan), "units": "probability",
            **found, "kept": kept.listed(model.name),
        }  # fmt: skip

    def _tried(self, plan: Plan, model: Model, edit: Edit, progress: Tell) -> dict[str, Any]:
        """What it does to this sentence and to others, and what it says of itself."""
        told = before_after(model, edit, plan.prompt, serving.facts(), progress=progress)
        return {
            "rows": [_row(t) for t in told], "groups": _groups(told), "figure": figure(told),
            "first": _first(model, plan.prompt, edit), "audit": list(_audit(model, edit)),
            "notes": list(self._notes(edit, told)),
        }  # fmt: skip

    def python(self, model: str) -> str:
        before, held = "", ""
        if self.under:
            before, held = kept.python(self.under, model), "under"
        return (
            "import engram as eg\nfrom engram.experiments.before_after import before_after\n\n"
            f"model = {serving.model_python(model)}\n{before}{self._plan().python(self.layer, self.token, held)}"
            f"facts = {serving.facts_python}\n"
            f"with eg.holding({held or None}, model):\n"
            "    told = before_after(model, edit, prompt, facts)\n"
            "rows = [(t.group, t.prompt.text, t.wanted, t.p_wanted, t.rank, t.first) for t in told]\n"
            'print(*rows, sep="\\n")\n'
        )

    def _plan(self) -> Plan:
        if self.subject not in self.prompt:
            raise BadSetting(f"the subject is written as it stands in the prompt: {self.subject!r} is not in it")
        prompt = Prompt(self.prompt, self.answer)
        plan = Plan(prompt, self.subject, self.to, self.by, self.covariance, self.tokens)
        if self.balance is None or "balance" not in plan.takes:
            return plan
        return replace(plan, more={"balance": self.balance})

    def _at(self, plan: Plan, model: Model, progress: Tell) -> Pointed | None:
        """Where a trace points, where it has to be asked."""
        if not plan.placed or (self.layer is not None and (self.token is not None or not plan.looks_up)):
            return None
        layers = None if self.layer is None else [self.layer]
        return pointed(model, plan.prompt, self.subject, layers=layers, token=self.token, progress=progress)

    def _moments(self, plan: Plan) -> str | None:
        """Of what its second moments are, in words; None for an editor without them."""
        if not {"covariance", "covariances"} & plan.takes:
            return None
        said = {"none": "none, the identity", "asked": f"of the keys where other facts of {serving.data} are asked"}
        return said.get(self.covariance, f"of {self.tokens:,} tokens of ordinary text")

    def _notes(self, edit: Edit, told: Sequence[Told]) -> Iterator[str]:
        if known(serving.facts(), self._plan().fact) is None:
            words = serving.facts_words
            yield (
                f"{words[0].upper()}{words[1:]} do not have {self.subject} with the answer {self.answer}: no other "
                "templates, neighbours or reverse to try it on."
            )
        if self.by == "memit" and told[0].p_new[1] < 2 * told[0].p_new[0]:
            yield "MEMIT's balance was published for GPT-2 XL: in a narrow model hardly anything is written. Lower it."
        if edit.settings.get("experimental"):
            yield "This editor was published for causal models; here a masked one was edited."


def _where(edit: Edit, at: Pointed | None) -> dict[str, Any]:
    why = (
        None if at is None else
        f"largest effect of tracing with one FFN restored: {words.short(at.effect)} probability of "
        f"{at.trace.answer.strip()} (clean {words.short(at.trace.clean)}, corrupted {words.short(at.trace.corrupted)}, "
        f"mean of {at.trace.samples} samples)"
    )  # fmt: skip
    return {"layers": list(edit.layers), "token": edit.settings.get("token"), "neurons": len(edit.neurons), "why": why}


def _row(t: Told) -> dict[str, Any]:
    return {
        "group": t.group, "sentence": t.prompt.text, "new": t.new, "old": t.old, "wanted": t.wanted, "rank": t.rank,
        "p_new": t.p_new, "p_old": t.p_old, "p_wanted": t.p_wanted, "first": t.first,
    }  # fmt: skip


def _groups(told: Sequence[Told]) -> list[dict[str, Any]]:
    return [
        {"group": g.group, "meant": MEANT[g.group], "n": g.n, "right": g.right, "p": g.p, "interval": g.interval}
        for g in together(told)
    ]


def _first(model: Model, prompt: Prompt, edit: Edit) -> dict[str, Any]:
    """The best few words at the blank."""
    (before,), (after,) = ask(model, prompt), ask(model, prompt, under=edit)
    return {"before": before.top, "after": after.top}


def _audit(model: Model, edit: Edit) -> Iterator[dict[str, Any]]:
    """What the edit says of itself: name, value and unit."""
    for layer, size in sizes(model, edit).items():
        yield {"name": f"size of the change in layer {layer}", "value": size, "unit": SIZE}
    own: dict[str, Any] = dict(edit.settings)
    for request in own.pop("requests", ())[:1]:
        own |= {k: request[k] for k in ("residual", "probability") if k in request}
    for key, (name, unit) in AUDIT.items():
        if own.get(key) is not None:
            yield {"name": name, "value": _plain(own[key]), "unit": unit}
    if isinstance(p := own.get("probability"), Mapping):
        for when in ("before", "after"):
            yield {"name": f"probability of the new answer {when}", "value": _plain(p[when]), "unit": "probability"}


def _plain(value: Any) -> Any:
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return plain(value)
    return str(value)


def figure(told: Sequence[Told]) -> dict[str, Any]:
    """Of each group the mean probability of the right answer, before and after: a plotly figure in plain values."""
    groups = together(told)
    names = ["<br>".join(textwrap.wrap(f"{MEANT[g.group]}, n={g.n}", 24)) for g in groups]
    bars = [
        {"type": "bar", "orientation": "h", "name": name, "y": names, "x": [g.p[i] for g in groups],
         "marker": {"color": colour}, "hovertemplate": "%{y}<br>" + name + " %{x:.4f}<extra></extra>"}
        for i, (name, colour) in enumerate(SHADES.items())
    ]  # fmt: skip
    return {
        "data": bars,
        "layout": {
            "barmode": "group", "height": 110 + 58 * len(groups),
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
            "xaxis": {"title": {"text": "mean probability"}, "range": [0, 1]},
            "yaxis": {"autorange": "reversed", "automargin": True},
        },
    }  # fmt: skip
