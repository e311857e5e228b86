"""What would this fact say with another answer? The page's views of edits: planned, tried, kept, saved, forgotten."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ... import data
from ...edits import Edit
from ...errors import BadSetting
from ...experiments.base import halves
from ...experiments.before_after import MEANT, Told, before_after, known, sizes, together
from ...experiments.pointing import Pointed, pointed
from ...facts import Prompt
from ...models import Model, ask
from ...models.batching import Progress
from ...report import trace_words as words
from ..kept import kept
from ..plans import Plan
from .base import Text, View, Word, plain, views

Id = Annotated[str, Field(min_length=1, max_length=40)]
SHADES = {"before": "#8a94a0", "after": "#4a8fd6"}  # to be told apart on white and on black
NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
DATA = "shipped"
SIZE = "‖change‖ / ‖value slots‖"
AUDIT = {  # settings of an edit that are shown: what they are called, and their unit
    "residual": ("missing of what was to be written", "‖missing‖ / ‖wanted‖"),
    "rank": ("ranks of the change", "ranks"), "furthest": ("largest change of one number", "as the weights"),
    "taken": ("steps taken", "steps"), "rounding": ("of the change lost by rounding, by layer", "‖lost‖ / ‖change‖"),
    "undone": ("weights to the last bit as before, once it was let go", ""),
}  # fmt: skip


@views("plan_edit")
class PlanEdit(View):
    """A wish and an editor; what is not said of where it writes, a trace says. Planned on the model as it is."""

    anew: ClassVar[bool] = True
    prompt: Text
    answer: Word
    subject: Word
    to: Word
    by: Word = "r-rome"
    layer: Annotated[int, Field(ge=0, le=999)] | None = None
    token: Literal["subject", "subject_first", "asked"] | None = None
    balance: Annotated[float, Field(ge=0, le=1e9)] | None = None

    def run(self, model: Model, progress: Progress) -> dict[str, Any]:
        plan = self._plan()
        tracing, trying = halves(progress)
        at = self._at(plan, model, tracing)
        layer, token = (at.layer, at.token) if at is not None else (self.layer, self.token)
        if layer is not None and layer >= len(model.layers):
            raise BadSetting(f"{model.name} has layers 0 to {len(model.layers) - 1}, and not {layer}")
        edit = plan.made(model, layer, str(token) if token is not None else None)
        told = before_after(model, edit, plan.prompt, data.read(DATA), progress=trying)
        says = f"{self.subject}: {self.answer} → {self.to} ({self.by})"
        name = kept.keep(model.name, edit, says, plan.python(layer, str(token) if token is not None else None))
        return {
            "id": name, "says": says, "planned": str(edit), "where": _where(edit, at),
            "rows": [_row(t) for t in told], "groups": _groups(told), "figure": figure(told), "units": "probability",
            "first": _first(model, plan.prompt, edit), "audit": list(_audit(model, edit)),
            "notes": list(self._notes(edit, told)), "kept": kept.listed(model.name),
        }  # fmt: skip

    def python(self, model: str) -> str:
        return (
            "import engram as eg\nfrom engram.experiments.before_after import before_after\n\n"
            f"model = eg.load({model!r})\n{self._plan().python(self.layer, self.token)}"
            f"for told in before_after(model, edit, prompt, eg.data.read({DATA!r})):\n"
            "    print(told.group, told.prompt.text, told.wanted, told.p_wanted, told.rank, told.first)\n"
        )

    def _plan(self) -> Plan:
        if self.subject not in self.prompt:
            raise BadSetting(f"the subject is written as it stands in the prompt: {self.subject!r} is not in it")
        more = {"balance": self.balance} if self.by == "memit" and self.balance is not None else {}
        return Plan(Prompt(self.prompt, self.answer), self.subject, self.to, self.by, more)

    def _at(self, plan: Plan, model: Model, progress: Progress) -> Pointed | None:
        """Where a trace points, where it has to be asked."""
        if not plan.placed or (self.layer is not None and (self.token is not None or not plan.looks_up)):
            return None
        layers = None if self.layer is None else [self.layer]
        return pointed(model, plan.prompt, self.subject, layers=layers, token=self.token, progress=progress)

    def _notes(self, edit: Edit, told: Sequence[Told]) -> Iterator[str]:
        if known(data.read(DATA), self._plan().fact) is None:
            yield (
                f"The shipped facts do not have {self.subject} with the answer {self.answer}: no other templates, "
                "neighbours or reverse to try it on."
            )
        if self.by == "memit" and told[0].p_new[1] < 2 * told[0].p_new[0]:
            yield "MEMIT's balance was published for GPT-2 XL: in a narrow model hardly anything is written. Lower it."
        if edit.settings.get("experimental"):
            yield "This editor was published for causal models; here a masked one was edited."


@views("forget_edit")
class ForgetEdit(View):
    """Undo an edit: it was only ever held while something was asked, so to forget it is enough."""

    anew: ClassVar[bool] = True
    id: Id

    def run(self, model: Model, progress: Progress) -> dict[str, Any]:
        kept.entry(self.id, model.name)
        return {"forgotten": kept.forget(self.id), "kept": kept.listed(model.name)}

    def python(self, model: str) -> str:
        return f"import engram as eg\n\nmodel = eg.load({model!r})  # an edit changes nothing unless it is held\n"


@views("save_edit")
class SaveEdit(View):
    """Keep an edit as a PEFT adapter in `edits/NAME`, in the folder given to `engram serve`."""

    anew: ClassVar[bool] = True
    id: Id
    name: Annotated[str, Field(min_length=1, max_length=60)]

    def run(self, model: Model, progress: Progress) -> dict[str, Any]:
        folder = self._folder()
        kept.entry(self.id, model.name).edit.save(folder)
        return {"folder": str(folder), "name": self.name}

    def python(self, model: str) -> str:
        made = kept.entry(self.id, model).python
        return f"import engram as eg\n\nmodel = eg.load({model!r})\n{made}edit.save({f'edits/{self.name}'!r})\n"

    def _folder(self) -> Path:
        """Raises BadSetting for a name that is none, or is taken, and where there is no folder to keep it in."""
        if NAME.fullmatch(self.name) is None:
            raise BadSetting(f"an edit's name has letters, digits, - and _ only, 60 at most; not {self.name!r}")
        if kept.folder is None:
            raise BadSetting("there is no folder to keep edits in: start engram serve with --runs FOLDER")
        folder = kept.folder / "edits" / self.name
        if folder.exists():
            raise BadSetting(f"an edit called {self.name!r} is kept already: take another name")
        return folder


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
